"""Who works on a mailbox, where several machines share the storage: a lease that runs out.

A lock of the operating system holds on one machine; over NFS and SMB it may not, and that of a
machine that has died may stay. A lease is a file that its owner writes anew every few seconds.
Whoever else wants the mailbox watches the file; when it has not changed for so long as it says,
its owner is given up and the next lease is made. Each has a number, and making a file that must
not exist yet is the one step that only one of many can do (O_EXCL; RFC 1813 section 3.3.8).

No time of day is ever compared: an owner counts since it wrote last, a watcher since it saw the
last change, each by its own clock. So it does not matter how far these clocks are apart, only that
none runs a tenth faster than another. An owner gives up after three quarters of the time after
which it may be given up.

What a lease cannot do: call back an octet that is on its way already. An owner that is frozen in
the middle of a step for longer than its lease (a suspended machine) finishes that step when it
wakes, and stops before the next one.
"""

from __future__ import annotations

import json
import logging
import os
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from threading import Lock
from typing import TYPE_CHECKING
from uuid import uuid4

from waystation.errors import StorageError, WaystationError, plain

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

log = logging.getLogger(__name__)

USUAL = 60.0
"""Seconds after which an owner that shows no sign of life is given up."""
LONGEST = 3600.0
_OWNERS_PART = 0.75
_RENEWALS = 4
"""In the time of a lease."""
_LOOKS = 10
"""The same of a watcher."""
_LONGEST_LOOK = 5.0
_OCTETS = 512
"""A record is as long as every other, so that writing it anew never shows half of it."""
_BINARY = getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


class LeaseLostError(WaystationError):
    """Somebody else works on the mailbox now, or may do so."""

    retriable = True

    def __init__(self, mailbox: str) -> None:
        super().__init__(
            f"the lease of {plain(mailbox)} is lost: another worker has it, or it could not be "
            "renewed in time. What is recorded stays; the mailbox goes on later."
        )


@dataclass(frozen=True, slots=True)
class Record:
    """What a lease says of itself."""

    owner: str
    """For people: which worker."""
    token: str
    """Of this one turn of the owner."""
    seconds: float
    beat: int = 0
    """How often it was renewed."""
    is_released: bool = False

    def octets(self) -> bytes:
        """Return it as it is written."""
        values = {
            "owner": self.owner[:200],
            "token": self.token,
            "seconds": self.seconds,
            "beat": self.beat,
            "is_released": self.is_released,
        }
        return json.dumps(values).encode().ljust(_OCTETS - 1)[: _OCTETS - 1] + b"\n"

    @classmethod
    def of(cls, octets: bytes) -> Record | None:
        """Return what octets say; None where that is nothing, as of a file just made."""
        try:
            found = json.loads(octets)
            return cls(
                plain(str(found["owner"])),
                str(found["token"]),
                min(max(float(found["seconds"]), 0.1), LONGEST),
                int(found["beat"]),
                found["is_released"] is True,
            )
        except (ValueError, KeyError, TypeError):
            return None


@dataclass(frozen=True, slots=True)
class Sight:
    """The last lease of a mailbox, as it lies there."""

    number: int = 0
    """0: there is none."""
    octets: bytes = b""


@dataclass(frozen=True, slots=True)
class Take:
    """The lease with this number may be made."""

    number: int


@dataclass(frozen=True, slots=True)
class Wait:
    """Somebody has it, and is to be watched for so long at the least."""

    seconds: float
    owner: str


def decide(sight: Sight, unchanged: float) -> Take | Wait:
    """Return what to do about a lease that has looked like this for so many seconds."""
    if not sight.number:
        return Take(1)
    record = Record.of(sight.octets)
    if record is not None and record.is_released:
        return Take(sight.number + 1)
    seconds = USUAL if record is None else record.seconds
    if unchanged >= seconds:
        return Take(sight.number + 1)
    return Wait(seconds - unchanged, "unknown" if record is None else record.owner)


def is_safe(seconds: float, since: float) -> bool:
    """Tell whether an owner that began to renew so long ago still has its lease for sure."""
    return since < seconds * _OWNERS_PART


def boot_clock() -> float:
    """Return seconds that also count while the machine sleeps, where the system has such."""
    number = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if number is None else time.clock_gettime(number)


class Lease:
    """The right to work on one mailbox. ``is_held`` and ``renew`` come from any thread."""

    def __init__(
        self,
        folder: Path,
        owner: str,
        seconds: float = USUAL,
        clock: Callable[[], float] = boot_clock,
    ) -> None:
        """Look for leases in ``folder``, which holds those of one mailbox and nothing else."""
        self._folder = folder
        self._clock = clock
        self._record = Record(owner, uuid4().hex, seconds)
        self._renewed = 0.0
        self._lock = Lock()
        self.number = 0
        """Which lease this is; 0 while it is not held."""

    @property
    def is_held(self) -> bool:
        """Whether nobody else can have the mailbox now."""
        since = self._clock() - self._renewed
        return self.number > 0 and is_safe(self._record.seconds, since)

    @property
    def renews_in(self) -> float:
        """Seconds until it is to be renewed."""
        return self._renewed + self._record.seconds / _RENEWALS - self._clock()

    def take(self, wait: Callable[[float, str, float], None]) -> None:
        """Take the lease, once nobody has it; ``wait`` is told how long, of whom, and what is left.

        Raises:
            StorageError: it cannot be written.
            BaseException: whatever ``wait`` raises to end the waiting.
        """
        seen, since = Sight(), self._clock()
        while True:
            begun = self._clock()
            sight = self._look()
            if sight != seen:
                seen, since = sight, begun
            look = min(self._record.seconds / _LOOKS, _LONGEST_LOOK)
            match decide(sight, begun - since):
                case Take(number):
                    if self._make(number):
                        self._renewed, self.number = begun, number
                        log.info("lease %d taken: %s", number, self._folder.name)
                        return
                    wait(look, "somebody who was quicker", look)
                case Wait(seconds, owner):
                    wait(min(seconds, look), owner, seconds)

    def renew(self) -> None:
        """Show that its owner lives.

        Raises:
            LeaseLostError: somebody else has it.
        """
        with self._lock:
            self._renew()

    def _renew(self) -> None:
        begun = self._clock()
        number = self.number
        if not number:
            raise LeaseLostError(self._folder.name)
        if not self.is_held:
            self._lose()
        record = replace(self._record, beat=self._record.beat + 1)
        try:
            self._write_anew(number, record)
            if self._last() != number:
                self._lose()
        except FileNotFoundError:
            self._lose()
        except OSError as error:
            # It may pass. If it does not, the time says so.
            log.info("lease %d of %s not renewed: %s", number, self._folder.name, error.strerror)
            return
        self._record, self._renewed = record, begun

    def release(self) -> None:
        """Let the next one work at once. The file stays, so that no number comes twice."""
        with self._lock:
            number, self.number = self.number, 0
            if not number:
                return
            released = replace(self._record, beat=self._record.beat + 1, is_released=True)
            # Before the file: whoever comes next may be quicker than our own word.
            log.info("lease %d released: %s", number, self._folder.name)
            with suppress(OSError, LeaseLostError):
                self._write_anew(number, released)

    def _lose(self) -> None:
        log.info("lease %d lost: %s", self.number, self._folder.name)
        self.number = 0
        raise LeaseLostError(self._folder.name)

    def _look(self) -> Sight:
        """Return the last lease; opened anew, since that is when NFS asks its server."""
        while True:
            try:
                number = self._last()
                return Sight(number, self._read(number)) if number else Sight()
            except FileNotFoundError:
                continue  # it was followed by the next one just now
            except OSError as error:
                raise StorageError(self._folder, error) from None

    def _last(self) -> int:
        try:
            names = [path.name for path in self._folder.iterdir()]
        except FileNotFoundError:
            return 0
        return max((int(name) for name in names if name.isascii() and name.isdigit()), default=0)

    def _read(self, number: int) -> bytes:
        file = os.open(self._path(number), os.O_RDONLY | _BINARY)
        try:
            return os.read(file, _OCTETS)
        finally:
            os.close(file)

    def _make(self, number: int) -> bool:
        """Make the lease with this number; False where another one was quicker."""
        try:
            for folder in (self._folder.parent, self._folder):
                folder.mkdir(exist_ok=True, mode=0o700)
            path = self._path(number)
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, 0o600)
            try:
                os.write(file, self._record.octets())
                os.fsync(file)
            finally:
                os.close(file)
            # Whoever was frozen between looking and making may have made an old number.
            if self._last() != number:
                path.unlink(missing_ok=True)
                return False
        except FileExistsError:
            return False
        except OSError as error:
            raise StorageError(self._folder, error) from None
        for name in self._folder.iterdir():
            if name.name.isascii() and name.name.isdigit() and int(name.name) < number:
                # Windows keeps a file that somebody has open; its owner sees the new number.
                with suppress(OSError):
                    name.unlink()
        return True

    def _write_anew(self, number: int, record: Record) -> None:
        """Write a record in the place of our own.

        Raises:
            LeaseLostError: it is not our own.
            OSError: it cannot be written.
        """
        # Without O_CREAT: a lease that was taken away does not come back.
        file = os.open(self._path(number), os.O_RDWR | _BINARY)
        try:
            found = Record.of(os.read(file, _OCTETS))
            if found is not None and found.token != record.token:
                self._lose()
            os.lseek(file, 0, os.SEEK_SET)
            os.write(file, record.octets())
        finally:
            os.close(file)

    def _path(self, number: int) -> Path:
        return self._folder / str(number)
