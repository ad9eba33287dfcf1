"""Why two sides filled different orders: each difference is followed back to the rule that makes it.

After one difference the accounts hold other positions, so a later order of the same symbol may differ for that reason
alone; it is counted as a consequence.
"""

import pandas as pd

NEXT = 1


def explained(fills: pd.DataFrame, orders: pd.DataFrame, bars: pd.DataFrame) -> dict[str, int]:
    """Return how many orders agree, and how many differ by which rule."""
    ours = fills.assign(symbol=fills["symbol"].astype(str), sign=fills["quantity"].gt(0))
    theirs = orders.assign(symbol=orders["symbol"].astype(str), sign=orders["side"].eq("Buy"))
    both = ours.merge(theirs, on=["symbol", "session", "sign"], how="outer", suffixes=("", "_peer"), indicator=True)
    counts = {"ours": len(ours), "vectorbt": len(theirs)}
    shared = both[both["_merge"] == "both"]
    same = (shared["quantity"].abs() - shared["quantity_peer"]).abs() < 1e-9  # noqa: PLR2004
    counts["same"] = int(same.sum())
    rest = pd.concat([shared[~same], both[both["_merge"] != "both"]]).sort_values(["session", "symbol"])
    calendar = pd.Index(sorted(bars["session"].unique()))
    gaps = gaps_of(bars, calendar)
    volume = bars.set_index(["symbol", "session"])["volume"]
    seen: set[str] = set()
    for row in rest.itertuples():
        reason = rule(row, seen, gaps, volume, calendar)
        seen.add(row.symbol)
        counts[reason] = counts.get(reason, 0) + 1
    return counts


def gaps_of(bars: pd.DataFrame, calendar: pd.Index) -> dict[str, set[int]]:
    """Return each symbol's sessions without a bar between its first and last, as places in the calendar."""
    missing = {}
    for symbol, sessions in bars.groupby("symbol")["session"]:
        there = calendar.get_indexer(sessions)
        missing[symbol] = set(range(there.min(), there.max() + 1)) - set(there.tolist())
    return missing


def rule(row, seen: set[str], gaps: dict[str, set[int]], volume: pd.Series, calendar: pd.Index) -> str:
    place = int(calendar.get_loc(row.session))
    if any(place - gap <= 31 and gap <= place for gap in gaps[row.symbol]):  # noqa: PLR2004 - the slow window
        return "a gap in the bars (they roll over the calendar, we over bars)"
    if any(volume.get((row.symbol, calendar[at]), 1.0) == 0 for at in range(max(place - 1, 0), place + 1)):
        return "a bar without volume (they fill on it, we do not)"
    if row.symbol in seen:
        return "a consequence of an earlier one"
    return "unexplained"
