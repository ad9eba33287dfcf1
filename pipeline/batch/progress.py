"""How a batch goes, for a person: a line for every run that ended, and on a terminal one that grows."""

import shutil
import time
from collections.abc import Sequence
from typing import TextIO

from pipeline.batch import doubts
from pipeline.batch.record import BatchRecord, RunRecord
from pipeline.console import CLEAR_LINE, Screen
from pipeline.errors import one_line, visible
from pipeline.events import Event, StageProgress, StageStarted
from pipeline.words import counted

REFRESH = 0.1  # seconds between two drawings


class Progress(Screen):
    """A listener of the run under way, and of the batch around it.

    Parameters
    ----------
    stream : text stream or None
        A terminal gets a line that grows; a closed stream gets nothing.
    """

    def __init__(self, stream: TextIO | None) -> None:
        """Write nothing yet."""
        super().__init__(stream)
        self._total = self._ended = 0
        self._began = time.monotonic()
        self._drawn = 0.0
        self._label = self._stage = ""
        self._units = 0
        self._has_evenings = False  # several, which a label does not tell

    def start(self, told: BatchRecord) -> None:
        """Say what will be made."""
        self._total, self._began = len(told.runs), time.monotonic()
        self._has_evenings = len({run.as_of for run in told.runs}) > 1
        self.say(f"batch {told.batch} as of {told.as_of}: {counted(self._total, 'run')}")

    def named(self, run: RunRecord) -> str:
        """Return what a run is called, with its evening where there are several, as in the table."""
        return f"{run.label} {run.as_of}" if self._has_evenings else run.label

    def begin(self, run: RunRecord) -> None:
        """Show the run that begins."""
        self._label, self._stage = self.named(run), ""
        self._draw()

    def __call__(self, event: Event) -> None:
        """Show how far the run is."""
        if isinstance(event, StageStarted):
            self._stage, self._units = str(event.stage), event.total
        elif isinstance(event, StageProgress) and self._units:
            self._stage = f"{event.stage} {event.done:,}/{self._units:,}"
        else:
            return
        self._draw()

    def finish(self, run: RunRecord) -> None:
        """Say how a run ended."""
        self._ended += 1
        width = len(str(self._total))
        self.say(f"[{self._ended:>{width}}/{self._total}] {self.named(run)}: {described(run)}")

    def warn(self, text: str, runs: Sequence[RunRecord]) -> None:
        """Say what some runs, at least one, warned of alike."""
        self.say(f"warning: {doubts.whose(self.named(runs[0]), len(runs))}: {one_line(text)}")

    def say(self, text: str) -> None:
        """Write a line."""
        self._write(f"{CLEAR_LINE if self.is_terminal else ''}{visible(text)}\n")

    def _draw(self) -> None:
        now = time.monotonic()
        if not self.is_terminal or now - self._drawn < REFRESH:
            return
        self._drawn = now
        spent = now - self._began
        left = f", about {spent / self._ended * (self._total - self._ended):,.0f} s to go" if self._ended else ""
        text = f"[{self._ended + 1}/{self._total}] {self._label} {self._stage} ({spent:,.0f} s{left})"
        self._write(CLEAR_LINE + visible(text)[: shutil.get_terminal_size().columns - 1])


def described(run: RunRecord) -> str:
    """Return the state of a run in some words: what it came to, or why it came to nothing."""
    if not run.is_well:
        code = f" ({run.exit_code})" if run.exit_code is not None else ""
        return f"{run.state}{code}, {run.reason or 'no reason known'}"
    gained, sharpe = run.headline.get("total_return"), run.headline.get("sharpe")
    parts = [
        run.state,
        "total return " + ("n/a" if gained is None else f"{gained:+.2%}"),
        "Sharpe " + ("n/a" if sharpe is None else f"{sharpe:.2f}"),
        f"{run.seconds:.2f} s",
    ]
    return ", ".join(parts) + (f"; {run.remark}" if run.remark else "")
