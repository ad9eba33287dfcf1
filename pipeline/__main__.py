"""``python -m pipeline``: the command line, under the same hashes every time."""

import os
import signal
import sys
from contextlib import suppress
from types import FrameType
from typing import NoReturn

from pipeline.hashing import pin_here

NAMES = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}


def _end(number: int, _: FrameType | None) -> NoReturn:
    """End before the command has begun, as `pipeline.command_line` would: it is not imported yet, nor is json."""
    code, name = 128 + number, NAMES[signal.Signals(number)]
    reason = f"{name} by a signal."
    with suppress(OSError):
        os.write(2, f"{reason}\n".encode())
    if "--json" in sys.argv or "batch" in sys.argv[1:2]:
        ending = f'"code": {code}, "class": "{name}", "state": "interrupted", "reason": "{reason}"'
        with suppress(OSError):
            os.write(1, f'{{"event": "exit", {ending}, "exit_code": {code}, "error": "{reason}"}}\n'.encode())
    os._exit(code)


if __name__ == "__main__":
    for each in NAMES:
        signal.signal(each, _end)
    signal.pthread_sigmask(signal.SIG_BLOCK, NAMES)  # while Python starts anew, nobody else would answer
    pin_here()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, NAMES)
    from pipeline.command_line import main
    from pipeline.interrupts import leave

    leave(main())
