"""Hashes of texts, the same in every process: the order of a set of texts is part of a strategy's result.

Python draws another seed for them at every start, unless the environment names one.
"""

import os
import sys

VARIABLE = "PYTHONHASHSEED"
SEED = "6640"  # what Dask's nannies give their workers
DRAWN = "random"  # what Python takes for no seed


def pin_here() -> None:
    """Start Python anew, with the same command, unless its hashes are pinned already."""
    if os.environ.get(VARIABLE) != SEED and sys.executable:
        os.environ[VARIABLE] = SEED
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - ourselves


def pin_children() -> None:
    """Let processes that start from here on have one seed, this one's if it is known."""
    if os.environ.get(VARIABLE, DRAWN) == DRAWN:
        os.environ[VARIABLE] = SEED
