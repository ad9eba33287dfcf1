"""`run` under faults: stopped, killed, refused by the disk, called from nowhere. It loses nothing, tells the truth."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from pipeline import config, failpoints
from pipeline.errors import TemporaryError
from pipeline.results import attempts, rundir
from pipeline.run import run

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "conf" / "sample.yaml"
HANGS = "def signal(bars):\n    while True: pass\n"
WATCHED = """
import multiprocessing, os, sys
CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.symlink", "os.link", "os.truncate", "os.chmod"}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
def watch(event, arguments):
    if event in CHANGES or (event == "open" and arguments[2] & WRITES):
        os.write(NOTES, f"{event} {arguments[0]}\\n".encode())
if multiprocessing.parent_process() is not None:
    NOTES = os.open("%(folder)s/notes", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    sys.addaudithook(watch)
def signal(bars):
    open("%(folder)s/own", "a").close()
    return bars["close"] > bars["close"].rolling(20).mean()
"""
PATIENCE = 60.0  # seconds, on a busy machine


class Place:
    """A folder with a store of the five stocks and the runs of one test."""

    def __init__(self, folder: Path, store: Path) -> None:
        self.folder = folder
        self.runs = folder / "runs"
        self.settings = {
            "data.store": str(store),
            "output.dir": str(self.runs),
            "output.report": "false",
            "scheduler.kind": "synchronous",
            "scheduler.workers": "2",
        }

    def arguments(self, overrides: tuple[str, ...]) -> list[str]:
        """Return the settings, those of a test over those of the place."""
        own = dict(override.split("=", 1) for override in overrides)
        return [f"{name}={value}" for name, value in {**self.settings, **own}.items()]

    def run(self, *overrides: str, **more):
        """Run in this process."""
        return run(config.load(SAMPLE, self.arguments(overrides), {}), **more)

    def start(self, *overrides: str, command=(), fault: str | None = None, **more) -> subprocess.Popen:
        """Start the command, with a fault if one is named."""
        environment = {**os.environ, **({failpoints.VARIABLE: fault} if fault else {})}
        words = [sys.executable, "-m", "pipeline", "run", SAMPLE, *self.arguments(overrides), *command]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": ROOT, "env": environment}
        return subprocess.Popen(words, **{**pipes, **more})

    def strategy(self, text: str) -> str:
        """Write a strategy and return the setting that chooses it."""
        (self.folder / "mine.py").write_text(text)
        return f"strategy.name={self.folder}/mine.py"

    def begun(self, process: subprocess.Popen, stage: str) -> Path:
        """Wait until a run has begun a stage; return the folder of the attempt."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until and process.poll() is None:
            for log in self.runs.glob(".staging/*/log.jsonl"):
                if '"event": "stage_start", "run": ' in (text := log.read_text()) and f'"stage": "{stage}"' in text:
                    return log.parent
            time.sleep(0.02)
        raise AssertionError(f"stage {stage} did not begin: {process.poll()} {process.stderr.read()}")

    @property
    def published(self) -> list[Path]:
        """Return the published runs."""
        return sorted(self.runs.glob("sample/*"))

    @property
    def failed(self) -> list[dict]:
        """Return the records of failed attempts, oldest first."""
        return [attempts.read_record(folder) for folder in sorted(self.runs.glob(".failed/*"))]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Return the store of the five stocks, filled once."""
    folder = tmp_path_factory.mktemp("shared")
    Place(folder, folder / "store").run()
    return folder / "store"


@pytest.fixture
def place(tmp_path, store):
    """Return a place of the test's own, at the shared store."""
    return Place(tmp_path, store)


@pytest.fixture(autouse=True)
def _no_failpoint_was_passed():
    failpoints._passed.clear()


KINDS = ("synchronous", "threads", "processes", "distributed")
STAGES = ("open", "start", "trading", "results", "report")


@pytest.mark.parametrize(
    ("stage", "kind", "number"),
    [
        *(("signals", kind, signal.SIGTERM) for kind in KINDS),
        *((stage, "synchronous", signal.SIGINT) for stage in STAGES),
    ],
)
def test_a_signal_ends_a_run_in_any_stage(place, stage, kind, number):
    """Within ten seconds, although the strategy hangs: 143 or 130, recorded, nothing published, no child left."""
    settings = [
        f"scheduler.kind={kind}",
        "output.report=true",
        *([place.strategy(HANGS)] if stage == "signals" else []),
    ]
    fault = None if stage == "signals" else f"stage.{stage}:sleep"
    with place.start(*settings, fault=fault) as process:
        place.begun(process, stage)
        children = psutil.Process(process.pid).children(recursive=True)
        began = time.monotonic()
        process.send_signal(number)
        code = process.wait(20)
        took = time.monotonic() - began
        said = process.stderr.read()

    (record,) = place.failed
    assert took < 10
    assert code == {signal.SIGTERM: 143, signal.SIGINT: 130}[number]
    assert [record[name] for name in ("state", "exit_code")] == ["interrupted", code]
    assert place.published == []
    assert "Traceback" not in said
    assert f"by a signal. Record: {place.runs}/.failed/" in said
    _, alive = psutil.wait_procs(children, timeout=3)
    assert not alive


@pytest.mark.parametrize("kind", ["processes", "distributed"])
def test_a_killed_run_leaves_no_process(place, kind):
    """The kernel ends its workers with it, though their strategy hangs; the next run tells of the dead one."""
    with place.start(f"scheduler.kind={kind}", place.strategy(HANGS)) as process:
        place.begun(process, "signals")
        until = time.monotonic() + PATIENCE
        while len(children := psutil.Process(process.pid).children(recursive=True)) < 3 and time.monotonic() < until:
            time.sleep(0.05)  # a server, and workers of it
        process.kill()

    _, alive = psutil.wait_procs(children, timeout=5)
    assert len(children) >= 3
    assert not alive
    assert place.run().state == "committed"
    (record,) = place.failed
    assert (record["state"], record["exit_code"]) == ("abandoned", None)


@pytest.mark.parametrize("kind", ["processes", pytest.param("distributed", marks=pytest.mark.nightly)])
def test_workers_write_to_neither_store_nor_runs(place, kind):
    """So a task that runs twice does no harm: an audit hook in each worker sees what it opens, moves and removes."""
    done = place.run(f"scheduler.kind={kind}", place.strategy(WATCHED % {"folder": place.folder}))
    seen = (place.folder / "notes").read_text().splitlines()
    kept = (str(place.runs), place.settings["data.store"])

    assert done.state == "committed"
    assert f"open {place.folder}/own" in seen
    assert [line for line in seen if any(folder in line for folder in kept)] == []


POINTS = ("run.before_tables", "run.before_record", "run.before_rename", "run.after_rename", "run.before_latest")


@pytest.mark.parametrize("point", POINTS)
def test_a_run_killed_while_it_publishes_is_there_whole_or_not_at_all(place, point):
    """The next one has the same digest, `latest` points to a whole run, and staging is as clean as before."""
    older = place.run("trading.cash=5_000")
    with place.start(fault=f"{point}:kill") as process:
        process.wait(PATIENCE)
    assert process.returncode == -signal.SIGKILL
    left = place.published
    whole = [rundir.verify(path) for path in left]
    latest = (place.runs / "latest").resolve()
    after = place.run(once=True)

    is_there = point in {"run.after_rename", "run.before_latest"}
    assert whole == [[]] * (2 if is_there else 1)
    assert latest == Path(older.run_dir)
    assert after.state == ("complete" if is_there else "committed")
    assert len(place.published) == 2
    assert list((place.runs / ".staging").iterdir()) == []
    assert [record["state"] for record in place.failed] == ([] if is_there else ["abandoned"])


@pytest.mark.parametrize("fault", ["eio", "enospc"])
@pytest.mark.parametrize("point", POINTS)
def test_a_disk_that_refuses_is_temporary(place, monkeypatch, point, fault):
    """Exit 75 with the path and the system's words; a run that is there already stays, whole."""
    monkeypatch.setenv(failpoints.VARIABLE, f"{point}:{fault}")
    words = {"eio": "Input/output error", "enospc": "No space left on device"}[fault]
    with pytest.raises(TemporaryError, match=rf"run directory {place.runs}/.*: {words}; it could not be written"):
        place.run()
    monkeypatch.delenv(failpoints.VARIABLE)

    assert [rundir.verify(path) for path in place.published] == [[]] * len(place.published)
    assert place.failed[0]["exit_code"] == 75 if place.failed else place.published
    assert place.run(once=True).exit_code == 0


def test_called_from_nowhere(place):
    """No environment, no terminal, stdin, stdout and stderr closed, cwd /, umask 000: the run and its log are there.

    And nobody else may read or write what it left.
    """
    words = [sys.executable, "-m", "pipeline", "run", str(SAMPLE), *place.arguments(())]
    shell = 'umask 000; cd /; exec "$@" 0<&- 1>&- 2>&-'
    code = subprocess.run(["/usr/bin/env", "-i", "/bin/sh", "-c", shell, "sh", *words], check=False).returncode

    assert code == 0
    (path,) = place.published
    lines = [json.loads(line) for line in (path / "log.jsonl").read_text().splitlines()]
    assert (lines[-1]["event"], lines[-1]["code"], lines[-1]["path"]) == ("exit", 0, str(path))
    modes = {stat.S_IMODE(each.stat().st_mode) for each in [path, *path.iterdir()]}
    assert modes == {0o700, 0o600}


def test_an_answer_that_cannot_be_written_does_not_lose_the_run(place):
    """Standard output on a full disk is 75 in one sentence; the run is published all the same."""
    with Path("/dev/full").open("w") as full, place.start(stdout=full) as process:
        process.wait(PATIENCE)
        said = process.stderr.read()

    assert process.returncode == 75
    assert said.splitlines()[-1].startswith("stdout: No space left on device")
    assert [rundir.verify(path) for path in place.published] == [[]]


def test_two_runs_of_one_key_never_interleave(place):
    """The second is told who is at it and exits 75; with --wait it waits its turn and finds the next attempt free."""
    with place.start(fault="stage.trading:sleep") as first:
        folder = place.begun(first, "trading")
        with place.start() as second, place.start(command=["--json", "--wait", "2m"]) as patient:
            said = second.communicate(timeout=PATIENCE)[1]
            assert second.returncode == 75
            assert f"locked by process {first.pid}, run sample " in said
            assert "Wait for it to end. The command can wait so: --wait 10m." in said
            assert patient.poll() is None
            first.kill()
            first.wait()
            answer = json.loads(patient.communicate(timeout=PATIENCE)[0])

    assert answer["state"] == "committed"
    assert [Path(answer["run_dir"])] == place.published
    attempts.sweep(place.runs)  # as whoever begins does; the one that waited may have begun while the first still lived
    assert "abandoned" in [record["state"] for record in place.failed]
    assert not folder.exists()
