"""Who hears of a batch besides the terminal: a mail at its end, and metrics for Prometheus."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import sys
import urllib.request
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.cli.conftest import start
from tests.cli.test_batch import NAMES, SECRET, office
from tests.fakes.imap_server import Delay
from tests.servers.smtp import PASSWORD, USER, mailroom
from tests.store.filling import filled

if TYPE_CHECKING:
    from contextlib import ExitStack
    from pathlib import Path

    from tests.cli.conftest import FakeKeyring
    from tests.cli.test_batch import Office
    from tests.fakes.certificates import TestAuthority

__all__ = ["office"]

TO = ("--mail-to", "ada@example.com", "--mail-password-env", "MAIL")


@pytest.fixture(autouse=True)
def mail_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAIL", PASSWORD)


def samples(text: str) -> dict[tuple[str, tuple[str, ...]], float]:
    """What a metrics page says, by name and labels' values."""
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_batch_mails_what_has_become_of_it(office: Office, authority: TestAuthority) -> None:
    office.rows[1] = office.row("bob", "WRONG")
    context = authority.server_context()
    with mailroom(starttls=context, demands_sign_in=True) as room:
        server = f"smtp://{USER}@localhost:{room.port}"
        result = office.run("export", *TO, "--mail-server", server, "--json")

    assert (result.code, result.summary["mail"]) == (12, "sent")
    (letter,) = room.letters
    assert b"Subject: waystation batch export: 2 of 3 done, 1 failed" in letter
    assert b"  bob: " in letter
    assert f"batch report {office.root}".encode() in letter.replace(b"=\r\n", b"")
    told = result.out + result.err + office.log
    assert PASSWORD not in told
    assert SECRET.encode() not in letter


def test_a_mail_that_is_not_taken_changes_nothing_and_is_told(
    office: Office, authority: TestAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAIL", "not the p4ssword")
    with mailroom(starttls=authority.server_context(), demands_sign_in=True) as room:
        server = f"smtp://{USER}@localhost:{room.port}"
        result = office.run("export", *TO, "--mail-server", server, "--json")

    assert (result.code, result.summary["mail"], result.summary["done"]) == (0, "failed", 3)
    assert "! the summary was not mailed: localhost: it refused the sign-in" in result.err
    assert "p4ssword" not in result.out + result.err + office.log
    assert room.letters == []


def test_what_is_missing_for_a_mail_is_told_before_anything_begins(
    office: Office, own_keyring: FakeKeyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MAIL")
    server = ("--mail-server", "smtps://admin@mail.example.com")

    assert office.run("export", "--mail-to", "ada@example.com").code == 2
    assert "--mail-from" in office.run("export", "--mail-to", "a@b.c", *server).one_error
    no_variable = office.run("export", *TO, *server, "--mail-from", USER)
    no_keyring = office.run("export", "--mail-to", "a@b.c", *server, "--mail-from", USER)
    both = office.run("export", *TO, "--mail-password-command", "x", *server, "--mail-from", USER)

    assert (no_variable.code, no_keyring.code, both.code) == (12, 12, 2)
    assert "--mail-password-env NAME" in no_keyring.one_error
    assert "keyring set waystation smtps://admin@mail.example.com:465" in no_keyring.one_error
    assert "--mail-password-env or --mail-password-command" in both.one_error
    assert not office.root.exists()


def test_metrics_are_in_a_file_for_prometheus_when_a_batch_has_ended(
    office: Office, tmp_path: Path
) -> None:
    office.rows[1] = office.row("bob", "WRONG")
    file = tmp_path / "waystation.prom"

    result = office.run("export", "--metrics", file)

    found = samples(file.read_text())
    assert result.code == 12
    assert found["waystation_batch_info", ("batch export", "0.1.0")] == 1
    assert found["waystation_batch_mailboxes", ("done",)] == 2
    assert found["waystation_batch_mailboxes", ("failed",)] == 1
    assert found["waystation_batch_mailboxes", ("working",)] == 0
    assert found["waystation_batch_messages_total", ()] == 8
    assert found["waystation_batch_bytes_total", ()] > 8
    assert found["waystation_batch_mailbox_messages_total", ("ada",)] == 4
    assert found["waystation_batch_mailbox_state", ("bob", "failed")] == 1
    assert ("waystation_batch_mailbox_state", ("bob", "done")) not in found
    assert found["waystation_batch_exit_code", ()] == 12
    begun = found["waystation_batch_start_time_seconds", ()]
    assert begun <= found["waystation_batch_end_time_seconds", ()] < begun + 600
    assert found["process_resident_memory_bytes", ()] > 1_000_000
    assert stat.S_IMODE(file.stat().st_mode) & 0o044 == 0o044  # an exporter of its own reads it
    assert [path.name for path in tmp_path.iterdir() if "prom" in path.name] == [file.name]
    assert office.run("check", "--metrics", file).code == 3  # bob has no archive
    assert samples(file.read_text())["waystation_batch_mailboxes", ("done",)] == 2


def test_odd_names_of_mailboxes_stay_values_of_labels(
    office: Office, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    model = filled(tmp_path_factory.mktemp("odd") / "model")
    names = ['a"} 1\nfake_metric 7', "back\\slash", os.fsdecode(b"\xff"), "\u202e"]
    for name in names:
        shutil.copytree(model, office.root / name)
    file = tmp_path / "odd.prom"

    result = office.waystation("batch", "check", office.root, "--metrics", file)

    found = samples(file.read_text("utf-8"))
    assert result.code == 0, result.err
    assert {labels for name, labels in found if name == "waystation_batch_mailbox_state"} == {
        (name.encode("utf-8", "backslashreplace").decode(), "done") for name in names
    }
    assert not [name for name, _ in found if name == "fake_metric"]


def test_metrics_are_shown_on_this_machine_while_a_batch_works(
    office: Office, processes: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    office.old.script.on("FETCH", Delay(60))
    words = ("--metrics-port", 0, "--ca-file", office.ca_file)
    process = start(processes, *office.words("export", *words))
    assert process.stderr is not None
    line = process.stderr.readline()
    assert line.startswith("metrics are at http://127.0.0.1:"), line
    while office.old.commands("FETCH") < 3:
        assert process.poll() is None
        office.old.stopping.wait(0.02)

    with urllib.request.urlopen(line.split()[-1], timeout=10) as answer:
        found = samples(answer.read().decode())
    process.kill()
    process.communicate()

    assert found["waystation_batch_mailboxes", ("working",)] == len(NAMES)
    assert ("waystation_batch_exit_code", ()) not in found


def test_metrics_that_cannot_be_are_told_before_anything_begins(
    office: Office, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = office.run("export", "--metrics", tmp_path / "missing" / "a.prom")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = office.run("export", "--metrics-port", taken.getsockname()[1])
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    library = office.run("export", "--metrics-port", 0)

    assert (nowhere.code, port.code, library.code) == (2, 2, 2)
    assert "a.prom: No such file" in nowhere.one_error
    assert "Address already in use" in port.one_error
    assert "pip install 'waystation[metrics]'" in library.one_error
    assert office.old.commands("AUTHENTICATE") == 0
