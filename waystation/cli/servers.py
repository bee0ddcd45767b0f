"""``waystation doctor``, ``login`` and ``logout``: what concerns a server and no archive."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from waystation.cli import options
from waystation.cli.connect import by_token, by_way, credential_for, placed, refuse_passwords
from waystation.cli.naming import named_account
from waystation.errors import UsageError, plain

if TYPE_CHECKING:
    from waystation.address import Account
    from waystation.cli.output import Listener
    from waystation.doctor import Step
    from waystation.token import Token
    from waystation.web import Web

_DOCTOR = """\
\b
Examples:
  waystation doctor office365:bob@contoso.com --client-id ID --client-secret-env SECRET
  waystation doctor imaps://alice@mail.example.net --write
"""
_LOGIN = """\
\b
Examples:
  waystation login office365:bob@contoso.com --client-id ID --device-code
  waystation login gmail:alice@gmail.com --client-id ID --client-secret-env SECRET
"""
_LOGOUT = """\
\b
Examples:
  waystation logout office365:bob@contoso.com --client-id ID
  waystation logout gmail:alice@gmail.com --client-id ID
"""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("doctor", epilog=_DOCTOR)(_doctor)
    app.command("login", epilog=_LOGIN)(_login)
    app.command("logout", epilog=_LOGOUT)(_logout)


@options.unpacked
def _doctor(
    named: options.Server,
    write: Annotated[
        bool,
        typer.Option("--write", help="Also put a test message into a folder, and remove it again."),
    ] = False,
    reach: options.Reach = options.USUAL_REACH,
    sign_in: options.SignIn = options.NO_SIGN_IN,
    voice: options.Voice = options.USUAL_VOICE,
) -> int:
    """Walk into a mailbox step by step; where it ends, name the cause and the mend.

    Name, TLS, token or password, sign-in, namespace, folders. Nothing is changed without
    --write. Exit code 12 where sign-in, consent or permission fail.
    """
    from waystation.cli.tokens import client_for, registration_for
    from waystation.doctor import Outcome, examine

    listener = voice.listener("doctor")
    passwords = reach.passwords
    account = placed(named_account(named), sign_in)
    if write and account.protocol == "pop3":
        raise UsageError("POP3 takes no messages: leave --write out.")
    # What is wrong with the options shows before anything is done.
    refuse_passwords(account, passwords, sign_in)
    if account.takes_tokens_only:
        registration_for(account, sign_in)
    is_token = by_token(account, sign_in) and not passwords.is_named
    if is_token and not account.takes_tokens_only:
        client_for(account, sign_in)
    connection = by_way(reach.connection, sign_in)

    steps = []
    failed = None
    for step in examine(
        account,
        lambda: credential_for(account, passwords, connection, sign_in),
        connection,
        write=write,
        by_token=is_token,
    ):
        _show(listener, step)
        steps.append(step)
        if step.outcome is Outcome.FAILED:
            failed = step
            listener.error(plain(" ".join((f"{step.name}: {step.text}", *_told(step))), 1500))
    listener.close()
    if failed is None:
        listener.say(f"{account.name}: everything is as it should be.")
    code = failed.exit_code if failed is not None else 0
    listener.summary(
        "failed" if failed is not None else "done",
        code,
        {
            "server": account.name,
            "steps": len(steps),
            "failed_step": failed.name if failed is not None else None,
        },
    )
    return code


def _show(listener: Listener, step: Step) -> None:
    listener.row(
        "step",
        {
            "step": step.name,
            "result": step.outcome.value,
            "text": step.text,
            "mends": list(step.mends),
            "facts": step.facts,
        },
    )
    listener.heading(f"{step.outcome.value:<8}{step.name:<13}{step.text}")
    for line in _told(step):
        listener.heading(f"{'mend':<8}{line}")


def _told(step: Step) -> list[str]:
    if len(step.mends) < 2:
        return list(step.mends)
    return [f"({number}) {mend}" for number, mend in enumerate(step.mends, 1)]


@options.unpacked
def _login(
    named: options.Server,
    device_code: Annotated[
        bool,
        typer.Option(
            "--device-code",
            help="Sign in on any other device, by a code; this one needs no browser.",
        ),
    ] = False,
    paste: Annotated[
        bool,
        typer.Option(
            "--paste",
            help="With Google: sign in on any other device, and paste the address where its"
            " browser ends up.",
        ),
    ] = False,
    ca_file: options.CaFile = None,
    timeout: options.Timeout = 120,
    sign_in: options.SignIn = options.NO_SIGN_IN,
    voice: options.Voice = options.USUAL_VOICE,
) -> int:
    """Sign in to Office 365, Gmail or Yandex in the browser; later commands find the sign-in.

    It is kept encrypted where this machine can do that, else in a file that only you can read.
    """
    from waystation.cli.tokens import user_of, web_for
    from waystation.session import Connection

    listener = voice.listener("login")
    account = placed(named_account(named), sign_in)
    user = user_of(account, sign_in)
    web = web_for(Connection(ca_file, timeout=timeout))
    if account.takes_tokens_only:
        if paste:
            raise UsageError("--paste is for Google and Yandex; here it is --device-code.")
        token = _at_microsoft(account, sign_in, user, web, listener, device_code=device_code)
    else:
        if device_code:
            raise UsageError(
                f"--device-code: {plain(account.name)} opens to none (Google lets device codes "
                "have no mail); on a machine without a browser it is --paste."
            )
        token = _at_another(account, sign_in, web, listener, paste=paste)
    expires = datetime.fromtimestamp(token.expires_at, UTC).isoformat(timespec="seconds")
    listener.close()
    listener.say(f"{plain(user)} is signed in. 'waystation doctor {account.name}' tries it out.")
    listener.summary("done", 0, {"server": account.name, "user": user, "expires_at": expires})
    return 0


def _at_microsoft(
    account: Account,
    sign_in: options.SignIn,
    user: str,
    web: Web,
    listener: Listener,
    *,
    device_code: bool,
) -> Token:
    from waystation import oauth
    from waystation.cli.tokens import registration_for, store

    if sign_in.is_app_only:
        raise UsageError(
            "an application signs in by itself each time; 'waystation doctor' shows whether it can."
        )
    act = oauth.sign_in_with_code if device_code else oauth.sign_in_with_browser
    return act(registration_for(account, sign_in), user, store(), web, listener.warning)


def _at_another(
    account: Account, sign_in: options.SignIn, web: Web, listener: Listener, *, paste: bool
) -> Token:
    from waystation import grants
    from waystation.cli.tokens import client_for, grant_store

    if sign_in.service_account is not None:
        raise UsageError(
            "a service account signs in by itself each time; 'waystation doctor' shows whether it "
            "can."
        )
    client = client_for(account, sign_in)
    return grants.sign_in(
        client,
        account.user,
        grant_store(),
        web,
        listener.warning,
        paste=_ask if paste or client.oauth.redirect is not None else None,
    )


def _ask(text: str) -> str:
    """Return what a person answers; standard output stays free for what programs read."""
    sys.stderr.write(text)
    sys.stderr.flush()
    return sys.stdin.readline(20_000)


@options.unpacked
def _logout(
    named: options.Server,
    sign_in: options.SignIn = options.NO_SIGN_IN,
    ca_file: options.CaFile = None,
    timeout: options.Timeout = 120,
    voice: options.Voice = options.USUAL_VOICE,
) -> int:
    """Forget a sign-in on this machine. What was signed in elsewhere stays.

    Google is also asked to take the consent back, which ends all sign-ins with its project.
    """
    from waystation.cli.tokens import user_of, web_for
    from waystation.session import Connection

    listener = voice.listener("logout")
    account = placed(named_account(named), sign_in)
    user = user_of(account, sign_in)
    web = web_for(Connection(ca_file, timeout=timeout))
    is_revoked = False
    if account.takes_tokens_only:
        from waystation import oauth
        from waystation.cli.tokens import registration_for, store

        removed = oauth.sign_out(registration_for(account, sign_in), user, store(), web)
    else:
        removed, is_revoked = _out_of_another(account, sign_in, web, listener)
    also = ", and the consent is taken back" if is_revoked else ""
    listener.say(
        f"{plain(user)} is signed out{also}."
        if removed
        else f"{plain(user)} was not signed in here."
    )
    listener.summary(
        "done",
        0,
        {"server": account.name, "user": user, "removed": removed, "revoked": is_revoked},
    )
    return 0


def _out_of_another(
    account: Account, sign_in: options.SignIn, web: Web, listener: Listener
) -> tuple[int, bool]:
    """Return how many sign-ins were removed, and whether the provider took the consent back."""
    from waystation import grants
    from waystation.cli.tokens import client_for, grant_store

    client = client_for(account, sign_in)
    was_there, why_not = grants.sign_out(client, account.user, grant_store(), web)
    if was_there and why_not:
        listener.warning(
            f"the sign-in is forgotten here, the consent stands: {why_not}. Take it back at "
            f"{client.oauth.consents}"
        )
    return int(was_there), was_there and not why_not
