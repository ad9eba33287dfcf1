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
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.bars.ends import (
    DISAGREES,
    FLOAT32,
    HALF_UNITS,
    JUMP,
    Basis,
    End,
    decimals_of,
    is_possible,
    runs_of,
    stray_of,
)
from pipeline.bars.quality import Rule, quarantine
from pipeline.modes import Frequency
from pipeline.schema import ACTIONS, PRICES, bars_schema

_RATIOS = ("factor", "adjusted_close")
_JUDGED = (*PRICES, "volume", "dividend", "split")


@dataclass(frozen=True)
class Assembled:
    """One symbol, ready for the store; ``rows = bars + duplicates + quarantined``."""

    bars: pa.Table  # `pipeline.schema.bars_schema`, times ascending and unique
    actions: pa.Table  # schema.ACTIONS
    quarantine: pa.Table  # schema.QUARANTINE: all rows of a session, or minute, whose rows differ; or all there are
    duplicates: int  # rows dropped because an equal one was kept
    notes: tuple[str, ...]
    end: End | None  # None where there is no bar


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
    steps, found = _factor_steps(bars, known_actions=known_actions)
    schema = bars_schema(extras, frequency)
    with np.errstate(over="ignore"):
        factor = np.cumprod(steps)
    if not is_possible(factor).all():
        refusal = _refusal(symbol, arrays, files, Rule.ACTION)
        return Assembled(schema.empty_table(), ACTIONS.empty_table(), refusal, duplicates=0, notes=(), end=None)
    end = _end(bars, factor, arrays["time"], found)
    columns = bars | {"symbol": np.full(len(factor), symbol, object), "factor": factor}
    table = pa.table([pa.array(columns[field.name], field.type) for field in schema], schema=schema)
    return Assembled(
        bars=table,
        actions=_actions(symbol, bars),
        quarantine=_refusal(symbol, refused, files, Rule.CONFLICT),
        duplicates=len(arrays["session"]) - int(kept.sum()) - int(conflicting.sum()),
        notes=end.notes(symbol, len(factor)) if end else (),
        end=end,
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


def _factor_steps(bars: dict[str, np.ndarray], *, known_actions: bool) -> tuple[np.ndarray, dict[str, Any]]:
    """Return by what the factor grows with each bar, and what `End` remembers of that."""
    if known_actions:
        return _steps_of_actions(bars)
    factor, adjusted = (bars[name] for name in _RATIOS)
    if not np.isnan(factor).any():
        steps, run = _steps(factor, np.full(len(factor), FLOAT32))
        return steps, {"basis": Basis.FACTOR, **run}
    if not np.isnan(adjusted).any():
        # printing drops zeros at the end, so it is the most decimals of the prices up to each of them
        decimals = np.maximum.accumulate(decimals_of(adjusted))
        steps, run = _steps(adjusted / bars["close"], HALF_UNITS[decimals] / adjusted + FLOAT32)
        return steps, {"basis": Basis.ADJUSTED, "decimals": int(decimals[-1]) if len(decimals) else 0, **run}
    missing = np.isnan(factor) & np.isnan(adjusted)
    ones = np.ones(len(factor))
    if missing.all():
        return ones, {"basis": Basis.NOTHING}
    return ones, {"basis": Basis.GAPS, "gaps": int(missing.sum()), "gap_day": _day_number(bars, int(missing.argmax()))}


def _steps_of_actions(bars: dict[str, np.ndarray]) -> tuple[np.ndarray, dict[str, Any]]:
    """Return the steps of dividends and splits, and where an adjusted close disagrees with them."""
    ratio = bars["adjusted_close"] / bars["close"]
    steps = bars["split"] * (1 + bars["dividend"] / bars["close"])
    steps[:1] = 1.0  # nothing before the first bar to adjust
    vendors = np.ones(len(ratio))
    vendors[1:] = ratio[1:] / ratio[:-1]
    off = np.abs(vendors / steps - 1)  # NaN, and so never above, where there is no adjusted close
    found: dict[str, Any] = {"basis": Basis.ACTIONS}
    if np.any(off > DISAGREES):
        worst = int(np.nanargmax(off))
        found |= {"doubts": int(np.sum(off > DISAGREES)), "doubt_day": _day_number(bars, worst)}
        found |= {"given": float(vendors[worst]), "step": float(steps[worst])}
    return steps, found


def _steps(ratio: np.ndarray, half: np.ndarray) -> tuple[np.ndarray, dict[str, float]]:
    """Return the steps of a ratio that is constant but for rounding, by which it may be off by the fraction `half`.

    So every ratio is an interval; a run of bars has one factor for as long as all its intervals share a point. The
    run's value is its first ratio: a later bar must not change it. The last run is returned too.
    """
    steps = np.ones(len(ratio))
    if not len(ratio):
        return steps, {}
    runs = runs_of(ratio, half)
    for before, run in pairwise(runs):
        steps[run.first] = ratio[run.first] / ratio[before.first]
    return steps, {"run": float(ratio[runs[-1].first]), "low": runs[-1].low, "high": runs[-1].high}


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


def _refusal(symbol: str, rows: dict[str, np.ndarray], files: Sequence[str], rule: Rule) -> pa.Table:
    """Return rows that break a rule, each under its file; the tables are joined in the order of the files."""
    tables = [quarantine("", [])]
    for file in np.unique(rows["file"]):
        mine = np.flatnonzero(rows["file"] == file)
        entries = [(int(rows["line"][row]), symbol, rule, _text(rows, row)) for row in mine.tolist()]
        tables.append(quarantine(files[file], sorted(entries, key=lambda entry: entry[0])))
    return pa.concat_tables(tables).combine_chunks()


def _text(rows: dict[str, np.ndarray], row: int) -> str:
    values = " ".join(f"{name}={rows[name][row]:g}" for name in _JUDGED)
    moment = rows["time"][row].astype("datetime64[m]")
    return f"session={_day(rows, row)} {values}" if moment == rows["session"][row] else f"time={moment}Z {values}"


def _day(bars: dict[str, np.ndarray], row: int) -> str:
    return str(bars["session"][row].astype("datetime64[D]"))


def _day_number(bars: dict[str, np.ndarray], row: int) -> int:
    return int(bars["session"][row].astype("datetime64[D]").astype(np.int64))


def _end(bars: dict[str, np.ndarray], factor: np.ndarray, times: np.ndarray, found: dict[str, Any]) -> End | None:
    """Return where the bars end, and the moves that look like a missing action, another unit or a wrong price.

    `times` are those of all rows, ascending. None where there is no bar.
    """
    if not len(factor):
        return None
    close = bars["close"] * factor
    moves = close[1:] / close[:-1] - 1
    jumps = np.flatnonzero(np.abs(moves) > JUMP) + 1
    if len(jumps):
        first = int(jumps[0])
        found |= {"jumps": len(jumps), "jump_day": _day_number(bars, first), "jump": float(moves[first - 1])}
    reach = stray_of(bars["high"] * factor, bars["low"] * factor, close, np.concatenate([close[:1], close[:-1]]))
    strays = np.flatnonzero(np.abs(reach) > JUMP)
    if len(strays):
        first = int(strays[0])
        found |= {"strays": len(strays), "stray_day": _day_number(bars, first), "stray": float(reach[first])}
    if not np.isnan(bars["adjusted_close"][-1]):
        found |= {"ratio": float(bars["adjusted_close"][-1] / bars["close"][-1])}
    return End(
        _day_number(bars, -1), int(times[-1].astype(np.int64)), float(bars["close"][-1]), float(factor[-1]), **found
    )
