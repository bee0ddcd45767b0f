"""A list of mailboxes: who moves from where to where, and everything that is wrong with it.

Nothing is asked of a server, a keyring or a command. The faults are told all at once, so that a
list of thousands is mended in one go.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from store.names import directory_name, sameness
from waystation.address import bare_domain, parse_account
from waystation.batch.faults import Fault, FaultKind, ListError
from waystation.batch.form import Form, read_table
from waystation.errors import UsageError, plain
from waystation.providers import PROVIDERS, by_name
from waystation.selection import Selection

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from waystation.batch.form import Table

OWN_FILES = ("status.json", "batch.log", "waystation.toml", "batch-report")
"""What lies in ROOT beside the archives."""
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_ADDRESS = re.compile(r"[^@\s]+@[^@\s.]+(?:\.[^@\s.]+)+")
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9._-]+)(?::\d{1,5})?", re.ASCII)
_PRESET = re.compile(r"([A-Za-z0-9][A-Za-z0-9.-]*)(?:\+pop3)?:(?!//)", re.ASCII)
_PASSWORD_COLUMNS = ("password_env", "password_command", "password_keyring", "password")


class Side(StrEnum):
    """Which of the two servers of a mailbox a command speaks with."""

    SOURCE = "from"
    TARGET = "to"


@dataclass(frozen=True, slots=True)
class End:
    """One of the two servers, and where its password is. Its repr shows no password."""

    server: str | None = None
    """As on the command line; None: the archive remembers it."""
    password_env: str | None = None
    password_command: str | None = None
    password_keyring: str | None = None
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Mailbox:
    """One row."""

    line: int
    name: str
    directory: str
    """The archive's directory, a single component below ROOT."""
    source: End = End()
    target: End = End()
    priority: int = 0
    """Who has more comes first."""
    folders: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is known besides the list."""

    side: Side | None = None
    """Whose server and password the command needs; None: it needs none."""
    server: str | None = None
    """HOST[:PORT] of the source, for Microsoft's form, which names none."""
    has_password: bool = False
    """Whether a password, or another way to sign in, was given for all mailboxes."""
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    there: Collection[str] = ()
    """The names in ROOT."""
    has_target: Callable[[str], bool] = lambda _: False
    """Whether the archive in a directory of ROOT knows where to send to."""


@dataclass(frozen=True, slots=True)
class MailboxList:
    """A list without faults."""

    form: Form
    mailboxes: tuple[Mailbox, ...]
    passwords: int
    """How many mailboxes have a password written in the list."""


def read_list(octets: bytes, around: Surroundings, place: str = "the list") -> MailboxList:
    """Return the mailboxes of a list, in its order.

    Raises:
        ListError: it has faults; each is in the error, with the number of its line.
    """
    table = read_table(octets)
    if table.form is Form.MICROSOFT and around.side is Side.SOURCE and around.server is None:
        words = "Microsoft's form names no server; give --server HOST[:PORT] for the source"
        table.faults.append(Fault(1, None, FaultKind.NO_SOURCE, words))
    reader = _Reader(table, around)
    mailboxes = tuple(reader.mailbox(line, row) for line, row in table.rows)
    if not table.faults and not mailboxes:
        table.faults.append(Fault(1, None, FaultKind.NO_LIST, "the list names no mailbox"))
    if table.faults or table.form is None:
        raise ListError(place, table.faults)
    passwords = sum(
        mailbox.source.password is not None or mailbox.target.password is not None
        for mailbox in mailboxes
    )
    return MailboxList(table.form, mailboxes, passwords)


class _Reader:
    """Rows to mailboxes; what is wrong goes into the table's faults."""

    def __init__(self, table: Table, around: Surroundings) -> None:
        self._form = table.form
        self._faults = table.faults
        self._around = around
        self._there = {sameness(name): name for name in around.there}
        self._names: dict[str, int] = {}
        self._places: dict[str, tuple[int, str]] = {}
        self._targets: dict[str, int] = {}

    def mailbox(self, line: int, row: dict[str, str]) -> Mailbox:
        """Return the mailbox of a row."""
        match self._form:
            case Form.MICROSOFT:
                return self._microsoft(line, row)
            case Form.IMAPSYNC:
                return self._imapsync(line, row)
            case _:
                return self._ours(line, row)

    def _ours(self, line: int, row: dict[str, str]) -> Mailbox:
        name = row.get("mailbox", "")
        directory = self._place(line, "mailbox", name)
        ends = {}
        for side in Side:
            words = {column: row.get(f"{side}_{column}") or None for column in _PASSWORD_COLUMNS}
            end = End(row.get(side.value) or None, **words)
            ends[side] = end
            self._server(line, side, side.value, end.server)
            self._password(line, side, end)
        self._needed(line, ends, directory)
        return Mailbox(
            line,
            name,
            directory,
            ends[Side.SOURCE],
            ends[Side.TARGET],
            self._priority(line, row.get("priority", "")),
            self._globs(line, "folder", row.get("folder", "")),
            self._globs(line, "exclude", row.get("exclude", "")),
        )

    def _microsoft(self, line: int, row: dict[str, str]) -> Mailbox:
        name, user = row.get("emailaddress", ""), row.get("username", "")
        directory = self._place(line, "EmailAddress", name)
        if name and _ADDRESS.fullmatch(name) is None:
            words = f"{plain(name)!r} is no address, such as bob@contoso.com"
            self._fault(line, "EmailAddress", FaultKind.BAD_ADDRESS, words)
        server = None
        if not user:
            words = "nobody signs in: the field is empty"
            self._fault(line, "UserName", FaultKind.BAD_ADDRESS, words)
        elif self._around.server is not None:
            server = f"imaps://{user}@{self._around.server}"
            self._server(line, Side.SOURCE, "UserName", server)
        password = row.get("password") or None
        self._demand_password(line, Side.SOURCE, "Password", password)
        target = f"office365:{name}"
        if name and _ADDRESS.fullmatch(name):
            self._server(line, Side.TARGET, "EmailAddress", target)
        root = row.get("userroot", "").strip("/")
        folders = (_literal(root), f"{_literal(root)}/*") if root else ()
        end = End(server, password=password)
        return Mailbox(line, name, directory, end, End(target), folders=folders)

    def _imapsync(self, line: int, row: dict[str, str]) -> Mailbox:
        user = row["user1"]
        name = user if "@" in user or not user else f"{user}@{row['host1'].partition(':')[0]}"
        directory = self._place(line, "user1", name)
        ends = {}
        for side, number in ((Side.SOURCE, "1"), (Side.TARGET, "2")):
            host, login = row[f"host{number}"], row[f"user{number}"]
            password = row[f"password{number}"] or None
            server = None
            if not host or _HOST.fullmatch(host) is None:
                words = "it is empty" if not host else f"{plain(host)!r} is no HOST[:PORT]"
                self._fault(line, f"host{number}", FaultKind.BAD_SERVER, words)
            elif not login:
                words = "nobody signs in: the field is empty"
                self._fault(line, f"user{number}", FaultKind.BAD_ADDRESS, words)
            else:
                preset = _TOKEN_HOSTS.get(host.partition(":")[0].lower())
                server = f"{preset}:{login}" if preset else f"imaps://{login}@{host}"
                self._server(line, side, f"user{number}", server)
                if preset:
                    password = None  # Microsoft takes none, so the field means nothing
                else:
                    self._demand_password(line, side, f"password{number}", password)
            ends[side] = End(server, password=password)
        return Mailbox(line, name, directory, ends[Side.SOURCE], ends[Side.TARGET])

    def _place(self, line: int, column: str, name: str) -> str:
        """Return the directory of a mailbox, which no other may have."""
        if not name:
            self._fault(line, column, FaultKind.NO_MAILBOX, "the field is empty")
            return ""
        if name in (".", "..") or "/" in name or "\\" in name:
            words = f"{plain(name)!r} names a path, and has to name a folder in ROOT"
            self._fault(line, column, FaultKind.OUTSIDE, words)
            return ""
        directory = directory_name(name)
        key = sameness(directory)
        if key in OWN_FILES or key == "lost+found":
            words = f"{plain(name)!r} is the name of another file in ROOT"
            self._fault(line, column, FaultKind.RESERVED, words)
        elif (before := self._names.get(name)) is not None:
            words = f"{plain(name)} stands on line {before} already"
            self._fault(line, column, FaultKind.DOUBLED_MAILBOX, words)
        elif (other := self._places.get(key)) is not None:
            words = (
                f"{plain(name)} and {plain(other[1])} on line {other[0]} would be one folder where "
                "upper and lower case, or composed letters, are the same"
            )
            self._fault(line, column, FaultKind.SAME_FOLDER, words)
        elif self._there.get(key, directory) != directory:
            words = (
                f"ROOT holds {plain(self._there[key])} already, which would be the same folder "
                "elsewhere; write the mailbox like that"
            )
            self._fault(line, column, FaultKind.SAME_FOLDER, words)
        self._names.setdefault(name, line)
        self._places.setdefault(key, (line, name))
        return directory

    def _server(self, line: int, side: Side, column: str, server: str | None) -> None:
        """Look at a server's name."""
        if server is None:
            return
        preset = _PRESET.match(server)
        if preset is not None and by_name(preset[1].lower()) is None:
            # What follows may be a password: it is not repeated.
            words = f"{plain(preset[1])}: is no provider that 'waystation providers' lists"
            self._fault(line, column, FaultKind.UNKNOWN_PROVIDER, words)
            return
        if bare_domain(server) is not None:  # found out when its turn comes
            key = server.lower()
        else:
            try:
                account = parse_account(server)
            except UsageError as error:
                self._fault(line, column, FaultKind.BAD_SERVER, str(error))
                return
            key = account.key
            if side is Side.TARGET and account.protocol == "pop3":
                words = "POP3 takes no messages; a target is reached by IMAP"
                self._fault(line, column, FaultKind.TARGET_BY_POP3, words)
        if side is Side.TARGET:
            before = self._targets.setdefault(key, line)
            if before != line:
                words = f"line {before} sends to the same mailbox"
                self._fault(line, column, FaultKind.DOUBLED_TARGET, words)

    def _password(self, line: int, side: Side, end: End) -> None:
        """Look at where a password of our own form is."""
        given = [column for column in _PASSWORD_COLUMNS if getattr(end, column) is not None]
        if len(given) > 1:
            words = f"{' and '.join(f'{side}_{column}' for column in given)}: only one can be"
            self._fault(line, side.value, FaultKind.TWO_PASSWORDS, words)
        elif given and _takes_tokens(end.server):
            words = "Microsoft takes no passwords; leave it empty"
            self._fault(line, f"{side}_{given[0]}", FaultKind.PASSWORD_FOR_TOKENS, words)
        name = end.password_env
        if name is None:
            return
        column = f"{side}_password_env"
        if _VARIABLE.fullmatch(name) is None:
            # It may be the password itself: it is not repeated.
            words = "this is no name of an environment variable"
            self._fault(line, column, FaultKind.BAD_VARIABLE, words)
        elif side is self._around.side and not self._around.environment.get(name):
            words = f"the environment variable {plain(name)} is not set, or empty"
            self._fault(line, column, FaultKind.NO_VARIABLE, words)

    def _demand_password(self, line: int, side: Side, column: str, password: str | None) -> None:
        if not password and side is self._around.side and not self._around.has_password:
            self._fault(line, column, FaultKind.NO_PASSWORD, "the password is empty")

    def _needed(self, line: int, ends: Mapping[Side, End], directory: str) -> None:
        """See that what the command needs is there, or that the archive remembers it."""
        around = self._around
        if around.side is None or ends[around.side].server is not None or not directory:
            return
        if around.side is Side.SOURCE and directory not in around.there:
            words = "it is empty, and there is no archive yet that would know the source"
            self._fault(line, "from", FaultKind.NO_SOURCE, words)
        if around.side is Side.TARGET and not around.has_target(directory):
            words = "it is empty, and no archive knows the target"
            self._fault(line, "to", FaultKind.NO_TARGET, words)

    def _priority(self, line: int, text: str) -> int:
        if not text:
            return 0
        if re.fullmatch(r"-?\d{1,9}", text, re.ASCII) is None:
            words = f"{plain(text, 40)!r} is no whole number; who has more comes first"
            self._fault(line, "priority", FaultKind.BAD_PRIORITY, words)
            return 0
        return int(text)

    def _globs(self, line: int, column: str, text: str) -> tuple[str, ...]:
        globs = tuple(glob.strip() for glob in text.split("|") if glob.strip())
        try:
            Selection(globs)
        except UsageError as error:
            self._fault(line, column, FaultKind.BAD_PATTERN, str(error))
        return globs

    def _fault(self, line: int, column: str, kind: FaultKind, text: str) -> None:
        self._faults.append(Fault(line, column, kind, text))


_TOKEN_HOSTS = {
    preset.imap.host: preset.name
    for preset in (PROVIDERS["outlook"], PROVIDERS["office365"])
    if preset.imap is not None
}
"""Where no password opens a mailbox; at an address of both, it is an organisation's."""


def _takes_tokens(server: str | None) -> bool:
    preset = None if server is None else _PRESET.match(server)
    provider = None if preset is None else by_name(preset[1].lower())
    return provider is not None and provider.takes_tokens_only


def _literal(name: str) -> str:
    """Return a pattern that names just this folder."""
    return re.sub(r"([*?[])", r"[\1]", name)
