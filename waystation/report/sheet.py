"""Tables for spreadsheets: one line for each message, and one for each that is not simply fine."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any, TextIO

from store import audit
from store.ledger import Rows
from waystation.cells import guard_of
from waystation.report.advice import WEIGHTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from store.archive import Archive
    from store.audit import Case, CaseTotal
    from store.transfers import Target

MESSAGE_COLUMNS = (
    "folder", "uidvalidity", "uid", "sha256", "size", "internaldate", "date_from", "flags",
    "keywords", "message_id", "state", "reason", "path", "last_seen", "cases",
)  # fmt: skip
TARGET_COLUMNS = (
    "state", "folder", "uidvalidity", "uid", "lost", "repairs", "passed", "reply", "cases",
)  # fmt: skip
SUBJECT_COLUMNS = ("sender", "recipients", "subject")
CASE_COLUMNS = (
    "case", "weight", "target", "folder", "uidvalidity", "uid", "size", "internaldate", "cause",
    "target_folder", "sha256",
)  # fmt: skip
_CASE_SUBJECT_COLUMNS = ("sender", "subject")


def message_rows(archive: Archive, *, with_subjects: bool) -> Iterator[dict[str, Any]]:
    """Yield every message with all that is known of it, as ``waystation ledger`` does, and more.

    Call inside ``archive.database.atomic``.
    """
    targets = archive.transfers.targets()
    of_source = audit.kinds_of_all(archive.database, None)
    of_targets = [audit.kinds_of_all(archive.database, each.id) for each in targets]
    headers = audit.headers_of_all(archive.database)
    messages = archive.index.messages()
    rows = Rows(archive)
    for message, kinds, said, *at_targets in zip(
        messages, of_source, headers, *of_targets, strict=True
    ):
        row = rows.of(message)
        at_each = row.pop("targets")
        if with_subjects:
            row |= dict(zip(SUBJECT_COLUMNS, said, strict=True))
        row["cases"] = [kind.value for kind in kinds]
        row["targets"] = {
            target.name: at_each[target.name] | {"cases": [kind.value for kind in kinds_there]}
            for target, kinds_there in zip(targets, at_targets, strict=True)
            if message.state == "archived"
        }
        yield row


def write_messages(
    stream: TextIO, archive: Archive, targets: Sequence[Target], *, with_subjects: bool
) -> int:
    """Write one line for each message; return how many."""
    writer = csv.writer(stream, lineterminator="\n")
    columns = (*MESSAGE_COLUMNS, *(SUBJECT_COLUMNS if with_subjects else ()))
    writer.writerow(
        [cell(each) for each in columns]
        + [cell(f"{target.name} {part}") for target in targets for part in TARGET_COLUMNS]
    )
    count = 0
    for row in message_rows(archive, with_subjects=with_subjects):
        cells = [row[column] for column in columns]
        for target in targets:
            of_target = row["targets"].get(target.name, {})
            cells += [of_target.get(part) for part in TARGET_COLUMNS]
        writer.writerow([cell(each) for each in cells])
        count += 1
    return count


def write_cases(
    stream: TextIO, archive: Archive, totals: Sequence[CaseTotal], *, with_subjects: bool
) -> int:
    """Write one line for each case, the most urgent kinds first; return how many."""
    writer = csv.writer(stream, lineterminator="\n")
    columns = (*CASE_COLUMNS, *(_CASE_SUBJECT_COLUMNS if with_subjects else ()))
    writer.writerow(columns)
    count = 0
    for total in totals:
        for case in audit.cases(archive.database, total):
            values = case_row(case, with_subjects=with_subjects)
            writer.writerow([cell(values[column]) for column in columns])
            count += 1
    return count


def case_row(case: Case, *, with_subjects: bool) -> dict[str, Any]:
    """Return a case by the names of its columns."""
    row: dict[str, Any] = {
        "case": case.kind.value,
        "weight": WEIGHTS[case.kind].value,
        "target": case.target,
        "folder": case.folder,
        "uidvalidity": case.uidvalidity,
        "uid": case.uid,
        "size": case.size,
        "internaldate": case.internaldate,
        "cause": case.detail,
        "target_folder": case.target_folder,
        "sha256": case.sha256,
    }
    return row | ({"sender": case.sender, "subject": case.subject} if with_subjects else {})


def cell(value: object) -> object:
    """Return a value as a cell that no spreadsheet runs, on one line."""
    if isinstance(value, list):
        value = " ".join(each if isinstance(each, str) else str(each["what"]) for each in value)
    if not isinstance(value, str):
        return value
    return guard_of(value) + (value if value.isprintable() else value.translate(_ESCAPES))


class _Escapes(dict[int, str]):
    """What stands for each character, by its number; as in JSON where it would not show."""

    def __missing__(self, number: int) -> str:
        char = chr(number)
        self[number] = char if char.isprintable() else json.dumps(char)[1:-1]
        return self[number]


_ESCAPES = _Escapes()
