"""A process that makes runs, as its parent holds it: started, given orders, heard, ended with all it started."""

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from pipeline import hashing
from pipeline.batch import wire

ROOT = Path(__file__).resolve().parents[2]
LINGERING = 1.0  # seconds that it and its children may take to end by themselves


class RunProcess:
    """`pipeline.batch.worker` in a process of its own, from now on.

    Parameters
    ----------
    flags : sequence of str
        Of its command line.
    """

    def __init__(self, flags: Sequence[str]) -> None:
        """Start it."""
        orders, self._orders = os.pipe()
        self._reports, reports = os.pipe()
        lifeline, self._lifeline = os.pipe()
        theirs = (orders, reports, lifeline)
        self._process = subprocess.Popen(  # noqa: S603 - ourselves
            [sys.executable, "-m", "pipeline.batch.worker", *map(str, theirs), *flags],
            pass_fds=theirs,
            stdin=subprocess.DEVNULL,
            env=_environment(),
            start_new_session=True,  # Ctrl-C comes to the parent alone, which passes it on
        )
        self._rest = b""
        for descriptor in theirs:
            os.close(descriptor)

    @property
    def is_alive(self) -> bool:
        """Whether it can take an order."""
        return self._process.poll() is None

    def order(self, order: dict[str, Any]) -> None:
        """Have it make a run; whether it still lives shows when it is listened to."""
        with suppress(BrokenPipeError):
            os.write(self._orders, wire.line(order))

    def signal(self, number: int) -> None:
        """Pass a signal on to it, not to its workers."""
        self._process.send_signal(number)

    def messages(self, until: float | None) -> Iterator[dict[str, Any]]:
        """Yield what it reports, until it is gone or the time is up."""
        while True:
            *lines, self._rest = self._rest.split(b"\n")
            yield from map(json.loads, lines)
            wait = None if until is None else until - time.monotonic()
            if wait is not None and wait <= 0:
                return
            if not select.select([self._reports], [], [], wait)[0]:
                continue
            read = os.read(self._reports, 1 << 16)
            if not read:
                return
            self._rest += read

    def status(self) -> int:
        """Return how it ended by itself, as `subprocess` has it; it is ended if it does not."""
        try:
            return self._process.wait(LINGERING)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def end(self, *, at_once: bool) -> None:
        """End it and all it started: after what it does, or `at_once`."""
        family = _family(self._process.pid) if at_once else []
        os.close(self._orders)  # no more orders
        if at_once:
            self._process.kill()
        self._process.wait()
        for descriptor in (self._reports, self._lifeline):
            os.close(descriptor)
        _see_off(family)


def _environment() -> dict[str, str]:
    """Return this process's environment; there, this package is found, and killed workers are no news."""
    known = {name: os.environ.get(name, "") for name in ("PYTHONPATH", "PYTHONWARNINGS")}
    return {
        **os.environ,
        hashing.VARIABLE: hashing.SEED,
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), known["PYTHONPATH"]))),
        "PYTHONWARNINGS": ",".join(filter(None, (known["PYTHONWARNINGS"], "ignore:resource_tracker:UserWarning"))),
    }


def _family(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []


def _see_off(family: list[psutil.Process]) -> None:
    """Wait until processes that end with their parent are gone, and kill those that do not."""
    until = time.monotonic() + LINGERING
    while family := [child for child in family if _lives(child)]:
        if time.monotonic() > until:
            for child in family:
                child.kill()
            return
        time.sleep(0.01)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
