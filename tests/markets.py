"""Small markets for tests of the trading stage: bars as frames, cut into periods, and options with defaults."""

import itertools
from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
import pandas as pd

from pipeline.bars.periods import PeriodBars
from pipeline.modes import Fill
from pipeline.options import TradingOptions
from pipeline.schema import ACTIONS, SIGNALS, STORED
from pipeline.trading.actions import actions_of
from pipeline.trading.loop import Ledger, trade_periods
from reference_loop import Bar, Reference

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
    "rebalance": None,
    "delist_after": None,
    "recovery": 1.0,
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

    A number is a bar whose open and close are the same, a pair is (open, close), a third number is the volume, five
    are (open, high, low, close, volume), None is a session without a bar.
    """
    rows = []
    for symbol, values in symbols.items():
        for number, value in enumerate(values):
            if value is not None:
                rows.append((symbol, day(number), *_ohlcv(value), 1.0))
    return pd.DataFrame(rows, columns=["symbol", "session", *STORED])


def _ohlcv(value: float | Sequence) -> Sequence:
    if np.ndim(value) == 1 and len(value) == 5:
        return value
    open_, close, volume = (*np.broadcast_to(value, 2), 1000)[:3] if np.ndim(value) == 0 else (*value, 1000)[:3]
    return open_, max(open_, close), min(open_, close), close, volume


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
    has_times = "time" in frame
    frame = frame.sort_values(["symbol", "time" if has_times else "session"])
    place = pd.Index(symbols).get_indexer(frame["symbol"])
    calendar, session = np.unique(frame["session"].to_numpy("datetime64[D]"), return_inverse=True)
    times, time = np.unique(times_of(frame), return_inverse=True)
    day = np.zeros(len(times), np.int64)
    day[time] = session
    edges = sorted({0, len(calendar), *(cut for cut in cuts if cut < len(calendar))})
    columns = {name: frame[name].to_numpy(np.float64) for name in STORED}
    made = []
    for first, last in itertools.pairwise(edges):
        part, low, high = (session >= first) & (session < last), *np.searchsorted(day, [first, last])
        made.append(
            PeriodBars(
                sessions=calendar[first:last],
                times=times[low:high],
                day=day[low:high] - first,
                starts=np.concatenate([[0], np.cumsum(np.bincount(place[part], minlength=len(symbols)))]),
                time=(time[part] - low).astype(np.int32),
                columns={name: columns[name][part] for name in columns},
                bars=np.bincount(session[part] - first, minlength=last - first),
                has_times=has_times,
            )
        )
    return made


def times_of(table: pd.DataFrame) -> np.ndarray:
    """Return when each row of bars or signals is: its time if it has one, else its session."""
    return table["time" if "time" in table else "session"].to_numpy("datetime64[ms]")


def in_minutes(table: pd.DataFrame, count: int) -> pd.DataFrame:
    """Return bars or signals with every `count` consecutive sessions made the minutes of one, far from midnight."""
    number = (table["session"].to_numpy("datetime64[D]") - START.astype("datetime64[D]")).astype(int)
    session = START + (number // count) * np.timedelta64(1, "D")
    time = session + np.timedelta64(14, "h") + (number % count) * np.timedelta64(1, "m")
    return table.assign(session=session, time=pd.DatetimeIndex(time, tz="UTC"))


def actions(*rows: tuple) -> pd.DataFrame:
    """Return corporate actions from (symbol, session number, dividend, split, session number it is paid or None)."""
    table = [
        (symbol, day(ex), np.datetime64("NaT") if paid is None else day(paid), dividend, split)
        for symbol, ex, dividend, split, paid in rows
    ]
    frame = pd.DataFrame(table, columns=ACTIONS.names)
    return frame.astype({"symbol": str, "ex_date": "datetime64[ms]", "pay_date": "datetime64[ms]"})


def run(
    frame: pd.DataFrame, signals: pd.DataFrame, chosen: TradingOptions, *, cuts: Sequence[int] = (), **more
) -> Ledger:
    """Trade `frame` on `signals`; ``symbols=`` and ``scales=`` if they are not the frame's own and 1.

    With ``actions=``, as `actions` returns them, the account trades at raw prices; ``listed_until=`` are last sessions.
    """
    symbols = more.get("symbols") or sorted(frame["symbol"].unique())
    scales = more.get("scales", np.ones(len(symbols)))
    happenings = more.get("actions")
    return trade_periods(
        periods(frame, symbols, cuts),
        symbols,
        scales,
        signals,
        chosen,
        actions=None if happenings is None else actions_of(happenings, symbols),
        listed_until=more.get("listed_until"),
    )


def reference(frame: pd.DataFrame, signals: pd.DataFrame, chosen: TradingOptions, **more) -> Reference:
    """Return the reference loop over the same bars and signals, not yet run."""
    symbols = more.get("symbols") or sorted(frame["symbol"].unique())
    scales = dict(zip(symbols, more.get("scales", np.ones(len(symbols))).tolist(), strict=True))
    calendar = numbers_of(frame)
    when = "time" if "time" in frame else "session"
    days = [day for _, day in sorted({(row[when], row["session"]) for row in frame.to_dict("records")})]
    raw, happenings = more.get("actions") is not None, more.get("actions")
    traded: dict = {symbol: {} for symbol in symbols}
    for symbol, part in frame.sort_values(when).groupby("symbol"):
        records = part.to_dict("records")
        ranges = _true_ranges(records, scales[symbol])
        for bar, true_range in zip(records, ranges, strict=True):
            traded[symbol][calendar[bar[when]]] = _bar(bar, true_range, scales[symbol], chosen.fill, raw=raw)
    opinions: dict = {}
    for row in signals.to_dict("records"):
        opinions.setdefault(calendar[row[when]], {})[row["symbol"]] = row["signal"]
    acts: dict = {}
    for row in [] if happenings is None else happenings.to_dict("records"):
        ex, paid = (bisect_left(days, row[name]) for name in ("ex_date", "pay_date"))
        later = None if pd.isna(row["pay_date"]) or paid <= ex else paid
        acts.setdefault(ex, []).append((row["symbol"], row["split"], row["dividend"], later))
    return Reference(symbols, [pd.Timestamp(session) for session in days], traded, opinions, chosen, acts)


def _bar(bar: dict, true_range: float | None, scale: float, fill: Fill, *, raw: bool) -> Bar:
    def seen(price: float) -> float:
        return price if raw else price * bar["factor"] / scale

    mean = (bar["open"] + bar["high"] + bar["low"] + bar["close"]) / 4
    return Bar(
        **{name: seen(bar[name]) for name in ("open", "high", "low", "close")},
        price=seen({Fill.NEXT_OPEN: bar["open"], Fill.NEXT_OHLC4: mean}.get(fill, bar["close"])),
        volume=bar["volume"] if raw else bar["volume"] * scale / bar["factor"],
        true_range=true_range and (true_range * (scale / bar["factor"]) if raw else true_range),
    )


def _true_ranges(records: list[dict], scale: float) -> list[float | None]:
    """Return Wilder's average of 14 true ranges at every bar, adjusted; None where it is not known."""
    known: list[float | None] = []
    average = 0.0
    for number, bar in enumerate(records):
        high, low, _ = (bar[name] * (bar["factor"] / scale) for name in ("high", "low", "close"))
        if number:
            before = records[number - 1]["close"] * (records[number - 1]["factor"] / scale)
            true_range = max(high, before) - min(low, before)
            average += (true_range - (average if number > 14 else 0.0)) / 14
        known.append(average if number >= 14 else None)
    return known


def numbers_of(frame: pd.DataFrame) -> dict:
    """Return the number of each session, or time, of bars."""
    return {
        when: number for number, when in enumerate(sorted(frame["time" if "time" in frame else "session"].unique()))
    }


def orders_of(ledger: Ledger, numbers: dict | None = None) -> list[tuple]:
    """Return the orders as the reference tells them, sessions as numbers; or times, which `numbers` tells."""
    number, when = numbers or _numbers(ledger), "time" if "time" in ledger.orders else "session"
    columns = ("symbol", "wanted", "quantity", "filled", "status", "reason")
    values = zip(*(ledger.orders[name].tolist() for name in columns), strict=True)
    sessions = zip(ledger.orders[f"signal_{when}"].map(number), ledger.orders[when].map(number), strict=True)
    return [(*when, *what) for when, what in zip(sessions, values, strict=True)]


def fills_of(ledger: Ledger, numbers: dict | None = None) -> list[tuple]:
    """Return the fills as the reference tells them, sessions or times as numbers."""
    columns = ("symbol", "quantity", "price", "commission", "slippage")
    sessions = ledger.fills["time" if numbers else "session"].map(numbers or _numbers(ledger)).tolist()
    return list(zip(sessions, *(ledger.fills[name].tolist() for name in columns), strict=True))


def reasons_of(ledger: Ledger) -> list[str]:
    """Return why each fill happened."""
    return ledger.fills["reason"].tolist()


def payments_of(ledger: Ledger, numbers: dict | None = None) -> list[tuple]:
    """Return the payments as the reference tells them, sessions or times as numbers."""
    columns = ("symbol", "shares", "ratio", "cash", "reason")
    sessions = ledger.payments["time" if numbers else "session"].map(numbers or _numbers(ledger)).tolist()
    return list(zip(sessions, *(ledger.payments[name].tolist() for name in columns), strict=True))


def equity_of(ledger: Ledger) -> list[tuple]:
    """Return the equity as the reference tells it."""
    columns = ("cash", "positions_value", "equity", "positions")
    return list(zip(*(ledger.equity[name].tolist() for name in columns), strict=True))


def _numbers(ledger: Ledger) -> dict:
    return {session: number for number, session in enumerate(ledger.equity["session"])}
