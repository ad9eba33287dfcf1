"""The evenings that were missed: which runs are due for which past sessions."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path

from pipeline.bars.freshness import calendar_of, sessions
from pipeline.batch import record
from pipeline.batch.file import Backfill
from pipeline.batch.planning import Planned

DAYS_PER_SESSION, MARGIN = 2, 30  # calendar days that surely hold so many sessions


def known(output: Path, name: str) -> dict[tuple[str, date], bool]:
    """Return by label and evening whether earlier batches of a name made a run well; False if they tried."""
    found: dict[tuple[str, date], bool] = {}
    for _, told in record.history(output, name):
        for run in told.runs:
            if run.exit_code is not None or run.is_well:
                place = (run.label, date.fromisoformat(run.as_of))
                found[place] = found.get(place, False) or run.is_well
    return found


def missing(
    runs: Sequence[Planned],
    as_of: date,
    count: int,
    backfill: Backfill,
    made: Mapping[tuple[str, date], bool],
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
        ``none``: what was never tried; ``failed``: and what was tried in vain; ``all``: everything. The first two go
        back to the first evening of a run, never beyond.
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
    return sorted(due.items())


def _is_due(state: bool | None, backfill: Backfill) -> bool:  # noqa: FBT001 - made well, tried in vain, or never tried
    return state is None or (state is False and backfill is Backfill.FAILED)
