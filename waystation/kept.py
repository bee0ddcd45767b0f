"""Where the sign-ins of users are kept from run to run, by msal's extensions.

In the store of the platform (DPAPI, Keychain, libsecret) where there is one, else in a file that
only its owner can read. A lock keeps two processes apart. msal has its own form for what it
keeps; sign-ins at providers other than Microsoft are one JSON object beside it.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msal_extensions import (
    CrossPlatLock,
    FilePersistence,
    PersistedTokenCache,
    build_encrypted_persistence,
)
from msal_extensions.persistence import PersistenceNotFound
from msal_extensions.token_cache import LockError

from waystation.errors import SignInError, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

log = logging.getLogger(__name__)
# What it warns of, tracebacks included, would go to the terminal past our own words.
logging.getLogger("msal_extensions").addHandler(logging.NullHandler())

_VERSION = 1


class Store:
    """Where the sign-ins of users are kept from run to run."""

    def __init__(self, file: Path, tell: Callable[[str], None]) -> None:
        """Keep them in, or by the name of, ``file``; ``tell`` is told once where it is plain."""
        self._file = file
        self._tell = tell

    @property
    def exists(self) -> bool:
        """Whether anything was ever kept."""
        return self._file.exists()

    def open(self) -> Any:
        """Return the cache for msal."""
        return PersistedTokenCache(self._persistence())

    def sign_in(self, name: str) -> dict[str, str] | None:
        """Return what is kept of a sign-in at a provider other than Microsoft; None for nothing."""
        if not self.exists:
            return None
        with self._locked() as found:
            return found.get(name)

    def keep(self, name: str, sign_in: Mapping[str, str]) -> None:
        """Keep a sign-in; one of the same name gives way."""
        with self._locked() as found:
            found[name] = dict(sign_in)

    def forget(self, name: str) -> dict[str, str] | None:
        """Forget a sign-in, and return what was kept of it; None for nothing."""
        if not self.exists:
            return None
        with self._locked() as found:
            return found.pop(name, None)

    @contextmanager
    def _locked(self) -> Iterator[dict[str, dict[str, str]]]:
        """Hand out the sign-ins by name, with no other process at them; changes are written."""
        with errors_of_store(self._file):
            persistence = self._persistence()
            with CrossPlatLock(f"{self._file}.lockfile"):
                before = _loaded(persistence)
                found = {name: dict(value) for name, value in before.items()}
                yield found
                if found != before:
                    persistence.save(json.dumps({"version": _VERSION, "sign_ins": found}))

    def _persistence(self) -> Any:
        is_new = not self.exists
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            return build_encrypted_persistence(str(self._file))
        except Exception as error:  # noqa: BLE001 - each platform has exceptions of its own
            log.debug("no store of the platform for tokens: %s", plain(str(error), 120))
        # Made by us, so that nobody else can ever read it, whatever the umask is.
        os.close(os.open(self._file, os.O_RDWR | os.O_CREAT, 0o600))
        self._file.chmod(0o600)
        if is_new:
            self._tell(
                f"sign-ins are kept in {plain(str(self._file))}, which only you can read; this "
                "machine offers no store that would encrypt it"
            )
        return FilePersistence(str(self._file))


def store_file(environment: Mapping[str, str] = os.environ, name: str = "tokens.json") -> Path:
    """Return where a user's data are kept on this platform, for our tokens.

    Raises:
        SignInError: this user has no home.
    """
    try:
        home = Path.home()
    except RuntimeError:
        raise SignInError(
            "there is no place for sign-ins: this user has no home directory.",
            ("Set HOME to a directory that only this user can read",),
        ) from None
    if sys.platform == "win32":
        base = Path(environment.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = home / "Library" / "Application Support"
    else:
        base = Path(environment.get("XDG_DATA_HOME") or home / ".local" / "share")
    return base / "waystation" / name


@contextmanager
def errors_of_store(file: Path | None = None) -> Iterator[None]:
    """Turn what msal's extensions raise for their files into one of our errors."""
    where = plain(str(file or store_file()))
    try:
        yield
    except LockError:
        raise SignInError(
            "the kept sign-ins are in use by another program.",
            (f"If there is none, remove {where}.lockfile",),
        ) from None
    except OSError as error:
        raise SignInError(
            f"the kept sign-ins cannot be used: {plain(error.strerror or type(error).__name__)}.",
            (f"Check {where}",),
        ) from None


def _loaded(persistence: Any) -> dict[str, dict[str, str]]:
    """Return the sign-ins that are kept.

    Raises:
        SignInError: what is there is none of ours.
    """
    try:
        text = persistence.load() or "{}"
        found = json.loads(text).get("sign_ins", {})
        return {str(name): dict(value) for name, value in found.items()}
    except PersistenceNotFound:
        return {}
    except (ValueError, TypeError, AttributeError):
        raise SignInError(
            "the kept sign-ins are damaged.",
            (f"Remove {plain(persistence.get_location())} and run waystation login",),
        ) from None
