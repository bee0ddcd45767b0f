"""Where a password comes from: variable, command, keyring, prompt. It is kept nowhere."""

from __future__ import annotations

import getpass
import os
import subprocess
import sys
from typing import TYPE_CHECKING

from waystation.errors import SignInError, plain

if TYPE_CHECKING:
    from waystation.address import Account

_SERVICE = "waystation"


def password_for(account: Account, env: str | None, command: str | None) -> str:
    """Return the password of an account.

    Raises:
        SignInError: there is none where the user said, or nobody to ask.
    """
    if env is not None:
        password = os.environ.get(env)
        if not password:
            raise SignInError(f"the environment variable {plain(env)} holds no password.")
        return password
    if command is not None:
        return _from_command(command)
    password = _from_keyring(account)
    if password:
        return password
    if not sys.stdin.isatty():
        raise SignInError(
            f"no password for {plain(account.name)}. Give --password-env NAME or "
            f"--password-command CMD, or store it: keyring set {_SERVICE} {plain(account.key)}"
        )
    return getpass.getpass(f"Password for {plain(account.name)}: ")


def _from_command(command: str) -> str:
    try:
        # The command is the user's own, as written on the command line; a shell runs it so that
        # pipes work. Its standard error stays visible, since it may ask for a passphrase.
        done = subprocess.run(command, shell=True, stdout=subprocess.PIPE, check=False)  # noqa: S602
    except OSError as error:
        raise SignInError(f"the password command cannot be run: {error.strerror}") from None
    lines = done.stdout.decode("utf-8", "replace").splitlines()
    if done.returncode or not lines or not lines[0]:
        raise SignInError(
            f"the password command ended with code {done.returncode} and gave no password."
        )
    return lines[0]


def _from_keyring(account: Account) -> str | None:
    # Loaded late: a keyring takes its time, and most automated runs name their source.
    import keyring
    from keyring.errors import KeyringError

    try:
        return keyring.get_password(_SERVICE, account.key)
    except KeyringError:
        return None
