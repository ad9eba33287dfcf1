"""What a vendor changed in bars that are stored: found by comparing, named symbol by symbol, never taken silently.

Judged are prices as the files have them, volume, further columns, dividends and splits. Prices that a vendor adjusts
move as a whole at every later ex-date: bars that are all multiplied by one ratio, as far as rounding lets one see, are
*rescaled*, which is expected of such prices and of no others. An adjusted close beside traded prices is not compared:
what counts is the factor made from it, which stays as it was stored for as long as rounding explains the difference.
"""

from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

import numpy as np
import pyarrow as pa

from pipeline.bars.assembly import Assembled
from pipeline.bars.ends import DISAGREES, FLOAT32, HALF_UNITS, Basis, decimals_of, runs_of
from pipeline.bars.manifest import Symbol
from pipeline.schema import PRICES, REVISIONS
from pipeline.words import counted

WHEN = "when"
LISTED = 1_000  # revisions of a symbol in one ingest that are listed one by one
RESCALED = 5  # bars in a row that one ratio must explain; fewer are corrections
RATIO = 1e-9  # relative; from here on two factors differ


class Kind(StrEnum):
    """How stored bars were changed."""

    CORRECTED = "corrected"  # a value of a bar
    ADDED = "added"  # a bar between those there were
    DROPPED = "dropped"  # a bar
    ACTION = "action"  # a dividend or split
    FACTOR = "factor"  # the vendor's adjustment
    RESCALED = "rescaled"  # prices of consecutive bars, by one ratio


@dataclass(frozen=True)
class Revised:
    """What changed in a symbol's stored bars."""

    table: pa.Table  # schema.REVISIONS without the snapshot's number
    bars: int  # how many are concerned ...
    dropped: int  # ... and of them are there no more
    sentence: str
    is_expected: bool  # it is what vendors do to adjusted prices


@dataclass(frozen=True)
class _Change:
    kind: Kind
    first: np.datetime64
    last: np.datetime64
    bars: int
    column: str
    before: float
    after: float

    def words(self) -> str:
        span = str(self.first)
        if self.bars > 1:
            span += f" to {self.last}"
        if self.column == "bar":
            return f"{span} {self.kind}"
        return f"{span}: {self.column} {_figure(self.before)} -> {_figure(self.after)}"


def compared(symbol: str, before: pa.Table, actions: pa.Table, now: Assembled, adjustment: str) -> Revised | None:
    """Return what differs between a symbol's stored bars and those of its files; None if nothing does.

    Parameters
    ----------
    symbol : str
        Which one.
    before, actions : Table
        Its stored bars and actions.
    now : Assembled
        What its files come to, `with_stored_factor`.
    adjustment : {"none", "splits", "all"}
        What the files' prices are adjusted for.
    """
    old, new = _arrays(before), _arrays(now.bars)
    changes, one, other = _moved(old, new, adjustment)
    changes += _acted(actions, now.actions, before["session"][-1].as_py())
    changes += _refactored(one, other, now)
    return _revised(symbol, changes, len(before)) if changes else None


def compared_bars(symbol: str, before: pa.Table, now: pa.Table, adjustment: str) -> Revised | None:
    """Return what differs between bars of two stores, but for factors and further columns that one of them lacks."""
    old, new = _arrays(before), _arrays(now)
    both = old.keys() & new.keys()
    changes, _, _ = _moved({name: old[name] for name in both}, new, adjustment)
    return _revised(symbol, changes, len(before)) if changes else None


def gone(symbol: Symbol) -> Revised:
    """Return that no file has the bars of a stored symbol any more."""
    first, last = (np.datetime64(day) for day in (symbol.first, symbol.last))
    dropped = _Change(Kind.DROPPED, first, last, symbol.rows, "bar", np.nan, np.nan)
    count = counted(symbol.rows, "stored bar")
    sentence = f"{symbol.symbol}: no file has its {count}, {symbol.first} to {symbol.last}, any more"
    return replace(_revised(symbol.symbol, [dropped], symbol.rows), sentence=sentence)


def _moved(
    old: dict[str, np.ndarray], new: dict[str, np.ndarray], adjustment: str
) -> tuple[list[_Change], dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return which bars were dropped, added, rescaled or corrected; and old and new ones of times that both have."""
    known, place = _matched(old[WHEN], new[WHEN])
    changes = [_whole(Kind.DROPPED, when) for when in old[WHEN][~known]]
    inside = (new[WHEN] <= old[WHEN][-1]) & ~np.isin(new[WHEN], old[WHEN])
    changes += [_whole(Kind.ADDED, when) for when in new[WHEN][inside]]
    one = {name: values[known] for name, values in old.items()}
    other = {name: values[place] for name, values in new.items()}
    rescaled, ranges = _rescaled(one, other) if adjustment != "none" else (np.zeros(len(place), bool), [])
    changes += ranges
    changes += _corrected(one, other, rescaled)
    return changes, one, other


def with_stored_factor(before: pa.Table, now: Assembled) -> Assembled:
    """Return new bars with the factors that are stored, where an adjusted close differs by no more than its rounding.

    Every dividend moves all adjusted closes before it, and with them their rounding: the past shall not tremble.
    """
    if now.end is None or now.end.basis != Basis.ADJUSTED:
        return now
    old, new = _arrays(before), _arrays(now.bars)
    known, place = _matched(old[WHEN], new[WHEN])
    if not len(place) or not known[0] or place[0] != 0:
        return now
    fresh = new["factor"]
    steps = np.concatenate([[1.0], fresh[1:] / fresh[:-1]])
    rounding = HALF_UNITS[now.end.decimals] * fresh[-1] / (new["close"] * fresh * now.end.ratio) + FLOAT32
    began = np.maximum.accumulate(np.where(steps != 1, np.arange(len(fresh)), 0))  # the bar that a factor is taken from
    allowed = DISAGREES + 2 * (rounding + rounding[began] + rounding[0])
    if np.any(np.abs(fresh[place] / old["factor"][known] - 1) > allowed[place]):
        return now
    factor = fresh.copy()
    factor[place] = old["factor"][known]
    for row in np.setdiff1d(np.arange(len(factor)), place).tolist():
        factor[row] = factor[row - 1] * steps[row]
    column = now.bars.schema.get_field_index("factor")
    bars = now.bars.set_column(column, now.bars.schema.field(column), pa.array(factor))
    return replace(now, bars=bars, end=replace(now.end, factor=float(factor[-1])))


def _arrays(bars: pa.Table) -> dict[str, np.ndarray]:
    """Return the columns but the symbol, and when each bar was: its session, or its minute in UTC."""
    arrays = {name: bars[name].to_numpy() for name in bars.column_names if name != "symbol"}
    session, time = arrays.pop("session"), arrays.pop("time", None)
    arrays[WHEN] = session.astype("datetime64[D]") if time is None else time.astype("datetime64[m]")
    return arrays


def _matched(old: np.ndarray, new: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which of the `old` times are among the `new` ones, and where."""
    known = np.isin(old, new, assume_unique=True)
    return known, np.searchsorted(new, old[known])


def _whole(kind: Kind, when: np.datetime64) -> _Change:
    return _Change(kind, when, when, 1, "bar", np.nan, np.nan)


def _rescaled(old: dict[str, np.ndarray], new: dict[str, np.ndarray]) -> tuple[np.ndarray, list[_Change]]:
    """Return which bars one ratio explains, each run of them with its own, and the runs that are not as they were."""
    explained = np.zeros(len(old[WHEN]), bool)
    changes = []
    half = {name: _rounding(old[name]) + _rounding(new[name]) + FLOAT32 for name in PRICES}
    if not len(explained):
        return explained, []
    runs = runs_of(new["close"] / old["close"], half["close"])
    for run, stop in zip(runs, [*(run.first for run in runs[1:]), len(explained)], strict=True):
        if stop - run.first < RESCALED:
            continue
        span, ratio = slice(run.first, stop), (run.low + run.high) / 2
        same = np.logical_and.reduce([old[name][span] == new[name][span] for name in PRICES])
        if 2 * same.sum() >= len(same):  # it has not moved; what did are corrections, however coarse the prices are
            continue
        fits = np.logical_and.reduce(
            [np.abs(new[name][span] / (old[name][span] * ratio) - 1) <= 2 * half[name][span] for name in PRICES]
        )
        for name in old.keys() - {WHEN, "factor", *PRICES}:
            fits &= _goes_with(old[name][span], new[name][span], ratio)
        explained[span] = fits
        if fits.any() and any(np.any(old[name][span][fits] != new[name][span][fits]) for name in PRICES):
            times = old[WHEN][span][fits]
            changes.append(_Change(Kind.RESCALED, times[0], times[-1], len(times), "prices", 1.0, ratio))
    return explained, changes


def _rounding(prices: np.ndarray) -> np.ndarray:
    """Return by what fraction each of the prices may be off, since they are printed with so many decimals."""
    return HALF_UNITS[decimals_of(prices).max(initial=0)] / prices


def _goes_with(old: np.ndarray, new: np.ndarray, ratio: float) -> np.ndarray:
    """Tell of each value whether it stayed, or moved with the prices, or, as shares do, against them."""
    same = _equal(old, new)
    for expected in (old * ratio, old / ratio):
        same |= np.abs(new - expected) <= 1 + 1e-6 * np.abs(expected)  # shares are whole
    return same


def _equal(old: np.ndarray, new: np.ndarray) -> np.ndarray:
    return (old == new) | (np.isnan(old) & np.isnan(new))


def _corrected(old: dict[str, np.ndarray], new: dict[str, np.ndarray], explained: np.ndarray) -> list[_Change]:
    changes = []
    for name in old.keys() - {WHEN, "factor"}:
        for row in np.flatnonzero(~explained & ~_equal(old[name], new[name])).tolist():
            when = old[WHEN][row]
            changes.append(_Change(Kind.CORRECTED, when, when, 1, name, float(old[name][row]), float(new[name][row])))
    return changes


def _acted(before: pa.Table, now: pa.Table, last: datetime) -> list[_Change]:
    """Return the dividends and splits that changed on sessions that are stored."""
    found = []
    for name, none in (("dividend", 0.0), ("split", 1.0)):
        old, new = (_by_day(actions, name, none) for actions in (before, now))
        for day in sorted(old.keys() | new.keys()):
            was, came = old.get(day, none), new.get(day, none)
            if was != came and day <= np.datetime64(last):
                found.append(_Change(Kind.ACTION, day, day, 1, name, was, came))
    return found


def _by_day(actions: pa.Table, name: str, none: float) -> dict[np.datetime64, float]:
    """Return the dividend or split of each session; with minute bars there may be several."""
    found: dict[np.datetime64, float] = {}
    days = actions["ex_date"].to_numpy().astype("datetime64[D]")
    for day, value in zip(days, actions[name].to_pylist(), strict=True):
        before = found.get(day, none)
        found[day] = before * value if name == "split" else before + value
    return found


def _refactored(old: dict[str, np.ndarray], new: dict[str, np.ndarray], now: Assembled) -> list[_Change]:
    """Return where the vendor's own adjustment changed; what dividends and splits make of it is told by them."""
    if not len(old[WHEN]) or now.end is None or now.end.basis not in {Basis.FACTOR, Basis.ADJUSTED}:
        return []
    was, came = (arrays["factor"] / arrays["factor"][0] for arrays in (old, new))
    rows = np.flatnonzero(np.abs(came / was - 1) > RATIO)
    if not len(rows):
        return []
    first, last = old[WHEN][rows[0]], old[WHEN][rows[-1]]
    return [_Change(Kind.FACTOR, first, last, len(rows), "factor", float(was[rows[0]]), float(came[rows[0]]))]


def _revised(symbol: str, changes: list[_Change], stored: int) -> Revised:
    changes.sort(key=lambda change: (change.first, change.column))
    listed = changes[:LISTED]
    days = {change.first for change in changes if change.bars == 1}
    bars = len(days) + sum(change.bars for change in changes if change.bars > 1)
    counts = Counter(change.kind for change in changes)
    what = ", ".join(f"{count:,} {kind}" for kind, count in sorted(counts.items()))
    columns = {
        "symbol": [symbol] * len(listed),
        "kind": [str(change.kind) for change in listed],
        "first": np.array([change.first for change in listed], "datetime64[ms]"),
        "last": np.array([change.last for change in listed], "datetime64[ms]"),
        "bars": [change.bars for change in listed],
        "column": [change.column for change in listed],
        "before": [_null(change.before) for change in listed],
        "after": [_null(change.after) for change in listed],
    }
    return Revised(
        table=pa.table({"snapshot": pa.nulls(len(listed), pa.int64()), **columns}, schema=REVISIONS),
        bars=bars,
        dropped=sum(change.bars for change in changes if change.kind is Kind.DROPPED),
        sentence=f"{symbol}: {bars:,} of {counted(stored, 'stored bar')} otherwise in its files ({what}), first "
        f"{changes[0].words()}",
        is_expected=counts.keys() == {Kind.RESCALED},
    )


def _null(value: float) -> float | None:
    return None if np.isnan(value) else value


def _figure(value: float) -> str:
    return "none" if np.isnan(value) else f"{value:.10g}"
