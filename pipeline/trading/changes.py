"""The strategy's changes of opinion, checked and in the order in which the loop takes them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.bars.periods import PeriodBars
from pipeline.errors import StrategyError
from pipeline.modes import Rebalance
from pipeline.trading.compiled import compiled, inlined, prefetch
from pipeline.trading.state import Signals
from pipeline.words import counted

AHEAD = 16  # changes, enough for the processor to fetch what the last of them needs
SHOWN = 3  # how many culprits a message names


@dataclass(frozen=True)
class Changes:
    """Changes of opinion by time, then symbol; every array is (changes,)."""

    symbols: tuple[str, ...]
    time: np.ndarray  # datetime64[ms]: the session, or with minute bars the end of the bar [UTC]
    symbol: np.ndarray  # int64, place among `symbols`
    wanted: np.ndarray  # float64, exposure
    clipped: int  # negative signals taken as 0

    def within(self, period: PeriodBars, since: int, rebalance: np.ndarray) -> Signals:
        """Return the changes of a period; those before `since` belong to earlier ones.

        `rebalance` is bool (sessions,): on which sessions of the period positions are brought back to their targets.

        Raises
        ------
        StrategyError
            A signal stands at a time at which its symbol has no bar.
        """
        until = int(np.searchsorted(self.time, period.times[-1], side="right"))
        own, symbol = self.time[since:until], self.symbol[since:until]
        starts, rows = np.zeros(len(period.times) + 1, np.int64), np.empty(len(own), np.int64)
        find(period.times.view(np.int64), own.view(np.int64), symbol, period.starts, period.time, starts, rows)
        if (rows < 0).any():
            raise self.without_bar(since + np.flatnonzero(rows < 0))
        rebalances = rebalance[period.day] & period.closing
        return Signals(
            starts, symbol, self.wanted[since:until], rows, rebalances, hears=rebalances | (np.diff(starts) > 0)
        )

    def without_bar(self, places: np.ndarray) -> StrategyError:
        """Return the error for the changes at `places`, which stand where there is no bar."""
        named = ", ".join(f"{self.symbols[self.symbol[k]]} on {_shown(self.time[k])}" for k in places[:SHOWN])
        return StrategyError(
            f"trading: {counted(len(places), 'signal')} without a bar ({named}); an opinion is formed after a close of "
            f"its symbol, between data.start and data.end. Return one value per bar, in the order of the bars."
        )


def _shown(time: np.datetime64) -> str:
    """Return a session as its date, and a time of a session with its minute."""
    day = time.astype("datetime64[D]")
    return str(day if day == time else time.astype("datetime64[m]"))


def read_changes(frame: pd.DataFrame, symbols: Sequence[str], *, short: bool) -> Changes:
    """Check a frame of `pipeline.schema.SIGNALS`, in any row order, and sort it.

    Parameters
    ----------
    frame : DataFrame, (changes, 3)
        ``symbol``, ``session``, ``time`` [UTC] with minute bars, ``signal``: exposure wanted, -1 ... 1.
    symbols : sequence of str
        What is traded, ascending.
    short : bool
        Whether negative exposure is allowed; if not, it is taken as 0 and counted.

    Raises
    ------
    StrategyError
        An unknown symbol, a signal that is not finite, or two for one symbol and time.
    """
    names = pd.Categorical(frame["symbol"])
    place = np.append(pd.Index(list(symbols)).get_indexer(names.categories), -1)[names.codes]
    if (place < 0).any():
        unknown = pd.unique(frame["symbol"][place < 0]).tolist()
        raise StrategyError(
            f"trading: signals for {', '.join(map(repr, unknown[:SHOWN]))}; only the "
            f"{counted(len(symbols), 'symbol')} of the run can be traded. Give signals for symbols that have bars."
        )
    place = place.astype(np.int64)
    signal = frame["signal"].to_numpy(np.float64)
    time = frame["time" if "time" in frame else "session"].to_numpy("datetime64[ms]")
    if not np.isfinite(signal).all():
        first = int(np.flatnonzero(~np.isfinite(signal))[0])
        raise StrategyError(
            f"trading: signal {signal[first]} for {symbols[place[first]]} on {_shown(time[first])}; an exposure is a "
            f"finite number. Leave a session out to keep what is held."
        )
    if not _ascend(time, place).all():
        order = np.lexsort((place, time))
        time, place, signal = time[order], place[order], signal[order]
        twice = np.flatnonzero(~_ascend(time, place))
        if len(twice):
            raise StrategyError(
                f"trading: two signals for {symbols[place[twice[0]]]} on {_shown(time[twice[0]])}; one opinion per "
                f"symbol and close. Keep the last one."
            )
    if short:
        return Changes(tuple(symbols), time, place, signal, 0)
    return Changes(tuple(symbols), time, place, np.maximum(signal, 0.0), int(np.count_nonzero(signal < 0)))


def _ascend(time: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Tell of each row but the last whether the next one comes after it, by time, then symbol."""
    return (time[1:] > time[:-1]) | ((time[1:] == time[:-1]) & (place[1:] > place[:-1]))


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
def find(
    times: np.ndarray,
    own: np.ndarray,
    symbols: np.ndarray,
    starts: np.ndarray,
    time: np.ndarray,
    begins: np.ndarray,
    rows: np.ndarray,
) -> None:
    """Find the bars of changes at the times `own`, ascending like the `times` of a period.

    `begins`, (times + 1,), gets the first change at or after each time, `rows` the row of each, -1 where there is none.
    """
    place = 0
    for k in range(len(own)):
        soon = starts[symbols[min(k + AHEAD, len(own) - 1)]]
        if soon < len(time):
            prefetch(time, soon + place - time[soon])
        while place < len(times) and times[place] < own[k]:
            place += 1
            begins[place] = k
        is_time = place < len(times) and times[place] == own[k]
        rows[k] = row_at(starts, time, symbols[k], place) if is_time else -1
    begins[place + 1 :] = len(own)


@inlined
def row_at(starts: np.ndarray, time: np.ndarray, symbol: int, place: int) -> int:
    """Return the row of a symbol's bar at a time of the period, -1 where there is none.

    Times differ by at least 1 from row to row, so without gaps one look is enough; gaps are searched by bisection.
    """
    first, end = starts[symbol], starts[symbol + 1]
    if first == end or place < time[first]:
        return -1
    high = min(first + place - time[first], end - 1)
    low = max(first, high - (time[end - 1] - time[first] - (end - 1 - first)))
    while low < high:
        middle = (low + high) // 2
        if time[middle] < place:
            low = middle + 1
        else:
            high = middle
    return low if time[low] == place else -1
