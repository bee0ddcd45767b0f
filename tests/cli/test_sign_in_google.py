"""Signing in to Gmail with one's own client as a person types it: login, export, doctor, logout."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import Result, letter, start
from tests.fakes.imap_server import Answer, Cut, ImapServer
from tests.fakes.mailbox import Mailboxes
from tests.servers import browser
from tests.servers.dovecot import Dovecot, has_pop3, is_available
from tests.servers.google import CLIENT, SECRET, USER, GoogleIdentity

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import ExitStack
    from pathlib import Path

    from tests.cli.conftest import CommandLine
    from tests.fakes.certificates import TestAuthority

WHO = f"gmail:{USER}"
AS_CLIENT = ("--client-id", CLIENT, "--client-secret-env", "GOOGLE_SECRET")
ENTRA = "b3a3f9d2-6c0b-4a51-8f55-3a3c0f5d0002"
APP_PASSWORD = "abcdefghijklmnop"


@dataclass
class Google:
    """Google's tokens, a mailbox that they open, and an admin's shell."""

    identity: GoogleIdentity
    server: ImapServer
    ca_file: Path
    data: Path
    env: dict[str, str] = field(default_factory=dict)

    @property
    def authority(self) -> tuple[str, ...]:
        """The options that lead here in place of Google's own addresses."""
        return ("--authority", self.identity.base, "--ca-file", str(self.ca_file))

    @property
    def where(self) -> tuple[str, ...]:
        """The same, and where the mail is."""
        return ("--server", f"localhost:{self.server.port}", *self.authority)

    def __call__(
        self, *words: object, debug: bool = True, typed: str = "", where: tuple[str, ...] = ()
    ) -> Result:
        """Run a command in a process of its own; no secret may show, with --debug least of all."""
        done = subprocess.run(
            [
                *(sys.executable, "-m", "waystation"),
                *map(str, words),
                *(where or self.where),
                *(["--debug"] if debug else []),
            ],
            env=os.environ | self.env,
            input=typed,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        shown = done.stdout + done.stderr
        assert "Traceback" not in shown
        for secret in (SECRET, APP_PASSWORD, *self.identity.issued):
            assert secret not in shown
            assert base64.b64encode(secret.encode()).decode()[4:-4] not in shown
        return Result(done.returncode, done.stdout, done.stderr)

    def login(self) -> None:
        """Have the user consent in the browser of this machine."""
        shown = self("login", WHO, *AS_CLIENT)
        assert shown.code == 0, shown.err


@pytest.fixture
def google(tmp_path: Path, authority: TestAuthority) -> Iterator[Google]:
    mailboxes = Mailboxes({USER: APP_PASSWORD})
    data = tmp_path / "data"
    with GoogleIdentity(tmp_path, authority=authority) as identity:
        mailboxes[USER].takes = lambda token: identity.opens(token, USER)
        for number in range(3):
            mailboxes[USER].folder("INBOX").append(letter(number), ["\\Seen"])
        with ImapServer(mailboxes, tls=authority) as server:
            env = {
                "GOOGLE_SECRET": SECRET,
                "APP_PASSWORD": APP_PASSWORD,
                "XDG_DATA_HOME": str(data),
                "BROWSER": browser.command(authority.ca_file),
            }
            yield Google(identity, server, authority.ca_file, data, env)


# --- into the mailbox


def test_a_user_consents_in_the_browser_once_and_exports_later(
    google: Google, tmp_path: Path
) -> None:
    signed_in = google("login", WHO, *AS_CLIENT)
    assert signed_in.code == 0, signed_in.err
    assert str(google.data / "waystation" / "grants.json") in signed_in.err
    assert f"{USER} is signed in" in signed_in.err

    # The client's secret is kept with the sign-in: its ID is enough.
    exported = google("export", tmp_path / "a", "--from", WHO, "--client-id", CLIENT, "--json")
    google.env["WAYSTATION_CLIENT_ID"] = CLIENT
    again = google("export", tmp_path / "a", "--json")

    assert (exported.code, again.code) == (0, 0), exported.err + again.err
    assert (exported.summary["new"], again.summary["new"]) == (3, 0)


def test_without_a_browser_the_address_is_shown_and_any_browser_of_this_machine_will_do(
    google: Google, processes: ExitStack
) -> None:
    environment = os.environ | google.env | {"BROWSER": "no-such-browser %s &"}
    running = start(processes, "login", WHO, *AS_CLIENT, *google.where, env=environment)
    assert running.stderr is not None
    while "Open this address" not in (line := running.stderr.readline()):
        assert line

    browser.visit(line.partition("itself: ")[2].strip(), google.ca_file)

    assert running.wait(timeout=60) == 0
    assert f"{USER} is signed in" in running.stderr.read()


def test_on_a_machine_without_a_browser_the_address_of_another_one_s_is_pasted(
    google: Google, processes: ExitStack
) -> None:
    running = processes.enter_context(
        subprocess.Popen(
            [
                *(sys.executable, "-m", "waystation", "login", WHO, *AS_CLIENT),
                *(*google.where, "--paste"),
            ],
            env=os.environ | google.env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    )
    processes.callback(running.kill)
    assert running.stderr is not None
    while "Open this address" not in (line := running.stderr.readline()):
        assert line
    address = line.partition("browser: ")[2].strip()
    answer = google.identity.answer("GET", address.removeprefix(google.identity.base), {})

    _, err = running.communicate(answer.headers["Location"] + "\n", timeout=60)

    assert running.returncode == 0, err
    assert f"{USER} is signed in" in err
    assert google("doctor", WHO, "--client-id", CLIENT).code == 0


def test_a_service_account_exports_mailbox_after_mailbox_and_keeps_nothing(
    google: Google, tmp_path: Path
) -> None:
    file = google.identity.service_account()

    exported = google("export", tmp_path / "a", "--from", WHO, "--service-account", file, "--json")
    examined = google("doctor", WHO, "--service-account", file, "--json")

    assert (exported.code, exported.summary["new"]) == (0, 3), exported.err
    assert examined.code == 0, examined.err
    assert [each["sub"] for each in google.identity.assertions] == [USER, USER]
    assert not (google.data / "waystation").exists()


@pytest.mark.parametrize(
    "end", [Answer(b"BYE Session expired, please login again."), Cut()], ids=["told", "untold"]
)
def test_a_token_that_runs_out_in_mid_run_is_renewed(
    google: Google, tmp_path: Path, end: Answer | Cut
) -> None:
    google.login()
    user = google.server.mailboxes[USER]
    used: list[str] = []

    def takes(token: str) -> bool:
        """Nobody is let in twice with one token, as if each had run out meanwhile."""
        used.append(token)
        return used.count(token) == 1 and google.identity.opens(token, USER)

    user.takes = takes
    user.create("Second")
    for number in range(3, 60):
        user.folder("Second").append(letter(number))
    google.server.script.on("FETCH", end, first=3, times=1)

    exported = google(
        *("export", tmp_path / "a", "--from", WHO, "--client-id", CLIENT, "--json"),
        debug=False,
    )

    assert exported.code == 0, exported.err
    assert exported.summary["new"] == 60
    assert len(set(used)) == 2
    assert google.identity.count("/token", "refresh_token") == 2


def test_whoever_signs_out_takes_the_consent_back_and_has_to_sign_in_again(
    google: Google,
) -> None:
    google.login()
    google.env["WAYSTATION_CLIENT_ID"] = CLIENT
    assert google.identity.consents == 1

    where = google.authority
    out = google("logout", WHO, where=where)

    assert out.code == 0
    assert f"{USER} is signed out, and the consent is taken back" in out.err
    assert google.identity.consents == 0
    shown = google("doctor", WHO)
    assert shown.code == 12
    assert f"waystation login {WHO}" in shown.err
    assert google("logout", WHO, "--json", debug=False).summary["removed"] == 0


def test_a_consent_that_google_does_not_take_back_is_named_with_its_place(google: Google) -> None:
    google.login()
    google.identity.revoke()

    out = google("logout", WHO, "--client-id", CLIENT, "--json")

    assert (out.code, out.summary["removed"], out.summary["revoked"]) == (0, 1, False)
    assert "https://myaccount.google.com/connections" in out.err


# --- app passwords stay the simple way


def test_without_a_client_id_an_app_password_opens_the_mailbox(
    google: Google, tmp_path: Path
) -> None:
    where = ("--server", f"localhost:{google.server.port}", "--ca-file", str(google.ca_file))
    plain = google("doctor", WHO, "--password-env", "APP_PASSWORD", where=where)
    # What Office 365 wants may stand in the environment all the while.
    google.env["WAYSTATION_CLIENT_ID"] = ENTRA
    other = google("doctor", WHO, "--password-env", "APP_PASSWORD", where=where)
    google.env["WAYSTATION_CLIENT_ID"] = CLIENT
    named = google("doctor", WHO, "--password-env", "APP_PASSWORD", where=where)

    for shown in (plain, other, named):
        assert shown.code == 0, shown.err
        assert "ok      password     there is a password" in shown.out
    assert not google.identity.requests


# --- what goes wrong: exit code 12, and the mend on standard error


def test_nobody_has_signed_in(google: Google, tmp_path: Path) -> None:
    shown = google("export", tmp_path / "a", "--from", WHO, "--client-id", CLIENT)

    assert shown.code == 12
    assert f"waystation login {WHO}" in shown.err
    assert not (tmp_path / "a").exists()


def test_a_consent_that_has_expired(google: Google) -> None:
    google.login()
    google.identity.revoke()

    shown = google("doctor", WHO, "--client-id", CLIENT, "--json")

    assert shown.code == 12
    assert "expired or was revoked" in shown.err
    assert "seven days" in shown.err
    assert shown.summary["failed_step"] == "token"


def test_a_delegation_that_is_missing(google: Google) -> None:
    file = google.identity.service_account(is_delegated=False)

    shown = google("doctor", WHO, "--service-account", file)

    assert shown.code == 12
    number = json.loads(file.read_text())["client_id"]
    assert f"Domain-wide delegation > Add new: client ID {number}" in shown.err


@pytest.mark.parametrize("with_token", [True, False])
def test_imap_that_is_switched_off(google: Google, with_token: bool) -> None:
    google.login()
    off = Answer(b"NO [ALERT] Your account is not enabled for IMAP use. (Failure)")
    google.server.script.on("AUTHENTICATE", off)
    where = ("--server", f"localhost:{google.server.port}", "--ca-file", str(google.ca_file))

    shown = (
        google("doctor", WHO, "--client-id", CLIENT)
        if with_token
        else google("doctor", WHO, "--password-env", "APP_PASSWORD", where=where)
    )

    assert shown.code == 12
    assert "is switched off for this mailbox" in shown.err
    assert "Forwarding and POP/IMAP > Enable IMAP" in shown.err


def test_a_missing_secret_of_the_client(google: Google) -> None:
    shown = google("login", WHO, "--client-id", CLIENT)

    assert shown.code == 12
    assert "--client-secret-env" in shown.err


def test_a_busy_google_is_no_refusal(google: Google) -> None:
    google.login()
    google.identity.busy(99)

    shown = google("doctor", WHO, "--client-id", CLIENT)

    assert shown.code == 1
    assert "status 503" in shown.err


# --- the doctor


def test_the_doctor_shows_what_the_token_is_for_and_never_the_token(google: Google) -> None:
    google.login()

    shown = google("doctor", WHO, "--client-id", CLIENT, "--write", "--json")

    assert shown.code == 0, shown.err
    steps = {line["step"]: line for line in shown.of_type("step")}
    assert list(steps) == ["name", "tls", "token", "authenticate", "namespace", "list", "write"]
    assert {line["result"] for line in steps.values()} == {"ok"}
    facts = steps["token"]["facts"]
    assert facts["scopes"] == ["https://mail.google.com/"]
    assert facts["app_id"] == CLIENT
    assert facts["user"] == USER


# --- on a real server


@pytest.mark.server
@pytest.mark.parametrize("protocol", ["imap", "pop3"])
def test_dovecot_is_exported_with_a_kept_sign_in(
    google: Google, tmp_path: Path, protocol: str
) -> None:
    if not is_available() or (protocol == "pop3" and not has_pop3()):
        pytest.skip("no such Dovecot here")
    with Dovecot(google=google.identity, pop3=protocol == "pop3") as dovecot:
        bundle = tmp_path / "both.pem"
        bundle.write_bytes(google.ca_file.read_bytes() + dovecot.ca_file.read_bytes())
        for number in range(5):
            dovecot.doveadm("save", "-u", USER, "-m", "INBOX", data=letter(number))
        name = WHO if protocol == "imap" else f"gmail+pop3:{USER}"
        port = dovecot.tls_port if protocol == "imap" else dovecot.pop3s_port
        where = (
            *("--server", f"localhost:{port}", "--ca-file", str(bundle)),
            *("--authority", google.identity.base),
        )
        google.login()

        exported = google(
            *("export", tmp_path / "a", "--from", name, "--client-id", CLIENT, "--json"),
            where=where,
        )
        google.identity.revoke()
        refused = google(*("export", tmp_path / "a", "--client-id", CLIENT, "--json"), where=where)

    assert (exported.code, exported.summary["new"]) == (0, 5), exported.err
    assert refused.code == 12
    assert ("/tokeninfo", "") in google.identity.requests


# --- wrong usage


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("login", WHO), "https://console.cloud.google.com/auth/clients"),
        (("login", WHO, "--client-id", ENTRA), "https://console.cloud.google.com/auth/clients"),
        (("doctor", WHO, "--client-id", ENTRA), "is none for gmail:"),
        (("doctor", WHO, "--client-secret-env", "X"), "goes with --client-id"),
        (("doctor", WHO, "--client-id", CLIENT, "--cloud", "dod"), "--cloud: for office365:USER"),
        (("login", WHO, "--client-id", CLIENT, "--device-code"), "have no mail"),
        (("login", WHO, "--client-id", CLIENT, "--authority", "http://x"), "https://HOST"),
        (("login", WHO, "--service-account", "f"), "signs in by itself"),
        (("login", WHO, "--client-id", CLIENT, "--sign-in-as", "x"), "opens nobody's mailbox"),
        (("login", "office365:a@b.example", "--client-id", "x", "--paste"), "--device-code"),
        (("doctor", WHO, "--service-account", "none.json"), "cannot be read"),
        (
            ("doctor", WHO, "--service-account", "f", "--password-env", "OLD_PASSWORD"),
            "not both",
        ),
        (("doctor", "yandex:a@yandex.ru", "--service-account", "f"), "has none"),
        (("doctor", "yahoo:a@yahoo.com", "--service-account", "f"), "for office365:USER"),
        (("doctor", "office365:a@b.example", "--service-account", "f"), "is for gmail:USER"),
        (("login", "yandex+pop3:a@yandex.ru", "--client-id", "0" * 32), "by IMAP only"),
    ],
)
def test_options_that_make_no_sense_are_told_before_anything_is_done(
    waystation: CommandLine, words: tuple[str, ...], said: str
) -> None:
    shown = waystation(*words)

    assert shown.code == 2, shown.err
    assert said in shown.err


def test_help_is_there_without_authlib() -> None:
    script = "import sys, waystation.cli; print({'authlib', 'joserfc'} & {*sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert done.stdout == "set()\n"
