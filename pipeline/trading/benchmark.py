"""What the account is measured against: buy and hold, without costs, marked at the same closes."""

from collections.abc import Iterable

import numpy as np

from pipeline.bars.periods import PeriodBars
from pipeline.trading.compiled import compiled
from pipeline.trading.rules import adjusted_closes


class BuyAndHold:
    """The same money for each symbol, cash until the symbol's first close, held from there on."""

    def __init__(self, cash: float, symbols: int) -> None:
        """Set ``cash / symbols`` aside for each symbol."""
        self._units = np.zeros(symbols)  # shares, 0 before the first close
        self._worth = np.full(symbols, cash / symbols)  # money, at the last close

    def follow(self, period: PeriodBars, closes: np.ndarray) -> np.ndarray:
        """Return the value of the account at the end of each session of the next period; `closes` are adjusted."""
        value = np.zeros(len(period.sessions))
        hold(period.starts, period.day, period.time, closes, self._units, self._worth, value)
        return value


def held_alone(periods: Iterable[PeriodBars], scale: float, cash: float, sessions: np.ndarray) -> np.ndarray:
    """Return the value at each of `sessions` (datetime64[D]) of all `cash` in the one symbol of `periods`."""
    account = BuyAndHold(cash, 1)
    days, values = [np.empty(0, "datetime64[D]")], [np.array([cash])]
    for period in periods:
        days.append(period.sessions)
        values.append(account.follow(period, adjusted_closes(period, np.array([scale]))))
    return np.concatenate(values)[np.searchsorted(np.concatenate(days), sessions, side="right")]


@compiled
def hold(
    starts: np.ndarray,
    day: np.ndarray,
    time: np.ndarray,
    closes: np.ndarray,
    units: np.ndarray,
    worth: np.ndarray,
    value: np.ndarray,
) -> None:
    """Add every symbol's worth to `value`, symbol by symbol, so the sums do not depend on how the bars were stored.

    A symbol with a bar at every time from its first to its last, and one time a session, needs no look at the clock.
    """
    for symbol in range(len(units)):
        first, stop = starts[symbol], starts[symbol + 1]
        shares, money, session = units[symbol], worth[symbol], 0
        if first < stop and shares == 0.0:
            shares = money / closes[first]
        if first < stop and len(day) == len(value) and time[stop - 1] - time[first] == stop - 1 - first:
            session = time[first]
            for rest in range(session):
                value[rest] += money
            own, bars = value[session : session + stop - first], closes[first:stop]
            for k in range(len(own)):
                own[k] += shares * bars[k]
            session, money = session + stop - first, shares * closes[stop - 1]
        else:
            for row in range(first, stop):
                while session < day[time[row]]:
                    value[session] += money
                    session += 1
                money = shares * closes[row]
        for rest in range(session, len(value)):
            value[rest] += money
        units[symbol], worth[symbol] = shares, money
