"""Where a password comes from: variable, command, keyring, prompt. It is kept nowhere."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Protocol

from waystation.errors import SignInError, UsageError, plain

SERVICE = "waystation"
"""The name under which the keyring holds our passwords."""


class Login(Protocol):
    """Whose password is wanted."""

    @property
    def name(self) -> str:
        """As the user wrote it."""

    @property
    def password_key(self) -> str:
        """By what name the keyring has it."""


@dataclass(frozen=True, slots=True)
class PasswordSource:
    """Where the user said that the password comes from; nowhere means keyring, then prompt."""

    env: str | None = None
    command: str | None = None
    keyring: str | None = None
    """By what name the keyring has it, where that is not the account's own."""

    options: str = "--"
    """How the options begin that say where."""

    @property
    def is_named(self) -> bool:
        """Whether the user said where."""
        return self.env is not None or self.command is not None

    def __post_init__(self) -> None:
        if self.env is not None and self.command is not None:
            one, other = f"{self.options}password-env", f"{self.options}password-command"
            raise UsageError(f"give {one} or {other}, not both.")


def password_for(account: Login, source: PasswordSource, *, may_ask: bool = True) -> str:
    """Return the password of an account; nobody is asked for it unless that ``may_ask``.

    Raises:
        SignInError: there is none where the user said, or nobody to ask.
    """
    if source.env is not None:
        return _from_environment(source.env)
    if source.command is not None:
        return _from_command(source.command)
    key = source.keyring or account.password_key
    password = _from_keyring(key)
    if password:
        return password
    if source.keyring is not None or not may_ask or not sys.stdin.isatty():
        raise SignInError(
            f"no password for {plain(account.name)}. Give {source.options}password-env NAME or "
            f"{source.options}password-command CMD, or store it: "
            f"keyring set {SERVICE} {plain(key)}"
        )
    return _from_prompt(account)


def _from_environment(name: str) -> str:
    password = os.environ.get(name)
    if not password:
        raise SignInError(
            f"the environment variable {plain(name)} holds no password. "
            f"Set it, for one run: {plain(name)}=… waystation …"
        )
    return password


def _from_command(command: str) -> str:
    try:
        # The command is the user's own, as written on the command line; a shell runs it so that
        # pipes work. Its standard error stays visible, since it may ask for a passphrase.
        done = subprocess.run(command, shell=True, stdout=subprocess.PIPE, check=False)  # noqa: S602
    except (OSError, ValueError) as error:
        raise SignInError(f"the password command cannot be run: {plain(str(error))}") from None
    lines = done.stdout.decode("utf-8", "replace").splitlines()
    if done.returncode or not lines or not lines[0]:
        raise SignInError(
            f"the password command ended with code {done.returncode} and gave no password. "
            "Its first line of output has to be the password."
        )
    return lines[0]


def _from_keyring(key: str) -> str | None:
    # Loaded late: a keyring takes its time, and most automated runs name their source.
    import keyring
    from keyring.errors import KeyringError

    try:
        return keyring.get_password(SERVICE, key)
    except (KeyringError, RuntimeError):  # the latter where this user has no home directory
        return None


def _from_prompt(account: Login) -> str:
    import getpass

    try:
        password = getpass.getpass(f"Password for {plain(account.name)}: ")
    except EOFError:
        password = ""
    if not password:
        raise SignInError("no password was given.")
    return password
