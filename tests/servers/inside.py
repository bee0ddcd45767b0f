"""What runs in the overlay: installs a mail server, starts it, and ends it with its own input.

It is PID 1 of a PID namespace, so that with it every process in there ends. Only
`tests.servers.overlay` starts it.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

READY = "ready"
UNAVAILABLE = "unavailable: "

PACKAGES = {
    "cyrus": ("cyrus-imapd", "cyrus-admin", "sasl2-bin"),
    "courier": ("courier-imap", "courier-authlib-userdb"),
}
_DEVICES = {"null": 3, "zero": 5, "full": 7, "random": 8, "urandom": 9}
_LINKS = {"fd": "fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}

_IMAPD_CONF = """\
configdirectory: /var/lib/cyrus
defaultpartition: default
partition-default: /var/spool/cyrus/mail
proc_path: /run/cyrus/proc
mboxname_lockpath: /run/cyrus/lock
idlesocket: /run/cyrus/socket/idle
servername: cyrus.test
tls_server_cert: {chain}
tls_server_key: {chain}
altnamespace: no
unixhierarchysep: yes
allowplaintext: yes
admins: cyrus
sasl_mech_list: PLAIN LOGIN
sasl_pwcheck_method: auxprop
sasl_auxprop_plugin: sasldb
virtdomains: no
autocreate_quota: 0
autocreate_inbox_folders: Sent|Drafts|Trash
xlist-sent: Sent
xlist-drafts: Drafts
xlist-trash: Trash
reject8bit: no
munge8bit: no
expunge_mode: immediate
delete_mode: immediate
"""

_CYRUS_CONF = """\
START {{
  recover cmd="/usr/sbin/cyrus ctl_cyrusdb -r"
}}
SERVICES {{
  imap cmd="imapd -U 100" listen="127.0.0.1:{port}" prefork=1 maxchild=100
}}
EVENTS {{
}}
"""


class UnfitError(Exception):
    """This machine has no overlay or no packages for us."""


@dataclass(frozen=True)
class Order:
    """What is wanted; the port, the key with its certificate, and who may come in."""

    port: int
    chain: bytes
    password: str
    users: list[str]


def main(kind: str, base: str, port: str, chain: str, password: str, *users: str) -> None:
    """Start the server, say so, and end with the input."""
    order = Order(int(port), Path(chain).read_bytes(), password, list(users))
    try:
        try:
            enter(Path(base))
        except (OSError, subprocess.CalledProcessError) as error:
            raise UnfitError(f"no overlay of / can be mounted ({error})") from error
        install(kind)
    except UnfitError as error:
        print(UNAVAILABLE, error, sep="", flush=True)
        return
    {"cyrus": start_cyrus, "courier": start_courier}[kind](order)
    wait_until_ready(order.port)
    print(READY, flush=True)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # orphans come to PID 1; nobody waits for them
    sys.stdin.read()


def enter(base: Path) -> None:
    """Make the overlay below an empty folder, and the root of this process."""
    mount("-t", "tmpfs", "-o", "size=3g,mode=755", "none", base)
    for name in ("upper", "work", "root"):
        (base / name).mkdir()
    root = base / "root"
    layers = f"lowerdir=/,upperdir={base}/upper,workdir={base}/work"
    mount("-t", "overlay", "-o", layers, "overlay", root)
    mount("-t", "proc", "proc", root / "proc")
    make_devices(root / "dev")
    mount("-t", "tmpfs", "none", root / "run")
    mount("-t", "tmpfs", "-o", "mode=1777", "none", root / "tmp")
    names = Path("/etc/resolv.conf")
    if names.is_symlink():  # mostly into /run, which is empty inside
        text = names.read_text()
        (root / "etc/resolv.conf").unlink()
        (root / "etc/resolv.conf").write_text(text)
    os.chroot(root)
    os.chdir("/")
    policy = Path("/usr/sbin/policy-rc.d")
    policy.write_text("#!/bin/sh\nexit 101\n")  # a package must not start a service of its own
    policy.chmod(0o755)


def make_devices(folder: Path) -> None:
    """Give the inside devices of its own: what is removed there is not gone on the host."""
    mount("-t", "tmpfs", "-o", "mode=755", "none", folder)
    for name, minor in _DEVICES.items():
        os.mknod(folder / name, 0o666 | stat.S_IFCHR, os.makedev(1, minor))
        (folder / name).chmod(0o666)
    for name, to in _LINKS.items():
        (folder / name).symlink_to(f"/proc/self/{to}")
    (folder / "shm").mkdir(mode=0o1777)
    (folder / "pts").mkdir()
    mount("-t", "devpts", "-o", "newinstance,ptmxmode=0666", "none", folder / "pts")
    (folder / "ptmx").symlink_to("pts/ptmx")


def install(kind: str) -> None:
    """Install Debian's packages.

    Raises:
        UnfitError: they are not to be had.
    """
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    command = ["apt-get", "install", "-q", "-y", "--no-install-recommends", *PACKAGES[kind]]
    for attempt in (["apt-get", "-q", "update"], None):
        done = subprocess.run(
            command, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
        )
        if done.returncode == 0:
            return
        if attempt:  # lists that are old or were never fetched
            subprocess.run(attempt, env=env, capture_output=True, check=False)
    last = [line for line in done.stderr.splitlines() if line.startswith("E:")][:1]
    raise UnfitError(f"apt-get cannot install {PACKAGES[kind][0]} ({' '.join(last)})")


def start_cyrus(order: Order) -> None:
    """Configure Cyrus with users in a SASL database, and start its master."""
    chain = keep(order.chain, "/etc/cyrus.pem", "cyrus", "mail")
    Path("/etc/imapd.conf").write_text(_IMAPD_CONF.format(chain=chain))
    Path("/etc/cyrus.conf").write_text(_CYRUS_CONF.format(port=order.port))
    for user in order.users:
        run("saslpasswd2", "-p", "-c", "-u", "cyrus.test", user, data=order.password)
    shutil.chown("/etc/sasldb2", "cyrus", "sasl")
    for name in ("proc", "lock", "socket"):
        Path("/run/cyrus", name).mkdir(parents=True, exist_ok=True)
    run("chown", "-R", "cyrus:mail", "/run/cyrus")
    names = ("/usr/sbin/cyrmaster", "/usr/lib/cyrus/bin/master")
    program = next(name for name in names if Path(name).exists())
    subprocess.Popen(
        [program, "-C", "/etc/imapd.conf", "-M", "/etc/cyrus.conf"], stdin=subprocess.DEVNULL
    )


def start_courier(order: Order) -> None:
    """Configure Courier with users in its own database, and start its two daemons."""
    run("useradd", "-m", "vmail")
    account = pwd.getpwnam("vmail")
    secret = run("openssl", "passwd", "-1", "-stdin", data=order.password).strip()
    rows = []
    for user in order.users:
        home = Path("/home/vmail", user)
        home.mkdir()
        run("maildirmake", home / "Maildir")
        rows.append(
            f"{user}\tuid={account.pw_uid}|gid={account.pw_gid}|home={home}"
            f"|mail={home}/Maildir|systempw={secret}\n"
        )
    run("chown", "-R", "vmail:vmail", "/home/vmail")
    users = Path("/etc/courier/userdb")
    users.write_text("".join(rows))
    users.chmod(0o600)
    run("makeuserdb")
    change("authdaemonrc", authmodulelist="authuserdb")
    change("imapd", ADDRESS="127.0.0.1", PORT=order.port, MAXDAEMONS=200, MAXPERIP=200)
    chain = keep(order.chain, "/etc/courier/test.pem", "courier", "courier")
    change("imapd-ssl", IMAPDSTARTTLS="YES", TLS_CERTFILE=chain)
    Path("/run/courier/authdaemon").mkdir(parents=True, exist_ok=True)
    run("chown", "-R", "courier:courier", "/run/courier")
    for daemon in ("authdaemond", "/usr/sbin/imapd"):
        # not `run`: what stays in the background holds the pipe
        subprocess.run([daemon, "start"], stdin=subprocess.DEVNULL, check=True)


def change(file: str, **values: object) -> None:
    """Set values in one of Courier's files."""
    path = Path("/etc/courier", file)
    lines = [line for line in path.read_text().splitlines() if line.split("=")[0] not in values]
    path.write_text("\n".join([*lines, *(f'{key}="{value}"' for key, value in values.items())]))


def keep(chain: bytes, path: str, user: str, group: str) -> str:
    """Write the key with its certificate for one account alone."""
    file = Path(path)
    file.touch(mode=0o640)
    file.write_bytes(chain)
    shutil.chown(file, user, group)
    return path


def wait_until_ready(port: int) -> None:
    """Return when the server greets."""
    for _ in range(200):
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", port), timeout=5) as connection,
        ):
            if connection.recv(4) == b"* OK":
                return
        time.sleep(0.1)
    sys.exit("the server does not answer")


def mount(*args: object) -> None:
    """Run mount(8)."""
    run("mount", *args)


def run(*args: object, data: str | None = None) -> str:
    """Run a program and return what it printed."""
    done = subprocess.run(
        list(map(str, args)),
        input=data,
        stdin=subprocess.DEVNULL if data is None else None,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


if __name__ == "__main__":
    main(*sys.argv[1:])
