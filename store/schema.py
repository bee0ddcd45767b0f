"""The tables of the index, as migrations in order. A released migration never changes.

FORMAT.md, chapter 6, says in prose what each column means; a test holds the two together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from sqlite_utils import Database

    _Step = Callable[[Database], None]

_SET = "waystation"
_steps: list[_Step] = []


def bring_up_to_date(connection: sqlite3.Connection) -> None:
    """Carry out the migrations that an index has not seen yet, all of them in a new one."""
    if _is_up_to_date(connection):
        return
    # Loaded late: it takes longer than all that an index that is up to date needs.
    from sqlite_utils import Database, Migrations

    migrations = Migrations(_SET)
    for step in _steps:
        migrations()(step)
    migrations.apply(Database(connection, execute_plugins=False))


def _is_up_to_date(connection: sqlite3.Connection) -> bool:
    book = "SELECT 1 FROM sqlite_master WHERE name = '_sqlite_migrations'"
    if connection.execute(book).fetchone() is None:
        return False
    seen = connection.execute(
        "SELECT name FROM _sqlite_migrations WHERE migration_set = ?", (_SET,)
    )
    return {step.__name__ for step in _steps} <= {name for (name,) in seen.fetchall()}


def _migration(step: _Step) -> _Step:
    _steps.append(step)
    return step


@_migration
def format_1(db: Database) -> None:
    """Folders, messages, the transfer log and the runs."""
    for statement in (
        FOLDERS,
        MESSAGES,
        MESSAGES_BY_CONTENT,
        MESSAGES_BY_DATE,
        RENAMES,
        TARGETS,
        TARGET_FOLDERS,
        TRANSFERS,
        TRANSFERS_BY_LOCATION,
        RUNS,
        UIDLS,
    ):
        db.conn.execute(statement)


@_migration
def skipped_messages(db: Database) -> None:
    """What a filter left out is looked at by every later run, and found without a search."""
    db.conn.execute(SKIPPED_MESSAGES)


@_migration
def source_ids(db: Database) -> None:
    """A message that lies in several folders of the source, known as one."""
    db.conn.execute(SOURCE_IDS)
    db.conn.execute(SOURCE_IDS_BY_ID)


@_migration
def vanished_messages(db: Database) -> None:
    """How many messages a folder shows is counted without a look at their rows."""
    db.conn.execute(VANISHED_MESSAGES)


@_migration
def seals(db: Database) -> None:
    """The seal: leaves over all rows, the journal's records; what is there waits to be sealed."""
    for statement in (RECORDS, SEALED, BLOCKS, CHANGES, UNSEALED, BEFORE):
        db.conn.execute(statement)
    for statement in (
        "INSERT INTO unsealed SELECT 0, min(id), max(id) FROM messages HAVING count(*) > 0",
        "INSERT INTO unsealed SELECT 1, min(id), max(id) FROM folders HAVING count(*) > 0",
        "INSERT INTO unsealed SELECT target_id + 1, min(message_id), max(message_id)"
        " FROM transfers GROUP BY target_id",
    ):
        db.conn.execute(statement)


@_migration
def findings(db: Database) -> None:
    """What verifications found, so that two of them can be compared."""
    db.conn.execute(FINDINGS)
    db.conn.execute(FINDINGS_BY_RUN)


@_migration
def views(db: Database) -> None:
    """The same again for people with a tool for SQLite: names in place of numbers, sums."""
    for statement in (MAIL, LEDGER, FOLDER_TOTALS, BY_YEAR, BY_SENDER):
        db.conn.execute(statement)


@_migration
def tallies(db: Database) -> None:
    """Totals without a look at every row: counts by block, and indexes of what is rare."""
    # Filled by the next seal: so an old archive is not slower to open.
    db.conn.execute(TALLIES)
    db.conn.execute(MESSAGES_NOT_ARCHIVED)
    db.conn.execute(TRANSFERS_IN_DOUBT)


FOLDERS = """
CREATE TABLE folders (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    directory TEXT NOT NULL UNIQUE,
    special_use TEXT,
    uidvalidity INTEGER,
    uidnext INTEGER,
    exists_on_source INTEGER,
    highestmodseq INTEGER,
    is_settled INTEGER NOT NULL DEFAULT 0,
    looked_at TEXT,
    last_seen TEXT
) STRICT
""".strip()

MESSAGES = """
CREATE TABLE messages (
    id INTEGER PRIMARY KEY,
    folder_id INTEGER NOT NULL REFERENCES folders (id),
    uidvalidity INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('archived', 'skipped', 'failed')),
    reason TEXT,
    file TEXT,
    sha256 TEXT,
    size INTEGER,
    internaldate TEXT,
    received INTEGER,
    date_from TEXT,
    flags TEXT NOT NULL DEFAULT '[]',
    keywords TEXT NOT NULL DEFAULT '[]',
    message_id TEXT,
    date TEXT,
    sender TEXT,
    recipients TEXT,
    subject TEXT,
    last_seen TEXT,
    UNIQUE (folder_id, uidvalidity, uid),
    CHECK ((state = 'archived') = (file IS NOT NULL AND sha256 IS NOT NULL AND size IS NOT NULL))
) STRICT
""".strip()

MESSAGES_BY_CONTENT = """
CREATE INDEX messages_by_content ON messages (sha256)
""".strip()

MESSAGES_BY_DATE = """
CREATE INDEX messages_by_date ON messages (folder_id, received)
""".strip()

SKIPPED_MESSAGES = """
CREATE INDEX skipped_messages ON messages (folder_id, uidvalidity, reason)
    WHERE state = 'skipped' AND last_seen IS NULL
""".strip()

VANISHED_MESSAGES = """
CREATE INDEX vanished_messages ON messages (folder_id, uidvalidity)
    WHERE last_seen IS NOT NULL
""".strip()

MESSAGES_NOT_ARCHIVED = """
CREATE INDEX messages_not_archived ON messages (folder_id, uidvalidity, uid)
    WHERE state != 'archived'
""".strip()

SOURCE_IDS = """
CREATE TABLE source_ids (
    message_id INTEGER PRIMARY KEY REFERENCES messages (id) ON DELETE CASCADE,
    source_id TEXT NOT NULL
) STRICT
""".strip()

SOURCE_IDS_BY_ID = """
CREATE INDEX source_ids_by_id ON source_ids (source_id)
""".strip()

RENAMES = """
CREATE TABLE renames (
    message_id INTEGER PRIMARY KEY REFERENCES messages (id),
    file TEXT NOT NULL
) STRICT
""".strip()

TARGETS = """
CREATE TABLE targets (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    key TEXT NOT NULL UNIQUE
) STRICT
""".strip()

TARGET_FOLDERS = """
CREATE TABLE target_folders (
    target_id INTEGER NOT NULL REFERENCES targets (id),
    folder_id INTEGER NOT NULL REFERENCES folders (id),
    name TEXT NOT NULL,
    reasons TEXT NOT NULL DEFAULT '[]',
    looked_through INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (target_id, folder_id)
) STRICT
""".strip()

TRANSFERS = """
CREATE TABLE transfers (
    message_id INTEGER NOT NULL REFERENCES messages (id),
    target_id INTEGER NOT NULL REFERENCES targets (id),
    state TEXT NOT NULL CHECK (state IN (
        'pending', 'sending', 'appended', 'verified', 'already_there', 'refused', 'set_aside'
    )),
    folder TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    uidnext_before INTEGER,
    uidvalidity INTEGER,
    uid INTEGER,
    reply TEXT,
    lost TEXT NOT NULL DEFAULT '[]',
    repairs TEXT NOT NULL DEFAULT '[]',
    flags TEXT,
    keywords TEXT,
    internaldate TEXT,
    passed TEXT NOT NULL DEFAULT '[]',
    changed_at TEXT NOT NULL,
    PRIMARY KEY (message_id, target_id)
) STRICT, WITHOUT ROWID
""".strip()

TRANSFERS_BY_LOCATION = """
CREATE INDEX transfers_by_location ON transfers (target_id, folder, uidvalidity, uid)
""".strip()

TRANSFERS_IN_DOUBT = """
CREATE INDEX transfers_in_doubt ON transfers (target_id, folder, message_id)
    WHERE state = 'sending' OR (state = 'appended' AND uid IS NULL)
""".strip()

RUNS = """
CREATE TABLE runs (
    id INTEGER PRIMARY KEY,
    command TEXT NOT NULL,
    server TEXT,
    version TEXT NOT NULL,
    started_at TEXT NOT NULL,
    ended_at TEXT,
    outcome TEXT,
    totals TEXT NOT NULL DEFAULT '{}'
) STRICT
""".strip()

UIDLS = """
CREATE TABLE uidls (
    uidl TEXT PRIMARY KEY,
    uid INTEGER NOT NULL UNIQUE
) STRICT, WITHOUT ROWID
""".strip()

RECORDS = """
CREATE TABLE records (
    number INTEGER PRIMARY KEY,
    line TEXT NOT NULL,
    is_in_journal INTEGER NOT NULL DEFAULT 0
) STRICT
""".strip()

SEALED = """
CREATE TABLE sealed (
    tree INTEGER NOT NULL,
    row INTEGER NOT NULL,
    since INTEGER NOT NULL,
    leaf BLOB NOT NULL,
    PRIMARY KEY (tree, row)
) STRICT, WITHOUT ROWID
""".strip()

BLOCKS = """
CREATE TABLE blocks (
    tree INTEGER NOT NULL,
    number INTEGER NOT NULL,
    counts TEXT NOT NULL,
    hash BLOB NOT NULL,
    PRIMARY KEY (tree, number)
) STRICT, WITHOUT ROWID
""".strip()

TALLIES = """
ALTER TABLE blocks ADD COLUMN tallies TEXT
""".strip()

CHANGES = """
CREATE TABLE changes (
    record INTEGER NOT NULL,
    tree INTEGER NOT NULL,
    row INTEGER NOT NULL,
    before TEXT NOT NULL,
    PRIMARY KEY (record, tree, row)
) STRICT, WITHOUT ROWID
""".strip()

UNSEALED = """
CREATE TABLE unsealed (
    tree INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    PRIMARY KEY (tree, first, last)
) STRICT, WITHOUT ROWID
""".strip()

BEFORE = """
CREATE TABLE before (
    tree INTEGER NOT NULL,
    row INTEGER NOT NULL,
    content BLOB NOT NULL,
    PRIMARY KEY (tree, row)
) STRICT, WITHOUT ROWID
""".strip()

FINDINGS = """
CREATE TABLE findings (
    id INTEGER PRIMARY KEY,
    run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    folder TEXT NOT NULL,
    uidvalidity INTEGER,
    uid INTEGER,
    cause TEXT NOT NULL,
    side TEXT NOT NULL CHECK (side IN ('source', 'archive', 'target')),
    text TEXT NOT NULL
) STRICT
""".strip()

FINDINGS_BY_RUN = """
CREATE INDEX findings_by_run ON findings (run_id, folder, uidvalidity, uid)
""".strip()

MAIL = """
CREATE VIEW mail AS
SELECT m.id, f.name AS folder, datetime(m.received, 'unixepoch') AS received, m.sender,
    m.recipients, m.subject, m.size,
    instr(m.flags, '"\\\\Seen"') > 0 AS is_read, instr(m.flags, '"\\\\Flagged"') > 0 AS is_flagged,
    m.flags, m.keywords, m.message_id, m.internaldate, m.uidvalidity, m.uid,
    f.directory || '/' || m.file AS path, m.sha256, m.last_seen
FROM messages AS m JOIN folders AS f ON f.id = m.folder_id
WHERE m.state = 'archived'
""".strip()

LEDGER = """
CREATE VIEW ledger AS
SELECT m.id, f.name AS folder, m.uidvalidity, m.uid, m.state, m.reason, m.last_seen,
    g.name AS target,
    CASE WHEN g.id IS NOT NULL THEN coalesce(t.state, 'pending') END AS target_state,
    coalesce(t.folder, p.name) AS target_folder, t.uid AS target_uid, t.reply, t.changed_at
FROM messages AS m JOIN folders AS f ON f.id = m.folder_id
    LEFT JOIN targets AS g ON m.state = 'archived'
    LEFT JOIN transfers AS t ON t.message_id = m.id AND t.target_id = g.id
    LEFT JOIN target_folders AS p ON p.folder_id = m.folder_id AND p.target_id = g.id
""".strip()

FOLDER_TOTALS = """
CREATE VIEW folder_totals AS
SELECT f.name AS folder, count(*) FILTER (WHERE m.state = 'archived') AS archived,
    count(*) FILTER (WHERE m.state = 'skipped') AS skipped,
    count(*) FILTER (WHERE m.state = 'failed') AS failed,
    count(*) FILTER (WHERE m.last_seen IS NOT NULL) AS vanished,
    coalesce(sum(m.size) FILTER (WHERE m.state = 'archived'), 0) AS octets,
    datetime(min(m.received), 'unixepoch') AS oldest,
    datetime(max(m.received), 'unixepoch') AS newest
FROM folders AS f LEFT JOIN messages AS m ON m.folder_id = f.id
GROUP BY f.id
""".strip()

BY_YEAR = """
CREATE VIEW by_year AS
SELECT strftime('%Y', received, 'unixepoch') AS year, count(*) AS messages, sum(size) AS octets
FROM messages
WHERE state = 'archived'
GROUP BY 1
""".strip()

BY_SENDER = """
CREATE VIEW by_sender AS
SELECT lower(trim(substr(sender, instr(sender, '<') + 1), '<> ')) AS address, count(*) AS messages,
    sum(size) AS octets, datetime(max(received), 'unixepoch') AS newest
FROM messages
WHERE state = 'archived' AND sender IS NOT NULL
GROUP BY 1
""".strip()
