"""Signing in to Office 365 as a person types it: login, logout, doctor, import."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import OLD, Result, Server, start
from tests.fakes.imap_server import Answer, ImapServer
from tests.fakes.mailbox import Mailboxes
from tests.servers import browser
from tests.servers.identity import CLIENT, GRAPH, OUTLOOK, SECRET, USER, IdentityProvider

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import ExitStack
    from pathlib import Path

    from tests.cli.conftest import CommandLine
    from tests.fakes.certificates import TestAuthority

WHO = f"office365:{USER}"
SHARED = "sales@contoso.example"


@dataclass
class Office:
    """A tenant: an identity provider, a server that takes its tokens, and an admin's shell."""

    identity: IdentityProvider
    server: ImapServer
    ca_file: Path
    data: Path
    env: dict[str, str] = field(default_factory=dict)

    @property
    def where(self) -> tuple[str, ...]:
        """The options that lead here in place of Microsoft."""
        return (
            "--server",
            f"localhost:{self.server.port}",
            "--authority",
            self.identity.authority,
            "--ca-file",
            str(self.ca_file),
        )

    def __call__(self, *words: object, debug: bool = True) -> Result:
        """Run a command in a process of its own; no secret may show, with --debug least of all."""
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "waystation",
                *map(str, words),
                *self.where,
                *(["--debug"] if debug else []),
            ],
            env=os.environ | self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        shown = done.stdout + done.stderr
        assert "Traceback" not in shown
        for secret in (SECRET, self.env["WRONG"], *self.identity.issued):
            assert secret not in shown
            assert base64.b64encode(secret.encode()).decode()[4:-4] not in shown
        return Result(done.returncode, done.stdout, done.stderr)

    def login(self) -> None:
        """Have the user sign in with a code."""
        self.identity.approves_after = 0
        assert self("login", WHO, "--device-code").code == 0


@pytest.fixture
def office(tmp_path: Path, authority: TestAuthority) -> Iterator[Office]:
    mailboxes = Mailboxes({USER: "none", SHARED: "none"})
    data = tmp_path / "data"
    with IdentityProvider(tmp_path, authority=authority) as identity:

        def takes(token: str) -> bool:
            claims = identity.claims_of(token)
            may = (claims.get("roles") or claims.get("scp")) and claims["aud"] != GRAPH
            return bool(may)

        for name in (USER, SHARED):
            mailboxes[name].takes = takes
            mailboxes[name].create("Sent Items", ["\\Sent"])
        with ImapServer(mailboxes, tls=authority) as server:
            env = {
                "WAYSTATION_CLIENT_ID": CLIENT,
                "APP_SECRET": SECRET,
                "WRONG": "not~the.secret-at_all",
                "XDG_DATA_HOME": str(data),
                "BROWSER": browser.command(authority.ca_file),
            }
            yield Office(identity, server, authority.ca_file, data, env)


# --- into the mailbox


def test_an_application_imports_and_the_target_is_the_same_at_every_address(
    office: Office, exported: Path, authority: TestAuthority
) -> None:
    as_app = ("--client-secret-env", "APP_SECRET")
    first = office("import", exported, "--to", WHO, *as_app, "--json")

    assert first.code == 0, first.err
    assert first.summary["appended"] == 7
    with ImapServer(office.server.mailboxes, tls=authority) as elsewhere:
        office.server = elsewhere
        again = office("import", exported, *as_app, "--json")
    assert again.code == 0, again.err
    assert again.summary["appended"] == 0
    assert again.summary["target"] == WHO


def test_a_certificate_signs_the_application_in(office: Office) -> None:
    file = office.identity.certificate_file(passphrase="open sesame")
    office.env["PHRASE"] = "open sesame"

    shown = office(
        "doctor",
        WHO,
        "--client-certificate",
        file,
        "--client-certificate-passphrase-env",
        "PHRASE",
    )

    assert shown.code == 0, shown.err
    assert "open sesame" not in shown.out + shown.err


def test_a_user_signs_in_in_the_browser_once_and_imports_later(
    office: Office, exported: Path
) -> None:
    signed_in = office("login", WHO)
    assert signed_in.code == 0, signed_in.err
    assert str(office.data / "waystation" / "tokens.json") in signed_in.err
    assert f"{USER} is signed in" in signed_in.err

    imported = office("import", exported, "--to", WHO, "--json")

    assert imported.code == 0, imported.err
    assert imported.summary["appended"] == 7


def test_without_a_browser_the_address_is_shown_and_any_browser_will_do(
    office: Office, authority: TestAuthority, processes: ExitStack
) -> None:
    environment = os.environ | office.env | {"BROWSER": "no-such-browser %s &"}
    running = start(processes, "login", WHO, *office.where, env=environment)
    assert running.stderr is not None
    told: list[str] = []
    while "Open this address" not in (line := running.stderr.readline()):
        assert line, told
        told.append(line)

    browser.visit(line.partition("browser: ")[2].strip(), authority.ca_file)

    assert running.wait(timeout=60) == 0
    assert f"{USER} is signed in" in running.stderr.read()
    assert not any("Traceback" in line for line in told)


def test_a_delegate_signs_in_with_a_code_and_imports_into_a_shared_mailbox(
    office: Office, exported: Path
) -> None:
    office.identity.approves_after = 1
    delegate = ("--sign-in-as", USER)
    shown = office("login", f"office365:{SHARED}", *delegate, "--device-code", "--quiet")
    assert shown.code == 0, shown.err
    assert "enter the code" in shown.err

    imported = office("import", exported, "--to", f"office365:{SHARED}", *delegate, "--json")

    assert imported.code == 0, imported.err
    assert office.server.mailboxes[SHARED].folder("Projects/2024").messages
    assert not office.server.mailboxes[USER].folder("INBOX").messages


def test_whoever_signs_out_has_to_sign_in_again(office: Office) -> None:
    office.login()
    assert office("doctor", WHO).code == 0

    out = office("logout", WHO, "--json", debug=False)
    assert (out.code, out.summary["removed"]) == (0, 1)

    shown = office("doctor", WHO)
    assert shown.code == 12
    assert f"waystation login {WHO}" in shown.err
    assert office("logout", WHO, "--json", debug=False).summary["removed"] == 0


# --- what goes wrong: exit code 12, and the mend on standard error


def test_a_wrong_secret(office: Office, exported: Path) -> None:
    shown = office("import", exported, "--to", WHO, "--client-secret-env", "WRONG")

    assert shown.code == 12
    assert "the client secret is wrong (AADSTS7000215)" in shown.err
    assert "make a new client secret" in shown.err


def test_a_missing_secret(office: Office) -> None:
    shown = office("doctor", WHO, "--client-secret-env", "NOT_SET")

    assert shown.code == 12
    assert "NOT_SET holds no client secret" in shown.err


def test_a_consent_that_has_expired(office: Office) -> None:
    office.identity.expires_in = 60  # so that each command has to renew the token
    office.login()
    office.identity.revoke()

    shown = office("doctor", WHO)

    assert shown.code == 12
    assert "the last sign-in was revoked" in shown.err
    assert f"waystation login {WHO}" in shown.err


def test_a_consent_that_is_missing(office: Office) -> None:
    office.identity.refuse(65001, always=True)
    office.identity.approves_after = 0

    shown = office("login", WHO, "--device-code")

    assert shown.code == 12
    assert "Grant admin consent" in shown.err


def test_a_wrong_audience(office: Office, exported: Path) -> None:
    scope = ("--scope", f"{GRAPH}/.default")
    shown = office("import", exported, "--to", WHO, "--client-secret-env", "APP_SECRET", *scope)

    assert shown.code == 12
    assert f"the token is for {GRAPH}, not for Exchange Online" in shown.err
    assert "Leave --scope out" in shown.err


def test_a_missing_role(office: Office) -> None:
    office.identity.roles = ()

    shown = office("doctor", WHO, "--client-secret-env", "APP_SECRET")

    assert shown.code == 12
    assert "lacks the role IMAP.AccessAsApp" in shown.err
    assert "Application permissions, IMAP.AccessAsApp" in shown.err


def test_a_missing_permission_for_the_mailbox(office: Office, exported: Path) -> None:
    shut = Answer(b"BAD User is authenticated but not connected.")
    office.server.script.on("NAMESPACE", shut)
    as_app = ("--client-secret-env", "APP_SECRET")

    imported = office("import", exported, "--to", WHO, *as_app)
    examined = office("doctor", WHO, *as_app, "--json")

    object_id = office.identity.claims_of(office.identity.issued[0])["oid"]
    for shown in (imported, examined):
        assert shown.code == 12
        assert f"New-ServicePrincipal -AppId {CLIENT} -ObjectId {object_id}" in shown.err
        assert f"Add-MailboxPermission -Identity {USER} -User {object_id}" in shown.err
        assert f"Set-CASMailbox -Identity {USER} -ImapEnabled $true" in shown.err
    steps = {line["step"]: line["result"] for line in examined.of_type("step")}
    assert steps["authenticate"] == "ok"
    assert steps["namespace"] == "failed"
    assert steps["list"] == "skipped"
    assert examined.summary["failed_step"] == "namespace"


def test_a_refused_token(office: Office) -> None:
    office.server.script.on("AUTHENTICATE", Answer(b"NO AUTHENTICATE failed."))

    shown = office("doctor", WHO, "--client-secret-env", "APP_SECRET")

    assert shown.code == 12
    assert "the token looks right" in shown.err
    assert "object ID of the ENTERPRISE APPLICATION" in shown.err


def test_a_busy_identity_provider_is_no_refusal(office: Office) -> None:
    office.identity.busy(503, times=99, retry_after=30)

    shown = office("doctor", WHO, "--client-secret-env", "APP_SECRET")

    assert shown.code == 1
    assert "status 503" in shown.err
    assert "Nothing is wrong with the sign-in" in shown.err


# --- the doctor


def test_the_doctor_shows_what_the_token_is_and_never_the_token(office: Office) -> None:
    shown = office("doctor", WHO, "--client-secret-env", "APP_SECRET", "--write", "--json")

    assert shown.code == 0, shown.err
    steps = {line["step"]: line for line in shown.of_type("step")}
    assert list(steps) == ["name", "tls", "token", "authenticate", "namespace", "list", "write"]
    assert {line["result"] for line in steps.values()} == {"ok"}
    facts = steps["token"]["facts"]
    assert facts["audience"] == OUTLOOK
    assert facts["roles"] == ["IMAP.AccessAsApp"]
    assert facts["tenant"] == office.identity.tenant
    assert facts["app_id"] == CLIENT
    assert facts["expires_at"].endswith("+00:00")
    assert steps["write"]["facts"]["removed"] is True
    for folder in office.server.mailboxes[USER].folders:
        assert not folder.messages


def test_the_doctor_examines_a_server_with_a_password_too(
    waystation: CommandLine, old: Server
) -> None:
    before = len(old.mailbox.folder("INBOX").messages)

    shown = waystation("doctor", old.name, *old.secret, "--write")

    assert shown.code == 0, shown.err
    assert "ok      password     there is a password" in shown.out
    assert "a test message was put into INBOX and removed again" in shown.out
    assert len(old.mailbox.folder("INBOX").messages) == before


def test_the_doctor_leaves_a_message_where_it_can_remove_no_single_one(
    waystation: CommandLine, authority: TestAuthority
) -> None:
    mailboxes = Mailboxes({OLD: os.environ["OLD_PASSWORD"]})
    marked = mailboxes[OLD].folder("INBOX").append(b"Subject: x\r\n\r\n", ["\\Deleted"])
    with ImapServer(mailboxes, tls=authority, uidplus=False) as server:
        shown = waystation(
            "doctor",
            f"imaps://{OLD}@localhost:{server.port}",
            "--password-env",
            "OLD_PASSWORD",
            "--ca-file",
            authority.ca_file,
            "--write",
        )

    assert shown.code == 0, shown.err
    assert "stays there: the server has no UID EXPUNGE" in shown.out
    assert marked in mailboxes[OLD].folder("INBOX").messages


def test_the_doctor_names_a_wrong_password_and_a_wrong_port(
    waystation: CommandLine, old: Server, new: Server
) -> None:
    wrong = waystation("doctor", old.name, *new.secret, "--json")
    nowhere = waystation("doctor", f"imaps://{OLD}@localhost:1", *old.secret)
    nameless = waystation("doctor", f"imaps://{OLD}@nowhere.invalid", *old.secret)
    unknown = waystation("doctor", old.name, "--password-env", "OLD_PASSWORD")

    assert wrong.code == 12
    assert wrong.summary["failed_step"] == "authenticate"
    assert (nowhere.code, nameless.code, unknown.code) == (1, 1, 1)
    assert "tls: cannot reach localhost port 1" in nowhere.err
    assert "name: cannot reach nowhere.invalid" in nameless.err
    assert "--ca-file" in unknown.err


# --- wrong usage


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("doctor", WHO), "--client-id ID"),
        (("doctor", WHO, "--client-id", "x", "--cloud", "mars"), "worldwide"),
        (("doctor", WHO, "--client-id", "x", "--password-env", "OLD_PASSWORD"), "no passwords"),
        (("doctor", WHO, "--client-id", "x", "--server", "localhost"), "HOST:PORT"),
        (("doctor", WHO, "--client-id", "x", "--authority", "http://x/y"), "https://HOST/TENANT"),
        (("doctor", WHO, "--client-id", "x", "--authority", "https://x/y", "--tenant", "z"), "out"),
        (("doctor", "imaps://a@b.example", "--cloud", "dod"), "--cloud: for office365:USER and"),
        (("login", "imaps://a@b.example"), "keyring set waystation imaps://a@b.example:993"),
        (("login", WHO, "--client-id", "x", "--client-secret-env", "S"), "signs in by itself"),
        (("login", "mars:a@b.example"), "Known are aol:USER"),
        (("login", "yahoo:a@b.example"), "keyring set waystation yahoo:a@b.example"),
    ],
)
def test_options_that_make_no_sense_are_told_before_anything_is_done(
    waystation: CommandLine, words: tuple[str, ...], said: str
) -> None:
    shown = waystation(*words)

    assert shown.code == 2
    assert said in shown.one_error


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--client-secret-env", "OLD_PASSWORD", "--sign-in-as", USER), "names a user"),
        (("--client-secret-env", "OLD_PASSWORD", "--client-certificate", "f"), "not both"),
        (("--client-certificate", "nothing-there.pem"), "cannot be read"),
        (
            ("--client-secret-env", "OLD_PASSWORD", "--client-certificate-passphrase-env", "P"),
            "goes with --client-certificate",
        ),
    ],
)
def test_proofs_that_contradict_each_other_are_told(
    waystation: CommandLine, exported: Path, words: tuple[str, ...], said: str
) -> None:
    shown = waystation("import", exported, "--to", WHO, "--client-id", "x", *words)

    assert shown.code == 2
    assert said in shown.one_error


def test_the_tenant_is_the_domain_of_whoever_signs_in_unless_it_is_named(
    waystation: CommandLine,
) -> None:
    from waystation.address import parse_account
    from waystation.cli.options import SignIn
    from waystation.cli.tokens import registration_for

    def asked(**options: str) -> tuple[str, str]:
        account = parse_account("office365:bob@contoso.com")
        found = registration_for(account, SignIn(client_id="x", **options))  # type: ignore[arg-type]
        return found.authority, found.scope

    user = "https://outlook.office.com/IMAP.AccessAsUser.All"
    app = "https://outlook.office365.com/.default"
    microsoft = "https://login.microsoftonline.com"
    assert asked() == (f"{microsoft}/contoso.com", user)
    assert asked(tenant="t") == (f"{microsoft}/t", user)
    assert asked(client_secret_env="S") == (f"{microsoft}/contoso.com", app)
    assert asked(sign_in_as="eve@fabrikam.com") == (f"{microsoft}/fabrikam.com", user)
    assert asked(cloud="consumers") == (f"{microsoft}/consumers", user)
    assert asked(authority="https://login.example") == ("https://login.example/contoso.com", user)
    assert asked(authority="https://login.example/t/") == ("https://login.example/t", user)
    assert asked(cloud="21vianet", client_secret_env="S") == (
        "https://login.partner.microsoftonline.cn/contoso.com",
        "https://partner.outlook.cn/.default",
    )


def test_help_is_there_without_loading_what_only_tokens_need() -> None:
    script = "import sys, waystation.cli; print({'msal', 'requests', 'keyring'} & {*sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert done.stdout == "set()\n"
