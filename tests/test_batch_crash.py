"""A batch of 20 runs that is killed again and again: nothing is lost, nothing twice, the same digests in the end.

Kills are drawn from a seed: the command, the process that makes the runs, or a worker of its pool, at any moment from
the start of the command on, the ingest included. Ten of them here; two hundred, and ``kill -9`` at every system call
that makes a run durable, in the nightly tier.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

from pipeline.results import attempts, rundir

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "conf" / "sample.yaml"
PATIENCE = 180.0  # seconds, on a busy machine
RUNS = 20
COMMANDS = 0.7  # part of the kills that hit the command itself, after which it has to be called again
needs_strace = pytest.mark.skipif(
    shutil.which("strace") is None,
    reason="strace is missing: nothing was killed at its system calls. Install it: apt-get install strace",
)


class Batch:
    """A batch of 20 runs on two worker processes, with its store, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.runs = folder / "runs"
        settings = {
            "data.store": f"{folder}/store",
            "output.dir": f"{folder}/runs",
            "output.report": "false",
            "scheduler.kind": "processes",
            "scheduler.workers": "2",
        }
        lines = "".join(f"  {name}: {value}\n" for name, value in settings.items())
        grid = f"vary: {{strategy.params.fast: {list(range(5, 5 + RUNS))}}}"
        (folder / "twenty.yaml").write_text(f"backoff: [0]\nset:\n{lines}runs:\n- {{conf: {SAMPLE}, {grid}}}\n")

    def start(self) -> subprocess.Popen:
        """Start the command."""
        words = [sys.executable, "-m", "pipeline", "batch", self.folder / "twenty.yaml", "--json"]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(words, cwd=ROOT, **pipes)

    def finish(self) -> tuple[dict[str, str], float]:
        """Run it undisturbed; return the digest of each run, and the seconds it took."""
        began = time.monotonic()
        with self.start() as process:
            out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, err.decode()
        return {run["label"]: run["result_digest"] for run in json.loads(out)["runs"]}, time.monotonic() - began

    def check(self, expected: dict[str, str]) -> None:
        """Finish it, and see that all is there, once, whole, and nothing besides."""
        digests, _ = self.finish()
        published = list(self.runs.glob("sample/*"))

        assert digests == expected
        assert Counter(path.name.rpartition("-")[2] for path in published) == {"1": RUNS}
        assert [problem for path in published for problem in rundir.verify(path)] == []
        assert list((self.runs / ".staging").iterdir()) == []
        states = {attempts.read_record(path)["state"] for path in self.runs.glob(".failed/*")}
        assert states <= {"abandoned", "failed"}
        assert rundir.verify((self.runs / "latest").resolve()) == []


def family(process: subprocess.Popen) -> list[psutil.Process]:
    """Return a process and all it started: it, the one that makes the runs, fork server, workers."""
    try:
        return [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def killed(batch: Batch, draw: random.Random, seconds: float) -> str | None:
    """Start the batch and kill one of its processes within `seconds`; return which, None if it was done before."""
    with batch.start() as process:
        time.sleep(draw.uniform(0, seconds))
        members = family(process) if process.poll() is None else []
        if not members:
            process.communicate()
            return None
        victim = members[0] if draw.random() < COMMANDS else draw.choice(members)
        try:
            victim.kill()
        except psutil.NoSuchProcess:
            return None
        if victim.pid == process.pid:
            process.communicate()
            _, alive = psutil.wait_procs(members, timeout=10)
            assert not alive, f"{alive} outlived the command"
            return "command"
        err = process.communicate(timeout=PATIENCE)[1]
        assert process.returncode == 0, f"{victim} was killed: {err.decode()}"
        return "a process of it"


def kill_and_check(folder: Path, kills: int, seed: int) -> Counter:
    """Kill batches at `kills` random moments; return how often whom."""
    draw = random.Random(seed)
    undisturbed = Batch(folder / "undisturbed")
    expected, seconds = undisturbed.finish()
    assert len(set(expected.values())) == RUNS
    whom: Counter[str] = Counter()
    for number in range(kills):
        batch = Batch(folder / f"{number}")
        while (victim := killed(batch, draw, seconds)) is not None:
            whom[victim] += 1
            if victim != "command" or whom.total() >= kills:
                break
        batch.check(expected)
        shutil.rmtree(batch.folder)
        if whom.total() >= kills:
            break
    return whom


@pytest.mark.timeout(900)
def test_ten_random_kills_lose_and_double_nothing(tmp_path):
    """Batches begun again after each of them end as the undisturbed one did, run by run."""
    whom = kill_and_check(tmp_path, kills=10, seed=20261125)

    assert whom.total() >= 10
    assert len(whom) == 2


@pytest.mark.nightly
@pytest.mark.timeout(7200)
def test_two_hundred_random_kills_lose_and_double_nothing(tmp_path):
    """The same for longer, from a seed of the night: it is printed, so that it can be repeated."""
    seed = int(os.environ.get("BT_SEED", time.time_ns()))
    sys.stderr.write(f"seed {seed}; repeat with BT_SEED={seed}\n")
    whom = kill_and_check(tmp_path, kills=200, seed=seed)

    assert whom.total() >= 200
    assert len(whom) == 2


@pytest.mark.nightly
@needs_strace
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("calls", ["fsync", "rename", "unlink", "mkdir", "symlink", "rmdir"])
def test_a_run_killed_at_any_system_call_is_there_whole_or_not_at_all(tmp_path, calls):
    """SIGKILL at the first, second, ... of these calls until there is none left; the next run completes the work."""
    settings = [f"data.store={tmp_path}/store", f"output.dir={tmp_path}/runs", "output.report=false"]
    words = [sys.executable, "-m", "pipeline", "run", SAMPLE, *settings, "scheduler.kind=synchronous", "--json"]
    first = subprocess.run(words, cwd=ROOT, capture_output=True, check=True)
    expected = json.loads(first.stdout)["result_digest"]
    for count in range(1, 200):
        inject = ["-e", f"trace={calls}", "-e", f"inject={calls}:signal=SIGKILL:when={count}"]
        done = subprocess.run(
            ["strace", "-f", "-qq", "-o", os.devnull, *inject, *words], cwd=ROOT, capture_output=True, check=False
        )
        published = list((tmp_path / "runs" / "sample").iterdir())
        assert [problem for path in published for problem in rundir.verify(path)] == []
        assert (tmp_path / "runs" / "latest").resolve() in published
        if done.returncode == 0:
            break
        assert done.returncode in {-signal.SIGKILL, 128 + signal.SIGKILL}
    else:
        pytest.fail("there is no end of these calls")

    assert json.loads(done.stdout)["result_digest"] == expected
    assert list((tmp_path / "runs" / ".staging").iterdir()) == []
