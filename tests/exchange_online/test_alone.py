"""The simulator as a process, with an identity provider, a large mailbox, many clients."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
import urllib.parse
import urllib.request
from dataclasses import replace
from pathlib import Path
from ssl import create_default_context
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.exchange_online.client import LineClient, xoauth2
from tests.exchange_online.conftest import BOB
from tests.exchange_online.keys import StubIssuer
from tests.exchange_online.profile import EXO_2026, EXO_HOSTILE, MIB
from tests.exchange_online.server import ExchangeOnline, SimulatorError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.exchange_online.conftest import Place

ROOT = Path(__file__).parents[2]


class _Where(NamedTuple):
    host: str
    port: int
    ca_file: Path


def test_a_person_can_start_it_and_read_what_it_holds(tmp_path: Path) -> None:
    state_file, log_file = tmp_path / "state.json", tmp_path / "log.jsonl"
    command = [sys.executable, "-m", "tests.exchange_online", "--scale", "0.001"]
    files = ["--state-file", str(state_file), "--log-file", str(log_file)]
    with subprocess.Popen([*command, *files], stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        try:
            where = json.loads(process.stdout.readline())
            token = _app_token(where)
            place = _Where(where["host"], where["port"], Path(where["ca_file"]))
            with LineClient(place) as client:
                user = where["mailboxes"][0]
                assert client.sign_in(user, token) == b"OK AUTHENTICATE completed."
                client.append(b"INBOX", b"Subject: x\r\n\r\n")
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0

    state = json.loads(state_file.read_text())
    assert state["profile"] == "exo-2026"
    [message] = state["mailboxes"][user]["folders"]["INBOX"]["messages"]
    assert message["size"] == 14
    events = [json.loads(line) for line in log_file.read_text().splitlines()]
    assert events[0]["text"].startswith("* OK The Microsoft Exchange IMAP4 service is ready.")
    assert token not in log_file.read_text()


def _app_token(where: dict[str, str]) -> str:
    form = {
        "grant_type": "client_credentials",
        "client_id": where["client_id"],
        "client_secret": where["client_secret"],
        "scope": "https://outlook.office365.com/.default",
    }
    with urllib.request.urlopen(
        f"{where['authority']}/oauth2/v2.0/token",
        urllib.parse.urlencode(form).encode(),
        context=create_default_context(cafile=where["ca_file"]),
    ) as response:
        token: str = json.load(response)["access_token"]
        return token


def test_many_clients_at_once_get_a_uid_each(place: Callable[..., Place]) -> None:
    here = place(replace(EXO_2026, throttles=False))
    uids: list[bytes] = []

    def send() -> None:
        client = here.client()
        answers = [client.append(b"INBOX", b"Subject: x\r\n\r\n")[-1] for _ in range(20)]
        uids.extend(answer.split()[3] for answer in answers)

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(uids)) == 160
    assert here.box.peak_connections == 8
    assert [message.uid for _, message in here.box.stored()] == list(range(1, 161))


def _memory() -> int:
    """Return the octets of memory in use that are not those of mapped files."""
    status = Path("/proc/self/status").read_text()
    return int(re.findall(r"RssAnon:\s+(\d+) kB", status)[0]) * 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_a_message_of_150_mebibytes_is_not_held_in_memory(place: Callable[..., Place]) -> None:
    here = place(replace(EXO_2026, largest_message=150 * MIB, throttles=False))
    client = here.client()
    line = b"x" * 74 + b"\r\n"
    count = 150 * MIB // len(line) - 1
    size = 4 + count * len(line)
    client.send(b"a APPEND INBOX {%d+}\r\nS:\r\n\r\n" % (size + 2))
    before = most = _memory()

    for _ in range(count // 10_000):
        client.send(line * 10_000)
        most = max(most, _memory())
    client.send(line * (count % 10_000) + b"\r\n\r\n")

    assert client.until(b"a")[-1].startswith(b"OK ")
    assert most - before < 50 * MIB
    [(_, message)] = here.box.stored()
    assert message.blob.size == size + 2


def test_a_patient_client_gets_all_its_mail_into_a_hostile_server() -> None:
    issuer = StubIssuer()
    profile = replace(
        EXO_HOSTILE,
        bucket_burst=40,
        bucket_recharge=1 / 64,
        backoff_seconds=100.0,
        connects_per_minute=None,
    )
    wanted = {b"<%d@contoso.com>" % number for number in range(150)}
    with ExchangeOnline(profile, seed=3, scale=0.001, verify=issuer.claims_of) as server:
        box = server.add_mailbox(BOB)
        while missing := wanted - {
            value for _, m in box.stored() for value in box.header(m).get("message-id", [])
        }:
            with LineClient(server) as client:
                client.sign_in(BOB, issuer.issue())
                for number in missing:
                    message = b"Message-ID: %b\r\nSubject: x\r\n\r\nx\r\n" % number
                    if not client.append(b"INBOX", message)[-1:]:
                        break
        outcomes = dict(box.answers)

    assert outcomes["APPEND OK"] >= 100
    assert len(list(box.stored())) == 150
    assert box.throttles
    assert not server.failures


def test_the_same_seed_makes_the_same_hostile_day() -> None:
    def day(seed: int) -> list[tuple[str, bytes]]:
        issuer = StubIssuer()
        profile = replace(EXO_HOSTILE, throttles=False, connects_per_minute=None, outage_chance=0)
        with ExchangeOnline(profile, seed=seed, scale=0.0001, verify=issuer.claims_of) as server:
            box = server.add_mailbox(BOB)
            done = 0
            while done < 120:
                with LineClient(server) as client:
                    client.sign_in(BOB, issuer.issue())
                    while done < 120:
                        done += 1
                        message = b"Subject: %d\r\n\r\n" % done
                        if not client.append(b"INBOX", message)[-1:]:
                            break
            return [(name, message.original) for name, message in box.stored()]

    assert day(1) == day(1)
    assert day(1) != day(2)


def test_a_fault_of_the_simulator_is_not_hidden() -> None:
    def broken(_: str) -> dict[str, object]:
        raise RuntimeError("a fault")

    def run() -> None:
        with ExchangeOnline(verify=broken) as server, LineClient(server) as client:
            server.add_mailbox(BOB)
            assert client.command(b"AUTHENTICATE XOAUTH2 " + xoauth2(BOB, "x")) == []

    with pytest.raises(SimulatorError, match="a fault"):
        run()
