"""Who holds Python's lock."""

import subprocess
import sys
import time
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest

from pipeline.compute import gil

ROOT = Path(__file__).resolve().parents[1]


def plain_python(until):
    while time.perf_counter() < until:
        pass


def numpy_alone(until):
    numbers = np.random.default_rng(1).random(2_000_000)
    while time.perf_counter() < until:
        np.sort(numbers)


@pytest.mark.parametrize(("work", "low", "high"), [(plain_python, 0.6, 1.0), (numpy_alone, 0.0, 0.35)])
def test_held_tells_python_from_numpy(work, low, high):
    """Plain Python holds the lock nearly all the time, NumPy's long loops hardly ever."""
    with gil.watched(0.002):
        knocks, taken = gil.seen()
        work(time.perf_counter() + 0.4)
        after = gil.seen()

    assert after[0] - knocks >= 10
    assert low <= (after[1] - taken) / (after[0] - knocks) <= high


def test_nobody_knocks_while_nobody_watches():
    """A worker that waits for work is left in peace."""
    with gil.watched(0.001):
        time.sleep(0.05)
    time.sleep(0.02)
    before = gil.seen()
    time.sleep(0.1)

    assert gil.seen() == before


def test_several_may_watch_at_once():
    """One that ends does not end it for the others; tasks of a run watch side by side."""
    with gil.watched(0.001):
        with gil.watched(0.05):
            pass
        before = gil.seen()[0]
        time.sleep(0.1)

        assert gil.seen()[0] > before


def test_the_interpreter_ends_well_while_watched():
    """The thread is a daemon that waits in Python: no abort at the end, whatever it is at."""
    script = """
        import time
        from pipeline.compute import gil
        gil.watched(0.0005).__enter__()
        until = time.perf_counter() + 0.2
        while time.perf_counter() < until: pass
        """
    for _ in range(5):
        ran = subprocess.run([sys.executable, "-c", dedent(script)], cwd=ROOT, capture_output=True, check=False)
        assert (ran.returncode, ran.stderr) == (0, b"")
