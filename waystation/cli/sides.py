"""Two accounts in one command: which password and which option is whose."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import typer

from waystation.cli import options
from waystation.cli.secrets import PasswordSource
from waystation.errors import UsageError, plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from store.evidence import Side
    from waystation.address import Account


@dataclass(frozen=True, slots=True)
class OwnPasswords:
    """Where the password of each side comes from, where both are signed in to."""

    from_password_env: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Take the source's password from this environment variable."
        ),
    ] = None
    from_password_command: Annotated[
        str | None,
        typer.Option(
            metavar="CMD",
            help="Take the source's password from the first line that this command prints.",
        ),
    ] = None
    to_password_env: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Take the target's password from this environment variable."
        ),
    ] = None
    to_password_command: Annotated[
        str | None,
        typer.Option(
            metavar="CMD",
            help="Take the target's password from the first line that this command prints.",
        ),
    ] = None


NO_OWN = OwnPasswords()


def password_sources(
    accounts: Mapping[Side, Account], common: PasswordSource, own: OwnPasswords
) -> dict[Side, PasswordSource]:
    """Return where the password of each side comes from; ``accounts`` by ``source``, ``target``.

    What is said for no side is for the one account that takes a password. It is never tried on
    two: a password must not be shown to a server that it is not for.

    Raises:
        UsageError: nobody can tell whose it is, or a side was given two.
    """
    mine: dict[Side, PasswordSource] = {
        "source": PasswordSource(own.from_password_env, own.from_password_command),
        "target": PasswordSource(own.to_password_env, own.to_password_command),
    }
    nothing = PasswordSource()
    chosen = {side: mine[side] for side in accounts}
    if common == nothing or not accounts:
        return chosen
    waiting = [
        side
        for side, account in accounts.items()
        if mine[side] == nothing and not account.takes_tokens_only
    ] or list(accounts)[:1]
    if len(waiting) > 1:
        raise UsageError(
            "--password-env and --password-command are for one account. Say "
            "--from-password-env NAME for the source and --to-password-env NAME for the target."
        )
    if mine[waiting[0]] != nothing:
        raise UsageError(f"the {waiting[0]} was given two passwords; leave one out.")
    return chosen | {waiting[0]: common}


def sign_ins(accounts: Mapping[Side, Account], given: options.SignIn) -> dict[Side, options.SignIn]:
    """Return which of the options to sign in are for which side.

    Raises:
        UsageError: an option is for one account, and nobody can tell for which.
    """
    if len(accounts) < 2:
        return dict.fromkeys(accounts, given)
    if given.fingerprint is not None:
        raise UsageError(_ONE_BY_ONE.format("--fingerprint"))
    for_tokens = [side for side, each in accounts.items() if each.takes_tokens_only]
    with_preset = [side for side, each in accounts.items() if each.preset is not None]
    if given.server is not None and len(with_preset) > 1:
        raise UsageError(_ONE_BY_ONE.format("--server"))
    if given.sign_in_as is not None and len(for_tokens) != 1:
        raise UsageError(_ONE_BY_ONE.format("--sign-in-as"))
    if not for_tokens and given.for_tokens_only:
        names = " and ".join(plain(account.name) for account in accounts.values())
        raise UsageError(
            f"{', '.join(given.for_tokens_only)}: for office365:USER and outlook:USER only, "
            f"not for {names}."
        )
    chosen: dict[Side, options.SignIn] = {}
    for side, account in accounts.items():
        its = given if side in for_tokens else options.SignIn(proxy=given.proxy)
        server = given.server if account.preset is not None or not with_preset else None
        chosen[side] = replace(its, server=server)
    return chosen


_ONE_BY_ONE = "{} is for one account; say --source, or --target, and verify one after the other."
