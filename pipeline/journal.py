"""What a run says of itself while it works, kept for its run directory."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Self, TextIO

from pipeline import log
from pipeline.compute.monitor import Monitor
from pipeline.errors import ExitCode
from pipeline.events import Event, Listener, Logged, StageFinished, StageStarted, SymbolSkipped, Warned
from pipeline.failpoints import failpoint


class Journal:
    """A listener that passes every event on to another one; while it is entered, it watches the machine.

    Parameters
    ----------
    listener : Listener
        The other one.
    began : datetime
        Of the run.
    batch : str or None
        Which one makes the run; None if somebody does so by hand.
    """

    def __init__(self, listener: Listener, began: datetime, batch: str | None = None) -> None:
        """Write nothing yet."""
        self.listener = listener
        self.began = began
        self.batch = batch
        self.started = began.isoformat(timespec="seconds")
        self.stages: dict[str, float] = {}
        self.warnings: list[str] = []
        self.skipped: dict[str, str] = {}  # symbol: why
        self.left_out: list[str] = []  # why the run is degraded
        self.logged = 0  # lines of strategies
        self.monitor = Monitor()
        self.lines: log.JsonLines | None = None

    def write_to(self, stream: TextIO) -> None:
        """Write the log to `stream` from here on."""
        self.lines = log.JsonLines(stream, self.started)

    def __enter__(self) -> Self:
        """Watch the machine."""
        self.monitor.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        """Watch it no more."""
        self.monitor.__exit__()

    def __call__(self, event: Event) -> None:
        """Keep what belongs into the run directory."""
        self.monitor(event)
        if isinstance(event, StageFinished):
            self.stages[event.stage] = round(event.seconds, 4)
        elif isinstance(event, SymbolSkipped):
            self.skipped[event.symbol] = event.text
        elif isinstance(event, Warned):
            self.warnings.append(event.text)
        elif isinstance(event, Logged):
            self.logged += 1
        if self.lines:
            self.lines(event)
        self.listener(event)
        if isinstance(event, StageStarted):
            failpoint(f"stage.{event.stage}")

    @contextmanager
    def heard_by(self, other: Listener) -> Iterator[None]:
        """Let another listener hear the events, too."""
        before = self.listener

        def both(event: Event) -> None:
            before(event)
            other(event)

        self.listener = both
        try:
            yield
        finally:
            self.listener = before

    def leave_out(self, what: str) -> None:
        """Warn, and end the run with exit code 3."""
        self.left_out.append(what)
        self(Warned(what))

    def close(self, path: Path) -> None:
        """Write the last line of the log: how the run, which will lie at `path`, ends."""
        if self.lines:
            reason = "; ".join(self.left_out)
            self.lines.put(log.exit_line(self.exit_code, self.state, reason, path, run=self.started))

    @property
    def state(self) -> str:
        """How the run is published."""
        return "degraded" if self.left_out else "committed"

    @property
    def exit_code(self) -> ExitCode:
        """What the command ends with."""
        return ExitCode.DEGRADED if self.left_out else ExitCode.OK

    def record(self) -> dict[str, Any]:
        """Return what run.json says of how the run went, so far."""
        return {
            "state": self.state,
            "exit_code": int(self.exit_code),
            "reason": "; ".join(self.left_out),
            "started": self.started,
            "batch": self.batch,
            "stages": dict(self.stages),
            "peak_memory_mb": round(self.monitor.peak_memory_mb(), 1),
            "warnings": list(self.warnings),
            "skipped": dict(sorted(self.skipped.items())),
            "monitor": self.monitor.record(self.stages),
        }
