"""Why two sides filled different orders: each difference is followed back to the rule that makes it.

After one difference the accounts hold other positions, so a later order of the same symbol may differ for that reason
alone; it is counted as a consequence.
"""

import math

import numpy as np
import pandas as pd

FAST, SLOW = 10, 30
SAME = 1e-9  # shares
TIE = 1e-12  # relative difference of two averages that only rounding decides

GAP = "a gap in the bars (they average over the calendar, we over the symbol's bars)"
NO_VOLUME = "a bar without volume (they fill on it, we wait)"
TIED = "a tie of the averages (decided by the last bit of a running sum)"
ENDED = "the end of a listing (we are paid, they hold on)"
CONSEQUENCE = "a consequence of an earlier difference"
UNEXPLAINED = "unexplained"


def explained(fills: pd.DataFrame, orders: pd.DataFrame, bars: pd.DataFrame) -> dict[str, int]:
    """Return how many orders agree, and how many differ by which rule.

    Parameters
    ----------
    fills : DataFrame
        Ours, as in fills.parquet.
    orders : DataFrame
        vectorbt's: symbol, session, side, quantity, price.
    bars : DataFrame
        What both traded: symbol, session, open, close, volume.
    """
    ours = fills.assign(symbol=fills["symbol"].astype(str), buys=fills["quantity"].gt(0))
    theirs = orders.assign(symbol=orders["symbol"].astype(str), buys=orders["side"].eq("Buy"))
    both = ours.merge(theirs, on=["symbol", "session", "buys"], how="outer", suffixes=("", "_peer"), indicator=True)
    agree = (both["_merge"] == "both") & ((both["quantity"].abs() - both["quantity_peer"]).abs() < SAME)
    counts = {"ours": len(ours), "vectorbt": len(theirs), "the same": int(agree.sum())}
    histories = {symbol: History(rows, bars["session"]) for symbol, rows in bars.groupby("symbol")}
    seen: set[str] = set()
    for row in both[~agree].sort_values(["session", "symbol"]).itertuples():
        rule = ENDED if row.reason == "delisted" else histories[row.symbol].rule(row.session)
        if rule == UNEXPLAINED and row.symbol in seen:
            rule = CONSEQUENCE
        seen.add(row.symbol)
        counts[rule] = counts.get(rule, 0) + 1
    return counts


class History:
    """One symbol's bars on everybody's calendar."""

    def __init__(self, rows: pd.DataFrame, sessions: pd.Series) -> None:
        self.close = rows["close"].to_numpy()
        self.volume = rows["volume"].to_numpy()
        self.sessions = rows["session"].to_numpy()
        calendar = np.unique(sessions.to_numpy())
        self.place = np.searchsorted(calendar, self.sessions)

    def rule(self, session: pd.Timestamp) -> str:
        """Name what the two sides do differently around a session."""
        bar = int(np.searchsorted(self.sessions, session.to_datetime64()))
        before = self.place[max(bar - SLOW - 1, 0) : bar + 1]
        if len(before) and before[-1] - before[0] != len(before) - 1:
            return GAP
        if (self.volume[max(bar - 1, 0) : bar + 1] == 0).any():
            return NO_VOLUME
        if any(self.is_tied(last) for last in (bar - 1, bar - 2)):
            return TIED
        return UNEXPLAINED

    def is_tied(self, last: int) -> bool:
        """Tell whether the averages at a bar differ by rounding only."""
        if last + 1 < SLOW:
            return False
        fast, slow = (math.fsum(self.close[last + 1 - window : last + 1]) / window for window in (FAST, SLOW))
        return abs(fast - slow) <= TIE * slow
