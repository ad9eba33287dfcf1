"""Whoever is asked stays: `os._exit` of a strategy is an error of its own, and not the end of the process.

It would end a run with the code of a success, or a worker as if it had been killed. Only compiled code gets around it.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from pipeline.interrupts import end_at_once

_asked: set[tuple[int, int]] = set()  # process and thread


@contextmanager
def staying() -> Iterator[None]:
    """Raise SystemExit where this thread calls `os._exit` in the block; what it forks may end as it likes."""
    os._exit = _refuse  # once and for all, as a strategy may keep what it finds
    me = os.getpid(), threading.get_ident()
    outside = me not in _asked
    _asked.add(me)
    try:
        yield
    finally:
        if outside:
            _asked.discard(me)


def _refuse(status: int) -> NoReturn:
    if (os.getpid(), threading.get_ident()) in _asked:
        raise SystemExit(status)
    end_at_once(status)
