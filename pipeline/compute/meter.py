"""What a task costs where it runs; light enough for workers."""

import os
import resource
import socket
import sys
import threading
import time
from pathlib import Path

from pipeline.compute import gil
from pipeline.compute.queueing import queued
from pipeline.events import Cost

KILOBYTES_PER_MB = 1024
STATUS, IO = Path("/proc/self/status"), Path("/proc/self/io")
METER = "meter"  # where the attrs of a frame hold the meter of the task that read it


class Meter:
    """A task under way, since this was made; the thread that makes it computes the task."""

    def __init__(self) -> None:
        """Start."""
        self.began = time.time()
        self.wall = time.perf_counter()
        self.cpu = time.thread_time()
        self.queued = queued()
        self.knocks, self.taken = gil.seen()
        self.read = 0.0
        self.rows = self.loaded = 0
        self.read_bytes = -read_bytes()

    def has_read(self, rows: int, loaded: int) -> None:
        """Note that the bars are there: how many, and their bytes in memory."""
        self.read = time.perf_counter() - self.wall
        self.rows, self.loaded = rows, loaded
        self.read_bytes += read_bytes()

    def cost(self) -> Cost:
        """Return what the task cost so far."""
        knocks, taken = gil.seen()
        memory, peak = memory_mb()
        return Cost(
            worker=f"{socket.gethostname()}/{os.getpid()}/{threading.current_thread().name}",
            began=self.began,
            wall=time.perf_counter() - self.wall,
            read=self.read,
            cpu=time.thread_time() - self.cpu,
            queued=queued() - self.queued,
            rows=self.rows,
            loaded=self.loaded,
            read_bytes=max(self.read_bytes, 0),
            knocks=knocks - self.knocks,
            taken=taken - self.taken,
            memory_mb=memory,
            peak_mb=peak,
        )


def read_bytes() -> int:
    """Return how many bytes this process has read of files so far; 0 where the kernel does not tell."""
    try:
        with IO.open("rb", buffering=0) as counters:
            return int(counters.read(64).split()[1])
    except OSError:
        return 0


def memory_mb() -> tuple[float, float]:
    """Return the resident memory of this process, now and at its peak, in MB (2**20 bytes).

    Where the kernel does not tell (``/proc/self/status``), the peak stands for both.
    """
    try:
        lines = dict(line.split(":", 1) for line in STATUS.read_text().splitlines())
        return tuple(int(lines[name].split()[0]) / KILOBYTES_PER_MB for name in ("VmRSS", "VmHWM"))  # type: ignore[return-value]
    except OSError:
        unit = KILOBYTES_PER_MB if sys.platform != "darwin" else KILOBYTES_PER_MB**2  # getrusage: kB, on macOS bytes
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
        return peak, peak
