"""``waystation doctor``, ``login`` and ``logout``: what concerns a server and no archive."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from waystation.cli import options, state
from waystation.cli.connect import by_way, credential_for, placed, refuse_passwords
from waystation.cli.naming import named_account
from waystation.cli.secrets import PasswordSource
from waystation.errors import UsageError, plain

if TYPE_CHECKING:
    from waystation.cli.output import Listener
    from waystation.doctor import Step

_DOCTOR = """\
\b
Examples:
  waystation doctor office365:bob@contoso.com --client-id ID --client-secret-env SECRET
  waystation doctor imaps://alice@mail.example.net --write
"""
_LOGIN = """\
\b
Examples:
  waystation login office365:bob@contoso.com --client-id ID
  waystation login office365:sales@contoso.com --sign-in-as bob@contoso.com --device-code
"""
_LOGOUT = """\
\b
Examples:
  waystation logout office365:bob@contoso.com --client-id ID
  waystation logout office365:sales@contoso.com --sign-in-as bob@contoso.com
"""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("doctor", epilog=_DOCTOR, short_help="Find out why a server does not let us in.")(
        _doctor
    )
    app.command("login", epilog=_LOGIN, short_help="Sign in to Office 365, and stay signed in.")(
        _login
    )
    app.command("logout", epilog=_LOGOUT, short_help="Forget such a sign-in.")(_logout)


@options.unpacked
def _doctor(
    named: options.Server,
    write: Annotated[
        bool,
        typer.Option("--write", help="Also put a test message into a folder, and remove it again."),
    ] = False,
    password_env: options.PasswordEnv = None,
    password_command: options.PasswordCommand = None,
    ca_file: options.CaFile = None,
    allow_plaintext: options.AllowPlaintext = False,
    timeout: options.Timeout = 120,
    sign_in: options.SignIn = options.NO_SIGN_IN,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> int:
    """Walk into a mailbox step by step; where it ends, name the cause and the mend.

    Name, TLS, token or password, sign-in, namespace, folders. Nothing is changed without
    --write. Exit code 12 where sign-in, consent or permission fail.
    """
    from waystation.cli.tokens import registration_for
    from waystation.doctor import Outcome, examine
    from waystation.session import Connection

    listener = state.listen("doctor", as_json=as_json, quiet=quiet, debug=debug)
    passwords = PasswordSource(password_env, password_command)
    account = placed(named_account(named), sign_in)
    if write and account.protocol == "pop3":
        raise UsageError("POP3 takes no messages: leave --write out.")
    # What is wrong with the options shows before anything is done.
    refuse_passwords(account, passwords)
    if account.takes_tokens_only:
        registration_for(account, sign_in)
    connection = by_way(Connection(ca_file, allow_plaintext, timeout), sign_in)

    steps = []
    failed = None
    for step in examine(
        account,
        lambda: credential_for(account, passwords, connection, sign_in),
        connection,
        write=write,
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
    ca_file: options.CaFile = None,
    timeout: options.Timeout = 120,
    sign_in: options.SignIn = options.NO_SIGN_IN,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> int:
    """Sign in to Office 365 in the browser, once; later commands find the sign-in.

    It is kept encrypted where this machine can do that, else in a file that only you can read.
    """
    from waystation import oauth
    from waystation.cli.tokens import registration_for, store, user_of, web_for
    from waystation.session import Connection

    listener = state.listen("login", as_json=as_json, quiet=quiet, debug=debug)
    account = placed(named_account(named), sign_in)
    if sign_in.is_app_only:
        raise UsageError(
            "an application signs in by itself each time; 'waystation doctor' shows whether it can."
        )
    registration = registration_for(account, sign_in)
    user = user_of(account, sign_in)
    act = oauth.sign_in_with_code if device_code else oauth.sign_in_with_browser
    web = web_for(Connection(ca_file, timeout=timeout))
    token = act(registration, user, store(), web, listener.warning)
    expires = datetime.fromtimestamp(token.expires_at, UTC).isoformat(timespec="seconds")
    listener.close()
    listener.say(f"{plain(user)} is signed in. 'waystation doctor {account.name}' tries it out.")
    listener.summary("done", 0, {"server": account.name, "user": user, "expires_at": expires})
    return 0


@options.unpacked
def _logout(
    named: options.Server,
    sign_in: options.SignIn = options.NO_SIGN_IN,
    ca_file: options.CaFile = None,
    timeout: options.Timeout = 120,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> int:
    """Forget a sign-in on this machine. What was signed in elsewhere stays."""
    from waystation import oauth
    from waystation.cli.tokens import registration_for, store, user_of, web_for
    from waystation.session import Connection

    listener = state.listen("logout", as_json=as_json, quiet=quiet, debug=debug)
    account = placed(named_account(named), sign_in)
    registration = registration_for(account, sign_in)
    user = user_of(account, sign_in)
    web = web_for(Connection(ca_file, timeout=timeout))
    removed = oauth.sign_out(registration, user, store(), web)
    listener.say(
        f"{plain(user)} is signed out." if removed else f"{plain(user)} was not signed in here."
    )
    listener.summary("done", 0, {"server": account.name, "user": user, "removed": removed})
    return 0
