"""Imports that the search for cycles does not slow down; in a process of its own, since objects stay frozen."""

import subprocess
import sys

import pytest

from pipeline.compute.workers import PRELOADED

FROZEN = """
import gc, weakref
from pipeline.garbage import undisturbed
with undisturbed():
    while_importing = gc.isenabled()
    import wave
class Cycle:
    def __init__(self): self.own = self
gone = weakref.ref(Cycle())
gc.collect()
print(while_importing, gc.isenabled(), any(each is wave for each in gc.get_objects()), gone() is None)
"""
FAILING = """
import gc
from pipeline.garbage import undisturbed
try:
    with undisturbed():
        import nothing_of_this_name
except ModuleNotFoundError:
    print(gc.isenabled())
"""


@pytest.mark.parametrize(("script", "answer"), [(FROZEN, "False True False True"), (FAILING, "True")])
def test_cycles_are_found_after_imports_only(script, answer):
    """What was imported is not looked at again; cycles made later are found; a failed import leaves it so, too."""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout.split() == answer.split()


def test_the_fork_server_does_not_look_for_cycles():
    """It is told so before it imports anything else."""
    assert PRELOADED[0] == "pipeline.compute.preloading"
