"""Other people's programs: how each is told to do our work, as its makers ship it.

Each gets a fresh place and proves that all has arrived. One that is slow has a smaller mailbox
and fewer rounds; its rate is told, and compared, for that.
"""

from __future__ import annotations

import os
import pwd
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scripts.benchmark import turns
from scripts.benchmark.corpora import Corpus
from scripts.benchmark.measure import Run, demand
from scripts.benchmark.stand import Stand, count_files
from scripts.benchmark.turns import Contender
from tests.servers.dovecot import HOST, PASSWORD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

MBSYNC = "mbsync"
MBSYNC_NO_FSYNC = "mbsync, FSync no"
PUSH = "mbsync push"
NAMES = ("mbsync", "doveadm", "offlineimap", "getmail", "mpop", "imapsync")

_MBSYNC = """\
{globals}

IMAPAccount far
Host 127.0.0.1
Port {port}
User {user}
Pass {password}
SSLType None
AuthMechs LOGIN

IMAPStore far
Account far

MaildirStore near
Path {maildir}/
Inbox {maildir}/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
SyncState {state}/
{what}
"""
_MPOP = """\
account default
host 127.0.0.1
port {port}
user {user}
password {password}
auth user
tls off
keep on
received_header off
uidls_file {state}/uidls
delivery maildir {maildir}
"""
_GETMAIL = """\
[retriever]
type = {kind}
server = 127.0.0.1
port = {port}
username = {user}
password = {password}
[destination]
type = Maildir
path = {maildir}/
user = {account}
[options]
read_all = true
delete = false
delivered_to = false
received = false
verbose = 0
"""
_OFFLINEIMAP = """\
[general]
accounts = bench
metadata = {state}/metadata
ui = quiet
[Account bench]
localrepository = near
remoterepository = far
[Repository near]
type = Maildir
localfolders = {maildir}
[Repository far]
type = IMAP
remotehost = 127.0.0.1
remoteport = {port}
remoteuser = {user}
remotepass = {password}
auth_mechanisms = LOGIN
ssl = no
starttls = no
readonly = True
"""
_DOVEADM = """\
base_dir = {state}/run
log_path = {state}/log
ssl = no
first_valid_uid = 1
mail_home = {state}
mail_location = maildir:{maildir}
namespace inbox {{
  inbox = yes
  separator = /
}}
imapc_host = 127.0.0.1
imapc_port = {port}
imapc_user = {user}
imapc_password = {password}
imapc_features = rfc822.size fetch-headers
"""


@dataclass(frozen=True, slots=True)
class Peer:
    """A program that can pull a mailbox into a fresh Maildir."""

    name: str
    program: str
    durable: str
    pull: Callable[[Stand, Corpus], Run]
    is_slow: bool = False


class Peers:
    """Those peers that are installed and wanted; `imapsync` is not packaged, so it has a path."""

    def __init__(self, wanted: Iterable[str] = NAMES, imapsync: Path | None = None) -> None:
        wanted = frozenset(wanted)
        found = {name for name in wanted if name != "imapsync" and shutil.which(name)}
        self.present = frozenset(found | ({"imapsync"} if imapsync and wanted else set()))
        self.absent = sorted(wanted - self.present)
        self.imapsync = imapsync

    def pulling(self, stand: Stand, wanted: Corpus) -> list[Contender]:
        """Return all that pull mail by IMAP, the slow ones from a smaller mailbox."""
        fewer = Corpus("small", min(wanted.count, stand.sizes.slow))
        rounds = stand.sizes.slow_rounds
        contenders = []
        for peer in _PULLING:
            if peer.program in self.present:
                corpus = fewer if peer.is_slow else wanted
                stand.lay(corpus)
                contenders.append(
                    Contender(
                        peer.name,
                        peer.durable,
                        _bound(peer.pull, stand, corpus),
                        corpus.messages,
                        rounds if peer.is_slow else None,
                        is_peer=True,
                    )
                )
        if self.imapsync is not None and "imapsync" in self.present:
            program = self.imapsync
            stand.lay(fewer)
            contenders.append(
                Contender(
                    "imapsync, to a server",
                    turns.NOTHING,
                    lambda: imapsync(stand, program, fewer, stand.port),
                    fewer.messages,
                    rounds,
                    is_peer=True,
                )
            )
        return contenders

    def pulling_by_pop3(self, stand: Stand, wanted: Corpus) -> list[Contender]:
        """Return all that pull mail by POP3."""
        fewer = Corpus("small", min(wanted.count, stand.sizes.slow))
        contenders = []
        if "mpop" in self.present:
            contenders.append(
                Contender(
                    "mpop",
                    turns.FSYNC_PER_MESSAGE,
                    lambda: _mpop(stand, wanted),
                    wanted.messages,
                    is_peer=True,
                )
            )
        if "getmail" in self.present:
            stand.lay(fewer)
            contenders.append(
                Contender(
                    "getmail, POP3",
                    turns.FSYNC_PER_MESSAGE,
                    lambda: _getmail(stand, fewer, "SimplePOP3Retriever"),
                    fewer.messages,
                    stand.sizes.slow_rounds,
                    is_peer=True,
                )
            )
        return contenders

    def pushing(
        self, stand: Stand, maildir: Path | None, count: int, port: int = 0
    ) -> list[Contender]:
        """Return all that push a Maildir with its messages into an empty mailbox."""
        if maildir is None:
            return []
        return [
            Contender(
                PUSH,
                turns.JOURNAL,
                lambda: push(stand, maildir, stand.new_user(), count, port),
                count,
                is_peer=True,
            )
        ]

    def maildir(self, stand: Stand, wanted: Corpus) -> Path | None:
        """Return a corpus as mbsync keeps it, for it to push; None where it is not installed."""
        if MBSYNC not in self.present:
            return None
        maildir = stand.new_directory()
        _pull(stand, wanted, maildir, "no")
        return maildir


def mbsync_command(
    stand: Stand, user: str, maildir: Path, what: str, *, fsync: str = "yes", port: int = 0
) -> list[str]:
    """Return the command, with a state of its own."""
    state = stand.new_directory()
    state.mkdir()
    maildir.mkdir(exist_ok=True)
    config = state / "mbsyncrc"
    # FSync is global, and has to stand before the first section
    text = _MBSYNC.format(
        globals=f"FSync {fsync}",
        port=port or stand.port,
        user=user,
        password=PASSWORD,
        maildir=maildir,
        state=state,
        what=what,
    )
    config.write_text(text)
    return ["mbsync", "-q", "-c", str(config), "all"]


def pull_command(stand: Stand, wanted: Corpus, maildir: Path, fsync: str = "yes") -> list[str]:
    """Return the command that brings a mailbox, and run again, what is new in it."""
    return mbsync_command(stand, wanted.user, maildir, "Sync Pull\nCreate Near", fsync=fsync)


def push(stand: Stand, maildir: Path, user: str, count: int, port: int = 0) -> Run:
    """Let mbsync fill a mailbox from a Maildir.

    Raises:
        Incomplete: not all of it arrived.
    """
    run = stand.run(*mbsync_command(stand, user, maildir, "Sync Push\nCreate Far", port=port))
    stand.demand_count(user, count)
    return run


def imapsync(stand: Stand, program: Path, wanted: Corpus, port: int) -> Run:
    """Let imapsync copy a mailbox into another one, the target at a port.

    Raises:
        Incomplete: not all of it arrived.
    """
    user = stand.new_user()
    state = stand.new_directory()
    state.mkdir()
    secret = state / "secret"
    secret.write_text(PASSWORD)
    secret.chmod(0o600)
    run = stand.run(
        *(str(program), "--tmpdir", str(state), "--nolog", "--noreleasecheck"),
        *("--host1", HOST, "--port1", str(stand.port), "--user1", wanted.user),
        *("--passfile1", str(secret), "--nossl1", "--notls1"),
        *("--host2", HOST, "--port2", str(port), "--user2", user),
        *("--passfile2", str(secret), "--nossl2", "--notls2"),
    )
    stand.demand_count(user, wanted.messages)
    return run


def _bound(pull: Callable[[Stand, Corpus], Run], stand: Stand, wanted: Corpus) -> Callable[[], Run]:
    return lambda: pull(stand, wanted)


def _pull(stand: Stand, wanted: Corpus, maildir: Path, fsync: str) -> Run:
    run = stand.run(*pull_command(stand, wanted, maildir, fsync))
    return _complete(run, maildir, wanted, "mbsync")


def _doveadm(stand: Stand, wanted: Corpus) -> Run:
    """Let `doveadm backup` bring a mailbox by way of its own IMAP client."""
    state, maildir = _places(stand)
    config = state / "dovecot.conf"
    _write(
        stand,
        config,
        _DOVEADM.format(
            state=state, maildir=maildir, port=stand.port, user=wanted.user, password=PASSWORD
        ),
    )
    account = _account(stand)
    env = ("env", f"HOME={state}", f"USER={account}")
    run = stand.run(
        *_as_mail_account(stand), *env, "doveadm", "-c", str(config), "backup", "-R", "imapc:"
    )
    return _complete(run, maildir, wanted, "doveadm")


def _offlineimap(stand: Stand, wanted: Corpus) -> Run:
    state, maildir = _places(stand)
    config = state / "offlineimaprc"
    _write(
        stand,
        config,
        _OFFLINEIMAP.format(
            state=state, maildir=maildir, port=stand.port, user=wanted.user, password=PASSWORD
        ),
    )
    run = stand.run("env", f"HOME={state}", "offlineimap", "-o", "-c", str(config))
    return _complete(run, maildir, wanted, "offlineimap")


def _mpop(stand: Stand, wanted: Corpus) -> Run:
    state, maildir = _places(stand)
    _with_maildir(stand, maildir)
    config = state / "mpoprc"
    text = _MPOP.format(
        port=stand.server.pop3_port,
        user=wanted.user,
        password=PASSWORD,
        maildir=maildir,
        state=state,
    )
    config.write_text(text)
    config.chmod(0o600)
    run = stand.run("mpop", "-q", "-C", str(config))
    return _complete(run, maildir, wanted, "mpop")


def _getmail(stand: Stand, wanted: Corpus, kind: str = "SimpleIMAPRetriever") -> Run:
    state, maildir = _places(stand)
    _with_maildir(stand, maildir)
    config = state / "getmailrc"
    port = stand.server.pop3_port if "POP3" in kind else stand.port
    _write(
        stand,
        config,
        _GETMAIL.format(
            kind=kind,
            port=port,
            user=wanted.user,
            password=PASSWORD,
            maildir=maildir,
            account=_account(stand),
        ),
    )
    # as root it refuses to deliver
    run = stand.run(
        *_as_mail_account(stand), "getmail", f"--getmaildir={state}", f"--rcfile={config}"
    )
    return _complete(run, maildir, wanted, "getmail")


def _places(stand: Stand) -> tuple[Path, Path]:
    """Return fresh directories for state and mail, which belong to who serves mail here."""
    places = stand.new_directory(), stand.new_directory()
    for each in places:
        each.mkdir()
        os.chown(each, stand.server.uid, stand.server.gid)
    return places


def _write(stand: Stand, file: Path, text: str) -> None:
    file.write_text(text)
    os.chown(file, stand.server.uid, stand.server.gid)


def _with_maildir(stand: Stand, maildir: Path) -> None:
    for name in ("cur", "new", "tmp"):
        (maildir / name).mkdir()
        os.chown(maildir / name, stand.server.uid, stand.server.gid)


def _account(stand: Stand) -> str:
    return pwd.getpwuid(stand.server.uid).pw_name


def _as_mail_account(stand: Stand) -> list[str]:
    """Return what lets a command run as who serves mail here, who is not root."""
    if os.geteuid() != 0:
        return []
    ids = [f"--reuid={stand.server.uid}", f"--regid={stand.server.gid}"]
    return ["setpriv", *ids, "--clear-groups"]


def _complete(run: Run, maildir: Path, wanted: Corpus, name: str) -> Run:
    files = count_files(maildir)
    demand(files == wanted.messages, f"{files} of {wanted.messages} by {name}")
    return run


_PULLING = (
    Peer(
        MBSYNC,
        "mbsync",
        turns.FSYNC_PER_MESSAGE,
        lambda stand, wanted: _pull(stand, wanted, stand.new_directory(), "yes"),
    ),
    Peer(
        MBSYNC_NO_FSYNC,
        "mbsync",
        turns.NOTHING,
        lambda stand, wanted: _pull(stand, wanted, stand.new_directory(), "no"),
    ),
    Peer("doveadm backup", "doveadm", turns.NOTHING, _doveadm),
    Peer("offlineimap", "offlineimap", turns.FSYNC_PER_MESSAGE, _offlineimap, is_slow=True),
    Peer("getmail", "getmail", turns.FSYNC_PER_MESSAGE, _getmail, is_slow=True),
)
