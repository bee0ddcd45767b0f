"""What a preset knows is done without being asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from store.archive import Archive
from tests.cli.conftest import letter
from tests.servers.dovecot import PASSWORD, Dovecot, has_pop3, is_available
from waystation.cli.connect import target_account
from waystation.providers import PROVIDERS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import CommandLine

USER = "alice@gmail.example"


def test_mail_for_yahoo_goes_to_the_host_that_takes_it_the_second_time_too(exported: Path) -> None:
    with Archive.write(exported, "test") as archive:
        named = target_account(archive, "yahoo:alice@yahoo.com", offline=True)
        archive.transfers.target(named.name, named.key)
        remembered = target_account(archive, None)

    assert named.host == remembered.host == "imap.mail.yahoo.com"
    assert named.key == remembered.key == "yahoo:alice@yahoo.com"


@pytest.mark.server
def test_gmail_by_pop3_stops_at_its_own_day_s_budget(
    waystation: CommandLine, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not is_available() or not has_pop3():
        pytest.skip("no Dovecot with POP3 here (Debian 12: apt-get install dovecot-pop3d)")
    monkeypatch.setenv("APP_PASSWORD", PASSWORD)
    small = replace(PROVIDERS["gmail"], daily={"pop3": 100})
    monkeypatch.setitem(PROVIDERS, "gmail", small)
    with Dovecot(pop3=True) as dovecot:
        for number in range(200):
            dovecot.doveadm("save", "-u", USER, "-m", "INBOX", data=letter(number))
        there = (
            *("--server", f"localhost:{dovecot.pop3s_port}", "--ca-file", dovecot.ca_file),
            *("--password-env", "APP_PASSWORD", "--json"),
        )
        stopped = waystation("export", archive, "--from", f"gmail+pop3:{USER}", *there)
        ended = waystation("export", archive, *there, "--budget", "none")

    assert stopped.code == 3, stopped.err
    assert stopped.summary["out_of_budget"]
    assert ended.code == 0, ended.err
    assert stopped.summary["new"] + ended.summary["new"] == 200
