"""Symbols whose bars are not as whole as the calendar would have them: behind the others, or with sessions missing.

A suspended share is both, and rightly so: this is told, and never refused. What has had no bar for a year is taken for
delisted, and told apart: else such symbols would be told as late every night, and more of them each year. Bars are not
read for it: a symbol's number of bars is compared with the number of sessions between its first one and its last.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from pipeline.bars.freshness import calendar_of, sessions
from pipeline.bars.manifest import Symbol
from pipeline.errors import ConfigError
from pipeline.events import Event, Note, Warned
from pipeline.options import FreshOptions
from pipeline.words import counted, listed

ENDED = 250  # sessions, about a year: what is further behind is not expected to come again
STALE, ENDS, GAPS = "stale symbols", "ended symbols", "gaps"


@dataclass(frozen=True)
class Evenness:
    """What there is to be told of some symbols, by symbol."""

    stale: Mapping[str, int]  # sessions that the last bar is behind the newest of all
    gaps: Mapping[str, int] | None  # sessions without a bar between the first and the last one; None: not counted
    ended: Mapping[str, str]  # the last session, ISO, of those that are too far behind to be stale
    warnings: tuple[str, ...]
    notes: tuple[str, ...]  # on what ended, where no warning tells it

    @property
    def events(self) -> Iterator[Event]:
        """What is told of them."""
        yield from map(Warned, self.warnings)
        yield from map(Note, self.notes)

    @property
    def record(self) -> dict[str, dict[str, int] | dict[str, str] | None]:
        """What `run.json` says of them."""
        gaps = None if self.gaps is None else dict(self.gaps)
        return {"stale": dict(self.stale), "gaps": gaps, "ended": dict(self.ended)}


NOTHING = Evenness({}, None, {}, (), ())


def evenness(
    entries: Sequence[Symbol], newest: date, fresh: FreshOptions, market: str, *, has_times: bool = False
) -> Evenness:
    """Return which symbols are behind, ended or have gaps, by the calendar and thresholds that ask for late bars.

    Parameters
    ----------
    entries : sequence of Symbol
        Some of a store's.
    newest : date
        The last session that is looked at; gaps are not counted where some bars go on after it.
    fresh : FreshOptions
        Nothing is asked without one of its thresholds; the lower one is what a symbol may be behind. One that is more
        than `ENDED` behind, or that threshold if it is higher, ended.
    market : str
        Whose calendar it is, if `fresh` names none.
    has_times : bool
        Whether they are bars of minutes: of these the gaps are not counted.
    """
    limits = [limit for limit in (fresh.warn_after, fresh.error_after) if limit is not None]
    if not limits or not entries:
        return NOTHING
    try:
        code = calendar_of(fresh, market)
        known = sessions(code, date.fromisoformat(min(entry.first for entry in entries)), newest)
    except ConfigError as error:  # there is none, or it does not reach back so far
        return Evenness({}, None, {}, (f"{GAPS}: not counted. {error}",), ())
    days = np.array(known, "datetime64[D]")
    begins, ends = ([getattr(entry, name) for entry in entries] for name in ("first", "last"))
    starts = np.searchsorted(days, np.array(begins, "datetime64[D]"))
    stops = np.searchsorted(days, np.array(ends, "datetime64[D]"), side="right")
    rows = np.array([entry.rows for entry in entries])
    behind, missing = len(days) - stops, stops - starts - rows
    is_over = max(ends) <= str(newest)
    names = [entry.symbol for entry in entries]
    stale_above, ended_above = min(limits), max(ENDED, min(limits))
    stale = _where(names, behind, (behind > stale_above) & (behind <= ended_above))
    ended = {names[place]: str(ends[place]) for place in np.flatnonzero(behind > ended_above).tolist()}
    gaps = _where(names, missing, missing > 0) if is_over and not has_times else None
    of = f"of {counted(len(names), 'symbol')}"
    late = f"{STALE}: {len(stale):,} {of} end {_before(stale_above, code, newest)}: {_most(stale)}"
    over = f"{ENDS}: {len(ended):,} {of} ended {_before(ended_above, code, newest)}: {_latest(ended)}"
    if stale and ended:
        late += f"; {len(ended):,} ended more than {ended_above} sessions before it: {_latest(ended)}"
    told = [late] if stale else []
    if gaps:
        lack = f"{GAPS}: {len(gaps):,} {of} lack sessions of {code} between their first bar and their last"
        told.append(f"{lack}: {_most(gaps)}")
    return Evenness(stale, gaps, ended, tuple(told), (over,) if ended and not stale else ())


def _before(limit: int, code: str, newest: date) -> str:
    """Return how many sessions before the newest one an end is; any end before it where that is none."""
    return f"more than {counted(limit, 'session')} of {code} before {newest}" if limit else f"before {newest} ({code})"


def _where(names: Sequence[str], counts: np.ndarray, chosen: np.ndarray) -> dict[str, int]:
    return {names[place]: int(counts[place]) for place in np.flatnonzero(chosen).tolist()}


def _most(counts: Mapping[str, int]) -> str:
    """Name those that miss most."""
    most = sorted(counts, key=lambda symbol: (-counts[symbol], symbol))
    return listed([f"{symbol} {counts[symbol]:,}" for symbol in most])


def _latest(ended: Mapping[str, str]) -> str:
    """Name those that ended last: of them somebody may still expect bars."""
    last = sorted(sorted(ended), key=ended.__getitem__, reverse=True)
    return listed([f"{symbol} {ended[symbol]}" for symbol in last])
