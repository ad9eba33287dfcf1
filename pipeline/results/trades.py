"""Fills -> trades: each reduction of a position closes a trade against the average entry."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from pipeline.schema import TRADE_COLUMNS

STILL_OPEN = np.iinfo(np.int64).max  # sorts behind every session


@dataclass(frozen=True)
class Legs:
    """The fills by symbol, one through zero as two: what closes and what opens. All arrays are (legs,)."""

    fill: np.ndarray  # int: which fill
    quantity: np.ndarray  # signed shares
    before: np.ndarray  # signed shares held before
    after: np.ndarray  # signed shares held after
    adds: np.ndarray  # bool: more is held after than before, else less
    opening: np.ndarray  # int: the leg with which the position began


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
        With minute bars also ``entry_time`` and ``exit_time``. Sorted by (exit session, symbol). Positions still held
        come last, one row each, with no exit, no profit and their sessions counted to the last one.
    """
    symbol, reason = (_sorted_categories(fills[name]) for name in ("symbol", "reason"))
    order = np.argsort(symbol.codes, kind="stable")
    quantity, price, commission, tax = (
        fills[name].to_numpy(np.float64)[order] for name in ("quantity", "price", "commission", "tax")
    )
    legs = _legs(symbol.codes[order], quantity)
    paid = np.column_stack([price, (commission + tax) / np.abs(quantity)])[legs.fill]
    average = _averages(legs, paid)
    calendar = sessions.astype("datetime64[ms]")
    fill = order[legs.fill]
    session, codes = np.searchsorted(calendar, fills["session"].to_numpy("datetime64[ms]"))[fill], symbol.codes[fill]
    rows, end = _ends(legs, codes, session)
    is_open = end == STILL_OPEN
    entry, last = session[legs.opening[rows]], np.minimum(end, len(sessions) - 1)
    shares = np.where(is_open, legs.after[rows], -legs.quantity[rows])
    bought, sold = average[rows, 0], np.where(is_open, np.nan, paid[rows, 0])
    pnl = shares * (sold - bought) - np.abs(shares) * (average[rows, 1] + paid[rows, 1])
    columns = (
        pd.Categorical.from_codes(codes[rows], symbol.categories),
        calendar[entry],
        np.where(is_open, np.datetime64("NaT", "ms"), calendar[last]),
        shares,
        bought,
        sold,
        pnl,
        pnl / (np.abs(shares) * bought),
        last - entry,
        pd.Categorical.from_codes(np.where(is_open, -1, reason.codes[fill[rows]]), reason.categories),
    )
    trades = pd.DataFrame(dict(zip(TRADE_COLUMNS, columns, strict=True)))
    if "time" in fills:
        times = fills["time"].array
        trades.insert(2, "entry_time", times[fill[legs.opening[rows]]])
        trades.insert(4, "exit_time", pd.Series(times[fill[rows]]).mask(is_open))
    return trades


def _legs(codes: np.ndarray, quantity: np.ndarray) -> Legs:
    """Return the legs of fills that are grouped by the codes of their symbols, in the order they happened."""
    firsts = np.flatnonzero(np.diff(codes, prepend=-1))
    after = np.empty(len(codes))
    for first, stop in pairwise([*firsts.tolist(), len(codes)]):
        np.cumsum(quantity[first:stop], out=after[first:stop])  # one by one, as the account did: flat is exactly 0
    before = np.roll(after, 1)
    before[firsts] = 0.0
    flips = before * after < 0
    fill = np.repeat(np.arange(len(codes)), 1 + flips)
    closes = np.diff(fill, append=-1) == 0
    opens = np.diff(fill, prepend=-1) == 0
    before, after = np.where(opens, 0.0, before[fill]), np.where(closes, 0.0, after[fill])
    quantity = np.where(closes | opens, after - before, quantity[fill])
    return Legs(fill, quantity, before, after, np.abs(after) > np.abs(before), _latest(before == 0))


def _ends(legs: Legs, codes: np.ndarray, session: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the legs that end a trade or leave one open, by (session of the end, symbol), and those sessions."""
    closing = np.flatnonzero(~legs.adds)
    held = np.flatnonzero((legs.after != 0) & (np.diff(codes, append=-1) != 0))
    rows, end = np.append(closing, held), np.append(session[closing], np.full(len(held), STILL_OPEN))
    order = np.lexsort([codes[rows], end])
    return rows[order], end[order]


def _averages(legs: Legs, paid: np.ndarray) -> np.ndarray:
    """Return the mean of what was `paid` for the shares held, (legs, n), after each leg; reductions leave it alone."""
    average = paid.copy()
    latest_add, adds = _latest(legs.adds), np.cumsum(legs.adds)
    nth = adds - adds[legs.opening]  # of the adds to one position, the first being the 0th
    later = np.flatnonzero(legs.adds & (nth > 0))
    later = later[np.argsort(nth[later], kind="stable")]
    for rows in np.split(later, np.flatnonzero(np.diff(nth[later])) + 1):  # all positions at once, add after add
        held = legs.before[rows, None] * average[latest_add[rows - 1]]
        average[rows] = (held + legs.quantity[rows, None] * paid[rows]) / legs.after[rows, None]
    return average[latest_add]


def _latest(marked: np.ndarray) -> np.ndarray:
    """Return for each place the last marked one up to it; the first is marked."""
    return np.maximum.accumulate(np.where(marked, np.arange(len(marked)), 0))


def _sorted_categories(column: pd.Series) -> "pd.Categorical[str]":
    values = pd.Categorical(column)
    return values.set_categories(sorted(values.categories))
