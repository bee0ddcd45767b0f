"""What people see who open the index with a tool for SQLite."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from store.transfers import Transfer, TransferState
from tests.store.filling import add, one, remote

if TYPE_CHECKING:
    from store.archive import Archive
    from store.index import ArchivedFolder


def test_the_views_tell_people_what_is_there(archive: Archive, inbox: ArchivedFolder) -> None:
    sent = archive.ensure_folder(("Sent", "2024"), None)
    add(archive, inbox, remote(1, ("\\Seen",)), b"From: Ada <ADA@example.org>\r\n\r\nx\r\n")
    undated = remote(2, ("\\Flagged",), internaldate=None)
    add(archive, inbox, undated, b"From: ada@example.org\r\n\r\n")
    add(archive, sent, remote(3))
    archive.index.add_failed(inbox.id, 1, 9, "NO")
    target = archive.transfers.target("imaps://new@example.net", "new@example.net:993")
    archive.transfers.record([], [Transfer(1, target.id, TransferState.REFUSED, "In", reply="NO")])

    def rows(sql: str) -> list[tuple[object, ...]]:
        return list(archive.database.rows(sql))

    assert rows("SELECT folder, received, is_read, is_flagged, path FROM mail WHERE id < 3") == [
        ("INBOX", "2024-05-01 10:00:00", 1, 0, one(archive, inbox, 1).path),
        ("INBOX", None, 0, 1, one(archive, inbox, 2).path),
    ]
    assert rows("SELECT id, state, target_state, target_folder FROM ledger ORDER BY id") == [
        (1, "archived", "refused", "In"),
        (2, "archived", "pending", None),
        (3, "archived", "pending", None),
        (4, "failed", None, None),
    ]
    assert rows("SELECT folder, archived, failed, newest FROM folder_totals ORDER BY 1") == [
        ("INBOX", 2, 1, "2024-05-01 10:00:00"),
        ("Sent/2024", 1, 0, "2024-05-01 10:00:00"),
    ]
    assert rows("SELECT year, messages FROM by_year ORDER BY 1") == [(None, 1), ("2024", 2)]
    assert rows("SELECT address, messages FROM by_sender") == [("ada@example.org", 2)]


def test_the_format_document_explains_every_column_of_every_view(archive: Archive) -> None:
    document = (archive.path / "FORMAT.md").read_text("utf-8")
    chapter = document.split(" Views, for people\n")[1].split("\n## ")[0].split("```")[2]
    _, *texts = re.split(r"^\| `(\w+)` ", chapter, flags=re.MULTILINE)
    explained = dict(zip(texts[::2], texts[1::2], strict=True))

    for (view,) in list(
        archive.database.rows("SELECT name FROM sqlite_master WHERE type = 'view'")
    ):
        columns = archive.database.rows("SELECT name FROM pragma_table_info(?)", (view,))
        assert {name for (name,) in columns} <= set(re.findall(r"`(\w+)`", explained[view])), view
