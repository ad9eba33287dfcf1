"""The log of a run for machines: one JSON object a line, as the events come."""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any, TextIO

from pipeline.errors import ExitCode
from pipeline.events import (
    AccountMarked,
    AttemptBegun,
    Cost,
    Event,
    Logged,
    Note,
    PartitionFailed,
    PartitionFinished,
    PartitionsStarted,
    Published,
    StageFinished,
    StageProgress,
    StageStarted,
    SymbolSkipped,
    SymbolsProbed,
    Warned,
)
from pipeline.files import writable


def line(level: str, event: str, **fields: Any) -> str:
    """Return one line of a log: ``{"ts", "level", "event", ...}``."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps({"ts": now, "level": level, "event": event, **fields}, allow_nan=False, ensure_ascii=False) + "\n"


def exit_line(code: int | None, state: str, reason: str, path: Path, **fields: Any) -> str:
    """Return the last line of a log: how it ended; `code` is None where a process died and had none."""
    level = "INFO" if code in {ExitCode.OK, ExitCode.DEGRADED} else "ERROR"
    kind = "died" if code is None else ExitCode(code).name.lower()
    ending = {"code": code, "class": kind, "state": state, "reason": reason, "path": str(path)}
    return line(level, "exit", **fields, **ending)


class JsonLines:
    """A listener that writes lines; progress inside a stage is left out.

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
            case SymbolSkipped(symbol=symbol, text=text):
                self.write("WARNING", "symbol_skipped", symbol=symbol, text=text)
            case Logged(symbols=symbols, level=level, text=text):
                self.write(level, "strategy", symbols=symbols, text=text)
            case PartitionFinished(symbols=symbols, count=count, cost=cost):
                self.write("INFO", "partition", symbols=symbols, count=count, **_rounded(cost))
            case AccountMarked() | Published() | AttemptBegun():
                pass
            case StageProgress() | PartitionsStarted() | PartitionFailed() | SymbolsProbed():
                pass

    def write(self, level: str, event: str, **fields: Any) -> None:
        """Write one line; TemporaryError where that is impossible."""
        self.put(line(level, event, run=self.run, **fields))

    def put(self, text: str) -> None:
        """Write a finished line."""
        with self._lock, writable("log", Path(getattr(self.stream, "name", "in memory"))):
            self.stream.write(text)
            self.stream.flush()


def _rounded(cost: Cost) -> dict[str, Any]:
    figures = {name: round(value, 4) if isinstance(value, float) else value for name, value in asdict(cost).items()}
    return {"worker": figures.pop("worker"), "bars": figures.pop("rows"), "sec": figures.pop("wall"), **figures}
