"""Fills -> trades where splits changed positions in between: in shares of the beginning, and back.

Before its first split a share is a share; after a split of 2 : 1 it is half a share of the beginning, at twice the
price. In such shares a position never changes but by fills, so `pipeline.results.trades` can pair them.
"""

import numpy as np
import pandas as pd

from pipeline.results.trades import trades_of
from pipeline.schema import Reason

DUST = 1e-9  # of the shares; not a fraction that was paid in cash


def trades_through_splits(fills: pd.DataFrame, payments: pd.DataFrame, sessions: np.ndarray) -> pd.DataFrame:
    """Pair the fills to trades as `trades_of`, whose shares and prices are those of the exit, or of the end.

    Parameters
    ----------
    fills : DataFrame, (fills, FILL_COLUMNS)
        In the order they happened.
    payments : DataFrame, (payments, 6)
        ``session symbol shares ratio cash reason`` in the order they happened, before the fills of their session. A
        fraction of a share that a split paid in cash closes a trade; dividends are no trades.
    sessions : array of datetime64, (sessions,)
        Every session of the run, ascending.
    """
    splits = payments[payments["reason"] == Reason.SPLIT.value]
    if splits.empty:
        return trades_of(fills, sessions)
    trades = trades_of(pd.concat(_in_first_shares(fills, splits), ignore_index=True), sessions)
    ends = trades["exit_session"].fillna(pd.Timestamp(sessions[-1]))
    ratio = np.ones(len(trades))
    for symbol, session, by in zip(splits["symbol"], splits["session"], splits["ratio"].tolist(), strict=True):
        ratio[(trades["symbol"] == symbol) & (ends >= session)] *= by
    prices = {name: trades[name] / ratio for name in ("entry_price", "exit_price")}
    return trades.assign(quantity=trades["quantity"] * ratio, **prices)


def _in_first_shares(fills: pd.DataFrame, splits: pd.DataFrame) -> list[pd.DataFrame]:
    """Return the fills of every symbol in shares of its beginning, and what splits paid in cash among them."""
    plain = {"commission": 0.0, "tax": 0.0, "slippage": 0.0, "reason": Reason.SPLIT.value}
    parts = [fills[~fills["symbol"].isin(splits["symbol"])]]
    for symbol in splits["symbol"].unique():
        own, divided = (table[table["symbol"] == symbol] for table in (fills, splits))
        rows: list[dict[str, object]] = []
        ratio, held, counted = 1.0, 0.0, 0.0  # shares of today for one of the beginning; the position in either
        for row in pd.concat([divided, own]).sort_values("session", kind="stable").to_dict("records"):
            filled = {name: row[name] for name in fills.columns}
            if row["reason"] == Reason.SPLIT.value:
                ratio *= row["ratio"]
                fraction = held + row["shares"] - held * row["ratio"]
                held *= row["ratio"]
                if abs(fraction) <= DUST * abs(held):
                    held += fraction
                    continue
                filled |= {**plain, "quantity": fraction, "price": -row["cash"] / fraction}
            left = held + filled["quantity"]
            held = 0.0 if abs(left) <= DUST * abs(held) else left
            change = filled["quantity"] / ratio if held else -counted  # exactly flat in both
            counted += change
            rows.append({**filled, "quantity": change, "price": filled["price"] * ratio})
        parts.append(pd.DataFrame(rows, columns=fills.columns))
    return parts
