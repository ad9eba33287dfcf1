"""Average true range by Wilder: how much a price usually moves in a bar; what sizing by risk divides by.

Source: Wilder (1978), New Concepts in Technical Trading Systems: the true range is the largest of high - low,
|high - close before| and |low - close before|; its average is the mean of the first 14, then
(13 x average + true range) / 14. Unknown (NaN) on a symbol's first 14 bars.
"""

import numpy as np

from pipeline.bars.periods import PeriodBars
from pipeline.trading.compiled import compiled

BARS = 14


class TrueRanges:
    """The average true range of every symbol, followed over consecutive periods, in adjusted prices."""

    def __init__(self, scales: np.ndarray) -> None:
        """Begin before the first bar; `scales` is (symbols,), as in the manifest."""
        self._scales = scales
        self._count = np.zeros(len(scales), np.int64)  # bars seen
        self._close = np.zeros(len(scales))  # the last one's
        self._average = np.zeros(len(scales))

    def follow(self, period: PeriodBars) -> np.ndarray:
        """Return the average at the close of each bar of the next period, (rows,), as prices of that bar."""
        columns, ranges = period.columns, np.full(len(period.time), np.nan)
        prices = (columns["high"], columns["low"], columns["close"], columns["factor"])
        follow(period.starts, *prices, self._scales, self._count, self._close, self._average, ranges)
        return ranges


@compiled
def follow(
    starts: np.ndarray,
    high: np.ndarray,
    low: np.ndarray,
    close: np.ndarray,
    factor: np.ndarray,
    scales: np.ndarray,
    count: np.ndarray,
    last: np.ndarray,
    average: np.ndarray,
    ranges: np.ndarray,
) -> None:
    """Fill `ranges` in, symbol by symbol."""
    for symbol in range(len(count)):
        for row in range(starts[symbol], starts[symbol + 1]):
            adjustment = factor[row] / scales[symbol]
            top, bottom = max(high[row] * adjustment, last[symbol]), min(low[row] * adjustment, last[symbol])
            if 0 < count[symbol] <= BARS:
                average[symbol] += (top - bottom) / BARS
            elif count[symbol] > BARS:
                average[symbol] += (top - bottom - average[symbol]) / BARS
            count[symbol] += 1
            if count[symbol] > BARS:
                ranges[row] = average[symbol]
            last[symbol] = close[row] * adjustment
