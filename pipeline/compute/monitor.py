"""What a run took of the machine."""

import resource
import sys
from pathlib import Path

import psutil

KILOBYTES_PER_MB = 1024


def peak_memory_mb() -> float:
    """Return the peak resident memory of this process and its living children together, in MB (2**20 bytes).

    Pages that forked workers share count once for each of them, and the peaks need not have been at the same moment:
    the figure is an upper bound. Ask before the workers end.
    """
    unit = KILOBYTES_PER_MB if sys.platform != "darwin" else KILOBYTES_PER_MB**2  # getrusage: kB, on macOS bytes
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    return own + sum(_peak_mb(child) for child in psutil.Process().children(recursive=True))


def _peak_mb(process: psutil.Process) -> float:
    """Return a child's peak where the kernel tells (``/proc/<pid>/status``), its present size elsewhere, 0 if gone."""
    try:
        status = Path(f"/proc/{process.pid}/status")
        if not status.exists():
            return process.memory_info().rss / KILOBYTES_PER_MB**2
        lines = status.read_text().splitlines()
    except (psutil.Error, OSError):
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / KILOBYTES_PER_MB
