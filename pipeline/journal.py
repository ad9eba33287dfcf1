"""What a run says of itself while it works, kept for its run directory."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from io import StringIO
from typing import Any, Self

from pipeline import log
from pipeline.compute.monitor import Monitor
from pipeline.errors import ExitCode
from pipeline.events import Event, Listener, Logged, StageFinished, Warned


class Journal:
    """A listener that passes every event on to another one; while it is entered, it watches the machine."""

    def __init__(self, listener: Listener) -> None:
        """Write nothing yet."""
        self.listener = listener
        self.began = datetime.now(UTC)
        self.stages: dict[str, float] = {}
        self.warnings: list[str] = []
        self.left_out: list[str] = []  # why the run is degraded
        self.logged = 0  # lines of strategies
        self.monitor = Monitor()
        self._text = StringIO()
        self.lines = log.JsonLines(self._text, self.began.isoformat(timespec="seconds"))

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
        elif isinstance(event, Warned):
            self.warnings.append(event.text)
        elif isinstance(event, Logged):
            self.logged += 1
        self.lines(event)
        self.listener(event)

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
            "started": self.began.isoformat(timespec="seconds"),
            "stages": dict(self.stages),
            "peak_memory_mb": round(self.monitor.peak_memory_mb(), 1),
            "warnings": list(self.warnings),
            "monitor": self.monitor.record(self.stages),
        }

    @property
    def text(self) -> str:
        """The log so far, as JSON lines."""
        return self._text.getvalue()
