"""Many mailboxes by one list: as an admin runs it, with servers in this process."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from store.archive import Archive
from store.journal import JOURNAL, read_line
from tests.cli.conftest import letter, start
from tests.exchange_online.profile import EXO_2026
from tests.exchange_online.server import ExchangeOnline
from tests.fakes.imap_server import Answer, Delay, ImapServer
from tests.fakes.mailbox import Mailboxes
from tests.servers.google import CLIENT, GoogleIdentity
from tests.servers.identity import IdentityProvider
from waystation.address import parse_account
from waystation.batch.form import Form
from waystation.batch.mailboxes import Surroundings, read_list
from waystation.batch.template import TEMPLATES
from waystation.cli.batch_doors import sign_in_for
from waystation.cli.options import SignIn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.conftest import CommandLine, FakeKeyring, Result
    from tests.fakes.certificates import TestAuthority

NAMES = ("ada", "bob", "eve")
SECRET = "a secret of many"
HEAD = "mailbox,from,from_password_env,to,to_password_env"


@dataclass
class Office:
    """An old server with some mailboxes, a new one, and a directory for the archives."""

    waystation: CommandLine
    root: Path
    old: ImapServer
    new: ImapServer
    ca_file: Path
    rows: list[str] = field(default_factory=list)
    head: str = HEAD

    @property
    def file(self) -> Path:
        return self.root.with_suffix(".csv")

    def row(self, name: str, env: str = "MANY") -> str:
        old = f"imaps://{name}@localhost:{self.old.port}"
        new = f"imaps://{name}@localhost:{self.new.port}"
        return f"{name},{old},{env},{new},MANY"

    def words(self, command: str, *words: object) -> list[object]:
        self.file.write_text("\n".join([self.head, *self.rows]) + "\n")
        return ["batch", command, self.root, "--list", self.file, *words]

    def run(self, command: str, *words: object) -> Result:
        if command not in ("check", "status"):
            words = ("--ca-file", self.ca_file, *words)
        return self.waystation(*self.words(command, *words))

    @property
    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.root / "status.json").read_text())
        return found

    @property
    def log(self) -> str:
        return (self.root / "batch.log").read_text()

    def arrived(self, name: str) -> list[bytes]:
        return sorted(body for f in self.new.mailboxes[name].folders for body in f.bodies)


def bodies(name: str) -> list[bytes]:
    return sorted(letter(number, name) for number in range(4))


@pytest.fixture
def office(
    waystation: CommandLine,
    tmp_path: Path,
    authority: TestAuthority,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Office]:
    monkeypatch.setenv("MANY", SECRET)
    monkeypatch.setenv("WRONG", "no secret at all")
    old, new = Mailboxes(dict.fromkeys(NAMES, SECRET)), Mailboxes(dict.fromkeys(NAMES, SECRET))
    for name in NAMES:
        for number in range(4):
            old[name].folder("INBOX").append(letter(number, name), ["\\Seen"])
    with ImapServer(old, tls=authority) as source, ImapServer(new, tls=authority) as target:
        made = Office(waystation, tmp_path / "root", source, target, authority.ca_file)
        made.rows = [made.row(name) for name in NAMES]
        yield made


def test_a_list_of_mailboxes_is_exported_planned_imported_verified_and_shown(
    office: Office,
) -> None:
    exported = office.run("export", "--json")
    plan = office.run("plan", "--json")
    imported = office.run("import", "--json")
    proof = office.run("verify", "--target", "--json")
    checked = office.run("check", "--json")
    shown = office.run("status", "--json")

    for result in (exported, plan, imported, proof, checked, shown):
        assert result.code == 0, result.err
        assert result.summary["mailboxes"] == 3
    assert exported.summary["sums"]["new"] == imported.summary["sums"]["appended"] == 12
    assert plan.summary["sums"]["messages"] == 12
    assert checked.summary["command"] == "batch check"
    assert {row["arrived"] for row in shown.of_type("mailbox")} == {4}
    assert all(office.arrived(name) == bodies(name) for name in NAMES)
    assert sorted(path.name for path in office.root.iterdir() if path.is_dir()) == sorted(NAMES)


def test_each_change_of_a_state_is_a_line_with_the_mailbox(office: Office) -> None:
    lines = office.run("export", "--json").of_type("mailbox")

    for name in NAMES:
        mine = [line for line in lines if line["mailbox"] == name]
        assert [line["state"] for line in mine] == ["working", "done"]
        assert (mine[-1]["exit_code"], mine[-1]["result"]["new"], mine[-1]["done"]) == (0, 4, 4)


def test_who_is_not_let_in_stops_alone_and_is_named(office: Office) -> None:
    office.rows[1] = office.row("bob", "WRONG")

    result = office.run("export")

    assert result.code == 12
    assert "! bob: " in result.err
    assert "2 of 3 mailboxes done; not done:\nfailed: bob: " in result.err
    assert not (office.root / "bob").exists()
    assert (office.root / "eve" / "archive.toml").exists()
    assert office.status["states"] == {"done": 2, "failed": 1}
    assert office.status["exit_code"] == 12
    assert " bob: failed: " in office.log
    told = result.out + result.err + office.log + (office.root / "status.json").read_text()
    assert SECRET not in told
    assert "no secret" not in told
    assert office.old.commands("AUTHENTICATE") == 3  # a wrong password is not tried again


def test_a_new_list_adds_its_mailboxes(office: Office) -> None:
    office.rows = office.rows[:1]
    assert office.run("export").code == 0
    office.rows = [office.row(name) for name in NAMES]

    result = office.run("export", "--json")

    new = {
        line["mailbox"]: line["result"]["new"]
        for line in result.of_type("mailbox")
        if line["state"] == "done"
    }
    assert new == {"ada": 0, "bob": 4, "eve": 4}


def test_nothing_is_started_by_a_list_with_faults(office: Office) -> None:
    office.rows += ["ada,imaps://x@y.example,MANY,,", "zoe,imaps://z@y.example,NOT_SET,,"]

    result = office.run("export", "--json")
    as_text = office.run("export")

    assert result.code == as_text.code == 2
    assert [(fault["line"], fault["kind"]) for fault in result.of_type("fault")] == [
        (5, "doubled_mailbox"),
        (6, "variable_not_set"),
    ]
    assert f"{office.file} line 5, mailbox: ada stands on line 2 already" in as_text.err
    assert "2 faults on 2 lines; nothing was started" in as_text.err
    assert not office.root.exists()
    assert office.old.commands("AUTHENTICATE") == 0


def test_what_passes_is_tried_again_and_what_was_done_stays(office: Office) -> None:
    office.old.script.on("SELECT", Answer(b"NO [UNAVAILABLE] not now"), first=4)

    result = office.run("export", "--retry-after", 0, "--json")

    assert result.code == 0, result.err
    assert all((office.root / name / "archive.toml").exists() for name in NAMES)


def test_a_mailbox_is_tried_again_only_so_often(office: Office) -> None:
    gone = ImapServer(Mailboxes({}))
    with gone:
        port = gone.port
    office.rows[0] = office.rows[0].replace(f"localhost:{office.old.port}", f"localhost:{port}")

    result = office.run("export", "--retry-after", 0, "--retries", 2, "--json")

    states = [line["state"] for line in result.of_type("mailbox") if line["mailbox"] == "ada"]
    assert states == ["working", "retrying", "working", "retrying", "working", "failed"]
    assert result.code == 3
    assert result.summary["not_done"]["ada"]["exit_code"] == 1
    assert (result.summary["done"], result.summary["failed"]) == (2, 1)


def test_a_batch_finds_what_a_check_finds(office: Office) -> None:
    office.run("export")
    (message, *_) = (office.root / "eve" / "maildir" / "INBOX" / "cur").iterdir()
    message.write_bytes(b"altered")

    result = office.run("check", "--json")
    everything = office.waystation("batch", "check", office.root)

    assert (result.code, everything.code) == (13, 13)
    (found,) = result.of_type("discrepancy")
    assert (found["mailbox"], found["kind"]) == ("eve", "altered")
    assert result.summary["found"] == 1
    assert "! eve: altered: INBOX" in everything.err


def test_passwords_in_a_list_are_taken_and_warned_of_once(office: Office) -> None:
    port = office.old.port
    office.head = "mailbox,from,from_password"
    office.rows = [f"{name},imaps://{name}@localhost:{port},{SECRET}" for name in NAMES]

    result = office.run("export")

    assert result.code == 0
    assert result.err.count("holds the passwords of 3 mailboxes in the open") == 1
    assert SECRET not in result.err + result.out + office.log


def test_microsofts_and_imapsyncs_lists_are_run_as_they_are(office: Office, tmp_path: Path) -> None:
    office.head = "EmailAddress,UserName,Password"
    office.rows = [f"{name}@contoso.com,{name},{SECRET}" for name in NAMES]
    microsoft = office.run("export", "--server", f"localhost:{office.old.port}", "--json")
    office.root = tmp_path / "other"
    old, new = f"localhost:{office.old.port}", f"localhost:{office.new.port}"
    office.head = "# imapsync"
    office.rows = [f"{old};{name};{SECRET};{new};{name};{SECRET};" for name in NAMES]

    exported = office.run("export", "--json")
    imported = office.run("import", "--json")

    assert microsoft.code == exported.code == imported.code == 0
    assert microsoft.summary["sums"]["new"] == 12
    assert (office.root / "ada@localhost" / "archive.toml").exists()
    assert imported.summary["sums"]["appended"] == 12


def test_folders_of_a_row_and_priorities_are_obeyed(office: Office) -> None:
    for name in NAMES:
        office.old.mailboxes[name].create("Old").append(letter(9, name))
    office.head += ",priority,exclude"
    office.rows = [f"{row},{n},{'Old' if n else ''}" for n, row in enumerate(office.rows)]

    result = office.run("export", "--connections", 1, "--json")

    began = [r["mailbox"] for r in result.of_type("mailbox") if r["state"] == "working"]
    assert began == ["eve", "bob", "ada"]
    new = {r["mailbox"]: r["result"]["new"] for r in result.of_type("mailbox") if "result" in r}
    assert new == {"eve": 4, "bob": 4, "ada": 5}


def test_a_second_batch_in_the_same_root_has_to_wait(office: Office, processes: ExitStack) -> None:
    office.old.script.on("FETCH", Delay(60))
    process = start(processes, *office.words("export", "--ca-file", office.ca_file))
    while not office.old.commands("FETCH"):
        assert process.poll() is None
        office.old.stopping.wait(0.02)

    second = office.run("export")

    assert second.code == 11
    assert "batch export" in second.err
    process.kill()
    process.wait(10)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_batch_ends_at_once_and_goes_on_later(
    office: Office, processes: ExitStack, number: int
) -> None:
    office.old.script.on("FETCH", Delay(60))
    process = start(processes, *office.words("export", "--ca-file", office.ca_file, "--json"))
    while office.old.commands("FETCH") < 3:
        assert process.poll() is None
        office.old.stopping.wait(0.02)

    begun = time.monotonic()
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    took = time.monotonic() - begun
    office.old.script.clear()
    again = office.run("export", "--json")

    assert (process.returncode, took < 3) == (130, True), err
    assert err == "waystation: interrupted; the same command goes on where it stopped\n"
    last = json.loads(out.splitlines()[-1])
    assert (last["type"], last["exit_code"]) == ("summary", 130)
    assert again.code == 0
    assert again.summary["sums"]["new"] == 12
    assert office.waystation("batch", "check", office.root).code == 0


def test_hours_that_are_none_and_lists_that_are_not_there_are_refused(office: Office) -> None:
    assert "no hours" in office.run("export", "--between", "20-6").one_error
    assert "no size" in office.run("export", "--bandwidth", "fast").one_error
    missing = office.waystation("batch", "import", office.root, "--list", "nowhere.csv")
    assert missing.code == 10
    office.root.mkdir()
    missing = office.waystation("batch", "import", office.root, "--list", "nowhere.csv")
    assert (missing.code, "nowhere.csv" in missing.one_error) == (2, True)
    assert office.waystation("batch", "check", office.root).code == 10


def test_what_all_share_may_stand_in_a_file_in_root(office: Office) -> None:
    office.old.mailboxes["ada"].create("Junk").append(letter(9, "ada"))
    office.root.mkdir()
    (office.root / "waystation.toml").write_text(
        f'''ca-file = "{office.ca_file}"\nexclude = ["Junk"]\n[export]\nconnections = 1\n'''
    )

    first = office.waystation(*office.words("export", "--json"))
    given = office.waystation(*office.words("export", "--exclude", "nothing*", "--json"))

    assert (first.code, given.code) == (0, 0), first.err
    assert first.summary["sums"]["new"] == 12
    assert given.summary["sums"]["new"] == 1  # what is said with the command counts


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("connections = ", "waystation.toml: "),
        ("conections = 3", "'conections' is no option"),
        ("[export]\nprotected = 'wrap'", "'protected' is no option of batch export"),
        ("[exprot]\nquick = true", "'exprot' is no option"),
        ("connections = 'many'", "Invalid value for '--connections'"),
        ("password = 'hunter2'", "'password' is no option"),
    ],
)
def test_a_file_of_defaults_that_makes_no_sense_is_refused(
    office: Office, text: str, words: str
) -> None:
    office.root.mkdir()
    (office.root / "waystation.toml").write_text(text)

    result = office.run("export")

    assert (result.code, words in result.one_error) == (2, True), result.err
    assert "hunter2" not in result.err


@pytest.mark.parametrize("form", Form)
def test_each_template_is_a_list_without_faults(waystation: CommandLine, form: Form) -> None:
    shown = waystation("batch", "template", form.value)

    found = read_list(shown.out.encode(), Surroundings())

    assert (shown.code, shown.out) == (0, TEMPLATES[form])
    assert found.form is form
    assert len(found.mailboxes) >= 2


def test_one_token_of_an_application_opens_all_mailboxes(
    office: Office, tmp_path: Path, authority: TestAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as stack:
        provider = stack.enter_context(IdentityProvider(tmp_path, authority=authority))
        monkeypatch.setenv("APP_SECRET", provider.client_secret)
        exchange = stack.enter_context(
            ExchangeOnline(EXO_2026, scale=0.001, verify=provider.claims_of, authority=authority)
        )
        for name in NAMES:
            exchange.add_mailbox(f"{name}@contoso.com")
        old = office.old.port
        office.rows = [
            f"{name},imaps://{name}@localhost:{old},MANY,office365:{name}@contoso.com,"
            for name in NAMES
        ]
        sign_in = ["--client-id", provider.client_id, "--tenant", provider.tenant]
        sign_in += ["--client-secret-env", "APP_SECRET", "--authority", provider.authority]
        sign_in += ["--server", f"localhost:{exchange.port}"]
        # What is for the targets does not disturb the sources.
        assert office.run("export", *sign_in).code == 0

        result = office.run("import", "--rate", 0, *sign_in, "--json")

        assert result.code == 0, result.err
        assert result.summary["sums"]["appended"] == 12
        for name in NAMES:
            stored = exchange.mailboxes[f"{name}@contoso.com"].stored()
            assert sorted(message.original for _, message in stored) == bodies(name)
        assert len(provider.issued) == 1
        monkeypatch.delenv("APP_SECRET")
        assert office.run("import", *sign_in).code == 12


def test_at_a_terminal_a_table_shows_who_works_and_the_totals(
    office: Office, processes: ExitStack
) -> None:
    fcntl = pytest.importorskip("fcntl")
    termios = pytest.importorskip("termios")
    office.old.script.on("FETCH", Delay(60))
    words = office.words("export", "--ca-file", office.ca_file)
    terminal, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 110, 0, 0))
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "NO_COLOR")}
    process = processes.enter_context(
        subprocess.Popen(
            [sys.executable, "-m", "waystation", *map(str, words)],
            stdin=subprocess.DEVNULL,
            stdout=child,
            stderr=child,
            env=environment | {"TERM": "xterm"},
        )
    )
    processes.callback(process.kill)
    os.close(child)
    shown, has_sent = "", False
    with suppress(OSError):  # Linux says so when the other side has closed
        while piece := os.read(terminal, 65_536).decode():
            shown += piece
            seen = re.search(r"eve +working +0/4.*0 of 3 mailboxes, 0 of 12", shown, re.DOTALL)
            if seen and not has_sent:
                has_sent = True
                process.send_signal(signal.SIGINT)
    os.close(terminal)

    assert process.wait(10) == 130
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h")  # the cursor is back
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    assert re.search(r"mailbox +state +messages", shown)
    assert "interrupted; the same command goes on" in shown


def test_ceilings_hold_for_all_mailboxes_together(office: Office) -> None:
    assert office.run("export").code == 0
    begun = time.monotonic()

    result = office.run("import", "--total-rate", 12, "--bandwidth", "1M", "--json")

    # Twelve messages, and each is paid for after it was sent.
    assert time.monotonic() - begun > 0.9
    assert result.summary["sums"]["appended"] == 12


def test_a_keyring_entry_of_another_name_is_taken(office: Office, own_keyring: FakeKeyring) -> None:
    own_keyring.set_password("waystation", "the one of ada", SECRET)
    office.head = "mailbox,from,from_password_keyring"
    office.rows = [
        f"{name},imaps://{name}@localhost:{office.old.port},the one of {name}"
        for name in ("ada", "bob")
    ]

    result = office.run("export", "--json")

    assert (result.code, result.summary["done"]) == (12, 1)
    assert "keyring set waystation the one of bob" in result.err


def test_status_names_who_has_not_begun(office: Office) -> None:
    office.rows = office.rows[:1]
    office.run("export")
    office.rows = [office.row(name) for name in NAMES]

    result = office.run("status", "--json")
    table = office.run("status").out

    assert {row["mailbox"]: row["state"] for row in result.of_type("mailbox")} == {
        "ada": "complete", "bob": "not begun", "eve": "not begun",
    }  # fmt: skip
    assert result.summary["states"] == {"complete": 1, "not begun": 2}
    assert "not begun" in table


def test_one_ledger_that_does_not_add_up_is_seen_in_the_status_of_all(office: Office) -> None:
    office.run("export")
    with Archive.write(office.root / "bob", "test") as archive:
        archive.database.execute("DELETE FROM messages WHERE uid = 2")

    result = office.run("status", "--json")

    assert (result.code, result.summary["outcome"]) == (14, "discrepancies")
    assert result.summary["states"] == {"complete": 2, "discrepancies": 1}
    assert office.run("status").code == 14


def test_every_run_of_a_batch_is_in_the_journal_of_each_archive(office: Office) -> None:
    for command in ("export", "import", "check"):
        assert office.run(command).code == 0
    for side in ("--source", "--target"):
        assert office.run("verify", side, "--deep").code == 0

    for name in NAMES:
        journal = (office.root / name / JOURNAL).read_text().splitlines()
        records = [record.values for line in journal if (record := read_line(line)) is not None]
        assert [(each["command"], each["outcome"]) for each in records] == [
            (command, "done") for command in ("export", "import", "check", "verify", "verify")
        ]
        assert [each["asked"].get("sides") for each in records[-2:]] == [["source"], ["target"]]


def test_a_service_account_opens_the_mailboxes_of_google_and_passwords_the_others(
    office: Office, tmp_path: Path, authority: TestAuthority
) -> None:
    with GoogleIdentity(tmp_path, authority=authority) as identity:
        users = ("ann@example.org", "joe@example.org")
        identity.users.update(users)
        mailboxes = Mailboxes(dict.fromkeys(users, "no password that anybody has"))
        for user in users:
            mailboxes[user].takes = partial(identity.opens, user=user)
            mailboxes[user].folder("INBOX").append(letter(1, user), ["\\Seen"])
        with ImapServer(mailboxes, tls=authority) as server:
            office.rows = [
                office.rows[0],
                *(f"{user},gmail:{user},,," for user in users),
            ]

            result = office.run(
                *("export", "--service-account", identity.service_account()),
                *("--authority", identity.base, "--server", f"localhost:{server.port}", "--json"),
            )

    assert result.code == 0, result.err
    assert result.summary["sums"]["new"] == 6
    # A token opens one mailbox, so that none is shared.
    assert sorted(str(each["sub"]) for each in identity.assertions) == sorted(users)


def test_of_the_options_to_sign_in_each_mailbox_gets_those_that_mean_something_for_it() -> None:
    client = "b3a3f9d2-6c0b-4a51-8f55-3a3c0f5d0002"
    given = SignIn(
        client_id=client,
        tenant="contoso.com",
        client_secret_env="APP_SECRET",
        service_account=Path("key.json"),
        authority="https://login.example",
        proxy="direct",
    )
    office = sign_in_for(parse_account("office365:ada@contoso.com"), given)
    gmail = sign_in_for(parse_account("gmail:ada@example.org"), given)
    plain_server = sign_in_for(parse_account("imaps://ada@mail.example"), given)

    assert office == replace(given, service_account=None)
    assert gmail == SignIn(service_account=Path("key.json"), proxy="direct")
    assert plain_server == SignIn(proxy="direct")
    # The client of one provider is no client of another.
    without = replace(given, service_account=None)
    assert sign_in_for(parse_account("gmail:ada@example.org"), without) == SignIn(proxy="direct")
    of_google = replace(without, client_id=CLIENT)
    assert sign_in_for(parse_account("gmail:ada@example.org"), of_google) == replace(
        of_google, tenant=None
    )


def test_a_plan_of_all_is_one_table(office: Office) -> None:
    office.run("export")

    result = office.run("plan", "--offline")

    assert result.code == 0
    assert len(result.out.splitlines()) == 4
    assert "ada" in result.out
    assert office.new.commands("AUTHENTICATE") == 0


def test_the_commands_for_powershell_take_every_name_literally(
    waystation: CommandLine, tmp_path: Path
) -> None:
    file = tmp_path / "list.csv"
    file.write_text(
        "mailbox,from,to\n"
        "ada,imaps://ada@x.org,office365:o'neil$(x)@contoso.com\n"
        "bob,imaps://bob@x.org,office365:b\u2019b@contoso.com\n"
        "eve,imaps://eve@x.org,imaps://eve@y.org\n"
    )
    ids = ("--client-id", "APP", "--object-id", "OBJ")

    shown = waystation("batch", "powershell", file, *ids)
    file.write_text("mailbox,from\nada,imaps://ada@x.org\n")
    nobody = waystation("batch", "powershell", file, *ids)

    assert shown.code == 0
    assert shown.out.splitlines() == [
        "Connect-ExchangeOnline",
        "New-ServicePrincipal -AppId 'APP' -ObjectId 'OBJ' -DisplayName 'waystation'",
        "Add-MailboxPermission -Identity 'o''neil$(x)@contoso.com' -User 'OBJ'"
        " -AccessRights FullAccess -AutoMapping $false",
        "Set-CASMailbox -Identity 'o''neil$(x)@contoso.com' -ImapEnabled $true",
        "Add-MailboxPermission -Identity 'b\u2019\u2019b@contoso.com' -User 'OBJ'"
        " -AccessRights FullAccess -AutoMapping $false",
        "Set-CASMailbox -Identity 'b\u2019\u2019b@contoso.com' -ImapEnabled $true",
    ]
    assert (nobody.code, "no mailbox of Office 365" in nobody.one_error) == (2, True)


def test_microsoft_pulls_by_the_password_of_a_master_that_stands_in_no_line(
    waystation: CommandLine, tmp_path: Path
) -> None:
    file = tmp_path / "list.csv"
    file.write_text(
        "mailbox,from,to\n"
        "ada,imaps://ada@x.org,office365:o'neil@contoso.com\n"
        '"bob, the other",imaps://bob@x.org,office365:bob@contoso.com\n'
        "eve,imaps://eve@x.org,imaps://eve@y.org\n"
    )
    to = ("--pull-from", "imap.contoso.com", "--master", "migration")

    shown = waystation("batch", "powershell", file, *to)

    assert shown.code == 0
    assert shown.out.splitlines() == [
        "Connect-ExchangeOnline",
        "New-MigrationEndpoint -IMAP -Name 'waystation' -RemoteServer 'imap.contoso.com'"
        " -Port 993 -Security Ssl",
        "$secret = Read-Host -AsSecureString 'The password of migration'",
        "$password = [Net.NetworkCredential]::new('', $secret).Password",
        """$password = '"' + $password.Replace('"', '""') + '"'""",
        "$rows = [Collections.Generic.List[string]]::new()",
        "$rows.Add('EmailAddress,UserName,Password')",
        "$rows.Add('o''neil@contoso.com,ada*migration,' + $password)",
        """$rows.Add('bob@contoso.com,"bob, the other*migration",' + $password)""",
        '$list = [Text.Encoding]::UTF8.GetBytes(($rows -join "`r`n") + "`r`n")',
        "New-MigrationBatch -Name 'waystation 1' -SourceEndpoint 'waystation' -CSVData $list"
        " -AutoStart",
    ]
    assert "--master NAME" in waystation("batch", "powershell", file, *to[:2]).one_error
    assert waystation("batch", "powershell", file).code == 2
    assert waystation("batch", "powershell", file, "--pull-from", "a b", "--master", "m").code == 2


def test_a_long_list_is_pulled_in_several_batches(waystation: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    rows = [f"u{n},office365:u{n}@contoso.com" for n in range(4_500)]
    file.write_text("\n".join(["mailbox,to", *rows]))

    shown = waystation(
        *("batch", "powershell", file, "--pull-from", "imap.contoso.com:1993", "--master", "m")
    )

    assert shown.out.count("New-MigrationBatch") == 3
    assert shown.out.count("@contoso.com,u") == 4_500
    assert "-Port 1993" in shown.out
