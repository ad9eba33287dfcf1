"""What the account is measured against: buy and hold, without costs, marked at the same closes."""

from collections.abc import Iterable

import numpy as np

from pipeline.bars.periods import PeriodBars
from pipeline.trading.compiled import compiled


class BuyAndHold:
    """The same money for each symbol, cash until the symbol's first close, held from there on."""

    def __init__(self, cash: float, scales: np.ndarray) -> None:
        """Set ``cash / symbols`` aside for each symbol; `scales` is (symbols,), as in the manifest."""
        self._scales = scales
        self._units = np.zeros(len(scales))  # shares, 0 before the first close
        self._worth = np.full(len(scales), cash / len(scales))  # money, at the last close

    def follow(self, period: PeriodBars) -> np.ndarray:
        """Return the value of the account at the close of each session of the next period."""
        value = np.zeros(len(period.sessions))
        close, factor = period.columns["close"], period.columns["factor"]
        hold(period.starts, period.session, close, factor, self._scales, self._units, self._worth, value)
        return value


def held_alone(periods: Iterable[PeriodBars], scale: float, cash: float, sessions: np.ndarray) -> np.ndarray:
    """Return the value at each of `sessions` (datetime64[D]) of all `cash` in the one symbol of `periods`."""
    account = BuyAndHold(cash, np.array([scale]))
    days, values = [np.empty(0, "datetime64[D]")], [np.array([cash])]
    for period in periods:
        days.append(period.sessions)
        values.append(account.follow(period))
    return np.concatenate(values)[np.searchsorted(np.concatenate(days), sessions, side="right")]


@compiled
def hold(
    starts: np.ndarray,
    session: np.ndarray,
    close: np.ndarray,
    factor: np.ndarray,
    scales: np.ndarray,
    units: np.ndarray,
    worth: np.ndarray,
    value: np.ndarray,
) -> None:
    """Add every symbol's worth to `value`, symbol by symbol, so the sums do not depend on how the bars were stored."""
    for symbol in range(len(units)):
        row, end = starts[symbol], starts[symbol + 1]
        for now in range(len(value)):
            if row < end and session[row] == now:
                price = close[row] * factor[row] / scales[symbol]
                if units[symbol] == 0.0:
                    units[symbol] = worth[symbol] / price
                else:
                    worth[symbol] = units[symbol] * price
                row += 1
            value[now] += worth[symbol]
