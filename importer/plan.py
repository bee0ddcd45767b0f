"""What an import would do, decided without sending anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from importer.folders import BY_YOUR_MAP, SourceFolder, map_folders
from waystation.model import SpecialUse, join_levels, split_name

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from importer.folders import TargetFolders
    from store.archive import Archive
    from store.index import ArchivedFolder
    from store.transfers import MappedFolder

_DAY = 86_400
_RECENT = (90 * _DAY, 730 * _DAY)
"""What people need first: the last three months of all folders, then two years, then the rest."""

_FIRST = (SpecialUse.INBOX, SpecialUse.SENT, SpecialUse.DRAFTS)
_LAST = (SpecialUse.JUNK, SpecialUse.TRASH)


@dataclass(frozen=True, slots=True)
class PlannedFolder:
    """Where one archived folder goes."""

    folder_id: int
    source: str
    target: str
    exists: bool
    reasons: tuple[str, ...]
    messages: int
    """Messages that are still to be sent."""
    octets: int


@dataclass(frozen=True, slots=True)
class FolderPlan:
    """The whole folder map."""

    folders: tuple[PlannedFolder, ...]
    to_create: tuple[tuple[str, ...], ...]
    """What the target lacks, parents first."""
    unused: tuple[str, ...]
    """Names in the user's folder map that the archive does not have."""


def folder_map(
    archive: Archive,
    target_id: int | None,
    target: TargetFolders,
    wishes: Mapping[str, str],
    left_out: Collection[str] = (),
) -> FolderPlan:
    """Return where every archived folder goes; what the ledger knows already stays so.

    Folders that are ``left_out`` have their place in it, but are not to be created.
    """
    folders = archive.index.folders()
    names = {folder.id: folder.name for folder in folders}
    known = archive.transfers.folder_map(target_id) if target_id is not None else {}
    kept = {names[number]: mapped for number, mapped in known.items() if number in names}
    for name in [name for name in kept if _follows_a_new_wish(name, kept, wishes)]:
        del kept[name]
    override = {name: mapped.name for name, mapped in kept.items()} | dict(wishes)
    result = map_folders(
        [SourceFolder(split_name(folder.name), folder.special_use) for folder in folders],
        target,
        source_prefix=archive.description.source_prefix,
        override=override,
        decided=[
            name
            for name, mapped in kept.items()
            if name not in wishes and BY_YOUR_MAP not in mapped.reasons
        ],
    )
    unsent = archive.transfers.unsent_totals(target_id if target_id is not None else -1)
    by_name = {folder.name: folder for folder in folders}
    planned = []
    for mapped in result.folders:
        folder = by_name[mapped.source]
        earlier = kept.get(mapped.source)
        is_kept = earlier is not None and mapped.source not in wishes
        messages, octets = unsent.get(folder.id, (0, 0))
        planned.append(
            PlannedFolder(
                folder.id,
                mapped.source,
                join_levels(mapped.target),
                mapped.exists,
                earlier.reasons if is_kept and earlier is not None else mapped.reasons,
                messages,
                octets,
            )
        )
    unused = tuple(name for name in result.unused if name in wishes)
    needed = {
        levels[:depth]
        for mapped in result.folders
        if mapped.source not in left_out
        for levels in [mapped.target]
        for depth in range(1, len(levels) + 1)
    }
    to_create = tuple(levels for levels in result.to_create if levels in needed)
    return FolderPlan(tuple(planned), to_create, unused)


def _follows_a_new_wish(
    name: str, kept: Mapping[str, MappedFolder], wishes: Mapping[str, str]
) -> bool:
    """Whether a folder above is to go elsewhere than before; those below it go along."""
    levels = split_name(name)
    for depth in range(len(levels) - 1, 0, -1):
        above = join_levels(levels[:depth])
        if above in wishes:
            return above in kept and kept[above].name != wishes[above]
    return False


def slices(
    newest: int | None,
    newest_first: bool,
) -> Iterator[tuple[int | None, int | None]]:
    """Yield the spans of time to send one after the other, as lower and upper bound in seconds.

    So the newest mail of every folder arrives first, and folders change only a few times.
    """
    if newest is None or not newest_first:
        yield None, None
        return
    high: int | None = None
    for age in _RECENT:
        yield newest - age, high
        high = newest - age
    yield None, high


def rank(folder: ArchivedFolder) -> tuple[int, str]:
    """Return a key that sorts folders by what people miss first."""
    if folder.special_use in _FIRST:
        return _FIRST.index(folder.special_use), folder.name
    if folder.special_use in _LAST:
        return len(_FIRST) + 1 + _LAST.index(folder.special_use), folder.name
    return len(_FIRST), folder.name
