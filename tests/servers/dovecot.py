"""A private Dovecot on the loopback interface, for tests.

It touches nothing outside its own directory, needs neither root nor a service manager, and
lets in every user name with the password `PASSWORD`. The directory's path has to be short:
Dovecot's UNIX sockets live in it, and their paths may have 107 octets.

Started by root, it serves the mail as `nobody`, since Dovecot never opens a mailbox as root:
files that were laid down from outside have to be handed over with `give`.
"""

from __future__ import annotations

import contextlib
import functools
import grp
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from tests.servers.ca import CertificateAuthority

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from tests.servers.google import GoogleIdentity
    from tests.servers.identity import IdentityProvider

HOST = "127.0.0.1"
PASSWORD = "secret"

MailFormat = Literal["maildir", "maildir-fs", "sdbox", "mdbox"]

SPECIAL_USE: Mapping[str, str] = {
    "Sent": "\\Sent",
    "Drafts": "\\Drafts",
    "Trash": "\\Trash",
    "Junk": "\\Junk",
}

_CAPABILITIES = """
IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE SORT SORT=DISPLAY THREAD=REFERENCES
THREAD=REFS THREAD=ORDEREDSUBJECT MULTIAPPEND URL-PARTIAL CATENATE UNSELECT CHILDREN
NAMESPACE UIDPLUS LIST-EXTENDED I18NLEVEL=1 CONDSTORE QRESYNC ESEARCH ESORT SEARCHRES
WITHIN CONTEXT=SEARCH LIST-STATUS BINARY MOVE SNIPPET=FUZZY PREVIEW=FUZZY PREVIEW
STATUS=SIZE SAVEDATE LITERAL+ NOTIFY SPECIAL-USE
"""  # what Dovecot 2.3 offers when nothing is hidden

_SOCKET_PATH_LIMIT = 107
_LONGEST_SOCKET_NAME = "/run/srv.stats-writer-or-longer/12345"
_LOCATIONS: Mapping[MailFormat, str] = {
    "maildir": "maildir:~/mail",
    "maildir-fs": "maildir:~/mail:LAYOUT=fs:INBOX=~/mail/INBOX",
    "sdbox": "sdbox:~/mail",
    "mdbox": "mdbox:~/mail",
}


class DovecotError(RuntimeError):
    """Dovecot did not start or a doveadm command failed; carries Dovecot's own words."""


@functools.cache
def is_available() -> bool:
    """Tell whether a Dovecot that reads our configuration is installed, and doveadm with it."""
    program = _program("dovecot")
    if program is None or _program("doveadm") is None:
        return False
    version = subprocess.run([program, "--version"], capture_output=True, check=False)
    return version.stdout.startswith(b"2.3.")  # 2.4 has another configuration language


def has_pop3() -> bool:
    """Tell whether Dovecot's POP3 server, a package of its own on Debian, is installed."""
    folders = ("/usr/lib/dovecot", "/usr/libexec/dovecot", "/usr/local/libexec/dovecot")
    return is_available() and any(Path(folder, "pop3-login").exists() for folder in folders)


def archive_location(archive: Path, index: Path | None = None) -> str:
    """Return the `mail_location` that shows an archive's Maildir as it stands.

    With `index`, Dovecot's own files go there, and the archive stays as it was.
    """
    maildir = archive / "maildir"
    location = f"maildir:{maildir}:LAYOUT=fs:INBOX={maildir}/INBOX:UTF-8"
    if index is None:
        return location
    return f"{location}:INDEX={index}/index:CONTROL={index}/control"


class Dovecot:
    """A running private Dovecot, as a context manager.

    `port` is IMAP (STARTTLS offered, plaintext permitted), `tls_port` is IMAPS, `pop3_port`
    and `pop3s_port` are set with `pop3=True`. A client that trusts `ca_file` finds a valid
    certificate for localhost, 127.0.0.1 and ::1.

    `quota` is what each user may store, such as `200K`; `separator` and `prefix` shape the one
    namespace; `special_use` folders exist from the start.

    With `identity`, tokens of that provider open a mailbox by XOAUTH2 and OAUTHBEARER: a user's
    own, and with an application's token every mailbox, as Exchange Online does it. With `google`,
    Dovecot asks that one what a token is worth.

    `hide` takes capabilities off the list that Dovecot announces; `extra` is configuration
    text that overrides all of ours.
    """

    def __init__(
        self,
        directory: Path | None = None,
        *,
        mail_format: MailFormat = "maildir",
        mail_location: str | None = None,
        separator: str | None = None,
        prefix: str = "",
        special_use: Mapping[str, str] = SPECIAL_USE,
        hide: Iterable[str] = (),
        quota: str | None = None,
        fsync: bool = False,
        pop3: bool = False,
        identity: IdentityProvider | None = None,
        google: GoogleIdentity | None = None,
        extra: str = "",
    ) -> None:
        self._given_directory = directory
        self._mail_location = mail_location or _LOCATIONS[mail_format]
        self._separator = separator or ("." if mail_format == "maildir" else "/")
        self._prefix = prefix
        self._special_use = special_use
        self._hidden = frozenset(hide)
        self._quota = quota
        self._fsync = "optimized" if fsync else "never"
        self._has_pop3 = pop3
        self._identity = identity
        self._google = google
        self._takes_tokens = identity is not None or google is not None
        self._extra = extra
        self._process: subprocess.Popen[bytes] | None = None
        self._cleanup = contextlib.ExitStack()
        self.uid, self.gid = _mail_account()
        self.host = HOST
        self.password = PASSWORD
        self.port = self.tls_port = self.pop3_port = self.pop3s_port = 0

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as on_failure:
            self.directory = self._given_directory or on_failure.enter_context(
                _short_temporary_directory()
            )
            self._prepare()
            self._start_on_free_ports()
            on_failure.callback(self.stop if self._given_directory else self._kill)
            self._cleanup = on_failure.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._cleanup.close()

    @property
    def config_file(self) -> Path:
        """The generated `dovecot.conf`."""
        return self.directory / "dovecot.conf"

    @property
    def log_file(self) -> Path:
        """Where Dovecot writes what it has to say."""
        return self.directory / "log"

    @property
    def pid(self) -> int | None:
        """The process id of Dovecot's master, None when it is stopped."""
        return self._process.pid if self._process else None

    def home(self, user: str) -> Path:
        """Return a user's home directory; the mail is in `mail` below it."""
        return self.directory / "home" / user

    def mail_directory(self, user: str) -> Path:
        """Return where a user's mail is, if neither `mail_location` nor `locate` says other."""
        return self.home(user) / "mail"

    def locate(self, user: str, mail_location: str) -> None:
        """Give one user a `mail_location` of its own; call it before the user's first login."""
        self._user_field(user, f"userdb_mail={mail_location}")

    def limit(self, user: str, quota: str) -> None:
        """Give one user a quota of its own; call it before the user's first login."""
        if self._quota is None:
            raise DovecotError("start the server with a quota for all to give one to a user")
        self._user_field(user, f"userdb_quota_rule=*:storage={quota}")

    def give(self, path: Path) -> None:
        """Hand a file or a tree below `directory` over to the account that serves the mail."""
        for each in (path, *path.rglob("*")):
            os.chown(each, self.uid, self.gid, follow_symlinks=False)

    def copy_in(self, tree: Path, name: str) -> Path:
        """Return a copy of a tree, with its times, that the server may read and change."""
        copy = self.directory / "home" / name
        shutil.copytree(tree, copy, symlinks=True)
        self.give(copy)
        return copy

    def doveadm(self, *args: str, data: bytes | None = None) -> str:
        """Run doveadm against this server and return what it printed."""
        program = _program("doveadm")
        if program is None:
            raise DovecotError("doveadm is not installed")
        done = subprocess.run(
            [program, "-c", str(self.config_file), *args],
            input=data,
            stdin=subprocess.DEVNULL if data is None else None,
            capture_output=True,
            check=False,
        )
        if done.returncode != 0:
            raise DovecotError(f"doveadm {' '.join(args)}: {_text(done.stderr + done.stdout)}")
        return _text(done.stdout)

    def start(self) -> None:
        """Start Dovecot (again, after `stop`) on its ports and wait until it answers."""
        program = _program("dovecot")
        if program is None:
            raise DovecotError("dovecot is not installed")
        with (self.directory / "output").open("wb") as output:
            self._process = subprocess.Popen(
                [program, "-F", "-c", str(self.config_file)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End this Dovecot and only this one; its mail stays until the context ends."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _kill(self) -> None:
        # nothing is kept, so there is no reason to wait a second for an orderly end
        process, self._process = self._process, None
        if process is not None:
            os.killpg(process.pid, signal.SIGKILL)  # the session that `start` made
            process.wait()

    def _prepare(self) -> None:
        base = len(os.fsencode(str(self.directory) + _LONGEST_SOCKET_NAME))
        if base > _SOCKET_PATH_LIMIT:
            raise DovecotError(f"{self.directory}: too long for UNIX sockets; take a shorter one")
        for name in ("run", "state", "home", "users", "tls"):
            (self.directory / name).mkdir(mode=0o755, parents=True, exist_ok=True)
        os.chown(self.directory / "home", self.uid, self.gid)
        if os.geteuid() == 0:
            self._check_reachable()
        ca = CertificateAuthority(self.directory / "tls")
        self._certificate = ca.issue()
        self.ca_file = ca.ca_file
        if self._identity is not None:
            self._trust(self._identity)
        if self._google is not None:
            self._ask(self._google)

    def _ask(self, google: GoogleIdentity) -> None:
        """Lay down where Dovecot asks what a token is worth, which says nothing of itself."""
        ca_file = self.directory / "tls" / "google.pem"
        ca_file.write_bytes(google.ca_file.read_bytes())
        (self.directory / "oauth2-google.conf").write_text(
            f"tokeninfo_url = {google.base}/tokeninfo?access_token=\n"
            f"tls_ca_cert_file = {ca_file}\n"
            "username_attribute = email\n"
        )

    def _trust(self, identity: IdentityProvider) -> None:
        """Lay down the provider's key, and which tokens are good for what."""
        # keys/AZP/ALGORITHM/KID; tokens of Entra's version 1.0 have no azp
        keys = self.directory / "keys" / "default" / "RS256"
        keys.mkdir(parents=True)
        (keys / identity.kid).write_text(identity.public_key_pem)
        for number, (audience, kind) in enumerate(_OAUTH):
            (self.directory / f"oauth2-{number}.conf").write_text(
                f"introspection_mode = local\n"
                f"local_validation_key_dict = fs:posix:prefix={self.directory}/keys/\n"
                f"client_id = {audience}\n"
                f"issuers = {identity.issuer}\n"
                f"active_attribute = idtyp\n"
                f"active_value = {kind}\n{_OAUTH_USER[kind]}\n"
            )

    def _check_reachable(self) -> None:
        for folder in (self.directory, *self.directory.parents):
            if not folder.stat().st_mode & stat.S_IXOTH:
                raise DovecotError(f"{folder} is closed to other users; Dovecot needs to enter")

    def _start_on_free_ports(self) -> None:
        for attempt in range(5):
            self.port, self.tls_port, *pop3 = _free_ports(4 if self._has_pop3 else 2)
            if pop3:
                self.pop3_port, self.pop3s_port = pop3
            self.config_file.write_text(self._config())
            try:
                self.start()
            except DovecotError as error:
                # another process took the port between our look and Dovecot's bind
                if "in use" not in str(error) or attempt == 4:
                    raise
            else:
                return

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                break
            with (
                contextlib.suppress(OSError),
                socket.create_connection((HOST, self.port), timeout=5) as connection,
            ):
                if connection.recv(4) == b"* OK":
                    return
            time.sleep(0.01)
        raise DovecotError(f"Dovecot did not start: {self._said()}")

    def _said(self) -> str:
        files = (self.directory / "output", self.log_file)
        return "\n".join(_text(file.read_bytes()) for file in files if file.exists())[-4000:]

    def _user_field(self, user: str, field: str) -> None:
        file = self.directory / "users" / user
        fields = file.read_text().strip() if file.exists() else f"{user}:::::::"
        separator = "" if fields.endswith(":") else " "
        file.write_text(f"{fields}{separator}{field}\n")

    def _config(self) -> str:
        sections = [
            self._basics(),
            _SERVICES,
            self._listeners(),
            self._namespace(),
            self._users(),
        ]
        if os.geteuid() != 0:
            sections.append(_WITHOUT_ROOT.format(user=_account(), group=_group()))
        if self._quota:
            sections.append(_QUOTA.format(storage=self._quota))
        if self._hidden:
            shown = " ".join(word for word in _CAPABILITIES.split() if word not in self._hidden)
            sections.append(f"protocol imap {{\n  imap_capability = {shown}\n}}")
        return "\n\n".join([*sections, self._extra]) + "\n"

    def _basics(self) -> str:
        return f"""\
base_dir = {self.directory}/run
state_dir = {self.directory}/state
log_path = {self.log_file}
protocols = imap{" pop3" if self._has_pop3 else ""}
listen = {HOST}
ssl = yes
ssl_cert = <{self._certificate.cert_file}
ssl_key = <{self._certificate.key_file}
disable_plaintext_auth = no
auth_mechanisms = plain login{" xoauth2 oauthbearer" if self._takes_tokens else ""}
auth_failure_delay = 0
mail_location = {self._mail_location}
mail_fsync = {self._fsync}
mail_max_userip_connections = 1000
first_valid_uid = 1
default_client_limit = 8192"""

    def _listeners(self) -> str:
        text = _listener("imap", "imap", self.port) + _listener("imap", "imaps", self.tls_port)
        if self._has_pop3:
            text += _listener("pop3", "pop3", self.pop3_port)
            text += _listener("pop3", "pop3s", self.pop3s_port)
        return text

    def _namespace(self) -> str:
        folders = "".join(
            f'  mailbox "{name}" {{\n    special_use = {use}\n    auto = create\n  }}\n'
            for name, use in self._special_use.items()
        )
        return (
            "namespace inbox {\n  inbox = yes\n"
            f'  separator = "{self._separator}"\n  prefix = "{self._prefix}"\n{folders}}}'
        )

    def _token_passdbs(self) -> Iterator[str]:
        names = [str(number) for number in range(len(_OAUTH))] if self._identity else []
        for name in names + (["google"] if self._google else []):
            yield (
                "passdb {\n  driver = oauth2\n  mechanisms = xoauth2 oauthbearer\n"
                f"  args = {self.directory}/oauth2-{name}.conf\n}}\n"
            )

    def _users(self) -> str:
        # With tokens, the password is for passwords alone; who exists is not asked of it then.
        only = "\n  mechanisms = plain login" if self._takes_tokens else ""
        everybody = "allow_all_users=yes " if self._takes_tokens else ""
        # a file per user, since Dovecot looks at a changed file only once a second
        return f"""\
{"".join(self._token_passdbs())}
passdb {{
  driver = static{only}
  args = password={PASSWORD}
}}
userdb {{
  driver = passwd-file
  args = username_format=%u {self.directory}/users/%u
  default_fields = uid={self.uid} gid={self.gid} home={self.directory}/home/%u
  result_internalfail = continue
}}
userdb {{
  driver = static
  args = {everybody}uid={self.uid} gid={self.gid} home={self.directory}/home/%u
}}"""


_OAUTH = [
    (audience, kind)
    for audience in ("https://outlook.office365.com", "https://outlook.office.com")
    for kind in ("user", "app")
]
_OAUTH_USER = {
    "user": "username_attribute = upn",
    # an application's token names no user: both sides of the comparison become one word
    "app": "username_attribute = sub\nusername_format = app",
}

_SERVICES = """\
service imap-login {
  service_count = 0
  client_limit = 2048
  process_min_avail = 1
}
service imap {
  service_count = 200
  process_limit = 1024
}
service anvil {
  # without it every refused sign-in makes the next one from 127.0.0.1 wait longer
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
service stats {
  unix_listener stats-writer {
    mode = 0666
  }
}"""

_QUOTA = """\
mail_plugins = quota
plugin {{
  quota = count:user
  quota_vsizes = yes
  quota_rule = *:storage={storage}
}}
protocol imap {{
  mail_plugins = quota imap_quota
}}"""

_WITHOUT_ROOT = """\
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {user}
service imap-login {{
  chroot =
}}
service pop3-login {{
  chroot =
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
service log {{
  chroot =
}}"""


def _listener(protocol: str, name: str, port: int) -> str:
    tls = "\n    ssl = yes" if name.endswith("s") else ""
    return f"""\
service {protocol}-login {{
  inet_listener {name} {{
    address = {HOST}
    port = {port}{tls}
  }}
}}
"""


def _program(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin:/sbin")


def _account() -> str:
    return pwd.getpwuid(os.geteuid()).pw_name


def _group() -> str:
    return grp.getgrgid(os.getegid()).gr_name


def _text(octets: bytes) -> str:
    return octets.decode(errors="replace").strip()


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as sockets:
        held = [sockets.enter_context(socket.socket()) for _ in range(count)]
        for each in held:
            each.bind((HOST, 0))
        return [each.getsockname()[1] for each in held]


@contextlib.contextmanager
def _short_temporary_directory() -> Iterator[Path]:
    # not TMPDIR: it may be long (macOS, nested test runs)
    parent = "/tmp" if Path("/tmp").is_dir() else None
    with tempfile.TemporaryDirectory(
        prefix="dovecot-", dir=parent, ignore_cleanup_errors=True
    ) as name:
        Path(name).chmod(0o755)
        yield Path(name)


def _mail_account() -> tuple[int, int]:
    if os.geteuid() != 0:
        return os.geteuid(), os.getegid()
    nobody = pwd.getpwnam("nobody")
    return nobody.pw_uid, nobody.pw_gid
