"""Measure when the neighbours are quiet: a machine that others use tells little while they compute.

`measured` waits for a moment in which the machine is idle, and measures again if others took much of it meanwhile. What
could not be measured in peace is told as such: `quiet_median` looks at it only where there is nothing better.
"""

import os
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import psutil

IDLE = 0.85  # of all cores, before a measurement begins
FOREIGN = 0.10  # of all cores, that others may take meanwhile
LOOK = 0.2  # seconds to look before one begins
PATIENCE = float(os.environ.get("BENCHMARK_PATIENCE", "8"))  # seconds to wait for a quiet moment


class Neighbours:
    """Who else computes on this machine."""

    def __init__(self) -> None:
        self.noisy = self.quiet = 0  # measurements

    def measured(self, work: Callable[[], Any]) -> tuple[Any, bool]:
        """Return what `work` returns the first time that the machine is quiet, and True; False if it never is."""
        until = time.monotonic() + PATIENCE
        while True:
            while self._busy() > 1 - IDLE and time.monotonic() < until:
                pass
            busy, own, began = _busy(), _own(), time.monotonic()
            answer = work()
            elapsed = (time.monotonic() - began) * psutil.cpu_count()
            is_quiet = (_busy() - busy - (_own() - own)) / elapsed <= FOREIGN
            if is_quiet or time.monotonic() > until:
                self.quiet, self.noisy = self.quiet + is_quiet, self.noisy + (not is_quiet)
                return answer, is_quiet

    def __str__(self) -> str:
        """Tell how many measurements were taken in peace."""
        return f"{self.quiet} measurements in quiet moments, {self.noisy} beside others"

    @staticmethod
    def _busy() -> float:
        before = _busy()
        time.sleep(LOOK)
        return (_busy() - before) / (LOOK * psutil.cpu_count())


def _busy() -> float:
    """Return the seconds that all cores have computed so far."""
    times = psutil.cpu_times()
    return sum(times) - times.idle - times.iowait - times.guest - times.guest_nice


def _own() -> float:
    """Return the seconds that this process, all below it, and the children they have seen end took of them."""
    process = psutil.Process()
    return sum(sum(each.cpu_times()[:4]) for each in (process, *process.children(recursive=True)))


def quiet_median(samples: Sequence[tuple[float, bool]]) -> float:
    """Return the median of the samples that were taken in quiet moments; of all, where there are none."""
    return median([value for value, is_quiet in samples if is_quiet] or [value for value, _ in samples])
