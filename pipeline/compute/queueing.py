"""How long a thread waits for a core: time in which it could have worked, had others not."""

import os
import threading


def queued() -> float:
    """Return for how many seconds this thread has waited for a core so far.

    It is 0 where the kernel does not tell (``/proc/self/task/<thread>/schedstat``).
    """
    figures = getattr(_of_thread, "figures", None)
    if figures is None:
        figures = _of_thread.figures = _Figures()
    return figures.seconds()


class _Figures:
    """What the kernel counts for one thread; open as long as the thread lives."""

    def __init__(self) -> None:
        try:
            self.descriptor = os.open(f"/proc/self/task/{threading.get_native_id()}/schedstat", os.O_RDONLY)
        except OSError:
            self.descriptor = -1

    def seconds(self) -> float:
        return int(os.pread(self.descriptor, 64, 0).split()[1]) / 1e9 if self.descriptor >= 0 else 0.0

    def __del__(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)


_of_thread = threading.local()
