"""A move into Office 365 as an admin does it: by the commands, with a token of an application."""

from __future__ import annotations

import csv
import io
import json
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from store.archive import Archive
from store.standing import Standing
from store.transfers import Transfer, TransferState
from tests.exchange_online.profile import EXO_2026
from tests.exchange_online.server import ExchangeOnline
from tests.fakes.certificates import TestAuthority
from tests.fakes.imap_server import Body, ImapServer
from tests.fakes.mailbox import Mailboxes
from tests.importer.support import NOON, mail
from tests.servers.identity import IdentityProvider

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cli.conftest import CommandLine, Result
    from tests.exchange_online.mailbox import Mailbox

BOB = "bob@contoso.com"
OLD = "old@example.com"
LONG = b"Message-ID: <long@x>\r\nSubject: long\r\n\r\n" + b"word " * 4000 + b"\r\n"
RECEIPT = b"Disposition-Notification-To: <a@example.org>\r\n" + mail("receipt")


@dataclass
class Move:
    """An old mailbox, an archive of it, and a tenant to go to."""

    waystation: CommandLine
    archive: Path
    user: Mailboxes
    from_old: list[str]
    box: Mailbox
    office: ExchangeOnline
    sign_in: list[str]
    old: ImapServer

    def export(self) -> Result:
        done = self.waystation("export", self.archive, *self.from_old)
        assert done.code == 0, done.err
        return done

    def run(self, command: str, *words: object) -> Result:
        to = [] if command == "verify" else ["--to", f"office365:{BOB}"]
        return self.waystation(command, self.archive, *to, *self.sign_in, *words)


@pytest.fixture
def move(
    waystation: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Move]:
    monkeypatch.setenv("OLD_PASSWORD", "old")
    mailboxes = Mailboxes({OLD: "old"})
    with ExitStack() as stack:
        authority = TestAuthority(tmp_path)
        provider = stack.enter_context(IdentityProvider(tmp_path, authority=authority))
        monkeypatch.setenv("APP_SECRET", provider.client_secret)
        office = stack.enter_context(
            ExchangeOnline(EXO_2026, scale=0.001, verify=provider.claims_of, authority=authority)
        )
        old = stack.enter_context(ImapServer(mailboxes, tls=authority))
        sign_in = ["--client-id", provider.client_id, "--tenant", provider.tenant]
        sign_in += ["--client-secret-env", "APP_SECRET", "--authority", provider.authority]
        sign_in += ["--server", f"localhost:{office.port}", "--ca-file", str(authority.ca_file)]
        from_old = ["--from", f"imaps://{OLD}@localhost:{old.port}"]
        from_old += ["--password-env", "OLD_PASSWORD", "--ca-file", str(authority.ca_file)]
        box = office.add_mailbox(BOB)
        yield Move(waystation, tmp_path / "archive", mailboxes, from_old, box, office, sign_in, old)


def fill(move: Move) -> None:
    inbox = move.user[OLD].folder("INBOX")
    inbox.append(mail(1), ["\\Seen", "$Forwarded"], NOON)
    inbox.append(LONG, [], NOON)
    inbox.append(RECEIPT, ["\\Flagged"], NOON)
    inbox.append(mail("deleted"), ["\\Deleted"], NOON)
    move.user[OLD].create("Calendar").append(mail("no event"), [], NOON)


def test_the_whole_move_is_planned_made_and_proven(move: Move) -> None:
    fill(move)
    move.export()

    plan = move.run("plan", "--offline", "--json")
    done = move.run("import", "--rate", "0", "--json")
    proof = move.run("verify", "--target", "--deep", "--json")

    fates = {(row["uid"], row["fate"]) for row in plan.of_type("message")}
    assert fates == {
        (1, "loses_keywords"), (2, "repaired"), (3, "repaired"), (4, "set_aside"),
    }  # fmt: skip
    assert plan.summary["keywords_lost"] == {"$Forwarded": 1}
    targets = {row["folder"]: row["target"] for row in plan.of_type("folder")}
    assert targets["Calendar"] == "Calendar (imported)"
    assert (done.code, done.summary["appended"], done.summary["repaired"]) == (0, 4, 2)
    assert done.summary["set_aside"] == 1
    assert proof.summary["passed"] == {"content": 4, "flags": 4, "headers": 4, "received": 4}
    assert (proof.code, move.box.in_non_mail_folders()) == (0, [])
    move.box.user_reads_all()
    assert move.box.sent_receipts == []


def test_office_365_is_sent_to_over_one_connection_whoever_wants_more(move: Move) -> None:
    fill(move)
    move.export()

    refused = move.run("import", "--connections", "2")
    done = move.run("import", "--rate", "0", "--connections", "1", "--json")

    assert (refused.code, done.code) == (2, 0)
    assert refused.one_error.startswith("waystation: --connections: Office 365")


def test_one_pass_over_source_archive_and_target_puts_each_message_in_one_line(
    move: Move,
) -> None:
    old, box = move.user[OLD], move.box
    inbox = old.folder("INBOX")
    for number in range(1, 15):
        inbox.append(mail(number), ["\\Seen"], NOON)
    inbox.append(LONG, [], NOON)  # 15: repaired
    inbox.append(mail("deleted"), ["\\Deleted"], NOON)  # 16: set aside
    inbox.append(mail("starred"), ["\\Flagged"], NOON)  # 17: left out
    inbox.append(mail("broken"), [], NOON)  # 18: failed
    old.create("Shut").append(mail("shut"), [], NOON)
    move.old.script.fetch.only, move.old.script.fetch.body = {18}, Body.NIL
    inbox.expunge(14)
    first = move.waystation("export", move.archive, *move.from_old, "--not-flag", "flagged")
    assert first.code == 3
    assert move.run("import", "--rate", "0").code == 0
    inbox.append(mail("late"), [], NOON)  # 19: not sent
    inbox.expunge(12)  # vanished, and noted
    part = ["--not-flag", "flagged"]
    assert move.waystation("export", move.archive, *move.from_old, *part).code == 3
    inbox.append(mail("new"), [], NOON)  # 20: only in the source
    inbox.expunge(13)  # vanished, and not noted
    inbox.set_flags(10, ["\\Seen", "\\Answered"])
    inbox.message(8).body = mail(8).replace(b"Subject:", b"subject:")
    inbox.message(9).body = mail(9) + b"another text\r\n"
    move.old.script.refuse_select = {"Shut": b"NO [NOPERM] shut"}
    there = {stored.original: stored for name, stored in box.stored() if name == "INBOX"}
    there[mail(2)].internaldate += timedelta(days=1)
    there[mail(3)].internaldate -= timedelta(hours=2)
    there[mail(4)].flags.discard("\\Seen")
    with box.locked():
        box.remove(box.find("INBOX"), [there[mail(5)]])
    with Archive.write(move.archive, "test") as archive:
        (target,) = archive.transfers.targets()
        by_uid = {m.uid: m.id for m in archive.index.messages() if m.folder == "INBOX"}
        states = ((6, TransferState.REFUSED, "NO too odd"), (7, TransferState.SENDING, None))
        archive.transfers.record(
            (),
            [
                Transfer(by_uid[uid], target.id, state, "INBOX", reply=reply)
                for uid, state, reply in states
            ],
        )

    both = ["--from-password-env", "OLD_PASSWORD", "--json", "--all"]
    proof = move.run("verify", *both)

    assert proof.code == 13, proof.err
    rows = {
        (row["folder"], row["uid"]): (row["cause"], row["text"]) for row in proof.of_type("message")
    }
    assert {place: cause for place, (cause, _) in rows.items()} == {
        ("INBOX", 1): "equal",
        ("INBOX", 2): "date",
        ("INBOX", 3): "date",
        ("INBOX", 4): "flags",
        ("INBOX", 5): "missing",
        ("INBOX", 6): "refused",
        ("INBOX", 7): "in_doubt",
        ("INBOX", 8): "header",
        ("INBOX", 9): "content",
        ("INBOX", 10): "flags",
        ("INBOX", 11): "equal",
        ("INBOX", 12): "vanished",
        ("INBOX", 13): "vanished",
        ("INBOX", 15): "repaired",
        ("INBOX", 16): "set_aside",
        ("INBOX", 17): "left_out",
        ("INBOX", 18): "failed",
        ("INBOX", 19): "not_sent",
        ("INBOX", 20): "source_only",
        ("Shut", 1): "unseen",
    }
    assert {cause for cause, _ in rows.values()} == set(Standing)
    assert "date in the target is 1 day later" in rows["INBOX", 2][1]
    assert "2 hours earlier, as by another time zone" in rows["INBOX", 3][1]
    assert rows["INBOX", 4][1] == (
        "archive has \\Seen, target has none: changed in the target since it was sent"
    )
    assert rows["INBOX", 10][1] == (
        "source has \\Answered \\Seen, archive has \\Seen: "
        "changed at the source since the last export"
    )
    assert rows["INBOX", 12][1].startswith("vanished from the source since 20")
    assert rows["INBOX", 13][1].endswith("run export")
    assert rows["INBOX", 15][1] == "repaired: long-lines"
    assert rows["INBOX", 17][1] == "with flagged (--not-flag)"
    assert rows["INBOX", 18][1].startswith("failed: ")
    assert rows["INBOX", 20][1].startswith("only in the source, since 20")
    assert "shut" in rows["Shut", 1][1]
    summary = proof.summary
    assert summary["adds_up"]
    assert sum(summary["table"].values()) == summary["messages"] == len(rows) == 20
    assert sum(row["messages"] for row in summary["kinds"]) == 20
    assert summary["equal"] == 3
    with Archive.read(move.archive) as archive:
        kept = {(each.folder, each.uid): each for each in archive.findings.of_run(summary["run"])}
    told = {
        place: row for place, row in rows.items() if row[0] not in ("equal", "repaired", "left_out")
    }
    assert {place: (each.cause, each.text) for place, each in kept.items() if place[1]} == told
    assert kept["Shut", None].cause == "folder"


def test_the_ledger_says_what_was_changed_on_the_way(move: Move) -> None:
    fill(move)
    move.export()
    move.run("import", "--rate", "0")

    rows = move.waystation("ledger", move.archive, "--format", "jsonl").lines

    by_uid = {row["uid"]: row for row in rows if row["folder"] == "INBOX"}
    there = by_uid[2]["targets"][f"office365:{BOB}"]
    (repair,) = there["repairs"]
    assert (repair["step"], repair["before"]) == ("long-lines", by_uid[2]["sha256"])
    stored = {message.uid: message for name, message in move.box.stored() if name == "INBOX"}
    assert repair["after"] == stored[there["uid"]].original_sha256
    assert by_uid[1]["targets"][f"office365:{BOB}"]["lost"] == ["$Forwarded"]
    table = move.waystation("ledger", move.archive, "--format", "csv").out
    assert "read-receipts" in table


def test_a_plan_as_a_table_has_a_row_for_each_folder_and_each_case(move: Move) -> None:
    fill(move)
    move.export()

    rows = list(csv.DictReader(io.StringIO(move.run("plan", "--offline", "--format", "csv").out)))
    lines = move.run("plan", "--offline", "--format", "jsonl").out.splitlines()

    assert [row["type"] for row in rows] == ["folder"] * 2 + ["message"] * 4
    assert {row["fate"] for row in rows} == {"", "loses_keywords", "repaired", "set_aside"}
    assert [json.loads(line)["type"] for line in lines] == [row["type"] for row in rows]


def test_new_mail_and_changed_flags_follow_and_the_users_own_changes_stay(move: Move) -> None:
    inbox = move.user[OLD].folder("INBOX")
    inbox.append(mail(1), [], NOON)
    inbox.append(mail(2), ["\\Seen"], NOON)
    move.export()
    move.run("import", "--rate", "0")
    for _, message in move.box.stored():
        if message.original == mail(2):
            message.flags.discard("\\Seen")  # the user has it unread again
    inbox.set_flags(1, ["\\Seen", "\\Answered"])
    inbox.append(mail(3), [], NOON)
    move.export()

    done = move.run("import", "--rate", "0", "--json")

    flags = {message.original: message.flags for _, message in move.box.stored()}
    assert flags == {mail(1): {"\\Seen", "\\Answered"}, mail(2): set(), mail(3): set()}
    assert (done.summary["appended"], done.summary["flags_carried"]) == (1, 1)


def test_a_rollback_removes_what_is_ours_and_untouched(move: Move) -> None:
    fill(move)
    move.box.add_message("INBOX", mail("theirs"), internaldate=NOON)
    move.export()
    move.run("import", "--rate", "0")
    (read,) = (m for _, m in move.box.stored() if m.original == mail(1))
    read.flags.discard("\\Seen")

    asked = move.run("rollback")
    done = move.run("rollback", "--yes", "--json")

    assert (asked.code, "--yes" in asked.one_error) == (2, True)
    assert (done.code, done.summary["removed"], done.summary["changed"]) == (3, 3, 1)
    left = sorted(message.original for _, message in move.box.stored())
    assert left == sorted([mail(1), mail("theirs")])
    again = move.run("import", "--rate", "0", "--json")
    assert again.summary["appended"] == 3


def test_signed_mail_that_cannot_go_as_it_is_is_set_aside_where_the_user_wants_it(
    move: Move,
) -> None:
    signed = (
        b"Message-ID: <signed@x>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/signed;"
        b' boundary="b"; protocol="application/pgp-signature"\r\n\r\n--b\r\n\r\n'
        + b"word " * 4000
        + b"\r\n--b\r\nContent-Type: application/pgp-signature\r\n\r\nx\r\n--b--\r\n"
    )
    move.user[OLD].folder("INBOX").append(signed, [], NOON)
    move.export()

    aside = move.run("import", "--rate", "0", "--protected", "set-aside", "--json")
    wrapped = move.run("import", "--rate", "0", "--json")

    assert (aside.summary["set_aside"], aside.summary["appended"]) == (1, 0)
    assert (wrapped.summary["appended"], wrapped.summary["repaired"]) == (1, 1)


def test_what_is_too_large_is_named_with_both_numbers(move: Move) -> None:
    move.user[OLD].folder("INBOX").append(mail("large", "x" * 70 + "\r\n" * 3000), [], NOON)
    move.export()

    done = move.run("import", "--largest", "4K")

    assert done.code == 3
    assert "it takes 4,096" in done.err
    assert move.run("import", "--largest", "nonsense").code == 2


def test_a_mailbox_that_stays_shut_says_what_is_missing(move: Move) -> None:
    move.user[OLD].folder("INBOX").append(mail(1), [], NOON)
    move.export()
    move.box.imap_enabled = False

    done = move.run("import")

    assert done.code == 12
    assert "Set-CASMailbox" in done.err
