"""``batch.json``: what a batch was asked, how far it is, how each of its runs ended.

::

    <output>/batches/<name>/lock                  held by the one batch of that name
    <output>/batches/<name>/<as_of>-<n>/          the n-th batch of that name: batch.json, log.jsonl
    <output>/index.html                           the newest batch of every name, and the nights before it

The states of a run in a batch are those of an attempt (`pipeline.results.attempts`), and: ``pending``, ``waiting`` for
a retry, ``complete`` (made by an earlier batch and found), ``blocked`` by a run that it needs.
"""

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any, Self

from pydantic import TypeAdapter

from pipeline.batch.planning import Planned
from pipeline.errors import ExitCode
from pipeline.files import replace_file, sweep_staged, sync_folder, unreadable
from pipeline.results.attempts import place
from pipeline.words import listed, shortened

SCHEMA_VERSION = 1
RECORD, LOG = "batch.json", "log.jsonl"
FOLDER = "batches"
WELL = ("committed", "degraded", "complete")
"""The states in which there is a published run, and of a batch all of whose runs are published."""

LEFT = {"pending", "running", "waiting", "interrupted", "abandoned"}
"""The states of a run that came to no end."""

HEADLINE = ("total_return", "annual_return", "sharpe", "max_drawdown", "trades_closed", "final_equity")
SHOWN = 3  # runs that a reason names
LONGEST = 200  # characters of a run's own reason that the batch's takes over
GRAVEST = (
    ExitCode.BUG,
    ExitCode.INVARIANT,
    ExitCode.STRATEGY,
    ExitCode.DATA,
    ExitCode.USAGE,
    ExitCode.DEADLINE,
    ExitCode.TEMPORARY,
    ExitCode.DEGRADED,
)
"""A batch ends with the first of these that one of its runs ended with."""


@dataclass
class RunRecord:
    """One run of a batch, as far as it is."""

    label: str
    name: str
    conf: str
    varied: dict[str, str]
    as_of: str
    needs: list[str]
    state: str = "pending"
    exit_code: int | None = None
    reason: str = ""
    attempts: int = 0
    seconds: float = 0.0  # of all attempts
    run_dir: str | None = None  # of the published run
    record: str | None = None  # of the last failed attempt
    result_digest: str | None = None
    newest: str | None = None  # last session seen
    headline: dict[str, float | None] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, run: Planned, as_of: date) -> Self:
        """Return the record of a run that has not begun."""
        return cls(run.label, run.options.name, str(run.conf), dict(run.varied), str(as_of), list(run.needs))

    @property
    def is_well(self) -> bool:
        """Whether there is a published run."""
        return self.state in WELL

    @property
    def remark(self) -> str:
        """As of `remark`."""
        return remark(self.state, self.reason)

    def take(self, answer: dict[str, Any], seconds: float) -> None:
        """Take in what an attempt came to."""
        outcome = answer.get("outcome") or {}
        self.state, self.exit_code, self.reason = answer["state"], answer["exit_code"], answer["reason"]
        self.attempts += 1
        self.seconds = round(self.seconds + seconds, 4)
        self.record = answer.get("record") or self.record
        self.warnings = (outcome or answer)["warnings"]
        if outcome:
            self.run_dir, self.result_digest = outcome["run_dir"], outcome["result_digest"]
            self.newest = outcome["newest"]
            self.headline = {name: outcome["metrics"].get(name) for name in HEADLINE}


@dataclass
class BatchRecord:
    """A batch, as far as it is."""

    batch: str
    id: str
    file: str
    as_of: str
    started: str
    runs: list[RunRecord]
    state: str = "running"
    exit_code: int | None = None
    reason: str = ""
    seconds: float = 0.0
    warnings: list[str] = field(default_factory=list)  # of the batch itself; each run has its own
    new_warnings: list[str] = field(default_factory=list)  # of both, those that the batch before did not tell
    place: dict[str, Any] = field(default_factory=place)
    schema_version: int = SCHEMA_VERSION

    @property
    def counts(self) -> dict[str, int]:
        """How many runs are in which state."""
        states = [run.state for run in self.runs]
        return {state: states.count(state) for state in dict.fromkeys(states)}

    @property
    def warned(self) -> dict[str, list[RunRecord]]:
        """What runs warned of, each text once, and which runs: those of one store say the same of it."""
        found: dict[str, list[RunRecord]] = {}
        for run in self.runs:
            for text in dict.fromkeys(run.warnings):
                found.setdefault(text, []).append(run)
        return found

    @property
    def doubts(self) -> list[str]:
        """The different warnings of the batch itself and of the runs."""
        return [*self.warnings, *self.warned]

    @property
    def is_telling(self) -> bool:
        """Whether it knows what there was to warn of: no run was left over, and not all of them failed."""
        return LEFT.isdisjoint(self.counts) and not self.counts.keys().isdisjoint(WELL)

    def write(self, folder: Path) -> None:
        """Put it to disk, atomically."""
        text = json.dumps({**asdict(self), "counts": self.counts}, allow_nan=False, ensure_ascii=False, indent=1)
        replace_file(folder / RECORD, text.encode() + b"\n")


READER = TypeAdapter(BatchRecord)


def gravest(runs: list[RunRecord]) -> ExitCode:
    """Return what a batch of these runs ends with; those that were blocked or never begun count by their cause."""
    codes = {run.exit_code for run in runs}
    return next((code for code in GRAVEST if code in codes), ExitCode.OK)


def reason(runs: list[RunRecord]) -> str:
    """Return what is not as it should be: how many runs are in which state, the gravest first, and why the first is.

    A complete run is not as it should be if it is stale, say.
    """
    found: dict[str, list[RunRecord]] = {}
    for run in sorted(runs, key=_gravity):
        if run.state not in {"committed", "complete"} or run.exit_code:
            found.setdefault(run.state, []).append(run)
    return ", ".join(f"{len(bad)} {state} ({_first(bad)})" for state, bad in found.items())


def remark(state: str, reason: str) -> str:
    """Return a reason without what the state says already."""
    return reason.removesuffix("already complete").removesuffix("; ") if state == "complete" else reason


def _gravity(run: RunRecord) -> int:
    return GRAVEST.index(ExitCode(run.exit_code)) if run.exit_code in GRAVEST else len(GRAVEST)


def _first(runs: list[RunRecord]) -> str:
    """Return the labels of the first runs, with their codes where these differ, and the first one's own reason.

    What is blocked waits for what is named before it, so its reason says nothing new.
    """
    codes = len({run.exit_code for run in runs}) > 1
    labels = dict.fromkeys(f"{run.label} {run.exit_code}" if codes else run.label for run in runs)
    shown = listed([*labels], SHOWN)
    why = "" if runs[0].state == "blocked" else shortened(runs[0].remark, LONGEST)
    whose = f"; {runs[0].label}" if len(labels) > 1 else ""
    return f"{shown}{whose}: {why}" if why else shown


def read(folder: Path) -> BatchRecord | None:
    """Return the record in a batch's folder; None if there is none that can be read."""
    with suppress(OSError, ValueError):
        return _read(folder)
    return None


def _read(folder: Path) -> BatchRecord:
    content = (folder / RECORD).read_bytes()
    try:
        record = READER.validate_json(content, strict=True)
    except ValueError:
        json.loads(content)  # which says where it is no JSON
        raise
    for as_of in (record.as_of, *(run.as_of for run in record.runs)):
        date.fromisoformat(as_of)
    datetime.fromisoformat(record.started)
    if record.exit_code is not None:
        ExitCode(record.exit_code)
    return record


def damage(output: Path) -> str:
    """Return which records of an output folder's batches are there and cannot be read; empty if there are none.

    A batch that died before its first word left none, which is no damage.
    """
    found: dict[str, str] = {}
    for folder in (folder for name in names(output) for folder in sorted(_folders(output, name), key=_number)):
        try:
            _read(folder)
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            found[f"{folder.parent.name}/{folder.name}"] = unreadable(error)
    if not found:
        return ""
    first = f"{'' if len(found) == 1 else 'first '}{next(iter(found.values()))}"
    return (
        f"{output / FOLDER}: {RECORD} of {listed([*found])} cannot be read ({first}); an evening without its record "
        f"counts as not run, and the page does not show it. Restore the file, or remove its folder."
    )


def history(output: Path, name: str) -> Iterator[tuple[Path, BatchRecord]]:
    """Yield the folders and records of all batches of a name, newest first, whatever the clock said then."""
    for folder in sorted(_folders(output, name), key=_number, reverse=True):
        if record := read(folder):
            yield folder, record


def names(output: Path) -> list[str]:
    """Return the names of all batches of an output folder."""
    folder = output / FOLDER
    return sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def new_folder(output: Path, name: str, as_of: date) -> Path:
    """Make the folder of the next batch of a name; the caller holds its lock."""
    number = 1 + max(map(_number, _folders(output, name)), default=0)
    path = output / FOLDER / name / f"{as_of}-{number}"
    path.mkdir(parents=True)
    sync_folder(path.parent)
    return path


def _folders(output: Path, name: str) -> list[Path]:
    return list((output / FOLDER / name).glob("????-??-??-*"))


def _number(folder: Path) -> int:
    number = folder.name.rpartition("-")[2]
    return int(number) if number.isdecimal() else 0


def settle(output: Path, name: str) -> list[str]:
    """Mark the batches whose records have no end, and remove files that dead ones had half written.

    The caller holds the lock, so nobody is at them.
    """
    found = []
    for folder in (output, *_folders(output, name)):
        sweep_staged(folder)
    for folder, record in history(output, name):
        if record.state == "running":
            record.state = "abandoned"
            record.reason = "no end was written: the process died, or the disk refused it; finished runs are complete"
            for run in record.runs:
                run.state = "abandoned" if run.state == "running" else run.state
            record.write(folder)
            found.append(record.id)
    return found
