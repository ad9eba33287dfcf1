"""Sessions that look like none: days on which the exchange was closed, or of which few symbols have a bar.

A stray row of one vendor's file makes its day a session of the whole account: the equity is marked on it, orders that
wait grow older, and a year has one more. Nothing here can know that the bar is wrong, so it stays, and is told.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.bars.freshness import calendar_of, sessions
from pipeline.errors import ConfigError
from pipeline.options import FreshOptions
from pipeline.words import counted, listed

AROUND = 5  # sessions before and after one that its bars are compared with
FEW = 0.25  # of their median


@dataclass(frozen=True)
class OddSessions:
    """Which sessions of a run are odd, and how many bars each has, by ISO date, ascending."""

    closed: Mapping[str, int] | None  # the exchange had none; None: no calendar was asked
    few: Mapping[str, int]  # the exchange had one, or was not asked, and few symbols have a bar

    @property
    def warnings(self) -> list[str]:
        """What is to be told of them."""
        told = []
        if self.closed:
            told.append(f"odd sessions: {_said(self.closed)}: the exchange was closed (fresh.calendar)")
        if self.few:
            told.append(f"odd sessions: {_said(self.few)}: less than a quarter of the bars of the sessions around")
        return told

    @property
    def record(self) -> dict[str, Any]:
        """What `run.json` says of them."""
        return {"closed": None if self.closed is None else dict(self.closed), "few": dict(self.few)}


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
    is_open = _open(days, fresh, market)
    if is_open is None:
        return OddSessions(None, _counts(days, bars, is_few))
    return OddSessions(_counts(days, bars, ~is_open), _counts(days, bars, is_few & is_open))


def _open(days: np.ndarray, fresh: FreshOptions, market: str) -> np.ndarray | None:
    """Return on which days there was a session; None if no calendar is asked, or it does not reach so far."""
    if fresh.warn_after is None and fresh.error_after is None:
        return None
    try:
        known = sessions(calendar_of(fresh, market), days[0].item(), days[-1].item())
    except ConfigError:  # which `evenness` tells
        return None
    return np.isin(days, np.array(known, "datetime64[D]"))


def _counts(days: np.ndarray, bars: np.ndarray, chosen: np.ndarray) -> dict[str, int]:
    return dict(zip(days[chosen].astype(str).tolist(), bars[chosen].tolist(), strict=True))


def _said(counts: Mapping[str, int]) -> str:
    """Name the last ones first: of them somebody may still know why."""
    return listed([f"{day} ({counted(counts[day], 'bar')})" for day in sorted(counts, reverse=True)])
