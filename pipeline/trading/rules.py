"""The options of an account as the compiled loop takes them, and the bars it needs for them."""

from collections.abc import Iterable

import numpy as np

from pipeline.bars.periods import PeriodBars
from pipeline.modes import CashShort, Fill, SizingMethod
from pipeline.options import TradingOptions
from pipeline.trading.compiled import compiled
from pipeline.trading.market import costs
from pipeline.trading.ranges import TrueRanges
from pipeline.trading.sizing import sizing
from pipeline.trading.state import NEVER, Bars, Rules, Stops

FILL_COLUMNS = {
    Fill.NEXT_OPEN: ("open",),
    Fill.NEXT_CLOSE: ("close",),
    Fill.NEXT_OHLC4: ("open", "high", "low", "close"),
    Fill.CLOSE: ("close",),
}


def columns_for(options: TradingOptions) -> list[str]:
    """Return the stored columns that an account reads."""
    columns = [*FILL_COLUMNS[options.fill], "close", "volume", "factor"]
    if _has_stops(options):
        columns += ["open", "high", "low"]
    if options.sizing.method is SizingMethod.RISK:
        columns += ["high", "low"]
    return list(dict.fromkeys(columns))


def rules_of(options: TradingOptions, symbols: int, *, delists: bool = False) -> Rules:
    """Return the rules of an account that trades so many `symbols`; `delists` if it is known of any until when."""
    stops = options.stops
    return Rules(
        costs=costs(options),
        sizing=sizing(options, symbols),
        stops=Stops(stops.loss or np.inf, stops.profit or np.inf, stops.trailing or np.inf),
        has_stops=_has_stops(options),
        in_bar=options.fill is not Fill.NEXT_OPEN,
        at_signal=options.fill is Fill.CLOSE,
        shrink=options.orders.cash is CashShort.SHRINK,
        valid_sessions=options.orders.valid_sessions,
        max_positions=options.max_positions or NEVER,
        volume_cap=options.volume_cap or np.inf,
        delists=delists or options.delist_after is not None,
        delist_after=options.delist_after or NEVER,
        recovery=options.recovery,
    )


class BarSource:
    """Periods of the store as the bars of the compiled loop."""

    def __init__(
        self, options: TradingOptions, scales: np.ndarray, earlier: Iterable[PeriodBars], *, raw: bool
    ) -> None:
        """Learn from the periods before the first one; `scales` is (symbols,), as in the manifest."""
        self._fill = options.fill
        self._scales, self._raw = scales, raw
        self._sessions = 0  # of the periods so far
        self._ranges = TrueRanges(scales) if options.sizing.method is SizingMethod.RISK else None
        if self._ranges:
            for period in earlier:
                self._ranges.follow(period)

    def bars(self, period: PeriodBars, adjusted: np.ndarray) -> Bars:
        """Return the bars of the next period, whose closes are `adjusted`; a column that no rule reads is the close."""
        columns, close = period.columns, period.columns["close"]
        ranges = self._ranges.follow(period) if self._ranges else close
        factor, scale = columns["factor"], self._scales
        if self._raw:
            if self._ranges:
                ranges = ranges * (np.repeat(scale, np.diff(period.starts)) / factor)
            factor, scale = np.ones(len(close)), np.ones(len(scale))
        first, self._sessions = self._sessions, self._sessions + len(period.sessions)
        return Bars(
            day=period.day + first,
            closing=period.closing,
            starts=period.starts,
            time=period.time,
            price=self._price(columns),
            open=columns.get("open", close),
            high=columns.get("high", close),
            low=columns.get("low", close),
            close=close if self._raw else adjusted,
            volume=columns["volume"],
            factor=factor,
            true_range=ranges,
            scale=scale,
        )

    def _price(self, columns: dict[str, np.ndarray]) -> np.ndarray:
        """Return what orders fill at, as traded."""
        if self._fill is Fill.NEXT_OHLC4:
            return (columns["open"] + columns["high"] + columns["low"] + columns["close"]) / 4.0
        return columns[FILL_COLUMNS[self._fill][0]]


def _has_stops(options: TradingOptions) -> bool:
    return any(stop is not None for stop in (options.stops.loss, options.stops.profit, options.stops.trailing))


def adjusted_closes(period: PeriodBars, scales: np.ndarray) -> np.ndarray:
    """Return the adjusted close of each bar, (rows,): price x factor / scale, from left to right."""
    adjusted = np.empty(len(period.time))
    adjust(period.starts, period.columns["close"], period.columns["factor"], scales, adjusted)
    return adjusted


@compiled
def adjust(
    starts: np.ndarray, prices: np.ndarray, factor: np.ndarray, scales: np.ndarray, adjusted: np.ndarray
) -> None:
    """Fill `adjusted` in, symbol by symbol."""
    for symbol in range(len(scales)):
        rows, scale = slice(starts[symbol], starts[symbol + 1]), scales[symbol]
        price, factors, out = prices[rows], factor[rows], adjusted[rows]
        for k in range(len(out)):
            out[k] = price[k] * factors[k] / scale
