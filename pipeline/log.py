"""The log of a run for machines: one JSON object a line, as the events come."""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from threading import Lock
from typing import Any, TextIO

from pipeline.events import (
    AccountMarked,
    Cost,
    Event,
    Logged,
    Note,
    PartitionFinished,
    Published,
    StageFinished,
    StageProgress,
    StageStarted,
    Warned,
)


class JsonLines:
    """A listener that writes ``{"ts", "level", "event", ...}`` lines; progress inside a stage is left out.

    Parameters
    ----------
    stream : text stream
        Where to write; every line is flushed, so that a killed run leaves all it said.
    run : str
        Written into every line, so that the logs of many runs can be put together.
    """

    def __init__(self, stream: TextIO, run: str) -> None:
        """Write nothing yet."""
        self.stream = stream
        self.run = run
        self._lock = Lock()

    def __call__(self, event: Event) -> None:
        """Write an event down."""
        match event:
            case StageStarted(stage=stage, total=total, unit=unit):
                self.write("INFO", "stage_start", stage=stage, total=total, unit=unit)
            case StageFinished(stage=stage, seconds=seconds):
                self.write("INFO", "stage_end", stage=stage, sec=round(seconds, 4))
            case Note(text=text):
                self.write("INFO", "note", text=text)
            case Warned(text=text):
                self.write("WARNING", "warning", text=text)
            case Logged(symbols=symbols, level=level, text=text):
                self.write(level, "strategy", symbols=symbols, text=text)
            case PartitionFinished(symbols=symbols, count=count, cost=cost):
                self.write("INFO", "partition", symbols=symbols, count=count, **_rounded(cost))
            case StageProgress() | AccountMarked() | Published():
                pass

    def write(self, level: str, event: str, **fields: Any) -> None:
        """Write one line; the last one of a run is ``write("INFO", "exit", code=0, state="committed", ...)``."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = json.dumps({"ts": now, "level": level, "event": event, "run": self.run, **fields}, allow_nan=False)
        with self._lock:
            self.stream.write(f"{line}\n")
            self.stream.flush()


def _rounded(cost: Cost) -> dict[str, Any]:
    figures = {name: round(value, 4) if isinstance(value, float) else value for name, value in asdict(cost).items()}
    return {"worker": figures.pop("worker"), "bars": figures.pop("rows"), "sec": figures.pop("wall"), **figures}
