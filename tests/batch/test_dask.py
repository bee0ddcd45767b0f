"""A batch on a cluster of worker processes: one is killed, all is called back, nothing is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from store.archive import Archive
from tests import corpus
from tests.batch.dask_cluster import Spell, dask_cluster
from tests.batch.test_many import move
from tests.compare import snapshot
from tests.fakes.certificates import TestAuthority
from tests.servers.dovecot import PASSWORD
from tests.store.filling import filled
from waystation import cli
from waystation.batch.cluster import Cluster, NobodyThereError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.batch.test_many import Move
    from tests.servers.dovecot import Dovecot

AT_PACE = ("--rate", "0", "--patience", "1")


def lines(out: Path) -> list[dict[str, Any]]:
    return [
        json.loads(line) for line in out.read_text().splitlines(keepends=True) if line[-1] == "\n"
    ]


def until_done(moving: Move, messages: int, process: subprocess.Popen[str]) -> None:
    """Wait until the batch has told of so many messages."""
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        told = [each for each in lines(moving.root / "out.jsonl") if each["type"] == "progress"]
        if told and told[-1]["done"] >= messages:
            return
        time.sleep(0.05)
    log = (moving.root / "batch.log").read_text()
    raise AssertionError(f"the batch does not get so far: {process.poll()} {log[-3000:]}")


def end_state(moving: Move) -> dict[str, Any]:
    """Return what each mailbox holds, and what its ledger says, by content."""
    found: dict[str, Any] = {}
    seen = moving.seen()
    for number in range(moving.mailboxes):
        with Archive.read(moving.root / f"u{number}") as archive:
            totals = archive.transfers.totals()
        ledger = sorted((name, state, count) for name, _, state, _, count in totals)
        found[f"u{number}"] = (ledger, seen["mailboxes"][f"u{number}@contoso.com"]["bodies"])
    assert moving.complaints(seen) == []
    return found


def at_once(spells: list[Spell], died: dict[int, float]) -> list[tuple[Spell, Spell]]:
    """Return which turns of one mailbox have overlapped."""
    by_mailbox: dict[str, list[Spell]] = {}
    for spell in spells:
        by_mailbox.setdefault(spell.mailbox, []).append(spell)
    return [
        (first, second)
        for each in by_mailbox.values()
        for first, second in pairwise(sorted(each, key=lambda spell: spell.taken))
        if (died[first.process] if first.left is None else first.left) > second.taken
    ]


def test_forty_mailboxes_on_three_workers_of_which_one_is_killed_come_to_the_same_end(
    tmp_path: Path,
) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "many").mkdir()
    with move(tmp_path / "one", 40, 12, burst=1000, recharge=50, backoff=1) as embedded:
        _, complaints = embedded.start(*AT_PACE).communicate(timeout=120)
        wanted = end_state(embedded)
    assert complaints == ""

    with move(tmp_path / "many", 40, 12, burst=1000, recharge=50, backoff=1) as moving:
        secret = {"APP_SECRET": moving.where["client_secret"]}
        with dask_cluster(tmp_path / "dask", 3, secret, threads=16) as cluster:
            engine = ("--engine", cluster.engine, "--lease", "4", "--retry-after", "1")
            process = moving.start(*AT_PACE, *engine)
            until_done(moving, 40 * 12 // 3, process)
            victim = cluster.workers[0]
            victim.kill()
            victim.wait()
            died = {victim.pid: time.monotonic()}
            _, complaints = process.communicate(timeout=120)
            spells = cluster.spells()

        assert (process.returncode, complaints) == (0, "")
        assert end_state(moving) == wanted
        cut_off = {spell.mailbox for spell in spells if spell.left is None}
        assert {spell.process for spell in spells if spell.left is None} == {victim.pid}
        again = {spell.mailbox for spell in spells if spell.taken > died[victim.pid]}
        assert cut_off
        assert cut_off <= again
        assert at_once(spells, died) == []
        status = json.loads((moving.root / "status.json").read_text())
        assert (status["exit_code"], status["states"]) == (0, {"done": 40})
        told = [each for each in lines(moving.root / "out.jsonl") if each["type"] == "lease"]
        assert {each["mailbox"] for each in told if each["what"] == "released"} == set(wanted)


def test_a_batch_that_is_interrupted_calls_its_mailboxes_back_and_goes_on_later(
    tmp_path: Path,
) -> None:
    with move(tmp_path, 6, 25, burst=1000, recharge=50, backoff=1) as moving:
        secret = {"APP_SECRET": moving.where["client_secret"]}
        with dask_cluster(tmp_path / "dask", 2, secret) as cluster:
            engine = ("--engine", cluster.engine, "--lease", "30", "--total-rate", "40")
            first = moving.start(*AT_PACE, *engine)
            until_done(moving, 30, first)
            first.send_signal(signal.SIGINT)
            first.communicate(timeout=20)
            assert first.returncode == 130
            assert all(spell.left is not None for spell in cluster.spells())
            # Who is killed says nothing; its mailboxes are called back by the scheduler.
            second = moving.start(*AT_PACE, *engine)
            until_done(moving, 20, second)
            second.kill()
            second.communicate()

            last = moving.start(*AT_PACE, "--engine", cluster.engine, "--lease", "30")
            _, complaints = last.communicate(timeout=60)

            assert (last.returncode, complaints) == (0, "")
            assert at_once(cluster.spells(), {}) == []
        assert moving.complaints(moving.seen()) == []


@pytest.mark.server
def test_all_commands_of_a_batch_work_on_a_cluster_and_passwords_stay_in_the_list(
    dovecot: Dovecot, user: str, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    names = [f"{user}-{number}" for number in range(4)]
    rows = ["mailbox,from,from_password,to,to_password_env"]
    for number, name in enumerate(names):
        corpus.fill_maildir(
            dovecot.mail_directory(name),
            corpus.mailbox(number, 30, ("INBOX", "Work"), typical_size=1500),
            owner=(dovecot.uid, dovecot.gid),
        )
        old = f"imaps://{name}@localhost:{dovecot.tls_port}"
        new = f"imaps://{name}-new@localhost:{dovecot.tls_port}"
        rows.append(f"{name},{old},{PASSWORD},{new},NEW_PASSWORD")
    (tmp_path / "list.csv").write_text("\n".join(rows))

    def run(command: str, *words: str) -> tuple[int, dict[str, Any], str]:
        given = ["--ca-file", str(dovecot.ca_file)] if command != "check" else []
        given += ["--list", str(tmp_path / "list.csv"), "--engine", engine, "--json", *words]
        done = subprocess.run(
            [sys.executable, "-m", "waystation", "batch", command, str(root), *given],
            env={k: v for k, v in os.environ.items() if k != "NEW_PASSWORD"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return done.returncode, json.loads(done.stdout.splitlines()[-1]), done.stderr

    with dask_cluster(tmp_path / "dask", 2, {"NEW_PASSWORD": PASSWORD}) as cluster:
        engine = cluster.engine
        code, summary, said = run("export")
        assert (code, summary["sums"]["new"]) == (0, 120)
        assert "passwords of 4 mailboxes in the open" in said
        assert run("check")[:1] == (0,)
        assert run("plan")[1]["sums"]["messages"] == 120
        assert run("import", "--connections", "2")[1]["sums"]["appended"] == 120
        assert run("verify", "--target", "--deep")[0] == 0
        code, summary, said = run("verify", "--source", "--folder", "Nowhere")
        assert code == 0
        process = cluster.workers[0]
        assert process.poll() is None
        log = (tmp_path / "dask" / "dask.log").read_bytes()

    assert PASSWORD.encode() not in log
    for name in names:
        before, after = (
            snapshot(dovecot.host, dovecot.port, each, PASSWORD) for each in (name, f"{name}-new")
        )
        assert sum(map(len, after.values())) == sum(map(len, before.values())) == 30
    assert not list((root / ".leases").glob(".waystation*"))


@pytest.mark.server
def test_where_each_machine_has_storage_of_its_own_a_mailbox_stays_with_its_archive(
    dovecot: Dovecot, user: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"{user}-{number}" for number in range(4)]
    for number, name in enumerate(names):
        corpus.fill_maildir(
            dovecot.mail_directory(name),
            corpus.mailbox(number, 5, ("INBOX",), typical_size=1500),
            owner=(dovecot.uid, dovecot.gid),
        )
    rows = [f"{name},imaps://{name}@localhost:{dovecot.tls_port}" for name in names]
    (tmp_path / "list.csv").write_text("\n".join(["mailbox,from", *rows]))
    homes = [tmp_path / "a", tmp_path / "b"]
    for home in homes:
        home.mkdir()

    def run(command: str, *words: str) -> dict[str, Any]:
        given = ["--list", str(tmp_path / "list.csv"), "--engine", engine, "--own-storage"]
        given += ["--worker-root", "~/mail", *words, "--json"]
        capsys.readouterr()
        assert cli.run(["batch", command, str(tmp_path / "root"), *given]) == 0
        found: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
        return found

    sign_in = ("--password-env", "OLD_PASSWORD", "--ca-file", str(dovecot.ca_file))
    secret = {"OLD_PASSWORD": PASSWORD}
    with dask_cluster(tmp_path / "dask", 2, secret, homes=homes) as cluster:
        engine = cluster.engine
        assert run("export", *sign_in)["sums"]["new"] == 20
        kept = [{path.name for path in (home / "mail").glob(f"{user}*")} for home in homes]
        assert run("export", *sign_in)["sums"]["new"] == 0
        assert run("check")["done"] == 4

    assert [len(names) for names in kept] == [2, 2]
    assert kept[0] | kept[1] == set(names)
    again = [{path.name for path in (home / "mail").glob(f"{user}*")} for home in homes]
    assert again == kept


def test_what_a_worker_lacks_is_told_before_anything_begins(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "list.csv").write_text(
        "mailbox,from,from_password_env\nbob,imaps://bob@x.invalid,NOPE"
    )

    def run(*words: str) -> tuple[int, str]:
        given = ["batch", "export", str(root), "--list", str(tmp_path / "list.csv"), *words]
        done = subprocess.run(
            [sys.executable, "-m", "waystation", *given],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stderr

    with dask_cluster(tmp_path / "dask", 1, {}) as cluster:
        code, said = run("--engine", cluster.engine)
        assert code == 2
        assert "lacks the environment variable NOPE" in said
        code, said = run("--engine", cluster.engine, "--worker-root", "/nowhere")
        assert code == 2
        assert "does not see /nowhere" in said
        code, said = run("--engine", cluster.engine, "--debug")
        assert code == 2

    assert not (root / "bob").exists()


@pytest.mark.long
def test_who_pauses_lets_another_one_have_its_place_in_the_worker(tmp_path: Path) -> None:
    with move(tmp_path, 3, 4, burst=3, recharge=1, backoff=2) as moving:
        secret = {"APP_SECRET": moving.where["client_secret"]}
        with dask_cluster(tmp_path / "dask", 1, secret, threads=1) as cluster:
            process = moving.start(*AT_PACE, "--engine", cluster.engine)
            _, complaints = process.communicate(timeout=120)
            spells = cluster.spells()

        assert (process.returncode, complaints) == (0, "")
        assert moving.complaints(moving.seen()) == []
        first_left = min(spell.left or 0.0 for spell in spells)
        assert sum(spell.taken < first_left for spell in spells) > 1


def test_the_way_to_the_scheduler_is_encrypted_as_dasks_own_settings_say(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    filled(root / "bob")
    authority = TestAuthority(tmp_path)
    authority.server_context()
    settings = {"CA_FILE": authority.ca_file}
    for who in ("SCHEDULER", "WORKER", "CLIENT"):
        settings[f"{who}__CERT"] = settings[f"{who}__KEY"] = tmp_path / "server-1.pem"
    tls = {f"DASK_DISTRIBUTED__COMM__TLS__{key}": str(path) for key, path in settings.items()}
    tls["DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION"] = "true"

    def check(environment: dict[str, str]) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "waystation", "batch", "check", str(root), "--engine", engine],
            env=os.environ | environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stderr

    with dask_cluster(tmp_path / "dask", 1, tls, "--protocol", "tls") as cluster:
        engine = cluster.engine
        assert engine.startswith("dask+tls://")
        code, said = check(tls)
        assert (code, said.splitlines()[-1]) == (0, "1 of 1 mailbox done.")
        code, said = check({})
        assert code == 2
        assert "distributed.comm.tls.ca-file" in said
        engine = engine.replace("+tls", "")
        code, said = check(tls)
        assert code == 2
        assert "demand encryption" in said


def test_a_scheduler_that_is_not_there_is_named() -> None:
    with pytest.raises(NobodyThereError, match=r"cannot reach 127\.0\.0\.1 port 9"):
        Cluster.connect("dask://127.0.0.1:9", seconds=0.5)
