"""Sessions that look like none: days on which the exchange was closed, weekends, and days of few bars.

A stray row of one vendor's file makes its day a session of the whole account: the equity is marked on it, orders that
wait grow older, and a year has one more. Nothing here can know that the bar is wrong, so it stays, and is told. A few
symbols alone are never few bars, so weekends are looked at, too, unless the market trades on them.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.bars.freshness import calendar_of, is_asked, sessions
from pipeline.errors import ConfigError
from pipeline.options import FreshOptions
from pipeline.words import counted, listed

AROUND = 5  # sessions before and after one that its bars are compared with
FEW = 0.25  # of their median
RARE = 1 / 3  # of the sessions on the commonest day of the week
SATURDAY = 5
COUNTED = (
    "such a day is a session of the account, on which entries of symbols without a bar end; correct the file, or raise "
    "trading.orders.valid_sessions"
)


@dataclass(frozen=True)
class OddSessions:
    """Which sessions of a run are odd, and how many bars each has, by ISO date, ascending."""

    closed: Mapping[str, int] | None  # the exchange had none; None: no calendar was asked
    weekend: Mapping[str, int]  # Saturdays or Sundays, rare ones, where no calendar was asked
    few: Mapping[str, int]  # none of these, and few bars
    calendar: str | None = None  # that was asked

    @property
    def warnings(self) -> list[str]:
        """What is to be told of them."""
        told = {
            f"no session of {self.calendar}": self.closed,
            "on a weekend": self.weekend,
            "less than a quarter of the bars of the sessions around": self.few,
        }
        return [f"odd sessions: {_said(counts)}: {why}; {COUNTED}" for why, counts in told.items() if counts]

    @property
    def record(self) -> dict[str, Any]:
        """What `run.json` says of them."""
        return asdict(self)


def odd_sessions(days: np.ndarray, bars: np.ndarray, fresh: FreshOptions, market: str) -> OddSessions:
    """Return the odd ones among some sessions.

    Parameters
    ----------
    days : array of datetime64[D], (sessions,)
        Ascending.
    bars : array of int, (sessions,)
        How many bars each of them has, of all symbols.
    fresh : FreshOptions
        Its calendar is asked where one of its thresholds asks it anyway: loading one takes a second.
    market : str
        Whose calendar it is, if `fresh` names none.
    """
    around = pd.Series(bars).rolling(2 * AROUND + 1, center=True, min_periods=1).median().to_numpy()
    is_few = bars < FEW * around
    known = _known(days, fresh, market)
    if known is None:
        is_free = _on_rare_weekends(days)
        return OddSessions(None, _counts(days, bars, is_free), _counts(days, bars, is_few & ~is_free))
    is_open = np.isin(days, known)
    return OddSessions(
        _counts(days, bars, ~is_open), {}, _counts(days, bars, is_few & is_open), calendar_of(fresh, market)
    )


def _on_rare_weekends(days: np.ndarray) -> np.ndarray:
    """Return which sessions are on a Saturday or a Sunday, though few are, beside the commonest day of the week."""
    weekday = (days.astype(np.int64) + 3) % 7  # 1970-01-01 was a Thursday
    counts = np.bincount(weekday, minlength=7)
    return (weekday >= SATURDAY) & (counts < RARE * counts.max())[weekday]


def _known(days: np.ndarray, fresh: FreshOptions, market: str) -> np.ndarray | None:
    """Return the sessions of the exchange in that time; None if no calendar is asked, or it does not reach so far."""
    if not is_asked(fresh):
        return None
    try:
        return np.array(sessions(calendar_of(fresh, market), days[0].item(), days[-1].item()), "datetime64[D]")
    except ConfigError:  # which `evenness` tells
        return None


def _counts(days: np.ndarray, bars: np.ndarray, chosen: np.ndarray) -> dict[str, int]:
    return dict(zip(days[chosen].astype(str).tolist(), bars[chosen].tolist(), strict=True))


def _said(counts: Mapping[str, int]) -> str:
    """Name the last ones first: of them somebody may still know why."""
    return listed([f"{day} ({counted(counts[day], 'bar')})" for day in sorted(counts, reverse=True)])
