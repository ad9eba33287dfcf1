"""What a run of the trading loop leaves: its records as the tables of `pipeline.schema`."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.schema import EQUITY_COLUMNS, FILL_COLUMNS, ORDER_COLUMNS
from pipeline.trading.state import REASONS, STATUSES, Records

PAYMENT_COLUMNS = (
    "session",
    "symbol",
    "shares",  # the change of the position
    "ratio",  # shares after / before, as the split says
    "cash",  # for a fraction of a share, or a dividend; negative is paid by a short position
    "reason",  # split | dividend
)


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
    bars: int  # bars walked
    clipped: int  # negative signals taken as 0


def equity_frame(closes: Records, days: np.ndarray) -> pd.DataFrame:
    """Return the equity of all `closes`, whose sessions are `days` (datetime64[D])."""
    columns = {
        "session": days.astype("datetime64[ms]"),
        "cash": closes.cash,
        "receivable": closes.receivable,
        "positions_value": closes.positions_value,
        "equity": closes.equity,
        "gross_exposure": closes.gross / closes.equity,
        "net_exposure": closes.positions_value / closes.equity,
        "positions": closes.positions,
    }
    return pd.DataFrame(columns, columns=list(EQUITY_COLUMNS))


def orders_frame(orders: Records, days: np.ndarray, symbols: Sequence[str]) -> pd.DataFrame:
    """Return the orders with names for the places among `days`, `symbols`, statuses and reasons."""
    columns = {
        "signal_session": days[orders.signal_session].astype("datetime64[ms]"),
        "session": days[orders.session].astype("datetime64[ms]"),
        "symbol": _named(orders.symbol, symbols),
        "wanted": orders.wanted,
        "quantity": orders.quantity,
        "filled": orders.filled,
        "status": _named(orders.status, STATUSES),
        "reason": _named(orders.reason, REASONS),
    }
    return pd.DataFrame(columns, columns=list(ORDER_COLUMNS))


def fills_frame(fills: Records, days: np.ndarray, symbols: Sequence[str]) -> pd.DataFrame:
    """Return the fills with names for the places among `days`, `symbols` and reasons."""
    columns = {
        "session": days[fills.session].astype("datetime64[ms]"),
        "symbol": _named(fills.symbol, symbols),
        "quantity": fills.quantity,
        "price": fills.price,
        "commission": fills.commission,
        "tax": np.zeros(len(fills)),
        "slippage": fills.slippage,
        "reason": _named(fills.reason, REASONS),
    }
    return pd.DataFrame(columns, columns=list(FILL_COLUMNS))


def payments_frame(payments: Records, days: np.ndarray, symbols: Sequence[str]) -> pd.DataFrame:
    """Return the payments with names for the places among `days`, `symbols` and reasons."""
    columns = {
        "session": days[payments.session].astype("datetime64[ms]"),
        "symbol": _named(payments.symbol, symbols),
        "shares": payments.shares,
        "ratio": payments.ratio,
        "cash": payments.cash,
        "reason": _named(payments.reason, REASONS),
    }
    return pd.DataFrame(columns, columns=list(PAYMENT_COLUMNS))


def _named(codes: Records, names: Sequence[str]) -> "pd.Categorical[str]":
    return pd.Categorical.from_codes(np.asarray(codes, np.int32), pd.Index([str(name) for name in names]))
