"""Appends files with imaplib, each after the answer to the one before; a program of its own.

Usage: append_loop.py PORT USER COUNT DIRECTORY; the password is in BENCH_PASSWORD. The first
files of the directory, by name, go into INBOX.
"""

from __future__ import annotations

import imaplib
import os
import sys
from pathlib import Path


def main() -> int:
    port, user, count, directory = sys.argv[1:]
    with imaplib.IMAP4("127.0.0.1", int(port)) as client:
        client.login(user, os.environ["BENCH_PASSWORD"])
        for file in sorted(Path(directory).iterdir())[: int(count)]:
            message = file.read_bytes()
            answer, words = client.append("INBOX", r"(\Seen)", "", message)
            if answer != "OK":
                print(words, file=sys.stderr)
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
