"""What a run of the trading loop leaves: its records as the tables of `pipeline.schema`."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd

from pipeline.trading.state import REASONS, STATUSES, Records


@dataclass(frozen=True)
class Ledger:
    """What the account did and what became of it.

    ``symbol``, ``status`` and ``reason`` are categoricals, of all symbols traded and all members of
    `pipeline.schema.Status` and `Reason`; sessions are datetime64[ms].
    """

    equity: pd.DataFrame  # (sessions, EQUITY_COLUMNS)
    orders: pd.DataFrame  # (orders, ORDER_COLUMNS), as they ended
    fills: pd.DataFrame  # (fills, FILL_COLUMNS), as they happened
    payments: pd.DataFrame  # (payments, PAYMENT_COLUMNS): splits and dividends at raw prices, as they happened
    benchmark: np.ndarray  # float64 (sessions,), money, begins as the same cash
    bars: np.ndarray  # int64 (sessions,), bars walked in each session, of all symbols
    clipped: int  # negative signals taken as 0


@dataclass(frozen=True)
class Clock:
    """The times of a run; records hold places among them."""

    sessions: np.ndarray  # datetime64[ms] (sessions,)
    day: np.ndarray  # int (times,), session of each time
    times: np.ndarray  # datetime64[ms] (times,), UTC
    has_times: bool  # whether bars are of minutes: with daily ones a time is its session

    def columns(self, places: Records, prefix: str = "") -> dict[str, pd.Series]:
        """Return the session of each place, and with minute bars its time."""
        columns = {f"{prefix}session": pd.Series(self.sessions[self.day[places]])}
        if self.has_times:
            columns[f"{prefix}time"] = pd.Series(self.times[places]).dt.tz_localize("UTC")
        return columns


def equity_frame(closes: Records, clock: Clock) -> pd.DataFrame:
    """Return the equity at the last close of each session, `pipeline.schema.EQUITY_COLUMNS`."""
    columns = {
        "session": clock.sessions,
        "cash": closes.cash,
        "receivable": closes.receivable,
        "positions_value": closes.positions_value,
        "equity": closes.equity,
        "gross_exposure": closes.gross / closes.equity,
        "net_exposure": closes.positions_value / closes.equity,
        "positions": closes.positions,
    }
    return pd.DataFrame(columns)


def orders_frame(orders: Records, clock: Clock, symbols: Sequence[str]) -> pd.DataFrame:
    """Return the orders, `ORDER_COLUMNS`, with names for the places among times, `symbols`, statuses and reasons."""
    columns = {
        **clock.columns(orders.signal_time, "signal_"),
        **clock.columns(orders.time),
        "symbol": _named(orders.symbol, symbols),
        "wanted": orders.wanted,
        "quantity": orders.quantity,
        "filled": orders.filled,
        "status": _named(orders.status, STATUSES),
        "reason": _named(orders.reason, REASONS),
    }
    return pd.DataFrame(columns)


def fills_frame(fills: Records, clock: Clock, symbols: Sequence[str]) -> pd.DataFrame:
    """Return the fills, `FILL_COLUMNS`, with names for the places among times, `symbols` and reasons."""
    columns = {
        **clock.columns(fills.time),
        "symbol": _named(fills.symbol, symbols),
        "quantity": fills.quantity,
        "price": fills.price,
        "commission": fills.commission,
        "tax": np.zeros(len(fills)),
        "slippage": fills.slippage,
        "reason": _named(fills.reason, REASONS),
    }
    return pd.DataFrame(columns)


def payments_frame(payments: Records, clock: Clock, symbols: Sequence[str]) -> pd.DataFrame:
    """Return the payments, `PAYMENT_COLUMNS`, with names for the places among times, `symbols` and reasons."""
    columns = {
        **clock.columns(payments.time),
        "symbol": _named(payments.symbol, symbols),
        "shares": payments.shares,
        "ratio": payments.ratio,
        "cash": payments.cash,
        "reason": _named(payments.reason, REASONS),
    }
    return pd.DataFrame(columns)


def _named(codes: Records, names: Sequence[str]) -> "pd.Categorical[str]":
    return pd.Categorical.from_codes(np.asarray(codes, np.int32), _categories(tuple(names)))


@lru_cache(maxsize=4)
def _categories(names: tuple[str, ...]) -> "pd.Index[str]":
    """Return the same names as the categories of a column; each of the tables has two of them."""
    return pd.Index([str(name) for name in names])
