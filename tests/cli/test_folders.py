"""``waystation folders``: what is on a server, and nothing in it changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import OLD, OLD_PASSWORD, letter
from tests.fakes.certificates import TestAuthority
from tests.fakes.imap_server import Answer, ImapServer
from tests.fakes.mailbox import Mailboxes
from waystation.cli import naming

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import CommandLine, Server
    from tests.servers.dovecot import Dovecot
    from waystation.discovery import Service


def test_each_folder_is_shown_with_what_it_is_for(waystation: CommandLine, old: Server) -> None:
    shown = waystation("folders", old.name, *old.secret)

    assert shown.code == 0
    rows = [line.split() for line in shown.out.splitlines()]
    assert rows == [
        ["folder", "special-use", "messages", "size"],
        ["INBOX", "\\Inbox", "4", "-"],
        ["Gesendet", "\\Sent", "2", "-"],
        ["Projects", "0", "-"],
        ["Projects/2024", "1", "-"],
    ]
    assert "4 folders, 7 messages, sizes unknown, see --sizes." in shown.err


def test_sizes_are_asked_for_message_by_message_where_the_server_keeps_no_count(
    waystation: CommandLine, old: Server
) -> None:
    shown = waystation("folders", old.name, *old.secret, "--sizes", "--json")

    sizes = {line["folder"]: line["octets"] for line in shown.lines if line["type"] == "folder"}
    assert sizes["INBOX"] == sum(len(letter(number)) for number in range(4))
    assert sizes["Projects/2024"] == len(letter(6))
    assert sizes["Projects"] == 0
    assert shown.summary["octets"] == sum(len(letter(number)) for number in range(7))
    assert shown.summary["messages"] == 7


def test_looking_changes_nothing(waystation: CommandLine, old: Server) -> None:
    before = [set(message.flags) for message in old.mailbox.folder("INBOX").messages]

    waystation("folders", old.name, *old.secret, "--sizes")

    assert [message.flags for message in old.mailbox.folder("INBOX").messages] == before
    assert old.fake.commands("SELECT") == 0


def test_a_folder_of_which_the_server_says_nothing_is_named(
    waystation: CommandLine, old: Server
) -> None:
    old.script.on("STATUS", Answer(b"NO not today"), containing=b"Gesendet")

    shown = waystation("folders", old.name, *old.secret, "--json")

    assert shown.code == 3
    assert shown.summary["outcome"] == "incomplete"
    assert [line["text"] for line in shown.lines if line["type"] == "warning"] == [
        "Gesendet: the server does not say what is in it"
    ]


@pytest.mark.server
def test_a_server_that_keeps_count_says_sizes_at_once(
    waystation: CommandLine, dovecot: Dovecot, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOVECOT_PASSWORD", dovecot.password)
    for number in range(3):
        dovecot.doveadm("save", "-u", user, "-m", "INBOX", data=letter(number))

    shown = waystation(
        *("folders", f"imaps://{user}@localhost:{dovecot.tls_port}", "--json"),
        *("--password-env", "DOVECOT_PASSWORD", "--ca-file", str(dovecot.ca_file)),
    )

    rows = {line["folder"]: line for line in shown.lines if line["type"] == "folder"}
    assert rows["INBOX"]["messages"] == 3
    assert rows["INBOX"]["octets"] == sum(len(letter(number)) for number in range(3))
    assert rows["Trash"]["special_use"] == "\\Trash"
    assert rows["Trash"]["octets"] == 0


@pytest.fixture
def exchange(authority: TestAuthority) -> Mailboxes:
    mailboxes = Mailboxes({OLD: OLD_PASSWORD})
    user = mailboxes[OLD]
    for name in ("Kalender", "Kalender/Feiertage", "Kontakte", "Projekte", "Projekte/Notizen"):
        user.create(name)
        user.folder(name).append(letter(1), [])
    return mailboxes


def test_of_exchange_as_a_source_folders_that_hold_no_mail_are_left_out_and_named(
    waystation: CommandLine, exchange: Mailboxes, authority: TestAuthority, archive: str
) -> None:
    after = ("CLIENTACCESSRULES",)
    with ImapServer(exchange, tls=authority, extra_capabilities=after) as server:
        name = f"imaps://{OLD}@localhost:{server.port}"
        secret = ("--password-env", "OLD_PASSWORD", "--ca-file", str(authority.ca_file))

        shown = waystation("export", archive, "--from", name, *secret, "--json")
        listed = waystation("folders", name, *secret, "--json")

    assert shown.code == 0
    assert shown.summary["new"] == 2
    (warning,) = [line["text"] for line in shown.lines if line["type"] == "warning"]
    assert "what is no mail: Kalender, Kontakte." in warning
    names = [line["folder"] for line in listed.lines if line["type"] == "folder"]
    assert "Kalender/Feiertage" in names


def test_a_folder_as_full_as_the_provider_shows_it_is_named(
    waystation: CommandLine, authority: TestAuthority
) -> None:
    mailboxes = Mailboxes({"bob@aol.com": OLD_PASSWORD})
    inbox = mailboxes["bob@aol.com"].folder("INBOX")
    for _ in range(10_000):
        inbox.append(b"\r\n", [])
    with ImapServer(mailboxes, tls=authority) as server:
        shown = waystation(
            *("folders", "aol:bob@aol.com", "--server", f"localhost:{server.port}", "--json"),
            *("--password-env", "OLD_PASSWORD", "--ca-file", str(authority.ca_file)),
        )

    (warning,) = [line["text"] for line in shown.lines if line["type"] == "warning"]
    assert warning.startswith("INBOX: localhost shows the newest 10000 messages")


def test_where_the_local_part_is_the_login_the_server_gets_that(
    waystation: CommandLine, authority: TestAuthority
) -> None:
    with ImapServer(Mailboxes({"bob": OLD_PASSWORD}), tls=authority) as server:
        shown = waystation(
            *("folders", "icloud:bob@icloud.com", "--server", f"localhost:{server.port}"),
            *("--password-env", "OLD_PASSWORD", "--ca-file", str(authority.ca_file)),
        )

    assert shown.code == 0


def test_a_refused_password_says_where_the_right_one_is_made(
    waystation: CommandLine, authority: TestAuthority
) -> None:
    with ImapServer(Mailboxes({"bob@yahoo.com": "another"}), tls=authority) as server:
        shown = waystation(
            *("folders", "yahoo:bob@yahoo.com", "--server", f"localhost:{server.port}"),
            *("--password-env", "OLD_PASSWORD", "--ca-file", str(authority.ca_file)),
        )

    assert shown.code == 12
    assert "Yahoo Mail wants an app password" in shown.one_error
    assert "https://login.yahoo.com/account/security" in shown.one_error


class OneRecord:
    """A DNS with the one answer of a provider's customer."""

    def exchangers(self, domain: str) -> list[str]:
        return ["in1-smtp.messagingengine.com"]

    def services(self, name: str) -> list[Service]:
        return []


def test_a_bare_address_is_looked_up_and_the_user_told_how(
    waystation: CommandLine, authority: TestAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(naming, "outside", lambda: (OneRecord(), lambda _: None))
    with ImapServer(Mailboxes({"bob@own.example": OLD_PASSWORD}), tls=authority) as server:
        shown = waystation(
            *("folders", "bob@own.example", "--server", f"localhost:{server.port}"),
            *("--password-env", "OLD_PASSWORD", "--ca-file", str(authority.ca_file)),
        )

    assert shown.code == 0
    assert (
        "the mail exchanger of own.example is in1-smtp.messagingengine.com: Fastmail; "
        "this is fastmail:bob@own.example" in shown.err
    )


def test_pop3_has_no_folders(waystation: CommandLine) -> None:
    shown = waystation("folders", "gmail+pop3:bob@gmail.com")

    assert shown.code == 2
    assert "POP3 knows no folders" in shown.one_error


def test_the_way_may_be_named_on_the_command_line(
    waystation: CommandLine, old: Server, tmp_path: Path
) -> None:
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    other = TestAuthority(stranger).ca_file

    refused = waystation(
        *("folders", old.name, "--password-env", "OLD_PASSWORD", "--ca-file", str(other))
    )
    shown = refused.one_error.rpartition("--fingerprint ")[2].rstrip(".")
    taken = waystation(
        *("folders", old.name, "--password-env", "OLD_PASSWORD", "--fingerprint", shown)
    )
    walked = waystation(
        *("doctor", old.name, "--password-env", "OLD_PASSWORD", "--fingerprint", shown)
    )
    wrong = waystation(*("folders", old.name, "--password-env", "OLD_PASSWORD", "--proxy", "mars"))

    assert refused.code == 1
    assert taken.code == walked.code == 0
    assert wrong.code == 2
    assert "--proxy is no proxy" in wrong.one_error
