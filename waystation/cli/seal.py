"""``waystation seal``: the archive's seal to be noted elsewhere, its manifest, its signature."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from waystation.cli import options, state
from waystation.cli.signing import NAMESPACE, sign
from waystation.cli.text import count_text
from waystation.errors import ArchiveError, UsageError, plain

if TYPE_CHECKING:
    import typer

    from store.archive import Archive
    from store.journal import Record
    from waystation.cli.output import Listener

_EXAMPLES = """\
\b
Examples:
  waystation seal alice
  waystation seal alice --manifest alice.sha256 --sign ~/.ssh/id_ed25519
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("seal", epilog=_EXAMPLES)(_seal)


def _seal(
    archive: options.ArchivePath,
    manifest: options.ManifestToWrite = None,
    key: options.SigningKey = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> int:
    """Show the seal: 32 letters that stand for every message, row and run up to now.

    Note it where nobody who can write to the archive can: 'waystation check --seal' then proves
    that nothing of what is there today was changed since.
    """
    from store.archive import Archive

    listener = state.listen("seal", as_json=as_json, quiet=quiet)
    if manifest is not None and manifest.resolve().is_relative_to(archive.resolve()):
        raise UsageError("a manifest in the archive proves nothing; write it somewhere else.")
    with Archive.read(archive) as opened:
        record = _newest(opened, listener)
        if manifest is not None:
            _write(opened, record, manifest)
    signature = _sign(record, manifest, key) if key is not None else None
    values = _values(record, manifest, signature)
    listener.heading(values["seal"])
    held = (values["counts"] or {}).get("messages") or {}
    listener.heading(
        f"record {record.number} of {values['ended']}, {values['made_by']}: "
        f"{count_text(held.get('archived', 0), 'message')} archived"
    )
    if manifest is not None:
        listener.say(f"{plain(str(manifest))}: 'sha256sum -c' reads it, in the archive.")
    if signature is not None:
        _tell_signature(record, manifest, signature, listener)
    listener.summary("done", 0, values)
    return 0


def _newest(archive: Archive, listener: Listener) -> Record:
    from store.journal import Records, ends_with

    records = Records(archive.database)
    record = records.last()
    if record is None:
        raise ArchiveError(
            "this archive is not sealed yet: 'waystation check ARCHIVE' proves it as it is now, "
            "and seals it."
        )
    if not records.waiting() and not ends_with(archive.path, record.line):
        listener.warning(
            "the journal does not end with this record: 'waystation check ARCHIVE' says what "
            "was altered"
        )
    if archive.database.row("SELECT 1 FROM unsealed LIMIT 1") is not None:
        listener.warning(
            "something has changed since, in a run that goes on or was cut off; the next record "
            "will have it"
        )
    return record


def _write(archive: Archive, record: Record, file: Path) -> None:
    from store.manifest import manifest

    # Beside it first: a manifest that was cut off must not pass for one.
    part = file.with_name(f"{file.name}.part")
    with part.open("w", encoding="utf-8", newline="\n") as stream:
        for line in manifest(archive, record):
            stream.write(f"{line}\n")
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(file)


def _sign(record: Record, manifest: Path | None, key: Path) -> str:
    """Sign the manifest, or else the record's line as it stands in the journal.

    Returns where the signature lies; without a manifest, the signature itself.
    """
    comment = f"waystation seal of record {record.number}"
    if manifest is not None:
        return str(sign(manifest, key, comment))
    with tempfile.TemporaryDirectory(prefix="waystation-") as directory:
        line = Path(directory) / "record"
        line.write_text(f"{record.line}\n", encoding="utf-8", newline="\n")
        return sign(line, key, comment).read_text("utf-8")


def _tell_signature(
    record: Record, manifest: Path | None, signature: str, listener: Listener
) -> None:
    """Show the signature, and say how anybody verifies it."""
    if manifest is None:
        for line in signature.splitlines():
            listener.heading(line)
        listener.say(f"It is of line {record.number} of journal.jsonl, with the end of the line.")
    else:
        listener.say(f"Signed: {plain(signature)}")
    is_ssh = signature.endswith(".sig") or signature.startswith("-----BEGIN")
    listener.say(
        f"To verify: ssh-keygen -Y verify -n {NAMESPACE} -f ALLOWED_SIGNERS -I SIGNER -s SIGNATURE"
        if is_ssh
        else "To verify: minisign -V -p PUBLIC_KEY -m FILE -x SIGNATURE"
    )


def _values(record: Record, manifest: Path | None, signature: str | None) -> dict[str, Any]:
    from store.journal import short

    told = record.values
    return {
        "seal": short(record.hash),
        "hash": record.hash,
        "record": record.number,
        "ended": told.get("ended"),
        "made_by": told.get("command"),
        "counts": told.get("counts"),
        "roots": told.get("roots"),
        "manifest": str(manifest) if manifest is not None else None,
        "signature": signature,
    }
