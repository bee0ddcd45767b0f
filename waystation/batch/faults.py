"""What can be wrong with a list of mailboxes. No sentence holds a password."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from waystation.errors import UsageError, plain

if TYPE_CHECKING:
    from collections.abc import Sequence


class FaultKind(StrEnum):
    """The kinds of faults."""

    NO_LIST = "no_list"
    ENCODING = "encoding"
    UNKNOWN_COLUMN = "unknown_column"
    DOUBLED_COLUMN = "doubled_column"
    MISSING_COLUMN = "missing_column"
    QUOTING = "quoting"
    FEW_FIELDS = "too_few_fields"
    MANY_FIELDS = "too_many_fields"
    CONTROLS = "control_character"
    NO_MAILBOX = "no_mailbox"
    BAD_ADDRESS = "bad_address"
    OUTSIDE = "outside_of_root"
    RESERVED = "reserved_name"
    DOUBLED_MAILBOX = "doubled_mailbox"
    SAME_FOLDER = "same_folder"
    NO_SOURCE = "no_source"
    NO_TARGET = "no_target"
    BAD_SERVER = "bad_server"
    UNKNOWN_PROVIDER = "unknown_provider"
    TARGET_BY_POP3 = "target_by_pop3"
    DOUBLED_TARGET = "doubled_target"
    TWO_PASSWORDS = "two_passwords"
    PASSWORD_FOR_TOKENS = "password_for_tokens"  # noqa: S105 - a word, no password
    BAD_VARIABLE = "bad_variable"
    NO_VARIABLE = "variable_not_set"
    NO_PASSWORD = "empty_password"  # noqa: S105 - a word for what is missing
    BAD_PRIORITY = "bad_priority"
    BAD_PATTERN = "bad_pattern"


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One thing that is wrong, and where."""

    line: int
    column: str | None
    """None: the whole line."""
    kind: FaultKind
    text: str

    def __str__(self) -> str:
        where = f"line {self.line}"
        if self.column is not None:
            where += f", {plain(self.column, 40)}"
        return f"{where}: {self.text}"


class ListError(UsageError):
    """A list has faults; nothing was started."""

    def __init__(self, place: str, faults: Sequence[Fault]) -> None:
        self.faults = tuple(sorted(faults, key=lambda fault: (fault.line, fault.column or "")))
        lines = len({fault.line for fault in faults})
        count = f"{len(faults):,} fault{'' if len(faults) == 1 else 's'}"
        on = f"{lines:,} line{'' if lines == 1 else 's'}"
        super().__init__(
            f"{plain(place)} has {count} on {on}; nothing was started. Mend them and run the same "
            "command again."
        )
