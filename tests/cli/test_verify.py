"""Source, archive and target compared in one pass, as a person asks for it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from imapclient import IMAPClient

from store.archive import Archive
from tests.cli.conftest import Server, letter, tree
from tests.fakes.imap_server import Answer, Cut
from tests.servers.dovecot import PASSWORD
from waystation.errors import ArchiveLockedError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import CommandLine, FakeKeyring
    from tests.servers.dovecot import Dovecot

BOTH = ("--from-password-env", "OLD_PASSWORD", "--to-password-env", "NEW_PASSWORD")
SENT = datetime(2024, 5, 1, 8, 30, tzinfo=UTC)


@pytest.fixture
def moved(waystation: CommandLine, new: Server, exported: Path) -> Path:
    """An archive that was imported into the new mailbox."""
    assert waystation("import", exported, *new.target).code == 0
    return exported


@pytest.fixture
def both(new: Server) -> tuple[str, ...]:
    """The options that open both mailboxes."""
    return (*BOTH, *new.secret[2:])


def test_both_sides_are_compared_where_both_are_there(
    waystation: CommandLine, moved: Path, both: tuple[str, ...], old: Server, new: Server
) -> None:
    verified = waystation("verify", moved, *both)
    as_json = waystation("verify", moved, *both, "--json").summary

    assert verified.code == 0
    assert "7 of 7 messages are there and the same in source, archive and target." in verified.err
    assert verified.out.splitlines() == [
        "cause            messages",
        "there and equal         7",
        "all messages            7",
    ]
    assert (as_json["source"], as_json["target"]) == (old.name, new.name)
    assert as_json["server"] == f"{old.name} and {new.name}"
    assert (as_json["table"], as_json["not_compared"]) == ({"equal": 7}, {})
    assert waystation("status", moved, "--json").summary["targets"] == {new.name: {"verified": 7}}


def test_both_may_be_asked_for_by_name(
    waystation: CommandLine, moved: Path, both: tuple[str, ...]
) -> None:
    verified = waystation("verify", moved, "--source", "--target", *both, "--deep", "--json")

    assert (verified.code, verified.summary["table"]) == (0, {"equal": 7})


def test_every_message_is_named_where_that_is_wanted(
    waystation: CommandLine, moved: Path, both: tuple[str, ...]
) -> None:
    rows = waystation("verify", moved, *both, "--all", "--json").of_type("message")
    of_one = waystation("verify", moved, "--source", "--all", *both[:2], *both[4:])

    assert {(row["cause"], row["differs"], row["text"]) for row in rows} == {("equal", False, "")}
    assert len(rows) == 7
    assert of_one.out.count("there and equal: ") == 7


def test_with_the_source_switched_off_the_target_is_compared(
    waystation: CommandLine, moved: Path, both: tuple[str, ...], old: Server
) -> None:
    old.fake.__exit__(None, None, None)

    verified = waystation("verify", moved, *both)
    as_json = waystation("verify", moved, *both, "--json").summary
    by_name = waystation("verify", moved, "--source", "--target", *both)

    assert verified.code == 0
    assert "! the source is not compared: " in verified.err
    assert "the same in the archive and the target" in verified.err
    assert list(as_json["not_compared"]) == ["source"]
    assert (as_json["source"], as_json["table"]) == (None, {"equal": 7})
    assert by_name.code == 1


def test_with_the_target_out_of_reach_the_source_is_compared(
    waystation: CommandLine, moved: Path, both: tuple[str, ...], new: Server
) -> None:
    new.fake.__exit__(None, None, None)

    verified = waystation("verify", moved, *both, "--json")

    assert (verified.code, verified.summary["table"]) == (0, {"equal": 7})
    assert list(verified.summary["not_compared"]) == ["target"]


def test_with_nobody_in_reach_there_is_nothing_to_compare(
    waystation: CommandLine, moved: Path, both: tuple[str, ...], old: Server, new: Server
) -> None:
    old.fake.__exit__(None, None, None)
    new.fake.__exit__(None, None, None)

    assert waystation("verify", moved, *both).code == 1


def test_a_source_that_lets_nobody_in_is_left_out(
    waystation: CommandLine, moved: Path, new: Server, own_keyring: FakeKeyring
) -> None:
    own = ("--to-password-env", "NEW_PASSWORD", *new.secret[2:])

    verified = waystation("verify", moved, *own)
    wrong = waystation("verify", moved, "--from-password-env", "NEW_PASSWORD", *own)
    by_name = waystation("verify", moved, "--source", "--target", *own)

    assert verified.code == wrong.code == 0
    assert "the source is not compared: no password for" in verified.err
    assert "! the source is not compared: " in wrong.err
    assert by_name.code == 12


def test_passwords_in_the_keyring_need_no_option(
    waystation: CommandLine, moved: Path, old: Server, new: Server, own_keyring: FakeKeyring
) -> None:
    for server, password in ((old, "s3cret-of-the-old"), (new, "s3cret-of-the-new")):
        own_keyring.set_password("waystation", server.name, password)

    verified = waystation("verify", moved, *new.secret[2:], "--json")

    assert (verified.code, verified.summary["not_compared"]) == (0, {})


def test_a_password_is_never_tried_on_two_servers(
    waystation: CommandLine, moved: Path, old: Server, new: Server
) -> None:
    connections = old.fake.connections, new.fake.connections

    verified = waystation("verify", moved, *new.secret)
    twice = waystation("verify", moved, *new.secret, *BOTH)
    for_one = waystation("verify", moved, "--target", *new.secret, "--to-password-env", "X")

    assert (verified.code, twice.code, for_one.code) == (2, 2, 2)
    assert "--from-password-env NAME for the source" in verified.one_error
    assert (old.fake.connections, new.fake.connections) == connections
    rest = (*new.secret[:2], *BOTH[:2], *new.secret[2:])
    assert waystation("verify", moved, *rest).code == 0


@pytest.mark.parametrize(
    "words", [("--fingerprint", "00" * 32), ("--server", "localhost:1"), ("--sign-in-as", "x")]
)
def test_an_option_for_one_account_is_not_guessed_for_two(
    waystation: CommandLine, moved: Path, both: tuple[str, ...], words: tuple[str, ...]
) -> None:
    assert waystation("verify", moved, *both, *words).code == 2


def test_before_an_import_the_source_is_compared_alone(
    waystation: CommandLine, exported: Path, old: Server
) -> None:
    verified = waystation("verify", exported, *old.secret)

    assert verified.code == 0
    assert "the target is not compared: nothing was imported from this archive yet" in verified.err
    assert "the same in the archive and the source" in verified.err


def test_an_archive_that_knows_nobody_asks_whom_to_compare_with(
    waystation: CommandLine, exported: Path, old: Server
) -> None:
    description = exported / "archive.toml"
    description.write_text(description.read_text().partition("[source]")[0])

    verified = waystation("verify", exported, *old.secret)
    named = waystation("verify", exported, "--from", old.name, *old.secret)

    assert (verified.code, named.code) == (2, 0)
    assert "the archive does not know it; give --from SERVER" in verified.err


def test_messages_that_are_not_simply_fine_are_named_but_not_without_end(
    waystation: CommandLine, moved: Path, both: tuple[str, ...], old: Server
) -> None:
    for number in range(100, 160):
        old.mailbox.folder("INBOX").append(letter(number))

    verified = waystation("verify", moved, *both)
    as_json = waystation("verify", moved, *both, "--json")

    assert verified.code == 13
    assert verified.out.count("only in the source: INBOX UID ") == 50
    assert verified.out.endswith("and 10 more; --json shows all of them\n")
    assert len(as_json.of_type("message")) == 60


def test_what_was_left_out_does_not_crowd_out_what_differs(
    waystation: CommandLine, archive: Path, old: Server, new: Server, both: tuple[str, ...]
) -> None:
    for number in range(100, 160):
        old.mailbox.folder("Gesendet").append(letter(number))
    waystation("export", archive, *old.source, "--exclude", "@sent")
    waystation("import", archive, *new.target)
    new.mailbox.folder("Projects/2024").expunge(1)

    verified = waystation("verify", archive, *both)

    assert "\nmissing in the target: Projects/2024 UID 1" in verified.out
    assert verified.out.endswith("and 13 more; --json shows all of them\n")


def test_a_source_that_is_lost_in_between_leaves_the_rest_unseen(
    waystation: CommandLine, moved: Path, both: tuple[str, ...], old: Server
) -> None:
    old.script.on("FETCH", Cut(), first=4)

    verified = waystation("verify", moved, *both, "--json")

    assert verified.code == 13
    assert "the source is not compared to the end: " in verified.err
    table = verified.summary["table"]
    assert set(table) == {"equal", "unseen"}
    assert sum(table.values()) == 7


def test_a_folder_that_does_not_open_is_told_and_its_messages_with_it(
    waystation: CommandLine, moved: Path, both: tuple[str, ...], new: Server
) -> None:
    new.script.refuse_select = {"Sent Items": b"NO [NOPERM] shut"}
    new.mailbox.delete("Projects/2024")

    verified = waystation("verify", moved, *both, "--json")

    assert verified.summary["table"] == {"equal": 4, "missing": 1, "unseen": 2}
    assert {row["folder"] for row in verified.of_type("folder_difference")} == {
        "Gesendet",
        "Projects/2024",
    }


def test_each_verification_is_a_run_with_its_findings(
    waystation: CommandLine, moved: Path, both: tuple[str, ...], old: Server
) -> None:
    first = waystation("verify", moved, *both, "--json").summary
    old.mailbox.folder("INBOX").set_flags(1, ["\\Flagged"])
    second = waystation("verify", moved, "--source", *old.secret, "--json").summary

    with Archive.read(moved) as archive:
        runs = list(
            archive.database.rows("SELECT id, server, outcome FROM runs WHERE command = 'verify'")
        )
        found = [list(archive.findings.of_run(number)) for number, *_ in runs]
    assert [number for number, *_ in runs] == [first["run"], second["run"]]
    assert {outcome for *_, outcome in runs} == {"done"}
    assert found[0] == []
    [flags] = found[1]
    assert (flags.folder, flags.uid, flags.cause, flags.side) == ("INBOX", 1, "flags", "source")


def test_an_archive_in_use_is_compared_with_its_source_and_nothing_is_recorded(
    waystation: CommandLine, exported: Path, old: Server
) -> None:
    with Archive.write(exported, "another"):
        verified = waystation("verify", exported, "--source", *old.secret)
        of_target = waystation("verify", exported, "--target", *old.secret)

    assert verified.code == 0
    assert "This verification is not recorded: " in verified.err
    assert of_target.code == ArchiveLockedError.exit_code


def test_only_the_record_is_written_where_the_source_is_compared(
    waystation: CommandLine, exported: Path, old: Server
) -> None:
    def files() -> dict[str, bytes]:
        return {
            name: octets
            for name, octets in tree(exported).items()
            if not name.startswith(("index.sqlite", "lock", "journal.jsonl"))
        }

    before = files()
    waystation("verify", exported, "--source", *old.secret)

    assert files() == before


def test_what_a_filter_left_out_is_no_difference(
    waystation: CommandLine, archive: Path, old: Server, new: Server, both: tuple[str, ...]
) -> None:
    waystation("export", archive, *old.source, "--not-flag", "flagged")
    waystation("import", archive, *new.target)

    verified = waystation("verify", archive, *both)
    part = waystation("verify", archive, *both, "--folder", "Gesendet", "--json").summary

    assert verified.code == 0
    assert "left out: with flagged (--not-flag)         1" in verified.out
    assert (part["table"], part["unselected"], part["adds_up"]) == ({"equal": 2}, 5, True)


def test_quiet_says_nothing_where_all_is_well_and_shows_the_table_where_not(
    waystation: CommandLine, moved: Path, both: tuple[str, ...], new: Server
) -> None:
    fine = waystation("verify", moved, *both, "--quiet")
    new.mailbox.folder("INBOX").expunge(1)
    missing = waystation("verify", moved, *both, "--quiet")

    assert (fine.code, fine.out, fine.err) == (0, "", "")
    assert (missing.code, missing.err) == (13, "")
    assert "missing in the target" in missing.out


def test_a_message_with_several_differences_shows_all_and_is_counted_once(
    waystation: CommandLine, moved: Path, both: tuple[str, ...], old: Server, new: Server
) -> None:
    old.mailbox.folder("Projects/2024").set_flags(1, ["\\Seen"])
    there = new.mailbox.folder("Projects/2024").message(1)
    there.internaldate -= timedelta(days=1)
    there.flags = {"\\Answered"}

    verified = waystation("verify", moved, *both, "--json")

    [row] = verified.of_type("message")
    assert [each["cause"] for each in row["differences"]] == ["date", "flags"]
    assert "1 day earlier" in row["text"]
    assert "source has \\Seen, archive has \\Flagged, target has \\Answered" in row["text"]
    assert verified.summary["table"] == {"date": 1, "equal": 6}
    assert verified.summary["causes"] == {"date": 1, "flags": 2}


def test_the_target_is_not_kept_waiting_while_the_source_is_compared(
    waystation: CommandLine, moved: Path, both: tuple[str, ...], new: Server
) -> None:
    new.fake.forget()
    before = new.fake.connections

    assert waystation("verify", moved, *both).code == 0

    assert new.fake.commands("LOGOUT") == new.fake.connections - before == 2


def test_a_server_that_asks_for_a_pause_is_given_one(
    waystation: CommandLine, moved: Path, both: tuple[str, ...], new: Server
) -> None:
    new.script.on("EXAMINE", Answer(b"NO [UNAVAILABLE] later"), times=1)

    assert waystation("verify", moved, *both).code == 0


@pytest.mark.server
def test_a_move_between_real_servers_is_proven_from_all_three_sides(
    waystation: CommandLine,
    dovecot: Dovecot,
    user: str,
    archive: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DOVECOT_PASSWORD", PASSWORD)
    source = f"imaps://{user}@localhost:{dovecot.tls_port}"
    target = f"imap://{user}-new@localhost:{dovecot.port}"
    one = ("--password-env", "DOVECOT_PASSWORD", "--ca-file", dovecot.ca_file)
    own = ("--from-password-env", "DOVECOT_PASSWORD", "--to-password-env", "DOVECOT_PASSWORD")
    both = (*own, "--ca-file", str(dovecot.ca_file))
    with client(dovecot, user) as old:
        for number in range(1, 9):
            old.append("INBOX", letter(number), (b"\\Seen",), SENT)
        old.append("INBOX", letter(9), (b"\\Flagged",), SENT)
    part = ("--not-flag", "flagged")
    assert waystation("export", archive, "--from", source, *one, *part).code == 0
    assert waystation("import", archive, "--to", target, *one).code == 0
    assert waystation("verify", archive, *both, "--deep").code == 0

    with client(dovecot, user) as old, client(dovecot, f"{user}-new") as new:
        new.select_folder("INBOX")
        uids = {subject_of(new, uid): uid for uid in new.search()}
        for number, shift in ((1, timedelta(days=1)), (2, timedelta(hours=-1))):
            # By hand: the same message, with another date, in place of ours.
            new.append("INBOX", letter(number), (b"\\Seen",), SENT + shift)
        new.remove_flags(uids[3], [b"\\Seen"])
        new.delete_messages([uids[1], uids[2], uids[4]])
        new.expunge()
        old.select_folder("INBOX")
        old.add_flags(5, [b"\\Answered"])
        old.delete_messages(6)
        old.expunge()
        old.append("INBOX", letter(10), (), SENT)
    with Archive.write(archive, "test") as opened:
        # What the ledger would say of a server that keeps another date.
        (where,) = opened.transfers.targets()
        for number, uid in ((1, 9), (2, 10)):
            opened.database.execute(
                "UPDATE transfers SET uid = ? WHERE target_id = ? AND message_id ="
                " (SELECT id FROM messages WHERE uid = ?)",
                (uid, where.id, number),
            )

    proof = waystation("verify", archive, *both, "--all", "--json")

    rows = {row["uid"]: (row["cause"], row["text"]) for row in proof.of_type("message")}
    assert proof.code == 13
    assert {uid: cause for uid, (cause, _) in rows.items()} == {
        1: "date", 2: "date", 3: "flags", 4: "missing", 5: "flags", 6: "vanished",
        7: "equal", 8: "equal", 9: "left_out", 10: "source_only",
    }  # fmt: skip
    assert "date in the target is 1 day later" in rows[1][1]
    assert "1 hour earlier, as by another time zone" in rows[2][1]
    assert "target has none: changed in the target since it was sent" in rows[3][1]
    assert "source has \\Answered \\Seen" in rows[5][1]
    assert proof.summary["adds_up"]
    assert sum(proof.summary["table"].values()) == len(rows) == 10


def client(dovecot: Dovecot, user: str) -> IMAPClient:
    connection = IMAPClient("127.0.0.1", dovecot.port, ssl=False)
    connection.login(user, PASSWORD)
    return connection


def subject_of(connection: IMAPClient, uid: int) -> int:
    header = connection.fetch(uid, ["BODY.PEEK[HEADER.FIELDS (SUBJECT)]"])[uid]
    (value,) = (value for key, value in header.items() if key.startswith(b"BODY["))
    return int(value.split()[-1])
