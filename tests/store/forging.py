"""What somebody does to an archive who knows its format and wants nobody to notice."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
from typing import TYPE_CHECKING, Any

from store.archive import Archive
from store.journal import hash_of, line_of
from store.merkle import ROWS, leaf_hash, root_hash, tree_hash
from store.transfers import Transfer, TransferState
from store.trees import MESSAGES, trees
from tests.store.filling import create, put, remote, settle
from waystation.model import SpecialUse

if TYPE_CHECKING:
    from pathlib import Path

    from store.index import ArchivedFolder

INBOX = "maildir/INBOX/cur"


def sealed_archive(path: Path) -> Path:
    """Make an archive that several runs have worked on, with a target, and close it."""
    with create(path) as archive:
        inbox = archive.ensure_folder(("INBOX",), SpecialUse.INBOX)
        sent = archive.ensure_folder(("Sent",), SpecialUse.SENT)
        with archive.run("export", "imaps://alice@example.org", {"new": 9}):
            batch = archive.batch()
            for uid in range(1, 7):
                flags = ("\\Seen",) if uid % 2 else ()
                put(archive, batch, inbox, remote(uid, flags, ("todo",)), body(uid))
            for uid in range(1, 3):
                put(archive, batch, sent, remote(uid), body(uid + 20))
            batch.commit()
            archive.index.add_failed(inbox.id, 1, 9, "the server's words")
            settle(archive, inbox)
            settle(archive, sent)
        with archive.run("export", "imaps://alice@example.org", {"flags": 1}):
            row = archive.index.by_location(inbox.id, 1, 1)
            assert row is not None
            with archive.database.atomic():
                archive.plan_flags(inbox, row.id, ("\\Answered", "\\Seen"), ("todo",))
            archive.carry_out_renames()
            two = archive.index.by_location(inbox.id, 1, 2)
            assert two is not None
            archive.index.set_vanished([two.id])
        target = archive.transfers.target("imaps://bob@example.net", "bob@imap.example.net:993")
        with archive.run("import", target.name, {"appended": 6}):
            ids = [row.id for row in archive.index.messages("archived") if row.folder == "INBOX"]
            sending = [Transfer(n, target.id, TransferState.SENDING, "INBOX") for n in ids]
            archive.transfers.record(sending, [])
            arrived = [
                Transfer(n, target.id, TransferState.APPENDED, "INBOX", 1, None, 5, uid)
                for uid, n in enumerate(ids, 1)
            ]
            archive.transfers.record([], arrived)
        with archive.run("verify", target.name, {}):
            archive.transfers.verified(target.id, [(number, ("headers",)) for number in ids])
    return path


def body(uid: int) -> bytes:
    """A message whose length does not tell which it is."""
    return (
        b"Subject: number %03d\r\nFrom: a@example.org\r\n"
        b"Date: Wed, 01 May 2024 10:00:00 +0000\r\n\r\nText %03d.\r\n"
    ) % (uid, uid)


def sql(path: Path, statement: str, *values: object) -> list[tuple[Any, ...]]:
    """Change the index as anybody can."""
    with contextlib.closing(sqlite3.connect(path / "index.sqlite", isolation_level=None)) as index:
        return index.execute(statement, values).fetchall()


def file(path: Path, uid: int, folder: str = INBOX) -> Path:
    (found,) = (path / folder).glob(f"*,U={uid},*")
    return found


def overwrite(path: Path, content: bytes) -> None:
    """Give a file other octets and its old time."""
    time = path.stat().st_mtime_ns
    path.write_bytes(content)
    os.utime(path, ns=(time, time))


def message_id(path: Path, uid: int, folder: str = "INBOX") -> int:
    ((number,),) = sql(
        path,
        "SELECT m.id FROM messages AS m JOIN folders AS f ON f.id = m.folder_id"
        " WHERE f.name = ? AND m.uid = ?",
        folder,
        uid,
    )
    return int(number)


def forge_content(path: Path, uid: int) -> None:
    """Alter file and row together, so that they agree."""
    content = file(path, uid).read_bytes().replace(b"Text", b"Lies")
    overwrite(file(path, uid), content)
    digest = hashlib.sha256(content).hexdigest()
    sql(path, "UPDATE messages SET sha256 = ? WHERE id = ?", digest, message_id(path, uid))


def forge_leaves(path: Path) -> None:
    """Make the leaves of all rows anew."""
    with Archive.write(path, "forgery") as archive:
        database = archive.database
        for tree in trees(database):
            rows = list(
                database.rows(
                    f"SELECT {tree.key}, {tree.content} FROM {tree.table} WHERE {tree.where}"
                )
            )
            database.execute_many(
                "UPDATE sealed SET leaf = ? WHERE tree = ? AND row = ?",
                [(leaf_hash(content), tree.number, row) for row, content in rows],
            )


def forge_blocks(path: Path) -> dict[str, str]:
    """Make the hashes of all blocks anew; return the roots."""
    roots = {}
    with Archive.write(path, "forgery") as archive:
        database = archive.database
        for tree in trees(database):
            blocks: dict[int, list[bytes]] = {}
            for row, leaf in database.rows(
                "SELECT row, leaf FROM sealed WHERE tree = ? ORDER BY row", (tree.number,)
            ):
                blocks.setdefault(row // ROWS, []).append(leaf)
            hashes = [(number, tree_hash(leaves)) for number, leaves in blocks.items()]
            database.execute_many(
                "UPDATE blocks SET hash = ? WHERE tree = ? AND number = ?",
                [(digest, tree.number, number) for number, digest in hashes],
            )
            roots[tree.name] = root_hash(hashes).hex()
    return roots


def lines(path: Path) -> list[str]:
    return (path / "journal.jsonl").read_text("utf-8").splitlines()


def write_lines(path: Path, texts: list[str]) -> None:
    (path / "journal.jsonl").write_text("".join(f"{text}\n" for text in texts), "utf-8")


def forge_records(path: Path, records: list[dict[str, Any]]) -> None:
    """Write journal and index with a chain that holds."""
    texts, before = [], "0" * 64
    for number, record in enumerate(records, 1):
        texts.append(line_of({**record, "number": number, "previous": before}))
        before = hash_of(texts[-1])
    write_lines(path, texts)
    sql(path, "DELETE FROM records")
    for number, text in enumerate(texts, 1):
        sql(path, "INSERT INTO records VALUES (?, ?, 1)", number, text)


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines(path)]


def forge_everything(path: Path) -> None:
    """Make leaves, blocks, root, record and chain agree with the rows as they are now."""
    forge_leaves(path)
    roots = forge_blocks(path)
    forged = records(path)
    last = forged[-1]["roots"]
    last["messages"], last["folders"] = roots["messages"], roots["folders"]
    last["transfers"] = {key: roots[key] for key in last["transfers"]}
    forge_records(path, forged)


def forge_history(path: Path) -> None:
    """Throw every seal away, and have the archive sealed anew as it is."""
    for table in ("records", "sealed", "blocks", "changes", "unsealed", "before", "runs"):
        sql(path, f"DELETE FROM {table}")
    (path / "journal.jsonl").unlink()
    sql(path, "INSERT INTO unsealed SELECT 0, min(id), max(id) FROM messages")
    sql(path, "INSERT INTO unsealed SELECT 1, min(id), max(id) FROM folders")
    sql(
        path,
        "INSERT INTO unsealed SELECT target_id + 1, min(message_id), max(message_id)"
        " FROM transfers GROUP BY target_id",
    )
    with (
        Archive.write(path, "forgery") as archive,
        archive.run("export", "imaps://alice@example.org", {}),
    ):
        pass


def unseal(path: Path, uid: int) -> None:
    """Take a message's leaf away."""
    sql(path, "DELETE FROM sealed WHERE tree = ? AND row = ?", MESSAGES, message_id(path, uid))


def put_one(archive: Archive, folder: ArchivedFolder, uid: int) -> None:
    """Archive one more message."""
    batch = archive.batch()
    put(archive, batch, folder, remote(uid), body(uid))
    batch.commit()
