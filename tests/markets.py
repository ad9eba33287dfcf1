"""Small markets for tests of the trading stage: bars as frames, cut into periods, and options with defaults."""

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd

from pipeline.bars.periods import PeriodBars
from pipeline.options import TradingOptions
from pipeline.schema import SIGNALS, STORED
from pipeline.trading.loop import Ledger, trade_periods
from reference_loop import Reference

START = np.datetime64("2020-01-01", "ms")
DEFAULTS = {
    "cash": 10_000,
    "market": "us",
    "lot": None,
    "fill": "next_open",
    "sizing": {"method": "equal", "value": None},
    "max_positions": None,
    "short": False,
    "commission": {"rate": None, "minimum": None, "fixed": None},
    "slippage": {"rate": 0.0},
    "volume_cap": None,
    "stops": {"loss": None, "profit": None, "trailing": None},
    "orders": {"valid_sessions": 1, "cash": "shrink"},
    "delist_after": None,
}


def options(**changed) -> TradingOptions:
    """Return trading options: `DEFAULTS` with groups merged, so that ``commission={"rate": 0.01}`` is enough."""
    merged = {
        name: {**value, **changed.get(name, {})} if isinstance(value, dict) else changed.get(name, value)
        for name, value in DEFAULTS.items()
    }
    return TradingOptions.model_validate(merged)


def day(number: int) -> np.datetime64:
    """Return the session with that number, counted from 0."""
    return START + np.timedelta64(number, "D")


def bars(**symbols: Sequence) -> pd.DataFrame:
    """Return bars from ``A=[10, (11, 12), None, (11, 12, 0)]``.

    A number is a bar whose open and close are the same, a pair is (open, close), a third number is the volume, None
    is a session without a bar.
    """
    rows = []
    for symbol, values in symbols.items():
        for number, value in enumerate(values):
            if value is not None:
                open_, close, volume = (
                    (*np.broadcast_to(value, 2), 1000)[:3] if np.ndim(value) == 0 else (*value, 1000)[:3]
                )
                rows.append((symbol, day(number), open_, max(open_, close), min(open_, close), close, volume, 1.0))
    return pd.DataFrame(rows, columns=["symbol", "session", *STORED])


def changes(*rows: tuple[str, int, float]) -> pd.DataFrame:
    """Return signals from (symbol, session number, exposure)."""
    if not rows:
        return SIGNALS
    symbols, sessions, signals = zip(*rows, strict=True)
    return pd.DataFrame(
        {"symbol": pd.Categorical(symbols), "session": [day(n) for n in sessions], "signal": np.array(signals, float)}
    )


def periods(frame: pd.DataFrame, symbols: Sequence[str], cuts: Sequence[int] = ()) -> list[PeriodBars]:
    """Cut bars into periods before the sessions with the numbers `cuts` (places in the frame's calendar)."""
    frame = frame.sort_values(["symbol", "session"])
    place = pd.Index(symbols).get_indexer(frame["symbol"])
    calendar, session = np.unique(frame["session"].to_numpy("datetime64[D]"), return_inverse=True)
    edges = sorted({0, len(calendar), *(cut for cut in cuts if cut < len(calendar))})
    columns = {name: frame[name].to_numpy(np.float64) for name in STORED}
    made = []
    for first, last in itertools.pairwise(edges):
        part = (session >= first) & (session < last)
        rows = np.bincount(place[part], minlength=len(symbols))
        starts = np.concatenate([[0], np.cumsum(rows)])
        index = (session[part] - first).astype(np.int32)
        made.append(PeriodBars(calendar[first:last], starts, index, {name: columns[name][part] for name in columns}))
    return made


def run(
    frame: pd.DataFrame, signals: pd.DataFrame, chosen: TradingOptions, *, cuts: Sequence[int] = (), **more
) -> Ledger:
    """Trade `frame` on `signals`; ``symbols=`` and ``scales=`` if they are not the frame's own and 1."""
    symbols = more.get("symbols") or sorted(frame["symbol"].unique())
    scales = more.get("scales", np.ones(len(symbols)))
    return trade_periods(periods(frame, symbols, cuts), symbols, scales, signals, chosen)


def reference(frame: pd.DataFrame, signals: pd.DataFrame, chosen: TradingOptions, **more) -> Reference:
    """Return the reference loop over the same bars and signals, not yet run."""
    symbols = more.get("symbols") or sorted(frame["symbol"].unique())
    scales = dict(zip(symbols, more.get("scales", np.ones(len(symbols))).tolist(), strict=True))
    calendar = {session: number for number, session in enumerate(sorted(frame["session"].unique()))}
    adjusted: dict = {symbol: {} for symbol in symbols}
    for bar in frame.to_dict("records"):
        factor, scale = bar["factor"], scales[bar["symbol"]]
        prices = (bar["open"] * factor / scale, bar["close"] * factor / scale, bar["volume"])
        adjusted[bar["symbol"]][calendar[bar["session"]]] = prices
    opinions: dict = {}
    for row in signals.to_dict("records"):
        opinions.setdefault(calendar[row["session"]], {})[row["symbol"]] = row["signal"]
    return Reference(symbols, len(calendar), adjusted, opinions, chosen)


def orders_of(ledger: Ledger) -> list[tuple]:
    """Return the orders as the reference tells them, sessions as numbers."""
    number = _numbers(ledger)
    columns = ("symbol", "wanted", "quantity", "filled", "status", "reason")
    values = zip(*(ledger.orders[name].tolist() for name in columns), strict=True)
    sessions = zip(ledger.orders["signal_session"].map(number), ledger.orders["session"].map(number), strict=True)
    return [(*when, *what) for when, what in zip(sessions, values, strict=True)]


def fills_of(ledger: Ledger) -> list[tuple]:
    """Return the fills as the reference tells them, sessions as numbers."""
    columns = ("symbol", "quantity", "price", "commission", "slippage")
    sessions = ledger.fills["session"].map(_numbers(ledger)).tolist()
    return list(zip(sessions, *(ledger.fills[name].tolist() for name in columns), strict=True))


def equity_of(ledger: Ledger) -> list[tuple]:
    """Return the equity as the reference tells it."""
    columns = ("cash", "positions_value", "equity", "positions")
    return list(zip(*(ledger.equity[name].tolist() for name in columns), strict=True))


def _numbers(ledger: Ledger) -> dict:
    return {session: number for number, session in enumerate(ledger.equity["session"])}
