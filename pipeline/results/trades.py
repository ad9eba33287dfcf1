"""Fills -> trades: each reduction of a position closes a trade against the average entry."""

from dataclasses import dataclass
from math import copysign
from typing import Any

import numpy as np
import pandas as pd

from pipeline.schema import TRADE_COLUMNS

STILL_OPEN = np.iinfo(np.int64).max  # sorts behind every session
Row = tuple[int, int, int, float, float, float, float, Any]


@dataclass(slots=True)
class Position:
    """What is held of one symbol, long or short."""

    entry: int  # session of its first fill, as an index
    quantity: float  # signed shares
    price: float  # average entry, currency per share
    costs: float  # commission and tax paid for these shares, currency

    def add(self, quantity: float, price: float, costs: float) -> None:
        """Take in more shares of the same sign."""
        total = self.quantity + quantity
        self.price = (self.quantity * self.price + quantity * price) / total
        self.quantity = total
        self.costs += costs

    def remove(self, quantity: float) -> float:
        """Give up `quantity` of the signed shares; return their part of the costs."""
        costs = self.costs * (quantity / self.quantity)
        self.quantity -= quantity
        self.costs -= costs
        return costs


def trades_of(fills: pd.DataFrame, sessions: np.ndarray) -> pd.DataFrame:
    """Pair the fills to trades.

    A fill against the position closes a trade, at the average entry price and with the session on which the position
    began; the costs of both sides are shared out by quantity. A fill through zero closes one trade and opens another.

    Parameters
    ----------
    fills : DataFrame, (fills, FILL_COLUMNS)
        In the order they happened.
    sessions : array of datetime64, (sessions,)
        Every session of the run, ascending.

    Returns
    -------
    DataFrame, (trades, TRADE_COLUMNS)
        Sorted by (exit session, symbol). Positions still held come last, one row each, with no exit, no profit and
        their sessions counted to the last one.
    """
    codes, symbols = pd.factorize(fills["symbol"].astype(object), sort=True)
    calendar = sessions.astype("datetime64[ms]")
    rows = _pair(
        np.searchsorted(calendar, fills["session"].to_numpy("datetime64[ms]")).tolist(),
        codes.tolist(),
        fills["quantity"].tolist(),
        fills["price"].tolist(),
        (fills["commission"] + fills["tax"]).tolist(),
        fills["reason"].tolist(),
    )
    return _table(sorted(rows, key=lambda row: (row[2], row[0])), symbols, calendar)


def _pair(*columns: list) -> list[Row]:
    """Walk the fills; return (symbol, entry, exit, quantity, entry price, exit price, costs, reason) by trade."""
    rows: list[Row] = []
    held: dict[int, Position] = {}
    for session, symbol, quantity, price, costs, reason in zip(*columns, strict=True):
        position = held.get(symbol)
        if position is None:
            held[symbol] = Position(session, quantity, price, costs)
        elif (position.quantity > 0) == (quantity > 0):
            position.add(quantity, price, costs)
        else:
            closed = copysign(min(abs(quantity), abs(position.quantity)), position.quantity)
            rest = quantity + closed
            opening = costs * (rest / quantity)
            entry_costs = position.remove(closed)
            exit_costs = costs - opening
            rows.append(
                (symbol, position.entry, session, closed, position.price, price, entry_costs + exit_costs, reason)
            )
            if rest:
                held[symbol] = Position(session, rest, price, opening)
            elif not position.quantity:
                del held[symbol]
    rows.extend((symbol, p.entry, STILL_OPEN, p.quantity, p.price, np.nan, np.nan, None) for symbol, p in held.items())
    return rows


def _table(rows: list[Row], symbols: pd.Index, sessions: np.ndarray) -> pd.DataFrame:
    codes, entry, end, quantity, entry_price, exit_price, costs, reason = zip(*rows, strict=True) if rows else [()] * 8
    entries, ends = np.array(entry, np.int64), np.array(end, np.int64)
    last = np.minimum(ends, len(sessions) - 1)
    shares, bought, sold = np.array(quantity, float), np.array(entry_price, float), np.array(exit_price, float)
    pnl = shares * (sold - bought) - np.array(costs, float)
    columns = (
        symbols.take(np.array(codes, np.int64)).astype(str),
        sessions[entries],
        np.where(ends == STILL_OPEN, np.datetime64("NaT", "ms"), sessions[last]),
        shares,
        bought,
        sold,
        pnl,
        pnl / (np.abs(shares) * bought),
        last - entries,
        pd.array(reason, dtype="str"),
    )
    return pd.DataFrame(dict(zip(TRADE_COLUMNS, columns, strict=True)))
