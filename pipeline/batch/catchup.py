"""The evenings that were missed: which runs are due for which past sessions."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path

from pipeline.bars.freshness import calendar_of, sessions
from pipeline.batch import record
from pipeline.batch.file import Backfill
from pipeline.batch.planning import Planned

DAYS_PER_SESSION, MARGIN = 2, 30  # calendar days that surely hold so many sessions


def known(output: Path, name: str) -> dict[tuple[str, date], bool | None]:
    """Return by label and evening what earlier batches of a name came to with a run.

    True: it was made well. False: it failed. None: it was named, but was interrupted, blocked, or never begun.
    """
    found: dict[tuple[str, date], bool | None] = {}
    for _, told in record.history(output, name):
        for run in told.runs:
            place = (run.label, date.fromisoformat(run.as_of))
            came_to = True if run.is_well else False if run.state == "failed" else None
            found[place] = max(found.get(place), came_to, key=(None, False, True).index)
    return found


def missing(
    runs: Sequence[Planned],
    as_of: date,
    count: int,
    backfill: Backfill,
    made: Mapping[tuple[str, date], bool | None],
) -> list[tuple[date, list[Planned]]]:
    """Return the past sessions, oldest first, each with the runs that are due for it.

    Parameters
    ----------
    runs : sequence of Planned
        Of the batch.
    as_of : date
        The evening of now, which is not among the past ones.
    count : int
        How many sessions to look back, on each run's own calendar.
    backfill : Backfill
        ``none``: what was never tried to its end; ``failed``: and what failed; ``all``: everything. The first two go
        back to the first evening whose record names the run, in whatever state, never beyond.
    made : mapping
        As of `known`.
    """
    due: dict[date, list[Planned]] = {}
    calendars: dict[str, list[date]] = {}
    for run in runs if count else ():
        code = calendar_of(run.options.fresh, run.options.trading.market)
        if code not in calendars:
            first = as_of - timedelta(days=DAYS_PER_SESSION * count + MARGIN)
            calendars[code] = sessions(code, first, as_of - timedelta(days=1))[-count:]
        begun = min((day for label, day in made if label == run.label), default=as_of)
        for day in calendars[code]:
            state = made.get((run.label, day))
            if backfill is Backfill.ALL or (day >= begun and _is_due(state, backfill)):
                due.setdefault(day, []).append(run)
    return [(day, found) for day in sorted(due) if (found := _with_needs(due[day], runs, day, made, backfill))]


def _is_due(state: bool | None, backfill: Backfill) -> bool:  # noqa: FBT001 - made well, tried in vain, or never tried
    return state is None or (state is False and backfill is Backfill.FAILED)


def _with_needs(
    due: Sequence[Planned],
    runs: Sequence[Planned],
    day: date,
    made: Mapping[tuple[str, date], bool | None],
    backfill: Backfill,
) -> list[Planned]:
    """Return the runs due on an evening and those that they need, which are found if they are complete.

    A run that needs one that failed then, and is not to be tried again, is left out.
    """
    wanted: dict[str, set[str]] = {}  # of every run that can be made then, what it takes, itself included
    for run in runs:  # in order, so what a run needs is known
        is_refused = made.get((run.label, day)) is False and backfill is Backfill.NONE
        if not is_refused and all(need in wanted for need in run.needs):
            wanted[run.label] = {run.label}.union(*(wanted[need] for need in run.needs))
    labels = set().union(*(wanted.get(run.label, ()) for run in due))
    return [run for run in runs if run.label in labels]
