"""Which folder of the target takes the messages of which archived folder, and why.

Decided from two lists of folders alone, so that a plan can be shown before anything is sent. No
two archived folders end in one, unless the person's own folder map says so, not even on a server
that ignores case. What was decided is said in short sentences, where a name changes.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from importer import house_names
from waystation.model import Folder, SpecialUse, is_inbox, join_levels, split_name

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

Levels = tuple[str, ...]

BY_YOUR_MAP = "by your folder map"


@dataclass(frozen=True, slots=True)
class SourceFolder:
    """An archived folder."""

    levels: Levels
    special_use: SpecialUse | None = None
    """What the source said the folder is for."""


@dataclass(frozen=True, slots=True)
class TargetFolders:
    """What the target has, and how it builds names."""

    folders: tuple[Folder, ...]
    delimiter: str | None
    """None where the target knows no levels."""
    prefix: Levels = ()
    """The levels of the personal namespace (RFC 2342): ``("INBOX",)`` on Courier."""
    is_exchange: bool = False
    """Whether Exchange's rules for names hold, see ``house_names``."""


@dataclass(frozen=True, slots=True)
class Mapped:
    """Where the messages of an archived folder go."""

    source: str
    """The archived name, see ``join_levels``."""
    target: Levels
    exists: bool
    """Whether the target has the folder already, and it can hold messages."""
    reasons: tuple[str, ...] = ()
    """Why the name differs, for people; empty when it does not."""


@dataclass(frozen=True, slots=True)
class FolderMap:
    """The whole decision."""

    folders: tuple[Mapped, ...]
    """INBOX first, and a target folder always before those below it."""
    parents: tuple[Levels, ...] = ()
    """Folders above the targets that do not exist and take no messages, upper ones first."""
    unused: tuple[str, ...] = ()
    """Names in the person's folder map that the archive does not have."""

    @property
    def to_create(self) -> tuple[Levels, ...]:
        """Every folder that the target lacks, in the order in which to create them."""
        lacking = {mapped.target for mapped in self.folders if not mapped.exists}
        return tuple(sorted(lacking | set(self.parents)))


def map_folders(
    archived: Iterable[SourceFolder],
    target: TargetFolders,
    *,
    source_prefix: Levels = (),
    override: Mapping[str, str] = MappingProxyType({}),
    decided: Collection[str] = (),
) -> FolderMap:
    """Return where each archived folder goes.

    In this order: the person's folder map (archived name to target name, prefix and all; folders
    below go along); INBOX; the target's folder for the same special use; the place of the folder
    above; the same name.

    ``decided`` are the names in ``override`` that were so decided earlier, and not by the person:
    no other folder goes where these go.
    """
    sources = {_canonical(folder.levels): folder for folder in _sorted(archived)}
    wishes = {_canonical(split_name(name)): wish for name, wish in override.items() if wish}
    plan = _Plan(target, source_prefix, sources)

    for levels, wish in sorted(wishes.items()):
        plan.follow_wish(levels, _canonical(split_name(wish)))
    for name in decided:
        plan.hold(_canonical(split_name(name)))
    plan.take_inbox()
    for use, levels in _special_folders(plan, sources.values(), wishes):
        plan.take_special(use, levels)
    for depth in sorted({len(levels) for levels in sources}):
        rest = [levels for levels in sources if len(levels) == depth and levels not in plan.places]
        # of two names that differ in case, the one that the target has keeps it
        for levels in sorted(rest, key=lambda levels: (not plan.is_there(levels), levels)):
            plan.take_own_name(levels)

    folders = [plan.mapped(levels, folder) for levels, folder in sources.items()]
    folders.sort(key=lambda mapped: (not is_inbox(mapped.target), mapped.target, mapped.source))
    unused = [
        join_levels(wish)
        for wish in sorted(wishes.keys() - sources.keys())
        if not any(levels[: len(wish)] == wish for levels in sources)
    ]
    return FolderMap(
        tuple(folders),
        tuple(sorted(plan.missing_parents(folders))),
        tuple(unused),
    )


def plainer_names(
    targets: Iterable[Levels],
    refused: Collection[Levels],
    taken: Iterable[Levels],
    suffix: str = "",
) -> dict[Levels, Levels]:
    """Return, for folders whose name the target refuses, names that any server takes.

    Args:
        targets: folders that are not there; without any that has no plainer name.
        refused: what the target would not create, with the folders above them.
        taken: every other folder, there or planned; no new name is one of these, in any case.
        suffix: what a name gets that is plain already, where the target reserves names.
    """
    folded = {_fold(_INBOX)}
    for levels in taken:
        folded |= {_fold(levels[:depth]) for depth in range(1, len(levels) + 1)}
    renamed: dict[Levels, Levels] = {}
    found: dict[Levels, Levels] = {}
    for levels in sorted(targets):
        place: Levels = ()
        for depth in range(1, len(levels) + 1):
            old = levels[:depth]
            if old not in refused:
                place = old
                continue
            if old not in renamed:
                wanted = (*place, _plainer(old[-1]))
                if wanted == old and suffix:
                    wanted = (*place, f"{old[-1]}{suffix}")
                renamed[old] = old if wanted == old else _unlike(wanted, folded)
                folded.add(_fold(renamed[old]))
            place = renamed[old]
        if place != levels:
            found[levels] = place
    return found


def well_known_use(name: str) -> SpecialUse | None:
    """Return what a folder of this name usually is for, in any of the common languages."""
    return _USES.get(_fold_level(name))


@dataclass(frozen=True, slots=True)
class _Place:
    """Levels on the target, and how they came about."""

    levels: Levels
    reasons: tuple[str, ...] = ()


class _Plan:
    """The places given so far, and what of the target they leave."""

    def __init__(
        self, target: TargetFolders, source_prefix: Levels, sources: Iterable[Levels]
    ) -> None:
        self.target = target
        self.source_prefix = source_prefix
        self.places: dict[Levels, _Place] = {}
        # of a folder listed twice, the line that says it can hold messages counts
        existing = sorted(target.folders, key=lambda folder: folder.is_selectable)
        self._existing = {_canonical(folder.levels): folder.is_selectable for folder in existing}
        self._existing[_INBOX] = True
        self._spelling: dict[Levels, Levels] = {_fold(_INBOX): _INBOX}
        # some servers list a folder without those above it
        self._there = {
            levels[:depth] for levels in self._existing for depth in range(1, len(levels) + 1)
        }
        for levels in (*sorted(self._existing), *sorted(self._there)):
            self._spelling.setdefault(_fold(levels), levels)
        self._taken: dict[Levels, set[Levels]] = {_fold(_INBOX): {_INBOX}}
        self._wished: set[Levels] = set()
        self._last_number: dict[Levels, int] = {}
        self._desired = {_fold(self.by_name(levels).levels) for levels in sources}

    # -- the ways to a place --------------------------------------------------------------

    def follow_wish(self, levels: Levels, wish: Levels) -> None:
        """Put a folder where the person wants it; others may go there too."""
        fitting = self._fitting(wish)
        self.places[levels] = _Place(fitting.levels, (BY_YOUR_MAP, *fitting.reasons))
        self._wished.add(levels)

    def hold(self, levels: Levels) -> None:
        """Let no other folder go where this one goes."""
        self._take(self.places[levels].levels)

    def take_inbox(self) -> None:
        """Put INBOX into INBOX."""
        self.places.setdefault(_INBOX, _Place(_INBOX))

    def take_special(self, use: SpecialUse, levels: Levels) -> None:
        """Put a folder into the target's folder for the same use, if there is one."""
        found = self.special_folder(use, self.by_name(levels).levels)
        if found is None or found in self._taken.get(_fold(found), ()):
            return
        self._take(found)
        self.places[levels] = _Place(found, (f"the target keeps {_PURPOSE[use]} there",))

    def take_own_name(self, levels: Levels) -> None:
        """Put a folder below the place of the one above it, under its own name."""
        place = self._below_parent(levels)
        found = self._spelled_as_existing(place.levels)
        reasons = place.reasons
        if not self._is_free(found):
            is_inbox_there = _fold(found) == _fold(_INBOX)
            reasons += (_ONLY_INBOX if is_inbox_there else _SAME_NAME,)
            found = self._numbered(place.levels)
        elif found != place.levels:
            reasons += ("spelled as on the target",)
        self._take(found)
        self.places[levels] = _Place(found, reasons)

    # -- questions ------------------------------------------------------------------------

    def by_name(self, levels: Levels) -> _Place:
        """Return where a folder goes by its name alone."""
        own = self.without_prefix(levels)
        prefix = self.target.prefix
        # A folder that is the prefix itself goes below it as well: on Dovecot with Maildir it is
        # INBOX once more, and would double what lies there.
        if is_inbox(own[:1]) and own == levels and prefix[:1] == _INBOX:
            prefix = ()  # what lies below INBOX already lies below the prefix
        place = self._fitting(prefix + own)
        reasons: tuple[str, ...] = ()
        if _fold(prefix + own) == _fold(levels):
            return _Place(place.levels, place.reasons)  # the two prefixes are the same
        if own != levels:
            reasons += (f'"{join_levels(self.source_prefix)}" is only the prefix of the source',)
        if prefix:
            reasons += (f'the target wants its folders below "{join_levels(prefix)}"',)
        return _Place(place.levels, reasons + place.reasons)

    def without_prefix(self, levels: Levels) -> Levels:
        """Return the levels below the source's personal namespace."""
        length = len(self.source_prefix)
        is_below = _fold(levels[:length]) == _fold(self.source_prefix) and len(levels) > length
        return levels[length:] if is_below else levels

    def is_there(self, levels: Levels) -> bool:
        """Tell whether the target has a folder of exactly the name that this one would get."""
        return self._below_parent(levels).levels in self._existing

    def goes_with_wish(self, levels: Levels) -> bool:
        """Tell whether the nearest folder above is one that the person has put somewhere."""
        return self._parent(levels) in self._wished

    def special_folder(self, use: SpecialUse, wanted: Levels) -> Levels | None:
        """Return the target's folder for a use: by its attribute, else by its name.

        Of the names, the one that is wanted anyway comes first; a second plan keeps the first.
        """
        usable = sorted(
            (folder for folder in self.target.folders if folder.is_selectable),
            key=lambda folder: folder.levels,
        )
        marked = [folder.levels for folder in usable if folder.special_use is use]
        if marked:
            return marked[0]
        length = len(self.target.prefix)
        named = [
            folder.levels
            for folder in usable
            if folder.special_use is None
            and (
                _fold(folder.levels) == _fold(wanted)
                or (
                    len(folder.levels) == length + 1
                    and _fold(folder.levels[:length]) == _fold(self.target.prefix)
                    and well_known_use(folder.levels[-1]) is use
                )
            )
        ]
        return min(
            named,
            key=lambda levels: (_fold(levels) != _fold(wanted), _rank(levels[-1]), levels),
            default=None,
        )

    def mapped(self, levels: Levels, folder: SourceFolder) -> Mapped:
        """Return the decision on a folder; a name that has not changed needs no reason."""
        place = self.places[levels]
        is_unchanged = place.levels == levels and levels not in self._wished
        exists = self._existing.get(place.levels, False)
        reasons = () if is_unchanged else place.reasons
        return Mapped(join_levels(folder.levels), place.levels, exists, reasons)

    def missing_parents(self, folders: Sequence[Mapped]) -> set[Levels]:
        """Return what lies above the targets, is not there, and takes no messages."""
        above = {
            mapped.target[:depth] for mapped in folders for depth in range(1, len(mapped.target))
        }
        return above - self._there - {mapped.target for mapped in folders}

    # -- the steps ------------------------------------------------------------------------

    def _parent(self, levels: Levels) -> Levels | None:
        """Return the nearest folder above that has a place; a prefix is no parent."""
        own = self.without_prefix(levels)
        above = len(levels) - len(own)
        for depth in range(len(levels) - 1, above, -1):
            if _canonical(levels[:depth]) in self.places:
                return _canonical(levels[:depth])
        return None

    def _below_parent(self, levels: Levels) -> _Place:
        """Return where a folder goes when it follows the one above it."""
        by_name = self.by_name(levels)
        parent = self._parent(levels)
        if parent is None or parent == _INBOX == self.places[parent].levels:
            return by_name
        above = self.places[parent].levels
        place = self._fitting(levels[len(parent) :], above)
        if place.levels == by_name.levels:
            return by_name
        return _Place(
            place.levels, (f'goes with its parent to "{join_levels(above)}"', *place.reasons)
        )

    def _fitting(self, levels: Levels, above: Levels = ()) -> _Place:
        """Return levels that the target can have, with the reasons for each change.

        What is ``above`` them is there, or fits already.
        """
        delimiter = self.target.delimiter
        reasons: dict[str, None] = {}
        fitting = list(above)
        for level in levels:
            fit = "".join("_" if _is_control(char) else char for char in level)
            if fit != level:
                reasons["a control character cannot be in a name"] = None
            if delimiter is not None and delimiter in fit:
                fit = fit.replace(delimiter, "_")
                reasons[f'"{delimiter}" divides levels on the target'] = None
            if not fit:
                fit = "_"
                reasons["a level needs a name"] = None
            fitting.append(fit)
        if delimiter is None and len(fitting) > 1:
            # What is there already may be called what no new folder can be.
            joined = "_".join(fitting)
            fitting = ["".join("_" if _is_control(char) else char for char in joined)]
            reasons["the target has no levels"] = None
        if self.target.is_exchange:
            return _in_exchange(tuple(fitting), len(above), reasons)
        return _Place(tuple(fitting), tuple(reasons))

    def _spelled_as_existing(self, levels: Levels) -> Levels:
        """Return the levels as the target writes them, where it differs only in case."""
        folded = _fold(levels)
        spelled: Levels = ()
        for depth, level in enumerate(levels, 1):
            spelled = (*spelled, level)
            if spelled not in self._there:
                spelled = self._spelling.get(folded[:depth], spelled)
        return spelled

    def _is_free(self, levels: Levels) -> bool:
        """Tell whether no folder has gone there, nor to a name that differs only in case.

        Names that differ in case may be two folders when the target shows that they are.
        """
        taken = self._taken.get(_fold(levels), set())
        if levels in taken:
            return False
        return not taken or (taken | {levels}) <= self._existing.keys()

    def _numbered(self, levels: Levels) -> Levels:
        """Return the first free name with a number, leaving alone what another folder wants."""
        key = _fold(levels)
        # thousands of names that differ in case must not be tried from 2 each time
        while True:
            number = self._last_number[key] = self._last_number.get(key, 1) + 1
            found = self._spelled_as_existing((*levels[:-1], f"{levels[-1]} ({number})"))
            if _fold(found) not in self._desired and self._is_free(found):
                return found

    def _take(self, levels: Levels) -> None:
        folded = _fold(levels)
        self._taken.setdefault(folded, set()).add(levels)
        for depth in range(1, len(levels) + 1):
            self._spelling.setdefault(folded[:depth], levels[:depth])


def _special_folders(
    plan: _Plan, sources: Iterable[SourceFolder], wishes: Mapping[Levels, str]
) -> list[tuple[SpecialUse, Levels]]:
    """Return the one source folder for each special use: by its attribute, else by its name."""
    candidates: dict[SpecialUse, list[tuple[tuple[bool, bool, int, int, Levels], Levels]]] = {}
    for folder in sources:
        levels = _canonical(folder.levels)
        if levels in wishes or is_inbox(levels) or plan.goes_with_wish(levels):
            continue
        by_name = _use_by_name(plan.without_prefix(levels))
        use = folder.special_use or by_name
        if use is None or use is SpecialUse.INBOX:
            continue
        wanted = plan.by_name(levels).levels
        is_namesake = _fold(plan.special_folder(use, wanted) or ()) == _fold(wanted)
        rank = _rank(levels[-1]) if by_name is use else len(_USES)
        order = (folder.special_use is None, not is_namesake, rank, len(levels), levels)
        candidates.setdefault(use, []).append((order, levels))
    return [(use, min(candidates[use])[1]) for use in SpecialUse if use in candidates]


def _in_exchange(levels: Levels, above: int, reasons: Mapping[str, None]) -> _Place:
    """Return levels that Exchange takes; the first ``above`` of them fit already."""
    told = dict(reasons)
    fit = (*levels[:above], *(house_names.fitting(level) for level in levels[above:]))
    if fit != levels:
        is_composed = fit == tuple(unicodedata.normalize("NFC", level) for level in levels)
        told["in composed letters (NFC)" if is_composed else "Exchange takes no such name"] = None
    if not above and house_names.is_for_no_mail(fit[0]):
        told[f'Exchange keeps "{fit[0]}" for what is no mail'] = None
        fit = (f"{fit[0]}{house_names.SUFFIX}", *fit[1:])
    short = house_names.shortened(fit)
    if short != fit:
        told["so long a path is too much for Exchange"] = None
    return _Place(short, tuple(told))


def _use_by_name(levels: Levels) -> SpecialUse | None:
    """Return what a folder is for by its name, where such folders usually lie."""
    is_usual = len(levels) == 1 or (len(levels) == 2 and _fold_level(levels[0]) in _CONTAINERS)
    return well_known_use(levels[-1]) if is_usual else None


def _sorted(archived: Iterable[SourceFolder]) -> list[SourceFolder]:
    """Return the folders in an order that does not depend on how the server listed them."""
    # backwards: of one folder said twice, the one with a special use is the last
    return sorted(archived, key=lambda folder: (folder.levels, folder.special_use or ""))


def _canonical(levels: Levels) -> Levels:
    """Return the levels with INBOX written so (RFC 3501 section 5.1)."""
    return _INBOX if is_inbox(levels) else levels


def _fold(levels: Levels) -> Levels:
    return tuple(_fold_level(level) for level in levels)


def _fold_level(level: str) -> str:
    """Return the same text for names that a server without case takes for one."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", level.casefold()).casefold())


def _plainer(level: str) -> str:
    """Return a level without what Cyrus, Courier and others do not take in a name."""
    changed = "".join("_" if char in _RISKY or char > "\uffff" else char for char in level)
    return changed.strip(" .") or "_"


def _unlike(levels: Levels, folded: Collection[Levels]) -> Levels:
    """Return the levels, with a number if they are taken."""
    free, number = levels, 1
    while _fold(free) in folded:
        number += 1
        free = (*levels[:-1], f"{levels[-1]} ({number})")
    return free


def _is_control(char: str) -> bool:
    return unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"}


def _rank(name: str) -> int:
    """Return how usual a well-known name is, 0 for the most usual."""
    return _RANKS.get(_fold_level(name), len(_RANKS))


_INBOX = ("INBOX",)
_RISKY = frozenset('"%*\\{}[]()/~&!;<>^`|')

_ONLY_INBOX = "INBOX can only be the inbox"
_SAME_NAME = "another archived folder has this name, at least where case is ignored"

_CONTAINERS = frozenset({"inbox", "[gmail]", "[google mail]"})

_PURPOSE = {
    SpecialUse.ALL: "all mail",
    SpecialUse.ARCHIVE: "archived mail",
    SpecialUse.DRAFTS: "drafts",
    SpecialUse.FLAGGED: "flagged mail",
    SpecialUse.INBOX: "new mail",
    SpecialUse.JUNK: "junk mail",
    SpecialUse.SENT: "sent mail",
    SpecialUse.TRASH: "deleted mail",
}

WELL_KNOWN: Mapping[SpecialUse, tuple[str, ...]] = MappingProxyType(
    {
        # as Outlook, Exchange, Thunderbird, Apple Mail, Gmail and web mailers call them
        SpecialUse.SENT: (
            *("Sent", "Sent Items", "Sent Messages", "Sent Mail", "Sent-Mail", "Sent Email"),
            *("Gesendet", "Gesendete Elemente", "Gesendete Objekte", "Gesendete Nachrichten"),
            *("Éléments envoyés", "Envoyés", "Messages envoyés", "Objets envoyés"),
            *("Courrier envoyé", "Elements envoyes", "Envoyes"),
            *("Enviados", "Elementos enviados", "Mensajes enviados", "Correo enviado"),
            *("Posta inviata", "Inviata", "Inviati", "Messaggi inviati", "Elementi inviati"),
            *("Verzonden", "Verzonden items", "Verzonden berichten", "Verzonden objecten"),
            *("Itens enviados", "Enviadas", "Mensagens enviadas", "E-mails enviados"),
            *("Correio enviado", "Enviada", "Sendt", "Sendt post", "Sendte elementer"),
            *("Sendte beskeder", "Sendte meldinger", "Sendt e-post", "Sendte"),
            *("Skickat", "Skickade objekt", "Skickade meddelanden", "Skickade"),
            *("Lähetetyt", "Lähetetyt viestit", "Lähetetyt kohteet"),
            *("Wysłane", "Elementy wysłane", "Wiadomości wysłane", "Poczta wysłana"),
            *("Odeslané", "Odeslaná pošta", "Odeslané položky", "Odoslané", "Odoslaná pošta"),
            *("Elküldött", "Elküldött elemek", "Elküldött üzenetek", "Elküldött levelek"),
            *("Отправленные", "Отправленные сообщения", "Отправленные письма"),
            *("Надіслані", "Надіслані елементи", "Надіслані листи", "Відправлені"),
            *("Gönderilmiş", "Gönderilmiş Öğeler", "Gönderilmiş Postalar", "Gönderilenler"),
            *(
                "送信済み",
                "送信済みアイテム",
                "送信済みメール",
                "送信済みメッセージ",
                "送信済みトレイ",
            ),
            *("已发送", "已发送邮件", "已发送消息", "已傳送", "已傳送的郵件", "寄件備份", "已寄出"),
            *("보낸 편지함", "보낸편지함", "보낸 메일함", "보낸메일함", "보낸 메시지"),
            *("Trimise", "Elemente trimise", "Απεσταλμένα", "Enviats", "Elements enviats"),
            *("Poslano", "Poslane stavke", "Изпратени", "Đã gửi", "Terkirim", "פריטים שנשלחו"),
        ),
        SpecialUse.DRAFTS: (
            *("Drafts", "Draft", "Draft Messages", "Entwürfe", "Entwurf", "Entwuerfe"),
            *("Brouillons", "Brouillon", "Borradores", "Borrador", "Bozze", "Bozza"),
            *("Concepten", "Klad", "Rascunhos", "Rascunho", "Kladder", "Utkast", "Udkast"),
            *("Luonnokset", "Kopie robocze", "Wersje robocze", "Szkice", "Robocze"),
            *("Koncepty", "Rozepsané", "Rozepsaná pošta", "Rozpísané", "Piszkozatok"),
            *("Черновики", "Чернетки", "Taslaklar", "Taslak", "下書き", "草稿", "草稿箱"),
            *("草稿匣", "임시 보관함", "임시보관함", "임시 보관", "Ciorne", "Schițe", "Πρόχειρα"),
            *("Esborranys", "Skice", "Nacrti", "Osnutki", "Чернови", "Bản nháp", "Thư nháp"),
            *("Draf", "טיוטות"),
        ),
        SpecialUse.TRASH: (
            *("Trash", "Deleted Items", "Deleted Messages", "Deleted", "Bin", "Trash Can"),
            *("Papierkorb", "Gelöscht", "Gelöschte Elemente", "Gelöschte Objekte"),
            *("Gelöschte Nachrichten", "Corbeille", "Éléments supprimés", "Supprimés"),
            *("Messages supprimés", "Elements supprimes", "Papelera", "Eliminados"),
            *("Elementos eliminados", "Mensajes eliminados", "Papelera de reciclaje"),
            *("Cestino", "Posta eliminata", "Eliminata", "Elementi eliminati"),
            *("Prullenbak", "Prullenmand", "Verwijderde items", "Verwijderd"),
            *("Verwijderde berichten", "Lixo", "Lixeira", "Itens excluídos", "Itens eliminados"),
            *("Papirkurv", "Slettet post", "Slettede elementer", "Slettede meldinger"),
            *("Søppelbøtte", "Søppel", "Papperskorg", "Papperskorgen", "Borttaget"),
            *("Borttagna objekt", "Roskakori", "Poistetut", "Poistetut viestit", "Kosz"),
            *("Elementy usunięte", "Usunięte", "Koš", "Odstraněná pošta", "Odstraněné"),
            *("Kôš", "Odstránená pošta", "Kuka", "Lomtár", "Törölt elemek", "Törölt"),
            *("Корзина", "Удаленные", "Удалённые", "Удалённые элементы", "Удаленные элементы"),
            *("Кошик", "Видалені", "Видалені елементи", "Çöp", "Çöp Kutusu", "Çöp Sepeti"),
            *("Silinmiş Öğeler", "Silinmiş", "ゴミ箱", "ごみ箱", "削除済みアイテム", "削除済み"),
            *("已删除", "已删除邮件", "垃圾桶", "垃圾筒", "刪除的郵件", "已刪除的郵件", "废纸篓"),
            *("휴지통", "지운 편지함", "지운 메일함", "삭제된 편지함", "Coș de gunoi", "Gunoi"),
            *("Elemente șterse", "Κάδος απορριμμάτων", "Διαγραμμένα", "Paperera", "Smeće"),
            *("Elements suprimits", "Izbrisano", "Koš za smeti", "Кошче", "Thùng rác"),
            *("Sampah", "פריטים שנמחקו", "אשפה"),
        ),
        SpecialUse.JUNK: (
            *("Junk", "Junk Email", "Junk E-mail", "Junk Mail", "Spam", "Bulk Mail", "Bulk"),
            *("Junk-E-Mail", "Spamverdacht", "Werbung", "Unerwünscht", "Unerwünschte Werbung"),
            *("Courrier indésirable", "Indésirables", "Pourriel", "Pourriels"),
            *("Courrier indesirable", "Correo no deseado", "Correo basura", "No deseado"),
            *("Posta indesiderata", "Indesiderata", "Ongewenste e-mail", "Ongewenst"),
            *("Ongewenste reclame", "Lixo Eletrônico", "Lixo Electrónico", "Lixo eletrónico"),
            *("Uønsket mail", "Uønsket post", "Uønsket e-mail", "Uønsket e-post", "Søppelpost"),
            *("Skräppost", "Skräp", "Roskaposti", "Roskapostit", "Wiadomości-śmieci"),
            *("Niechciane", "Wiadomości śmieci", "Nevyžádaná pošta", "Nevyžádané"),
            *("Nevyžiadaná pošta", "Levélszemét", "Спам", "Нежелательная почта"),
            *("Небажана пошта", "Önemsiz", "Önemsiz E-posta", "Gereksiz", "İstenmeyen"),
            *("迷惑メール", "垃圾邮件", "垃圾郵件", "垃圾箱", "스팸", "스팸 메일함", "스팸메일함"),
            *("정크 메일", "정크 메일함", "Nesolicitate", "E-mail nedorit", "Ανεπιθύμητα"),
            *("Ανεπιθύμητη αλληλογραφία", "Correu brossa", "Neželjena pošta", "Vsiljena pošta"),
            *("Нежелана поща", "Thư rác", "דואר זבל"),
        ),
        SpecialUse.ARCHIVE: (
            *("Archive", "Archives", "Archived", "Archiv", "Archivo", "Archivos", "Archivio"),
            *("Archief", "Arquivo", "Arquivos", "Arquivo Morto", "Arkiv", "Arkisto"),
            *("Archiwum", "Archív", "Archívum", "Архив", "Архів", "Arşiv", "アーカイブ"),
            *("归档", "存档", "封存", "보관", "보관함", "Arhivă", "Arhiva", "Αρχείο", "Arxiu"),
            *("Arhiv", "Lưu trữ", "Arsip", "ארכיון"),
        ),
    }
)
"""Names of special folders, the most usual first, for servers that mark none (RFC 6154)."""

_USES = {_fold_level(name): use for use, names in WELL_KNOWN.items() for name in names}

_RANKS = {
    _fold_level(name): rank for names in WELL_KNOWN.values() for rank, name in enumerate(names)
}
