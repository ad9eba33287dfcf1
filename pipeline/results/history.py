"""What earlier runs say about the cost of a strategy: read from their own records, so there is nothing to keep in step.

Runs that end at the same time write a directory each (`pipeline.results.rundir`), and whoever reads finds each one
whole or not at all.
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.files import is_there, readable
from pipeline.modes import Kind

NEWEST = 8  # records that are looked at: a few milliseconds
ENOUGH = 3  # of them that tell what a bar takes: an older machine does not linger
LEAST_BARS = 5_000  # a run of fewer says little
LEAST_ANSWERS = 30  # of the GIL, in all of them: fewer are chance
LIKE = 2  # times as many bars, or as few: others read and ask in another mix
COST = ("bars", "busy_seconds", "cpu_seconds", "queued_seconds")


@dataclass(frozen=True)
class Known:
    """The cost of a strategy in earlier runs on this machine."""

    seconds_per_row: float  # on one core, the read included
    held: float | None  # fraction of that time that the GIL was held, where it was measured
    runs: int


def known(output: Path, name: str, strategy: Mapping[str, Any], bars: int) -> Known | None:
    """Return what the newest runs under a name say of a strategy; None if they say nothing.

    A bar takes the least of what it took: workers that just began, and whatever else ran, only add to it.

    Parameters
    ----------
    output : Path
        The folder of all runs.
    name : str
        Of the runs: those that share it are looked at, and the newest run of all.
    strategy : mapping
        ``sha256`` and ``params``, as in run.json: another text or option is another strategy.
    bars : int
        How many there are to compute; runs of many more or less say nothing of it.
    """
    costs: list[_Cost] = []
    for record in newest(output, name):
        said = record.get("strategy", {})
        if all(said.get(key) == strategy[key] for key in ("sha256", "params")) and (cost := _cost(record, bars)):
            costs.append(cost)
    if not costs:
        return None
    answers = sum(cost.answers for cost in costs)  # few in each of short runs, so of all
    held = sum(cost.held for cost in costs) / answers if answers >= LEAST_ANSWERS else None
    timed = [cost.seconds_per_row for cost in costs[:ENOUGH]]
    return Known(min(timed), held, len(timed))


def newest(output: Path, name: str) -> Iterator[dict[str, Any]]:
    """Yield the records of the newest runs under a name, the newest first, then that of the newest run of all."""
    folder = output / name
    paths = [folder / run for _, run in sorted(_runs(folder), reverse=True)[:NEWEST]]
    latest = (output / "latest").resolve()
    for path in paths if latest in [path.resolve() for path in paths[:1]] else [*paths, latest]:
        record = read(path)
        if record:
            yield record


def read(folder: Path, name: str = "run.json") -> dict[str, Any]:
    """Return the record of a run, or another JSON object of it; empty if there is none that can be read."""
    try:
        return _object(folder / name)
    except OSError:
        return {}


def read_named(folder: Path, name: str = "run.json") -> dict[str, Any]:
    """Return what `read` does, of a run that somebody named.

    Raises
    ------
    DataError
        The file is there, or may be, and may not be read.
    TemporaryError
        The disk fails.
    """
    path = folder / name
    with readable():
        return _object(path) if is_there(path) else {}


def _object(path: Path) -> dict[str, Any]:
    """Return the JSON object that a file holds; empty if it holds something else."""
    try:
        record = json.loads(path.read_bytes())
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}


def _runs(folder: Path) -> Iterator[tuple[float, str]]:
    """Yield when each run of a folder was published, and its name."""
    try:
        with os.scandir(folder) as entries:
            yield from ((entry.stat().st_mtime, entry.name) for entry in entries)
    except OSError:
        return


class _Cost(NamedTuple):
    """What one run tells."""

    seconds_per_row: float
    answers: int = 0  # of the GIL that say something of the strategy
    held: float = 0.0  # how many of them found it held


def _cost(record: Mapping[str, Any], like: int) -> _Cost | None:
    """Return what a run on this machine tells, if it does; with more workers than cores it does not."""
    monitor = record.get("monitor") or {}
    signals, machine = monitor.get("signals") or {}, monitor.get("machine") or {}
    bars, busy, cpu, queued = (signals.get(key) or 0 for key in COST)
    if machine.get("host") != os.uname().nodename or busy <= queued:
        return None
    if (signals.get("workers") or 1) > (machine.get("cores") or 1):
        return None
    if bars < LEAST_BARS or not like / LIKE <= bars <= like * LIKE:
        return None
    if record.get("scheduler", {}).get("kind") == Kind.THREADS:  # they wait for each other as well
        return _Cost(cpu / bars)
    answers = signals.get("gil_answers") or 0
    return _Cost((busy - queued) / bars, answers, answers * (signals.get("gil_held") or 0.0))
