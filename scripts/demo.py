"""A whole move in half a minute: an old IMAP server, a simulated Office 365, the real commands.

Run by ``scripts/demo``. Leaves the archive in ``demo-archive/``.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import textwrap
import tomllib
from datetime import UTC, datetime, timedelta, timezone
from email.message import EmailMessage
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.exchange_online.server import ExchangeOnline  # noqa: E402
from tests.fakes.certificates import TestAuthority  # noqa: E402
from tests.fakes.imap_server import ImapServer  # noqa: E402
from tests.fakes.mailbox import Mailboxes  # noqa: E402
from tests.servers.identity import IdentityProvider  # noqa: E402

if TYPE_CHECKING:
    from tests.fakes.mailbox import FakeFolder

ARCHIVE = "demo-archive"
OLD = "old@example.com"
NEW = "new@contoso.com"
SECRETS = {"OLD_PASSWORD": "correct horse"}
EXPLORE = (
    ("waystation report {} demo-report.html", "the audit report, for a browser"),
    ("waystation check", "prove every message again"),
    ("waystation status", "the totals, folder by folder"),
    ("waystation ledger", "one line for each message (--format csv for a spreadsheet)"),
    ("sqlite3 {}/index.sqlite '.schema'", "the index is plain SQLite"),
    ("datasette {}/index.sqlite", "the same in a browser"),
    ("mutt -f {}/maildir/INBOX", "the mail is a plain Maildir"),
)


def main() -> None:
    os.chdir(ROOT)
    remove_last_demo(Path(ARCHIVE))
    with tempfile.TemporaryDirectory(prefix="waystation-demo-") as directory:
        authority = TestAuthority(Path(directory))
        ca_file = str(authority.ca_file)
        with (
            IdentityProvider(Path(directory), authority=authority) as provider,
            ExchangeOnline(verify=provider.claims_of, authority=authority) as office,
        ):
            office.add_mailbox(NEW)
            target = f"office365:{NEW}"
            SECRETS["APP_SECRET"] = provider.client_secret
            to_new = ["--client-id", provider.client_id, "--tenant", provider.tenant]
            to_new += ["--client-secret-env", "APP_SECRET"]
            # What stands in for Microsoft's servers, which need none of these three.
            to_new += ["--server", f"localhost:{office.port}", "--authority", provider.authority]
            to_new += ["--ca-file", ca_file]
            with ImapServer(old_mailbox(), tls=authority) as old_server:
                source = f"imaps://{OLD}@localhost:{old_server.port}"
                title(
                    "Stage one: the old mailbox becomes an archive",
                    "An IMAP server runs in this process, with a small, varied mailbox.",
                )
                from_old = ["--password-env", "OLD_PASSWORD", "--ca-file", ca_file]
                waystation("export", ARCHIVE, "--from", source, *from_old)
            title(
                "The source is switched off",
                "Nothing from here on needs it: the archive is all that passes on.",
            )
            waystation("check", ARCHIVE)
            title(
                "Can we get in? An application signs in with a token of its own",
                "A simulated Office 365 and its identity provider run in this process too.",
            )
            waystation("doctor", target, *to_new)
            title("What would be done", "Folders find their place by what they are for.")
            waystation("plan", ARCHIVE, "--to", target, *to_new)
            title(
                "Stage two: the archive is replayed into the new mailbox",
                "As slowly as Office 365 wants it: two messages a second to begin with.",
            )
            waystation("import", ARCHIVE, "--to", target, *to_new)
            title("Is everything there? Message by message, asked of the server")
            waystation("verify", ARCHIVE, "--target", *to_new)
            title("The totals of the ledger")
            waystation("status", ARCHIVE)
            title("Once more: nothing is sent twice")
            waystation("import", ARCHIVE, *to_new)
    title(f"The archive stays in {ARCHIVE}/", "To look around:")
    for command, purpose in EXPLORE:
        words = command.format(ARCHIVE) if "{}" in command else f"{command} {ARCHIVE}"
        words = f".venv/bin/{words}" if command.startswith("waystation") else words
        print(f"  {words:<46} {purpose}")


def title(text: str, *more: str) -> None:
    line = f"\n== {text}"
    print(f"\033[1m{line}\033[0m" if sys.stdout.isatty() else line)
    for paragraph in more:
        print(textwrap.fill(paragraph, 78))
    sys.stdout.flush()


def waystation(*arguments: str) -> None:
    """Show a command, run it, and end the demonstration where it fails."""
    words = shlex.join(arguments).replace(" --", " \\\n      --")
    print(f"$ waystation {words}", flush=True)
    program = Path(sys.executable).with_name("waystation")
    code = subprocess.run([program, *arguments], env=os.environ | SECRETS, check=False).returncode
    if code:
        fail(f"waystation {arguments[0]} ended with exit code {code}")


def remove_last_demo(archive: Path) -> None:
    """Make room; what is no archive of this demonstration is never touched."""
    if not os.path.lexists(archive):
        return
    try:
        description = tomllib.loads((archive / "archive.toml").read_text("utf-8"))
        is_demo = description["source"]["name"].startswith(f"imaps://{OLD}@localhost:")
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        is_demo = False
    if not is_demo or archive.is_symlink():
        fail(f"{archive} is in the way, and is no archive of this demonstration")
    print(f"Removing {archive}/ of an earlier demonstration.")
    shutil.rmtree(archive)


def fail(text: str) -> NoReturn:
    sys.exit(f"demo: {text}")


# --- the two mailboxes ----------------------------------------------------------------------


def old_mailbox() -> Mailboxes:
    """Return a mailbox of nine folders and forty-three messages, none quite like the other."""
    mailboxes = Mailboxes({OLD: SECRETS["OLD_PASSWORD"]}, delimiter=".")
    user = mailboxes[OLD]
    inbox = user.folder("INBOX")
    sent = user.create("Gesendet", ["\\Sent"])
    drafts = user.create("Entwürfe", ["\\Drafts"])
    trash = user.create("Papierkorb", ["\\Trash"])
    receipts = user.create("Receipts")
    project = user.create("Projects/2024")
    deep = user.create("Projects/2024/東京 🗼")
    fill(inbox, 14, "Minutes of the meeting", ["\\Seen"])
    fill(sent, 8, "Re: Minutes of the meeting", ["\\Seen", "\\Answered"])
    fill(trash, 4, "You have won", [])
    fill(project, 5, "Plan for Zürich", ["\\Seen", "$Forwarded", "Urgent"])
    fill(deep, 3, "旅程", ["\\Flagged"])
    drafts.append(letter("Unfinished", 0), ["\\Draft"], day(2))
    receipts.append(with_attachment(), ["\\Seen", "$HasAttachment"], day(400))
    receipts.append(b"Subject: a header and no Message-ID\r\n\r\nBare.\r\n", [], day(3000))
    twin = letter("The same letter, delivered twice", 1)
    inbox.append(twin, [], day(30))
    inbox.append(twin, [], day(30))
    inbox.append(b"no header at all, and \xff octets that are no text\n", [], day(9000))
    inbox.append(letter("Größe: äöü, raw UTF-8 in a header", 2, is_raw=True), ["\\Seen"], day(1))
    inbox.append(with_long_line(), ["\\Seen"], day(12))
    user.create("Calendar").append(letter("A folder that is no calendar", 3), [], day(40))
    return mailboxes


def fill(folder: FakeFolder, count: int, subject: str, flags: list[str]) -> None:
    for number in range(count):
        chosen = flags[: 1 + number % len(flags)] if flags else []
        folder.append(letter(f"{subject} ({number + 1})", number), chosen, day(number * 97 + 5))


def day(ago: int) -> datetime:
    """Return a time so many days before a fixed one, in one of three time zones."""
    zone = timezone(timedelta(hours=(0, 2, -7)[ago % 3]))
    return datetime(2026, 11, 1, 9, 30, tzinfo=UTC).astimezone(zone) - timedelta(days=ago)


def letter(subject: str, number: int, *, is_raw: bool = False) -> bytes:
    message = EmailMessage()
    message["From"] = "Ada <ada@example.org>"
    message["To"] = OLD
    message["Subject"] = "SUBJECT" if is_raw else subject
    message["Date"] = day(number * 97 + 5)
    message["Message-ID"] = f"<{abs(hash_of(subject))}@example.org>"
    message.set_content(f"{subject}\n\nSincerely, number {number}\n" * (1 + number % 4))
    return crlf(message).replace(b"SUBJECT", subject.encode()) if is_raw else crlf(message)


def with_attachment() -> bytes:
    message = EmailMessage()
    message["From"] = "Shop <shop@example.org>"
    message["To"] = OLD
    message["Subject"] = "Your receipt"
    message["Message-ID"] = "<receipt@example.org>"
    message.set_content("Thank you. The receipt is attached.\n")
    message.add_attachment(
        bytes(range(256)) * 300, maintype="application", subtype="pdf", filename="receipt.pdf"
    )
    return crlf(message)


def with_long_line() -> bytes:
    """Return a message that Exchange Online would take for commands, were it sent as it is."""
    message = EmailMessage()
    message["From"] = "Newsletter <news@example.org>"
    message["To"] = OLD
    message["Subject"] = "All of it in one line"
    message["Disposition-Notification-To"] = "news@example.org"
    message["Message-ID"] = "<long@example.org>"
    message.set_content("SHORT\n", cte="7bit")
    return crlf(message).replace(b"SHORT", b"All of it in one line. " * 900)


def hash_of(text: str) -> int:
    return int.from_bytes(text.encode()[-6:])


def crlf(message: EmailMessage) -> bytes:
    return message.as_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


if __name__ == "__main__":
    main()
