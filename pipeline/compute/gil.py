"""How contended Python's lock is: a thread asks for it a hundred times a second and sees how often it is taken.

This is what gilknocker does, in Python: gilknocker's own thread now and then outlives its `stop`, and then the
interpreter ends with ``FATAL: exception not rethrown`` and status 134 after a run that went well (seen in one run of
ten on a busy machine).
"""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from pipeline.compute.queueing import queued

INTERVAL = 0.01  # seconds between two knocks; each costs the code that runs about 20 microseconds
TAKEN = 3e-4  # seconds that a thread waits for a lock that is taken; waking up takes less


class _Door:
    """The knocking thread of this process; it rests as long as nobody watches."""

    def __init__(self) -> None:
        self.knocks = self.taken = 0
        self._intervals: list[float] = []  # of those who watch
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    @contextmanager
    def watched(self, interval: float) -> Iterator[None]:
        with self._changed:
            self._intervals.append(interval)
            if self._thread is None:
                self._thread = threading.Thread(target=self._knock, name="gil", daemon=True)
                self._thread.start()
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._intervals.remove(interval)

    def _knock(self) -> None:
        while True:
            with self._changed:
                while not self._intervals:
                    self._changed.wait()
                interval = min(self._intervals)
            before, began = queued(), time.perf_counter()
            time.sleep(interval)
            waited = time.perf_counter() - began - interval - (queued() - before)
            self.knocks += 1
            self.taken += waited > TAKEN


_doors: dict[int, _Door] = {}


def _door() -> _Door:
    """Return the door of this process; a forked one has none yet."""
    return _doors.setdefault(os.getpid(), _Door())


def watched(interval: float = INTERVAL) -> AbstractContextManager[None]:
    """Knock as long as the block lasts, every `interval` seconds or more often, if somebody else wants that."""
    return _door().watched(interval)


def seen() -> tuple[int, int]:
    """Return how often this process was asked for its GIL so far, and how often it was taken."""
    door = _door()
    return door.knocks, door.taken


class Contention:
    """A metric of a Dask worker: how often the GIL was taken of the moments since it was last asked for, 0 to 1."""

    def __init__(self) -> None:
        """Begin now."""
        self.before = seen()

    def __call__(self, _: object) -> float:
        """Return the fraction; 0 where nobody watched, since no task was computed."""
        before, self.before = self.before, seen()
        knocks, taken = (now - then for now, then in zip(self.before, before, strict=True))
        return taken / knocks if knocks else 0.0
