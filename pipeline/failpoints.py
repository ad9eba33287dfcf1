"""Faults on demand, for tests: ``BT_FAULT=<name>:<what>[:<n>]`` in the environment of a command.

A failpoint is a name at a place where a crash or a refusal of the disk would hurt most. When the named one is passed
for the n-th time (the first, if no n is given), ``kill`` ends the process as ``kill -9`` does, ``eio`` is an
input/output error of the disk, ``enospc`` a full one, ``sleep`` a minute's pause. Without the variable nothing happens.
"""

import errno
import os
import signal
import time
from collections import Counter

VARIABLE = "BT_FAULT"
PAUSE = 60.0  # seconds
ERRORS = {"eio": errno.EIO, "enospc": errno.ENOSPC}

_passed: Counter[str] = Counter()


def failpoint(name: str) -> None:
    """Let happen what the environment asks for at this place.

    Raises
    ------
    OSError
        Asked for by ``eio`` or ``enospc``.
    """
    asked = os.environ.get(VARIABLE)
    if asked is None:
        return
    where, _, rest = asked.partition(":")
    what, _, count = rest.partition(":")
    if where == name:
        _passed[name] += 1
        if _passed[name] == int(count or 1):
            _happen(what)


def _happen(what: str) -> None:
    if what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif what == "sleep":
        time.sleep(PAUSE)
    else:
        raise OSError(ERRORS[what], os.strerror(ERRORS[what]))
