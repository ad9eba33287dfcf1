"""What SIGINT and SIGTERM do to a command: the first unwinds it, the second ends it at once."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

from pipeline.errors import ExitCode

GRACE = 8.0  # seconds that unwinding may take, before the command is ended the hard way
CODES = {signal.SIGINT: ExitCode.INTERRUPTED, signal.SIGTERM: ExitCode.TERMINATED}
end_at_once = os._exit  # as it is before any strategy is loaded: what that finds is another (pipeline.signals.staying)
_came: list[int] = []  # signals that this process was sent


class Stopped(KeyboardInterrupt):
    """A signal asked the command to end."""

    def __init__(self, code: ExitCode) -> None:
        """Remember what to exit with."""
        super().__init__(f"{code.name.lower()} by a signal.")
        self.exit_code = code


def is_own(error: BaseException) -> bool:
    """Tell whether code raised an error itself, a KeyboardInterrupt too, and no signal did.

    Under `stoppable` a signal raises `Stopped`, once; where it is ignored, or in another thread, none raises anything.
    Only where Python's own handler is in place nobody can tell.
    """
    if not isinstance(error, KeyboardInterrupt):
        return True
    is_main = threading.current_thread() is threading.main_thread()
    return not isinstance(error, Stopped) and (
        not is_main or signal.getsignal(signal.SIGINT) in (_stop, signal.SIG_IGN)
    )


@contextmanager
def stoppable() -> Iterator[None]:
    """Raise `Stopped` at the first signal; a second one, or `GRACE` seconds, end the process.

    The handlers of before come back, unless a signal came: then the process is about to end, and the next signal
    must still end it at once. Outside the main thread nothing is changed, since Python allows it nowhere else.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _stop) for number in CODES}
    try:
        yield
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is _stop:
                signal.signal(number, handler)


def leave(code: int) -> NoReturn:
    """End the process with an exit code; after a signal at once.

    What Python does at its end would meet threads of compiled code in the midst of their work, those of a cluster that
    was just starting, say, and some of them abort the process then: with status 134, after the last word was said.
    """
    if not _came:
        sys.exit(code)
    from multiprocessing import util

    with suppress(Exception):
        util._exit_function()  # type: ignore[attr-defined] # noqa: SLF001 - ends child processes, removes their folders
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    end_at_once(code)


def _as_usual() -> None:
    """In a forked process, one of a strategy's own pool, say, signals do what they do in any program."""
    for number in CODES:
        if signal.getsignal(number) is _stop:
            signal.signal(number, signal.SIG_DFL)


os.register_at_fork(after_in_child=_as_usual)


def _stop(number: int, _: FrameType | None) -> NoReturn:
    code = CODES[signal.Signals(number)]
    _came.append(number)
    for each in CODES:
        signal.signal(each, lambda *_: end_at_once(code))
    deadline = threading.Timer(GRACE, end_at_once, (code,))
    deadline.daemon = True
    deadline.start()
    raise Stopped(code)
