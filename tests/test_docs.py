"""The documents say what is so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from store.archive import FORMAT, read_description
from store.database import Database
from store.findings import FOLDER
from store.finds import Kind
from store.standing import Standing
from store.transfers import TransferState
from tests.store.filling import filled

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
_CAUSES = [*(each for each in Standing if not each.is_fine and each != "left_out"), FOLDER]


@pytest.fixture(scope="module")
def document() -> str:
    return (ROOT / "store" / "FORMAT.md").read_text("utf-8")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return filled(tmp_path_factory.mktemp("docs") / "archive")


def blocks(document: str, language: str) -> Iterator[str]:
    return (match[1] for match in re.finditer(rf"```{language}\n(.*?)```", document, re.DOTALL))


def schema(path: Path) -> dict[str, str]:
    with Database.read(path / "index.sqlite") as database:
        rows = database.rows(
            "SELECT name, sql FROM sqlite_master"
            " WHERE sql IS NOT NULL AND tbl_name != '_sqlite_migrations'"
        )
        return {str(name): str(sql) for name, sql in rows}


def test_the_format_document_shows_the_index_as_it_is(document: str, archive: Path) -> None:
    statements = [
        statement.strip()
        for block in blocks(document, "sql")
        for statement in block.split(";\n")
        if statement.strip()
    ]

    assert sorted(statements) == sorted(schema(archive).values())


def test_the_format_document_explains_every_column(document: str, archive: Path) -> None:
    chapters = re.split(r"^### 6\.\d+ (\w+):", document, flags=re.MULTILINE)
    texts = (text.split("\n### ")[0] for text in chapters[2::2])
    explained = dict(zip(chapters[1::2], texts, strict=True))
    with Database.read(archive / "index.sqlite") as database:
        for table, sql in schema(archive).items():
            if not sql.startswith("CREATE TABLE"):
                continue
            columns = database.rows("SELECT name FROM pragma_table_info(?)", (table,))
            said = re.findall(r"^\| `(\w+)` \|", explained[table], re.MULTILINE)
            assert said == [name for (name,) in columns], table


def test_the_format_document_shows_the_tree_of_a_real_archive(document: str, archive: Path) -> None:
    (shown,) = blocks(document, "tree")

    real = sorted(
        path.relative_to(archive).as_posix() + ("/" if path.is_dir() else "")
        for path in archive.rglob("*")
    )
    assert shown.splitlines() == real


def test_the_format_document_shows_archive_toml_as_it_is(document: str, archive: Path) -> None:
    (shown,) = blocks(document, "toml")
    real = (archive / "archive.toml").read_text("utf-8")

    assert [line.partition(" = ")[0] for line in shown.splitlines()] == [
        line.partition(" = ")[0] for line in real.splitlines()
    ]
    assert read_description(archive).format == FORMAT
    assert document.startswith(f"# The archive format, version {FORMAT}\n")
    (sidecar,) = blocks(document, "json")
    assert (archive / "maildir" / "Sent" / "2024%3A ä" / ".folder.json").read_text() == sidecar


@pytest.mark.parametrize("word", [*Kind, *TransferState, *_CAUSES])
def test_the_format_document_knows_every_word_that_the_program_uses(
    document: str, word: str
) -> None:
    assert f"`{word}`" in document


def test_every_archive_has_the_format_document_in_it(document: str, archive: Path) -> None:
    assert (archive / "FORMAT.md").read_text("utf-8") == document
