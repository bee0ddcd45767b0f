"""``waystation check``: an archive against itself, offline."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from waystation.cli import options, state
from waystation.cli.recording import asked, reading
from waystation.cli.text import count_text, size_text, sum_text
from waystation.errors import UsageError, plain

if TYPE_CHECKING:
    from pathlib import Path

    from store.archive import Archive
    from store.finds import Checked, Discrepancy
    from store.journal import Record
    from store.manifest import Compared
    from store.sealcheck import Sealed
    from waystation.cli.output import Listener

_EXAMPLES = """\
\b
Examples:
  waystation check alice
  waystation check alice --seal 5ZQK-0V7H-2MXA-9RTE-GW31-BYC8-N4JD-6PS0
"""
_FOUND_SOMETHING = 13


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("check", epilog=_EXAMPLES)(_check)


def _check(
    archive: options.ArchivePath,
    seal: Annotated[
        str | None,
        typer.Option(
            "--seal",
            metavar="SEAL",
            help="Prove that what was there under a seal that was noted is as it was then.",
        ),
    ] = None,
    manifest: options.ManifestToRead = None,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="Undo what a mail reader or a copy did to file names and times; no octet changes.",
        ),
    ] = False,
    rebuild: Annotated[
        bool,
        typer.Option(
            "--rebuild",
            help="Make a new index from the files alone; the old one is kept beside it.",
        ),
    ] = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> int:
    """Prove every file against the index, and the index against its seal; name what differs.

    Finds altered, missing, foreign, half-written and renamed files, and rows and records that
    were altered, removed, added or re-ordered. Exit code 13 when anything was found.
    """
    from store.journal import is_noted

    listener = state.listen("check", as_json=as_json, quiet=quiet)
    if seal is not None and not is_noted(seal):
        raise UsageError(
            "a seal has 32 letters and digits (or 64 hexadecimal ones), as 'waystation seal' "
            "shows it; this has not."
        )
    if rebuild:
        _rebuild(archive, listener)
    return run(archive, listener, seal, manifest, is_repairing=repair)


def run(
    archive: Path,
    listener: Listener,
    seal: str | None = None,
    manifest: Path | None = None,
    *,
    is_repairing: bool = False,
) -> int:
    """Check one archive, record that, and tell what was found; return the exit code.

    Raises:
        WaystationError: there is no archive that could be checked.
    """
    from store.finds import Checked
    from store.sealcheck import Sealed

    work = _Work(archive, listener, seal, manifest, Checked(), Sealed())
    wishes = asked(seal=seal, manifest=manifest and manifest.name, repair=is_repairing)
    if is_repairing:
        work.repair(wishes)
        why_not = None
    else:
        with reading(archive, "check", wishes) as recorded:
            work.look(recorded.totals)
        why_not = recorded.why_not
    return work.tell(why_not)


@dataclass(slots=True)
class _Work:
    """One check, and what it has found."""

    path: Path
    listener: Listener
    seal: str | None
    manifest: Path | None
    counted: Checked
    sealed: Sealed
    kinds: Counter[str] = field(default_factory=Counter)
    harmless: list[Discrepancy] = field(default_factory=list)
    followed: list[dict[str, Any]] = field(default_factory=list)
    compared: Compared | None = None
    repaired: int = 0
    restored: int = 0
    """Of these, what was wrong with the journal, which the index had whole."""

    def look(self, totals: dict[str, Any]) -> None:
        """Check an archive without a change to it."""
        from store.archive import Archive

        try:
            with Archive.read(self.path) as opened:
                self._check(opened)
        finally:
            totals.update(self.totals())

    def repair(self, wishes: dict[str, Any]) -> None:
        """Check, and undo what can be undone."""
        from store.archive import Archive
        from store.finds import Kind
        from store.repair import repair as repair_found
        from store.repair import restore_journal

        totals: dict[str, Any] = {}
        with (
            Archive.write(self.path, "check --repair") as opened,
            opened.run("check --repair", None, totals, asked=wishes),
        ):
            self._check(opened)
            self.repaired = repair_found(opened, self.harmless)
            if self.kinds[Kind.RECORD.value]:
                self.restored = restore_journal(opened)
                self.repaired += self.restored
            totals.update(self.totals())

    def totals(self) -> dict[str, Any]:
        """Return what there is to count."""
        return {
            "messages": self.counted.messages,
            "octets": self.counted.octets,
            "discrepancies": self.kinds.total(),
            "repaired": self.repaired,
            "restored": self.restored,
            "kinds": dict(self.kinds),
        }

    def _check(self, opened: Archive) -> None:
        from store.check import check
        from store.history import deeds
        from store.manifest import Compared, compare
        from store.sealcheck import noted

        for found in check(opened, self.listener, self.counted, self.sealed):
            self._found(found)
        if self.seal is not None:
            for found in noted(opened, self.seal, self.sealed):
                self._found(found)
            self.followed = record_rows(self.sealed.records, deeds(opened.database))
        if self.manifest is not None:
            self.compared = Compared()
            with self.manifest.open(encoding="utf-8", errors="replace") as lines:
                for found in compare(opened, lines, self.compared):
                    self._found(found)

    def _found(self, found: Discrepancy) -> None:
        self.kinds[found.kind.value] += 1
        self.listener.finding(_discrepancy(found), _discrepancy_text(found))
        if found.can_be_undone:
            self.harmless.append(found)

    def tell(self, why_not: str | None) -> int:
        """Tell what was found; return the exit code."""
        listener, sealed, kinds = self.listener, self.sealed, self.kinds
        listener.close()
        can_be_undone = len(self.harmless) == kinds.total()
        listener.say(_sentence(self.counted, kinds, self.repaired, can_be_undone=can_be_undone))
        if self.restored:
            listener.say("The journal has its records again: the index had the whole chain.")
        self._tell_seal()
        for notice in sealed.notices:
            listener.say(f"{notice[:1].upper()}{notice[1:]}.")
        if why_not is not None:
            listener.say(f"This check is not recorded in the journal: {why_not}")
        is_clean = self.repaired == kinds.total()
        code = 0 if is_clean else _FOUND_SOMETHING
        values: dict[str, Any] = {
            **self.totals(),
            "record": sealed.record.number if sealed.record else None,
            "unsealed": sealed.unsealed,
            "notices": sealed.notices,
            "not_recorded": why_not,
        }
        if self.seal is not None:
            values["noted"] = sealed.noted.number if sealed.noted else None
        if self.compared is not None:
            values["same"] = self.compared.same
            values["came_since"] = self.compared.came_since
        listener.summary("clean" if is_clean else "discrepancies", code, values)
        return code

    def _tell_seal(self) -> None:
        listener, noted = self.listener, self.sealed.noted
        if noted is not None:
            is_proven = not {"noted", "root", "leaf", "history", "record"} & set(self.kinds)
            sure = "what was there then is as it was" if is_proven else "but see above"
            if self.sealed.remarks:
                sure = "the records since are a chain from it"
            listener.say(
                f"The seal is that of record {noted.number} of {noted.values.get('ended')}: {sure}."
            )
            runs = len(self.followed)
            listener.say(f"{count_text(runs, 'run')} since then{':' if runs else '.'}")
        for values in self.followed:
            listener.row("followed", values)
        if self.followed:
            listener.table(*record_table(self.followed))
        if self.compared is not None:
            since = f", {self.compared.came_since:,} came since" if self.compared.came_since else ""
            same = count_text(self.compared.same, "message")
            listener.say(f"{same} as the manifest says{since}.")


def record_rows(records: list[Record], deeds: dict[int, dict[str, int]]) -> list[dict[str, Any]]:
    """Return records as programs are told of them, each with what the run did."""
    from store.journal import short

    kept = ("command", "account", "started", "ended", "outcome", "counts", "totals", "asked")
    nothing = {"came": 0, "changed": 0, "went": 0}
    return [
        {
            "record": record.number,
            "seal": short(record.hash),
            **{key: record.values.get(key) for key in kept},
            **deeds.get(record.number, nothing),
        }
        for record in records
    ]


def record_table(records: list[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Return titles and rows of a table of records for people."""
    keys = ("record", "ended", "command", "account", "outcome", "came", "changed", "went")
    titles = ["server" if key == "account" else key for key in keys]
    return titles, [[_cell(record.get(key)) for key in keys] for record in records]


def _cell(value: object) -> str:
    return "" if value is None else plain(str(value), 100)


def _rebuild(archive: Path, listener: Listener) -> None:
    from store.rebuild import rebuild

    messages, folders = rebuild(archive, listener)
    listener.close()
    stands = f"{count_text(messages, 'message')} in {count_text(folders, 'folder')}"
    listener.say(f"A new index stands: {stands}.")
    listener.row("rebuilt", {"messages": messages, "folders": folders})


def _discrepancy(found: Discrepancy) -> dict[str, Any]:
    return {
        "type": "discrepancy",
        "kind": found.kind.value,
        "folder": found.folder,
        "uidvalidity": found.uidvalidity,
        "uid": found.uid,
        "path": found.path,
        "text": found.text,
        "is_loss": found.is_loss,
    }


def _discrepancy_text(found: Discrepancy) -> str:
    uid = f" UID {found.uid}" if found.uid is not None else ""
    where = f"{plain(found.folder)}{uid}: " if found.folder else ""
    return f"{found.kind.value}: {where}{found.text} ({plain(found.path)})"


def _sentence(counted: Checked, kinds: Counter[str], repaired: int, *, can_be_undone: bool) -> str:
    proven = f"{count_text(counted.messages, 'message')} ({size_text(counted.octets)}) checked"
    if not kinds:
        return f"{proven}: every file is what was archived."
    text = f"{proven}: {sum_text(kinds)}."
    if repaired:
        return f"{text} {repaired:,} repaired."
    if can_be_undone:
        return f"{text} No message is lost; 'waystation check ARCHIVE --repair' undoes this."
    return text
