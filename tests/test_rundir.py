"""Run directories: whole or not at all, for one writer or many, however they end."""

import errno
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from made_tables import FRIDAY, run_of
from pipeline.errors import ExitCode, LockedError, StrategyError, TemporaryError
from pipeline.interrupts import Stopped
from pipeline.results import attempts, rundir
from pipeline.results.rundir import result_digest

ROOT = Path(__file__).parents[1]
KEY = "0123456789abcdef"
BUY = (FRIDAY, "AAA", 10.0, 20.0, 1.0, 0.0, 0.5, "signal")
ORDER = (FRIDAY, FRIDAY, "AAA", 1.0, 10.0, 10.0, "filled", "signal")


@pytest.fixture
def tables():
    """Return a run of three sessions with one open position."""
    return run_of(
        [1000.0, 1010.0, 990.0], benchmark=[1e3, 1e3, 1e3], fills=[BUY], orders=[ORDER], positions_value=[200, 210, 190]
    )


@contextmanager
def claimed(output, name="sample", key=KEY):
    """Begin a run of a key."""
    with rundir.create(output, name) as run:
        run.claim(key)
        yield run


@pytest.fixture
def publish(tmp_path, tables):
    """Return a function that publishes a run under ``<tmp>/runs`` and says where it lies."""

    def publish(made=tables, name="sample", **record):
        with claimed(tmp_path / "runs", name) as run:
            run.write_tables(made)
            run.write_text("config.yaml", "name: sample\n")
            run.write_json("metrics.json", {"sharpe": None})
            return run.publish({"result_digest": result_digest(made.fills, made.equity), **record})

    return publish


def names_in(folder):
    """Return the sorted names of a folder's entries."""
    return sorted(path.name for path in folder.iterdir())


def test_published_run_is_whole_and_latest(publish, tmp_path, tables):
    """Every file is there and in run.json with its sha256, `latest` points to it relatively, and staging is empty."""
    path = publish(state="committed")
    record = json.loads((path / "run.json").read_text())

    assert path == tmp_path / "runs" / "sample" / f"{KEY}-1"
    assert names_in(path) == sorted([*record["files"], "run.json"])
    assert {f"{field.name}.parquet" for field in fields(tables)} < set(record["files"])
    for name, entry in record["files"].items():
        content = (path / name).read_bytes()
        assert entry == {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    assert (record["state"], record["run_key"], record["attempt"]) == ("committed", KEY, 1)
    assert (tmp_path / "runs" / "latest").readlink() == Path(f"sample/{KEY}-1")
    assert names_in(tmp_path / "runs" / ".staging") == []
    assert rundir.verify(path) == []


def test_runs_of_one_key_are_counted(publish, tmp_path):
    """The same run again is the next attempt, and `latest` moves on to it; another name starts at 1."""
    paths = [publish(), publish(), publish(name="other")]

    assert [path.relative_to(tmp_path / "runs").as_posix() for path in paths] == [
        f"sample/{KEY}-1",
        f"sample/{KEY}-2",
        f"other/{KEY}-1",
    ]
    assert (tmp_path / "runs" / "latest").resolve() == paths[2].resolve()


def test_two_runs_of_one_key_at_once_are_one_too_many(tmp_path):
    """The second is refused within a second and told who is at it; another run goes on beside it, and both publish."""
    with claimed(tmp_path) as one, claimed(tmp_path, key="ffff") as other:
        began = time.monotonic()
        holder = f"locked by process {os.getpid()}, run sample {KEY}, since "
        with pytest.raises(LockedError, match=holder), claimed(tmp_path):
            pass
        assert time.monotonic() - began < 1
        other.publish({})
        one.publish({})

    assert names_in(tmp_path / "sample") == [f"{KEY}-1", "ffff-1"]
    assert (tmp_path / "latest").readlink() == Path(f"sample/{KEY}-1")
    with claimed(tmp_path) as again:
        assert again.attempt == 2


TRACED = StrategyError("signals: it raised")
TRACED.trace = "Traceback (most recent call last):\n  its own \ud800 line\n"


@pytest.mark.parametrize(
    ("failure", "state", "code", "reason"),
    [
        (StrategyError("signals: it failed"), "failed", 5, "signals: it failed"),
        (TRACED, "failed", 5, "signals: it raised"),
        (KeyboardInterrupt(), "interrupted", 130, "interrupted by a signal"),
        (Stopped(ExitCode.TERMINATED), "interrupted", 143, "terminated by a signal"),
        (ValueError("none"), "failed", 1, "ValueError: none"),
        (SystemExit(3), "failed", 1, "SystemExit: 3"),
    ],
)
def test_failed_run_leaves_its_record_only(tmp_path, failure, state, code, reason):
    """State, exit code, reason and log of a run that fails are kept apart from the runs; nothing else is."""

    def fail():
        with rundir.create(tmp_path, "sample", {"config": {}}, lambda: {"stages": {"open": 0.5}}) as run:
            run.claim(KEY)
            run.log.write('{"event": "note"}\n')
            run.write_text("equity.parquet", "half")
            raise failure

    with pytest.raises(type(failure)) as raised:
        fail()

    (kept,) = (tmp_path / ".failed").iterdir()
    record = json.loads((kept / "run.json").read_text())
    lines = [json.loads(line) for line in (kept / "log.jsonl").read_text().splitlines()]
    assert names_in(tmp_path) == [".failed", ".staging"]
    assert names_in(tmp_path / ".staging") == []
    traced = ["traceback.txt"] if code == 1 or failure is TRACED else []
    assert names_in(kept) == ["log.jsonl", "run.json", *traced]
    if failure is TRACED:
        assert (kept / "traceback.txt").read_text() == TRACED.trace.replace("\ud800", "\\ud800")
    assert [record[name] for name in ("state", "exit_code", "reason", "run_key")] == [state, code, reason, KEY]
    assert (record["config"], record["stages"], record["pid"]) == ({}, {"open": 0.5}, os.getpid())
    assert [line["event"] for line in lines] == ["note", "exit"]
    assert (lines[-1]["code"], lines[-1]["state"], lines[-1]["path"]) == (code, state, str(kept))
    assert raised.value.__notes__ == [f"record: {kept}"]


def test_records_of_failures_are_kept_for_a_week(tmp_path):
    """The next failure removes those that are older."""
    failed = tmp_path / ".failed"
    for began in ("20200101T000000.000000Z", f"{datetime.now(UTC) - timedelta(days=6):%Y%m%dT%H%M%S.%fZ}"):
        (failed / f"my.sample.{began}-1").mkdir(parents=True)
    with pytest.raises(ValueError, match="none"), claimed(tmp_path):
        raise ValueError("none")

    assert [name.startswith("my.sample.2020") for name in names_in(failed)] == [False, False]


def test_a_dead_attempt_is_kept_as_abandoned_and_a_live_one_is_left_alone(tmp_path):
    """Whoever begins a run looks after what dead processes left: record and log are kept, tables and locks removed."""
    staging = tmp_path / ".staging"
    dead = staging / "sample.20261125T000000.000000Z-7"
    dead.mkdir(parents=True)
    (dead / "run.json").write_text(json.dumps({"state": "running", "pid": 7, "name": "sample"}))
    (dead / "log.jsonl").write_text('{"event": "note"}\n')
    (dead / "equity.parquet").write_bytes(b"half")
    (staging / "unborn.20261125T000000.000000Z-8").mkdir()
    (staging / f"sample.{KEY}.lock").write_text('{"pid": 7}')
    (staging / "old.latest").symlink_to(f"sample/{KEY}-1")
    with claimed(tmp_path) as live:
        live.write_text("config.yaml", "name: sample\n")
        with claimed(tmp_path, key="ffff"):
            left = names_in(staging)
        assert names_in(live.folder) == ["config.yaml", "log.jsonl", "run.json"]

    record = json.loads((tmp_path / ".failed" / dead.name / "run.json").read_text())
    last = json.loads((tmp_path / ".failed" / dead.name / "log.jsonl").read_text().splitlines()[-1])
    assert len(left) == 4
    assert all(name.startswith(("sample.2", "sample.0", "sample.f")) for name in left)
    assert (record["state"], record["pid"], record["exit_code"]) == ("abandoned", 7, None)
    assert (last["event"], last["state"]) == ("exit", "abandoned")
    assert names_in(tmp_path / ".failed" / dead.name) == ["log.jsonl", "run.json"]


def test_folder_swept_while_it_is_locked_is_not_ours(tmp_path, monkeypatch):
    """Whoever locks a folder that another one removed and made anew meanwhile holds nothing."""
    folder = tmp_path / "run"
    folder.mkdir()
    real = fcntl.flock

    def flock(descriptor, operation):
        folder.rmdir()
        folder.mkdir()
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", flock)

    assert attempts.lock_of(folder) is None


def test_stray_file_in_staging_is_left_alone(tmp_path):
    """A file that is none of ours does not keep a run from beginning."""
    (tmp_path / ".staging").mkdir()
    (tmp_path / ".staging" / ".DS_Store").touch()

    with claimed(tmp_path) as run:
        assert names_in(tmp_path / ".staging") == sorted([".DS_Store", run.folder.name, f"sample.{KEY}.lock"])


def test_complete_run_is_found_unless_a_file_is_missing_or_cut(publish, tmp_path):
    """Of the published runs of a key, the newest one that is whole by names and sizes."""
    first, second = publish(), publish()

    assert rundir.complete(tmp_path / "runs", "sample", KEY)[0] == second
    (second / "config.yaml").unlink()
    assert rundir.complete(tmp_path / "runs", "sample", KEY)[0] == first
    (first / "metrics.json").write_text("{")
    assert rundir.complete(tmp_path / "runs", "sample", KEY) is None
    assert rundir.complete(tmp_path / "runs", "other", KEY) is None


def test_nan_is_refused_in_json(tmp_path):
    """JSON knows no NaN, so a run that would write one fails and publishes nothing."""
    with pytest.raises(ValueError, match="JSON"), claimed(tmp_path) as run:
        run.publish({"seconds": float("nan")})

    assert names_in(tmp_path) == [".failed", ".staging"]


def test_full_disk_is_temporary_and_publishes_nothing(publish, tmp_path, monkeypatch):
    """A write that the disk refuses, at whichever fsync, ends as TemporaryError, and `latest` stays whole."""
    older = publish()
    real, left = os.fsync, 0

    def fsync(descriptor):
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    for allowed in range(11):  # nine files, run.json and the folder: all before the rename
        left = allowed
        with pytest.raises(TemporaryError, match="No space left on device"):
            publish()

    assert (tmp_path / "runs" / "latest").resolve() == older.resolve()
    assert names_in(tmp_path / "runs" / "sample") == [older.name]
    assert names_in(tmp_path / "runs" / ".staging") == []


def test_kill_at_any_moment_leaves_whole_runs(publish, tmp_path):
    """SIGKILL before any call that changes the disk: `latest` is the old or the new run, whole, and work goes on."""
    publish(name="killed")
    where = tmp_path / "copies"
    where.mkdir()
    subprocess.run(
        [sys.executable, ROOT / "tests" / "killed_publish.py", tmp_path / "runs", where],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
    )
    outputs = sorted(where.iterdir(), key=lambda path: int(path.name))
    newest = []
    for output in outputs:
        newest.append((output / "latest").resolve().name)
        published = list((output / "killed").iterdir())
        assert [problem for path in published for problem in rundir.verify(path)] == []
        with claimed(output, "killed") as run:
            assert run.attempt == len(published) + 1
            assert names_in(output / ".staging") == sorted([run.folder.name, f"killed.{KEY}.lock"])

    assert len(outputs) > 15
    assert newest == sorted(newest)
    assert (newest[0], newest[-1]) == (f"{KEY}-1", f"{KEY}-2")


def test_verify_names_every_bad_file(publish):
    """A missing file and a changed one are both reported, by name."""
    path = publish()
    (path / "config.yaml").unlink()
    (path / "metrics.json").write_text("{}")

    missing, changed = rundir.verify(path)

    assert "config.yaml: missing" in missing
    assert "metrics.json: changed" in changed
    assert all(
        each.endswith(f" Remove its folder {path.name}, then run the backtest again.") for each in (missing, changed)
    )


@pytest.mark.parametrize("is_cut", [True, False])
def test_a_damaged_run_is_made_good_as_verify_says(publish, is_cut):
    """A further attempt leaves the damaged one where it is; without it the same run is whole."""
    path = publish()
    (path / "equity.parquet").write_bytes(b"" if is_cut else bytes((path / "equity.parquet").stat().st_size))
    assert publish().name.endswith("-2")
    (problem,) = rundir.verify(path)
    name = problem.partition(" Remove its folder ")[2].partition(", then ")[0]
    shutil.rmtree(path.parent / name)

    assert rundir.verify(publish()) == []
    assert [problem for each in path.parent.iterdir() for problem in rundir.verify(each)] == []


def test_verify_recomputes_the_digest(publish):
    """A digest that is not that of the fills and equity on disk is reported, though every file is as recorded."""
    problems = rundir.verify(publish(result_digest="00"))

    assert len(problems) == 1
    assert "run.json says 00" in problems[0]


@pytest.mark.parametrize("wrong", [1 + 1e-8, np.nan])
def test_verify_balances_the_books(publish, tables, wrong):
    """Equity that is not cash + receivable + positions is reported with its first session."""
    cash = tables.equity["cash"].to_numpy() * np.array([1, wrong, 1 + 1e-12])
    problems = rundir.verify(publish(replace(tables, equity=tables.equity.assign(cash=cash))))

    assert len(problems) == 1
    assert "equity of 2024-01-08" in problems[0]


@pytest.mark.parametrize("content", [None, "{", "{}"])
def test_verify_needs_a_record(publish, content):
    """A folder without a readable run.json is no run."""
    path = publish()
    (path / "run.json").unlink()
    if content is not None:
        (path / "run.json").write_text(content)

    assert len(rundir.verify(path)) == 1
