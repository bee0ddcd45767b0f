"""Servers that are not there, not who they say, or not what they should be."""

from __future__ import annotations

import socket
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import OLD, OLD_PASSWORD, Server, letter, tree
from tests.fakes.imap_server import Answer, Greeting, ImapServer, Raw
from tests.fakes.mailbox import Mailboxes

if TYPE_CHECKING:
    import ssl
    from pathlib import Path

    from tests.cli.conftest import CommandLine, Result
    from tests.fakes.certificates import TestAuthority


def export_from(
    waystation: CommandLine,
    archive: Path,
    tls: TestAuthority | ssl.SSLContext,
    *options: object,
) -> Result:
    with ImapServer(Mailboxes({OLD: OLD_PASSWORD}), tls=tls) as server:
        name = f"imaps://{OLD}@localhost:{server.port}"
        return waystation(
            "export", archive, "--from", name, "--password-env", "OLD_PASSWORD", *options
        )


def test_a_port_where_nothing_listens(waystation: CommandLine, archive: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    result = waystation(
        *("export", archive, "--from", f"imaps://{OLD}@127.0.0.1:{port}"),
        *("--password-env", "OLD_PASSWORD"),
    )

    assert result.code == 1
    assert f"cannot reach 127.0.0.1 port {port}" in result.one_error
    assert not archive.exists()


def test_a_name_that_does_not_resolve(waystation: CommandLine, archive: Path) -> None:
    result = waystation(
        *("export", archive, "--from", f"imaps://{OLD}@no-such-host.invalid"),
        *("--password-env", "OLD_PASSWORD"),
    )

    assert result.code == 1
    assert "cannot reach no-such-host.invalid" in result.one_error


def test_a_certificate_of_an_unknown_authority(
    waystation: CommandLine, archive: Path, authority: TestAuthority
) -> None:
    result = export_from(waystation, archive, authority)

    assert result.code == 1
    assert "--ca-file" in result.one_error
    assert not archive.exists()


def test_a_certificate_for_another_host(
    waystation: CommandLine, archive: Path, authority: TestAuthority
) -> None:
    context = authority.server_context(hosts=("mail.example.com",))

    result = export_from(waystation, archive, context, "--ca-file", authority.ca_file)

    assert result.code == 1
    assert "localhost" in result.one_error


def test_a_certificate_that_has_expired(
    waystation: CommandLine, archive: Path, authority: TestAuthority
) -> None:
    context = authority.server_context(valid_until=datetime.now(UTC) - timedelta(days=1))

    result = export_from(waystation, archive, context, "--ca-file", authority.ca_file)

    assert result.code == 1
    assert "expired" in result.one_error


@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_a_ca_file_that_is_none(
    waystation: CommandLine,
    archive: Path,
    authority: TestAuthority,
    tmp_path: Path,
    content: str | None,
) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)

    result = export_from(waystation, archive, authority, "--ca-file", file)

    assert result.code == 2
    assert "--ca-file" in result.one_error


@pytest.mark.parametrize(
    "greeting",
    [
        Greeting.CLOSE,
        b"* BYE we are closed today\r\n",
        b"220 mail.example.com ESMTP\r\n",
        b"\x00\xff\x1b[31m garbage\r\n",
    ],
    ids=["closes", "bye", "smtp", "garbage"],
)
def test_a_greeting_that_is_none(
    waystation: CommandLine, old: Server, archive: Path, greeting: Greeting | bytes
) -> None:
    old.script.greeting = greeting

    result = waystation("export", archive, *old.source)

    assert result.code == 1
    assert "localhost" in result.one_error
    assert "\x1b" not in result.err
    assert not archive.exists()


def test_a_server_that_is_silent(waystation: CommandLine, old: Server, archive: Path) -> None:
    old.script.greeting = Greeting.SILENCE

    result = waystation("export", archive, *old.source, "--timeout", "1")

    assert result.code == 1
    assert "nothing came for 1 second" in result.one_error


def test_a_server_without_encryption(
    waystation: CommandLine, archive: Path, authority: TestAuthority
) -> None:
    with ImapServer(Mailboxes({OLD: OLD_PASSWORD})) as server:
        words = (
            *("export", archive, "--from", f"imap://{OLD}@127.0.0.1:{server.port}"),
            *("--password-env", "OLD_PASSWORD"),
        )
        refused = waystation(*words)
        is_untold = OLD_PASSWORD.encode() not in b"".join(line for _, _, line in server.log)
        allowed = waystation(*words, "--allow-plaintext")

    assert (refused.code, allowed.code) == (1, 0)
    assert "--allow-plaintext" in refused.one_error
    assert is_untold


@pytest.mark.usefixtures("no_pause")
def test_a_server_without_any_folder(waystation: CommandLine, old: Server, archive: Path) -> None:
    old.script.on("LIST", Raw(b"%TAG% OK nothing here\r\n"))

    result = waystation("export", archive, *old.source)

    assert result.code == 1
    assert "lists no folder" in result.err


@pytest.mark.usefixtures("no_pause")
def test_an_answer_that_is_no_imap(waystation: CommandLine, old: Server, archive: Path) -> None:
    old.script.on("LIST", Raw(b"\x1b[2J((((\r\n* LIST\r\n"), first=1)

    result = waystation("export", archive, *old.source, "--timeout", "1")

    assert result.code == 1
    assert "\x1b" not in result.err


@pytest.mark.parametrize(
    ("greeting", "capability"),
    [
        (b"* ok ready\r\n", b"* capability imap4rev1 uidplus\r\n%TAG% ok\r\n"),
        (b"* OK\r\n", b"* CAPABILITY IMAP4rev1 UIDPLUS\r\n%TAG% OK\r\n"),
    ],
    ids=["words in lower case", "no words after a status"],
)
def test_a_server_with_terse_answers_is_an_imap_server(
    waystation: CommandLine, old: Server, archive: Path, greeting: bytes, capability: bytes
) -> None:
    old.script.greeting = greeting
    old.script.on("CAPABILITY", Raw(capability))
    old.script.on("LOGOUT", Raw(b"* bye\r\n%TAG% ok\r\n"))

    result = waystation("export", archive, *old.source)

    assert result.code == 0


@pytest.mark.usefixtures("no_pause")
def test_a_message_of_ten_gigabytes_is_left_out_and_named(
    waystation: CommandLine, old: Server, archive: Path
) -> None:
    old.script.fetch.announce = 10_000_000_000
    old.script.fetch.only = {2}

    result = waystation("export", archive, *old.source, "--timeout", "5")
    checked = waystation("check", archive)

    assert result.code == 3
    assert "10,000,000,000" in result.err
    assert checked.code == 0


HOSTILE = (
    ("../../etc/x",),
    ("..", "..", "etc", "passwd"),
    ("cur",),
    ("new", "tmp", "cur"),
    ("a\x1b[31mred\x07\x7f",),
    ("line\u2028two\u202eevil",),
    ("x" * 300,),
    ("C:\\Windows",),
    ("CON",),
    ("trailing. ",),
)


def test_hostile_folder_names_stay_inside_the_archive(
    waystation: CommandLine, tmp_path: Path, authority: TestAuthority
) -> None:
    mailboxes = Mailboxes({OLD: OLD_PASSWORD}, delimiter="|")
    for levels in HOSTILE:
        mailboxes[OLD].create(levels).append(letter(1))
    archive = tmp_path / "inside" / "alice"
    archive.parent.mkdir()
    with ImapServer(mailboxes, tls=authority) as server:
        server_name = f"imaps://{OLD}@localhost:{server.port}"
        secret = ("--password-env", "OLD_PASSWORD", "--ca-file", authority.ca_file)
        exported = waystation("export", archive, "--from", server_name, *secret)

    results = [
        exported,
        waystation("check", archive),
        waystation("status", archive),
        waystation("status", archive, "--json"),
        waystation("ledger", archive),
        waystation("ledger", archive, "--format", "csv"),
        waystation("plan", archive, "--to", "imaps://new@mail.invalid", "--offline"),
    ]

    assert [result.code for result in results] == [0] * len(results)
    assert all(char.isprintable() or char == "\n" for r in results for char in r.out + r.err)
    assert len(results[4].lines) == len(HOSTILE)
    assert len(results[5].out.splitlines()) == 1 + len(HOSTILE)
    assert {path.split("/")[0] for path in tree(tmp_path)} == {"inside"}
    assert [path.name for path in archive.parent.iterdir()] == ["alice"]
    assert not any(path.is_symlink() for path in archive.rglob("*"))


def test_a_servers_words_cannot_forge_a_line(
    waystation: CommandLine, old: Server, archive: Path
) -> None:
    old.script.on("LOGIN", Answer(b"NO \x1b[2J\rwaystation: all is well \xe2\x80\xae"))
    old.script.on("AUTHENTICATE", Answer(b"NO \x1b[2J\rwaystation: all is well \xe2\x80\xae"))

    result = waystation("export", archive, *old.source)

    assert result.code == 12
    assert result.one_error.isprintable()
