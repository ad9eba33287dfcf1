"""Rows of one symbol, from all its files, in any order -> its bars with their factor, and its corporate actions.

The factor is cumulative from 1.0 at the first bar and append-only: what it is on a session depends on no later row.

* Where dividends and splits are known it follows from them, by the vendors' own convention (Alpha Vantage, CRSP):
  on an ex-date it grows by ``split x (1 + dividend / close)``, the close being that of the ex-date, as traded.
* Where the vendor gives the factor itself it is that, relative to the first one.
* Where only an adjusted close is known it is ``adjusted / close``, relative to the first one.
* Where none is known, it is 1.0.

A given ratio is held constant for as long as rounding can explain its movement (`_steps`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.bars.quality import Rule, quarantine
from pipeline.modes import Frequency
from pipeline.schema import ACTIONS, PRICES, bars_schema

JUMP = 0.5  # fraction of the price; qlib's data health check takes the same
DISAGREES = 1e-4  # relative; dividends are rounded to cents, so 0.5 % of Alpha Vantage's steps differ by up to this
MAX_DECIMALS = 15
FLOAT32 = 2.0**-23  # relative; the ratio of two prices rounded to single precision, as Yahoo keeps them
_RATIOS = ("factor", "adjusted_close")
_JUDGED = (*PRICES, "volume", "dividend", "split")


@dataclass(frozen=True)
class Assembled:
    """One symbol, ready for the store; ``rows = bars + duplicates + quarantined``."""

    bars: pa.Table  # `pipeline.schema.bars_schema`, times ascending and unique
    actions: pa.Table  # schema.ACTIONS
    quarantine: pa.Table  # schema.QUARANTINE: all rows of a session, or minute, whose rows differ
    duplicates: int  # rows dropped because an equal one was kept
    notes: tuple[str, ...]


def assemble(
    symbol: str,
    rows: pa.Table,
    files: Sequence[str],
    extras: Sequence[str],
    frequency: Frequency = Frequency.DAILY,
) -> Assembled:
    """Return the bars of one symbol.

    Parameters
    ----------
    symbol : str
        Whose rows they are.
    rows : Table, (rows,)
        `pipeline.bars.reading.ROWS`, extras, and ``file``, an int32 index into `files`; in any order.
    files : sequence of str
        Paths of the source files.
    extras : sequence of str
        Further columns the bars shall have; NaN where `rows` lack them.
    frequency : Frequency
        Of the bars; of daily ones the times are the sessions, and left out.

    Returns
    -------
    Assembled
        Prices as traded [currency per share], volume [shares], factor from 1.0 at the first bar.
    """
    arrays = _sorted(rows, extras)
    known_actions = bool(np.any(arrays["dividend"] != 0) or np.any(arrays["split"] != 1))
    # an adjusted close moves with every later ex-date, so it is no reason to doubt a row, unless it is all we have
    judged = (*_JUDGED, *extras) if known_actions else (*_JUDGED, *_RATIOS, *extras)
    kept, conflicting = _distinct(arrays, judged)
    refused = {name: values[conflicting] for name, values in arrays.items()}
    bars = {name: values[kept] for name, values in arrays.items()}
    steps, notes = _factor_steps(bars, known_actions=known_actions)
    factor = np.cumprod(steps)
    schema = bars_schema(extras, frequency)
    columns = bars | {"symbol": np.full(len(factor), symbol, object), "factor": factor}
    table = pa.table([pa.array(columns[field.name], field.type) for field in schema], schema=schema)
    return Assembled(
        bars=table,
        actions=_actions(symbol, bars),
        quarantine=_refusal(symbol, refused, files),
        duplicates=len(arrays["session"]) - int(kept.sum()) - int(conflicting.sum()),
        notes=tuple(f"{symbol}: {note}" for note in (*notes, *_jumps(bars, factor))),
    )


def _sorted(rows: pa.Table, extras: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the columns as arrays, by time, then file and line, so that the order of arrival means nothing."""
    order = pc.sort_indices(rows, [("time", "ascending"), ("file", "ascending"), ("line", "ascending")])
    rows = rows.take(order).drop_columns("symbol")
    arrays = {}
    for name in rows.column_names:
        column = rows[name].fill_null(np.nan) if pa.types.is_floating(rows.schema.field(name).type) else rows[name]
        arrays[name] = column.to_numpy()
    return arrays | {name: np.full(rows.num_rows, np.nan) for name in extras if name not in arrays}


def _distinct(arrays: dict[str, np.ndarray], judged: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return which rows are kept, the first of every time, and which conflict: all of a time whose rows differ."""
    time = arrays["time"]
    first = np.ones(len(time), bool)
    first[1:] = time[1:] != time[:-1]
    if first.all():
        return first, ~first
    group = np.cumsum(first) - 1
    leader = np.flatnonzero(first)[group]
    differs = np.zeros(len(time), bool)
    for name in judged:
        values = arrays[name]
        differs |= (values != values[leader]) & ~(np.isnan(values) & np.isnan(values[leader]))
    conflicting = np.bincount(group, weights=differs)[group] > 0
    return first & ~conflicting, conflicting


def _factor_steps(bars: dict[str, np.ndarray], *, known_actions: bool) -> tuple[np.ndarray, list[str]]:
    """Return by what the factor grows with each bar, and what is doubtful about it."""
    if not known_actions:
        return _steps_of_ratio(bars)
    ratio = bars["adjusted_close"] / bars["close"]
    steps = bars["split"] * (1 + bars["dividend"] / bars["close"])
    steps[:1] = 1.0  # nothing before the first bar to adjust
    vendors = np.ones(len(ratio))
    vendors[1:] = ratio[1:] / ratio[:-1]
    off = np.abs(vendors / steps - 1)  # NaN, and so never above, where there is no adjusted close
    if not np.any(off > DISAGREES):
        return steps, []
    worst = int(np.nanargmax(off))
    return steps, [
        (
            f"the adjusted close disagrees with dividends and splits on {np.sum(off > DISAGREES)} bars, most on "
            f"{_day(bars, worst)}: a step of {vendors[worst]:.6g} against {steps[worst]:.6g}; the actions are believed"
        )
    ]


def _steps_of_ratio(bars: dict[str, np.ndarray]) -> tuple[np.ndarray, list[str]]:
    """Return the steps of the vendor's factor or, where there is none, of its adjusted close; ones without either.

    A printed adjusted close stands for any number within half a unit of its last decimal.
    """
    factor, adjusted = (bars[name] for name in _RATIOS)
    if not np.isnan(factor).any():
        return _steps(factor, np.full(len(factor), FLOAT32)), []
    if not np.isnan(adjusted).any():
        half_a_unit = 0.5 * 10.0 ** -_decimals(adjusted).astype(float)
        return _steps(adjusted / bars["close"], half_a_unit / adjusted + FLOAT32), []
    missing = np.isnan(factor) & np.isnan(adjusted)
    ones = np.ones(len(factor))
    if missing.all():
        return ones, []
    first = int(np.argmax(missing))
    return ones, [
        (
            f"no adjustment factor on {np.sum(missing)} of {len(ones)} bars, first on {_day(bars, first)}, so none "
            f"is applied; give all rows one, or none"
        )
    ]


def _steps(ratio: np.ndarray, half: np.ndarray) -> np.ndarray:
    """Return the steps of a ratio that is constant but for rounding, by which it may be off by the fraction `half`.

    So every ratio is an interval; a run of bars has one factor for as long as all its intervals share a point. The
    run's value is its first ratio: a later bar must not change it.
    """
    lows, highs = (ratio * (1 - half)).tolist(), (ratio * (1 + half)).tolist()
    steps = np.ones(len(ratio))
    run, low, high = 0, -np.inf, np.inf
    for bar, (lowest, highest) in enumerate(zip(lows, highs, strict=True)):
        low, high = max(low, lowest), min(high, highest)
        if low > high:
            steps[bar] = ratio[bar] / ratio[run]
            run, low, high = bar, lowest, highest
    return steps


def _decimals(values: np.ndarray) -> np.ndarray:
    """Return with how many decimals prices were printed, as far as the prices up to each of them tell.

    Printing drops zeros at the end, so it is the most decimals so far: of one price, the fewest that give it back.
    """
    decimals = np.full(len(values), MAX_DECIMALS)
    for fewer in reversed(range(MAX_DECIMALS)):
        decimals[np.round(values, fewer) == values] = fewer
    return np.maximum.accumulate(decimals)


def _actions(symbol: str, bars: dict[str, np.ndarray]) -> pa.Table:
    acted = (bars["dividend"] != 0) | (bars["split"] != 1)
    count = int(acted.sum())
    return pa.table(
        {
            "symbol": pa.array([symbol] * count, pa.string()),
            "ex_date": pa.array(bars["session"][acted]),
            "pay_date": pa.nulls(count, ACTIONS.field("pay_date").type),
            "dividend": pa.array(bars["dividend"][acted]),
            "split": pa.array(bars["split"][acted]),
        },
        schema=ACTIONS,
    )


def _refusal(symbol: str, rows: dict[str, np.ndarray], files: Sequence[str]) -> pa.Table:
    """Return the rows that conflict, each under its file; the tables are joined in the order of the files."""
    tables = [quarantine("", [])]
    for file in np.unique(rows["file"]):
        mine = np.flatnonzero(rows["file"] == file)
        entries = [(int(rows["line"][row]), symbol, Rule.CONFLICT, _text(rows, row)) for row in mine.tolist()]
        tables.append(quarantine(files[file], sorted(entries, key=lambda entry: entry[0])))
    return pa.concat_tables(tables).combine_chunks()


def _text(rows: dict[str, np.ndarray], row: int) -> str:
    values = " ".join(f"{name}={rows[name][row]:g}" for name in _JUDGED)
    moment = rows["time"][row].astype("datetime64[m]")
    return f"session={_day(rows, row)} {values}" if moment == rows["session"][row] else f"time={moment}Z {values}"


def _day(bars: dict[str, np.ndarray], row: int) -> str:
    return str(bars["session"][row].astype("datetime64[D]"))


def _jumps(bars: dict[str, np.ndarray], factor: np.ndarray) -> list[str]:
    """Note moves of the adjusted close that look like a missing action or a change of unit."""
    close = bars["close"] * factor
    moves = close[1:] / close[:-1] - 1
    jumps = np.flatnonzero(np.abs(moves) > JUMP) + 1
    if not len(jumps):
        return []
    first = int(jumps[0])
    return [
        (
            f"the close moves by more than {JUMP:.0%} on {len(jumps)} sessions without a corporate action that "
            f"explains it, first on {_day(bars, first)} ({moves[first - 1]:+.1%})"
        )
    ]
