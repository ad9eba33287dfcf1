"""Run directories: whole or not at all, for one writer or many, however they end."""

import errno
import fcntl
import hashlib
import json
import os
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from made_tables import FRIDAY, run_of
from pipeline.errors import TemporaryError
from pipeline.results import rundir
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


@pytest.fixture
def publish(tmp_path, tables):
    """Return a function that publishes a run under ``<tmp>/runs`` and says where it lies."""

    def publish(made=tables, name="sample", **record):
        with rundir.create(tmp_path / "runs", name, KEY) as run:
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


def test_two_runs_at_once_do_not_meet(tmp_path):
    """Runs of one key at the same moment get an attempt each, and both are published."""
    with rundir.create(tmp_path, "sample", KEY) as one, rundir.create(tmp_path, "sample", KEY) as two:
        two.publish({})
        one.publish({})

    assert (one.attempt, two.attempt) == (1, 2)
    assert names_in(tmp_path / "sample") == [f"{KEY}-1", f"{KEY}-2"]
    assert (tmp_path / "latest").readlink() == Path(f"sample/{KEY}-1")


def test_attempt_published_meanwhile_is_not_taken_again(tmp_path, monkeypatch):
    """A run that looked for a free attempt just before another one published it takes the next."""
    with rundir.create(tmp_path, "sample", KEY) as run:
        run.publish({})
    monkeypatch.setattr(Path, "glob", lambda *_: iter(()))

    with rundir.create(tmp_path, "sample", KEY) as run:
        assert run.attempt == 2
        assert names_in(tmp_path / ".staging") == [f"sample.{KEY}-2"]


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt, SystemExit])
def test_failed_run_leaves_nothing(tmp_path, failure):
    """An exception, Ctrl-C or a termination inside a run removes its staging and publishes nothing."""

    def fail():
        with rundir.create(tmp_path, "sample", KEY) as run:
            run.write_text("config.yaml", "name: sample\n")
            raise failure

    with pytest.raises(failure):
        fail()

    assert names_in(tmp_path) == [".staging"]
    assert names_in(tmp_path / ".staging") == []


def test_dead_staging_is_swept_and_a_live_one_is_not(tmp_path):
    """Folders and links without a living owner go when a run begins; those of a run at work stay."""
    dead = tmp_path / ".staging" / f"sample.{KEY}-7"
    dead.mkdir(parents=True)
    (dead / "equity.parquet").write_bytes(b"half")
    with rundir.create(tmp_path, "sample", KEY) as live:
        live.write_text("config.yaml", "name: sample\n")
        live.publish({})
        (tmp_path / ".staging" / "live.latest").symlink_to(f"sample/{KEY}-1")
        with rundir.create(tmp_path, "sample", KEY) as other:
            other.write_text("config.yaml", "name: sample\n")
            with rundir.create(tmp_path, "sample", KEY):
                assert names_in(tmp_path / ".staging") == ["live.latest", f"sample.{KEY}-2", f"sample.{KEY}-3"]
            assert names_in(other.folder) == ["config.yaml"]

    with rundir.create(tmp_path, "sample", KEY):
        assert names_in(tmp_path / ".staging") == [f"sample.{KEY}-2"]


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

    assert rundir._lock(folder) is None


def test_stray_file_in_staging_is_left_alone(tmp_path):
    """A file that is none of ours does not keep a run from beginning."""
    (tmp_path / ".staging").mkdir()
    (tmp_path / ".staging" / ".DS_Store").touch()

    with rundir.create(tmp_path, "sample", KEY) as run:
        assert names_in(tmp_path / ".staging") == [".DS_Store", run.folder.name]


def test_nan_is_refused_in_json(tmp_path):
    """JSON knows no NaN, so a run that would write one fails and publishes nothing."""
    with pytest.raises(ValueError, match="JSON"), rundir.create(tmp_path, "sample", KEY) as run:
        run.publish({"seconds": float("nan")})

    assert names_in(tmp_path) == [".staging"]


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
        with rundir.create(output, "killed", KEY) as run:
            assert run.attempt == len(published) + 1
            assert names_in(output / ".staging") == [run.folder.name]

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
