"""Imports that Python's search for unreachable cycles does not slow down.

A hundred thousand new objects set it off again and again, and all of them stay: looking at them was a quarter of the
CPU seconds of a short run. What is there after an import is not looked at any more (`gc.freeze`).
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


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
