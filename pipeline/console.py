"""Progress for a person: one line per stage that grows on a terminal, one line per finished stage elsewhere."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from threading import RLock
from time import perf_counter
from typing import Self, TextIO

from pipeline.errors import one_line, visible
from pipeline.events import Event, Note, Stage, StageFinished, StageProgress, StageStarted, Warned
from pipeline.words import counted

REFRESH = 0.1  # seconds between two drawings of the same line
MINUTE = 60
CLEAR_LINE = "\r\x1b[K"


@dataclass
class Running:
    """The stage that is under way."""

    started: StageStarted
    began: float  # of the clock, seconds
    done: int = 0
    drawn: float = float("-inf")


class Screen:
    """Where people read how something goes: a terminal, a file, or nothing.

    Parameters
    ----------
    stream : text stream or None
        Where to write; a closed stream gets nothing.
    """

    def __init__(self, stream: TextIO | None) -> None:
        """Write nothing yet."""
        self.stream = stream
        self.is_terminal = stream is not None and stream.isatty()

    def _write(self, text: str) -> None:
        if self.stream is None:
            return
        try:
            self.stream.write(text)
            self.stream.flush()
        except OSError:  # the terminal is gone; that is no reason to lose the work
            self.stream = None


class Console(Screen):
    """A listener that writes to `stream`, from any thread; leaving it ends a line that is still open.

    Parameters
    ----------
    stream : text stream or None
        Where to write; a terminal gets lines that grow, a closed stream gets nothing.
    clock : function
        Seconds, monotonic.
    """

    def __init__(self, stream: TextIO | None, clock: Callable[[], float] = perf_counter) -> None:
        """Write nothing yet."""
        super().__init__(stream)
        self.clock = clock
        self._lock = RLock()
        self._running: dict[Stage, Running] = {}
        self._has_open_line = False

    def __enter__(self) -> Self:
        """Listen."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the line that a stage left open when it failed."""
        with self._lock:
            if self._has_open_line:
                self._has_open_line = False
                self._write("\n")

    def __call__(self, event: Event) -> None:
        """Show an event."""
        with self._lock:
            match event:
                case StageStarted():
                    self._running[event.stage] = Running(event, self.clock())
                    self._draw(event.stage)
                case StageProgress():
                    self._progress(event)
                case StageFinished():
                    self._finish(event)
                case Note():
                    self._line(event.text)
                case Warned():
                    self._line(f"warning: {one_line(event.text)}")

    def _progress(self, event: StageProgress) -> None:
        running = self._running.get(event.stage)
        if running is not None:
            running.done = event.done
            self._draw(event.stage)

    def _finish(self, event: StageFinished) -> None:
        running = self._running.pop(event.stage, None)
        amount = counted(running.started.total, running.started.unit) if running and running.started.total else ""
        self._line(f"{event.stage:<8}  {amount:<16}  {_seconds(event.seconds)}")

    def _draw(self, stage: Stage) -> None:
        running, now = self._running[stage], self.clock()
        if self.is_terminal and now - running.drawn >= REFRESH:
            running.drawn = now
            width = shutil.get_terminal_size().columns - 1
            self._has_open_line = True
            self._write(CLEAR_LINE + _growing(running, now - running.began)[:width])

    def _line(self, text: str) -> None:
        self._write(f"{CLEAR_LINE if self._has_open_line else ''}{visible(text)}\n")
        self._has_open_line = False


def _growing(running: Running, elapsed: float) -> str:
    """Return the line of a stage under way: done / total unit, rate, seconds to go."""
    started, done = running.started, running.done
    if not started.total:
        return (
            f"{started.stage:<8}  {counted(done, started.unit)}"
            if done and started.unit
            else f"{started.stage:<8}  ..."
        )
    line = f"{started.stage:<8}  {done:,}/{counted(started.total, started.unit)}"
    if not done or elapsed <= 0:
        return line
    rate = done / elapsed
    return f"{line}  {rate:,.1f}/s  {_seconds((started.total - done) / rate)} to go"


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds < MINUTE else str(timedelta(seconds=round(seconds)))
