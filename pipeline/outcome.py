"""What a run came to, made now or found as it was made before."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.bars.odd_sessions import OddSessions
from pipeline.errors import ExitCode
from pipeline.events import Note, Warned
from pipeline.journal import Journal
from pipeline.options import Options
from pipeline.summary import summary_of
from pipeline.words import counted, listed


@dataclass(frozen=True)
class Outcome:
    """What a run tells its caller; the rest is in `run_dir`."""

    run_dir: str
    result_digest: str
    state: str  # committed | degraded; complete: found, not made
    exit_code: ExitCode
    reason: str  # why it is degraded, or was not made; else empty
    newest: str  # the last session that was seen
    metrics: dict[str, float | None]
    stages: dict[str, float]  # seconds
    scheduler: dict[str, Any]
    rows: dict[str, int]
    warnings: list[str]
    summary: list[tuple[str, str]]  # label, value with its unit


def found(target: Path, record: dict[str, Any], journal: Journal, options: Options) -> Outcome:
    """Return what an earlier run of the same key came to; what it lacks is lacking still."""
    if record["skipped"]:
        journal.leave_out(left_out(record["skipped"]))
    if other := record.get("differs_from"):
        journal.leave_out(not_the_same(other))
    if odd := record.get("odd_sessions"):
        for text in OddSessions(**odd).warnings:
            journal(Warned(text))
    figures = json.loads((target / "metrics.json").read_bytes())["metrics"]
    newest = record["newest"]
    moved_on = options.as_of and newest < str(options.as_of) != record["config"]["as_of"]
    since = f"no new session since {newest}; " if moved_on else ""
    reason = "; ".join([*journal.left_out, f"{since}already complete"])
    journal(Note(f"{reason}: {target}"))
    kept = {name: record[name] for name in ("stages", "monitor")}
    record = {**record, **journal.record(), **kept, "state": "complete", "reason": reason}
    return outcome_of(target, record, figures)


def outcome_of(target: Path, record: dict[str, Any], figures: dict[str, float | None]) -> Outcome:
    """Return what a published run came to; `record` is its run.json."""
    return Outcome(
        run_dir=str(target),
        result_digest=record["result_digest"],
        state=record["state"],
        exit_code=ExitCode(record["exit_code"]),
        reason=record["reason"],
        newest=record["newest"],
        metrics=figures,
        stages=record["stages"],
        scheduler=record["scheduler"],
        rows=record["rows"],
        warnings=record["warnings"],
        summary=summary_of(target, record, figures),
    )


def not_the_same(other: str) -> str:
    """Return what is told of a run whose result is not that of an earlier attempt at it."""
    return (
        f"the result differs from that of {other}, though config, bars, strategy and versions are the same: the "
        f"strategy does not answer by its bars alone. Look for state that it keeps from symbol to symbol, a clock, a "
        f"file, the network"
    )


def left_out(skipped: dict[str, str]) -> str:
    """Return how many symbols were skipped, the first of them, and why the first one was."""
    names = sorted(skipped)
    which = f"{counted(len(names), 'symbol')} ({listed(names)}; first: {skipped[names[0]]})"
    return f"the strategy failed on {which}, left out since on_error is skip"
