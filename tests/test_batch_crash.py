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
        self.process: subprocess.Popen | None = None
        settings = {
            "data.store": f"{folder}/store",
            "output.dir": f"{folder}/runs",
            "output.report": "false",
            "scheduler.kind": "processes",
            "scheduler.workers": "2",
        }
        lines = "".join(f"  {name}: {value}\n" for name, value in settings.items())
        grid = f"vary: {{strategy.params.fast: {list(range(5, 5 + RUNS))}}}"
        (folder / "twenty.yaml").write_text(
            f"retries: 10\nbackoff: [0]\nset:\n{lines}runs:\n- {{conf: {SAMPLE}, {grid}}}\n"
        )

    def start(self) -> subprocess.Popen:
        """Start the command."""
        words = [sys.executable, "-m", "pipeline", "batch", self.folder / "twenty.yaml", "--json"]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(words, cwd=ROOT, **pipes)

    def finish(self) -> tuple[dict[str, str], float]:
        """Let it end, begun before or now; return the digest of each run, and the seconds it took from now."""
        began = time.monotonic()
        with self.process or self.start() as process:
            self.process = None
            out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, err.decode()
        return {run["label"]: run["result_digest"] for run in json.loads(out)["runs"]}, time.monotonic() - began

    def kill(self, whom: str, delay: float) -> bool:
        """Kill one of its processes after a delay, the command being started if need be; False if it was over."""
        process = self.process = self.process or self.start()
        time.sleep(delay)
        while not (victims := self.victims(whom)) and process.poll() is None:
            time.sleep(0.02)  # it has not started them yet
        if process.poll() is not None:
            return False
        members = self.victims("any")
        try:
            victims[int(delay * 1000) % len(victims)].kill()
        except psutil.NoSuchProcess:
            return False
        if whom == "command":
            self.process = None
            process.communicate()
            _, alive = psutil.wait_procs(members, timeout=10)
            assert not alive, f"{alive} outlived the command"
        return True

    def victims(self, whom: str) -> list[psutil.Process]:
        """Return its processes of a kind: the command, the one that makes the runs, its fork server and workers."""
        try:
            command = psutil.Process(self.process.pid)
            makers = command.children()
            below = [each for maker in makers for each in maker.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []
        return {"command": [command], "maker": makers, "worker": below, "any": [command, *makers, *below]}[whom]

    def check(self, expected: dict[str, str]) -> None:
        """Finish it, and see that all is there, once, whole, and nothing besides."""
        digests, _ = self.finish()
        published = list(self.runs.glob("sample/*"))

        assert digests == expected
        assert Counter(path.name.rpartition("-")[2] for path in published) == {"1": RUNS}
        assert [problem for path in published for problem in rundir.verify(path)] == []
        assert [path for path in (self.runs / ".staging").iterdir() if path.suffix != ".lock"] == []
        states = {attempts.read_record(path)["state"] for path in self.runs.glob(".failed/*")}
        assert states <= {"abandoned", "failed"}
        assert rundir.verify((self.runs / "latest").resolve()) == []
        again, _ = self.finish()
        assert again == expected
        assert list(self.runs.glob("sample/*")) == published
        assert list((self.runs / ".staging").iterdir()) == []


def kill_and_check(folder: Path, whom: Counter[str], seed: int) -> int:
    """Kill batches at random moments, each kind of their processes so often; return how many batches it took."""
    draw = random.Random(seed)
    undisturbed = Batch(folder / "undisturbed")
    expected, seconds = undisturbed.finish()
    assert len(set(expected.values())) == RUNS
    batches = [Batch(folder / "1")]
    for kind in draw.sample(sorted(whom), whom.total(), counts=[whom[name] for name in sorted(whom)]):
        while not batches[-1].kill(kind, draw.uniform(0, seconds / 2)):
            batches[-1].check(expected)
            shutil.rmtree(batches[-1].folder)
            batches.append(Batch(folder / f"{len(batches) + 1}"))
    batches[-1].check(expected)
    return len(batches)


@pytest.mark.timeout(900)
def test_ten_random_kills_lose_and_double_nothing(tmp_path):
    """Batches begun again after each of them end as the undisturbed one did, run by run."""
    assert kill_and_check(tmp_path, Counter(command=5, maker=2, worker=3), seed=20261125) >= 1


@pytest.mark.nightly
@pytest.mark.timeout(7200)
def test_two_hundred_random_kills_lose_and_double_nothing(tmp_path):
    """The same for longer, from a seed of the night: it is printed, so that it can be repeated."""
    seed = int(os.environ.get("BT_SEED", time.time_ns()))
    sys.stderr.write(f"seed {seed}; repeat with BT_SEED={seed}\n")

    assert kill_and_check(tmp_path, Counter(command=100, maker=40, worker=60), seed) > 1


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
