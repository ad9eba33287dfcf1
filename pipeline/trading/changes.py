"""The strategy's changes of opinion, checked and in the order in which the day loop takes them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.bars.periods import PeriodBars
from pipeline.errors import StrategyError
from pipeline.modes import Rebalance
from pipeline.trading.compiled import compiled
from pipeline.trading.state import Signals

SHOWN = 3  # how many culprits a message names


@dataclass(frozen=True)
class Changes:
    """Changes of opinion by session, then symbol; every array is (changes,)."""

    symbols: tuple[str, ...]
    day: np.ndarray  # datetime64[D]
    symbol: np.ndarray  # int64, place among `symbols`
    wanted: np.ndarray  # float64, exposure
    clipped: int  # negative signals taken as 0

    def within(self, period: PeriodBars, since: int, rebalance: np.ndarray) -> Signals:
        """Return the changes of a period; those before `since` belong to earlier ones.

        `rebalance` is bool (sessions,): on which sessions of the period positions are brought back to their targets.

        Raises
        ------
        StrategyError
            A signal stands on a session on which its symbol has no bar.
        """
        until = np.searchsorted(self.day, period.sessions[-1], side="right")
        day, symbol = self.day[since:until], self.symbol[since:until]
        session = np.searchsorted(period.sessions, day)
        row = rows_of(period.starts, period.session, symbol, session)
        row[period.sessions[session] != day] = -1
        if (row < 0).any():
            raise self.without_bar(since + np.flatnonzero(row < 0))
        starts = np.searchsorted(session, np.arange(len(period.sessions) + 1))
        return Signals(starts, symbol, self.wanted[since:until], row, rebalance)

    def without_bar(self, places: np.ndarray) -> StrategyError:
        """Return the error for the changes at `places`, which stand where there is no bar."""
        named = ", ".join(f"{self.symbols[self.symbol[k]]} on {self.day[k]}" for k in places[:SHOWN])
        return StrategyError(
            f"trading: {len(places)} signals without a bar ({named}); an opinion is formed after a close of its "
            f"symbol, between data.start and data.end. Return one value per bar, in the order of the bars."
        )


def read_changes(frame: pd.DataFrame, symbols: Sequence[str], *, short: bool) -> Changes:
    """Check a frame of `pipeline.schema.SIGNALS`, in any row order, and sort it.

    Parameters
    ----------
    frame : DataFrame, (changes, 3)
        ``symbol``, ``session``, ``signal``: exposure wanted after that close, -1 ... 1.
    symbols : sequence of str
        What is traded, ascending.
    short : bool
        Whether negative exposure is allowed; if not, it is taken as 0 and counted.

    Raises
    ------
    StrategyError
        An unknown symbol, a signal that is not finite, or two for one symbol and session.
    """
    names = pd.Categorical(frame["symbol"])
    place = np.append(pd.Index(list(symbols)).get_indexer(names.categories), -1)[names.codes]
    if (place < 0).any():
        unknown = pd.unique(frame["symbol"][place < 0]).tolist()
        raise StrategyError(
            f"trading: signals for {', '.join(map(repr, unknown[:SHOWN]))}; only the {len(symbols)} symbols of the run "
            f"can be traded. Give signals for symbols that have bars."
        )
    signal = frame["signal"].to_numpy(np.float64)
    day = frame["session"].to_numpy("datetime64[D]")
    if not np.isfinite(signal).all():
        first = int(np.flatnonzero(~np.isfinite(signal))[0])
        raise StrategyError(
            f"trading: signal {signal[first]} for {symbols[place[first]]} on {day[first]}; an exposure is a finite "
            f"number. Leave a session out to keep what is held."
        )
    order = np.lexsort((place, day))
    day, place, signal = day[order], place[order].astype(np.int64), signal[order]
    twice = np.flatnonzero((day[1:] == day[:-1]) & (place[1:] == place[:-1]))
    if len(twice):
        raise StrategyError(
            f"trading: two signals for {symbols[place[twice[0]]]} on {day[twice[0]]}; one opinion per symbol and "
            f"session. Keep the last one."
        )
    negative = signal < 0
    if short:
        return Changes(tuple(symbols), day, place, signal, 0)
    return Changes(tuple(symbols), day, place, np.where(negative, 0.0, signal), int(negative.sum()))


def first_of(span: Rebalance | None, sessions: np.ndarray, before: np.datetime64 | None) -> np.ndarray:
    """Tell of each of `sessions` (datetime64[D]) whether it is the first of its week or month.

    That is known on the session itself, without the next one: `before`, the session before them, stands in another
    week or month. The first session of all is none, as nothing is held.
    """
    if span is None:
        return np.zeros(len(sessions), bool)
    days = np.concatenate([sessions[:1] if before is None else [before], sessions]).astype("datetime64[D]")
    if span is Rebalance.MONTHLY:
        number = days.astype("datetime64[M]").astype(np.int64)
    else:
        number = (days.astype(np.int64) + 3) // 7  # day 0 was a Thursday; weeks begin on Monday
    return np.diff(number) != 0


@compiled
def rows_of(starts: np.ndarray, session: np.ndarray, symbols: np.ndarray, sessions: np.ndarray) -> np.ndarray:
    """Return the row of each (symbol, session), -1 where there is none, by bisection."""
    rows = np.full(len(symbols), -1, np.int64)
    for k in range(len(symbols)):
        low, end = starts[symbols[k]], starts[symbols[k] + 1]
        high = end
        while low < high:
            middle = (low + high) // 2
            if session[middle] < sessions[k]:
                low = middle + 1
            else:
                high = middle
        if low < end and session[low] == sessions[k]:
            rows[k] = low
    return rows
