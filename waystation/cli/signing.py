"""Signatures by keys that the user has: OpenSSH and minisign do it, and ask for passphrases."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from waystation.errors import UsageError, WaystationError, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

NAMESPACE = "waystation"
"""What the signature is for (ssh-keygen(1), -Y sign -n), so that it passes for nothing else."""
_HEAD = 100


class SigningError(WaystationError):
    """No signature came about."""


def sign(file: Path, key: Path, comment: str) -> Path:
    """Sign a file with a key; return where the signature lies, beside the file.

    ``comment`` becomes minisign's trusted comment, which is signed as well.

    Raises:
        UsageError: the key is none that OpenSSH or minisign know.
        SigningError: the tool is missing, or does not sign.
    """
    try:
        with key.open("rb") as stream:
            head = stream.read(_HEAD)
    except OSError as error:
        raise UsageError(f"{plain(str(key))} cannot be read: {error.strerror}.") from None
    if head.startswith(b"untrusted comment:"):
        signature = Path(f"{file}.minisig")
        words = ["-S", "-s", str(key), "-m", str(file), "-x", str(signature), "-t", comment]
        _run("minisign", words, "minisign (Debian: apt-get install minisign)")
        return signature
    if head.startswith((b"-----BEGIN ", b"ssh-", b"sk-", b"ecdsa-")):
        signature = Path(f"{file}.sig")
        signature.unlink(missing_ok=True)  # it would ask whether to write over it
        words = ["-Y", "sign", "-f", str(key), "-n", NAMESPACE, str(file)]
        _run("ssh-keygen", words, "OpenSSH (Debian: apt-get install openssh-client)")
        return signature
    raise UsageError(f"{plain(str(key))} is neither an SSH key nor a secret key of minisign.")


def _run(tool: str, words: Sequence[str], package: str) -> None:
    """Run a tool; it asks the terminal itself, so that no passphrase passes through us."""
    path = shutil.which(tool)
    if path is None:
        raise SigningError(f"{tool} is not installed; install {package}.")
    # No shell reads these words.
    done = subprocess.run(  # noqa: S603
        [path, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False
    )
    if done.returncode:
        said = plain(done.stderr.decode("utf-8", "replace").strip(), 300)
        raise SigningError(f"{tool} does not sign: {said or f'exit code {done.returncode}'}")
