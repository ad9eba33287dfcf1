"""When Python looks for unreachable cycles: not among what stays.

A hundred thousand new objects set the search off again and again, and what an import or a manifest makes is no garbage:
looking at it was a quarter of the CPU seconds of a short run. What is there after the imports of a command is not
looked at any more (`gc.freeze`).
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

MADE_BETWEEN_COLLECTIONS = 100_000  # objects


@contextmanager
def undisturbed() -> Iterator[None]:
    """Import in here; for commands, not for code that others import, whose objects would be frozen with ours."""
    gc.disable()
    try:
        yield
    finally:
        settle()


def settle() -> None:
    """Look for cycles again, but not among what is there by now."""
    gc.freeze()
    gc.enable()


@contextmanager
def seldom_collected() -> Iterator[None]:
    """Let Python look for cycles of dead objects less often: records by the thousand, which all live, are none."""
    before = gc.get_threshold()
    gc.set_threshold(MADE_BETWEEN_COLLECTIONS, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
