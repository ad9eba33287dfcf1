"""Where the histories of symbols end: all that their next bars need to know of the bars before.

A night brings one row for each of thousands of symbols. With these few numbers a symbol's new bars follow from its new
rows alone, and come out as if its whole history had been assembled anew, bit for bit: `follow` says of which symbols
that holds, and does it for all of them at once.
"""

from collections.abc import Mapping
from dataclasses import astuple, dataclass, fields
from enum import IntEnum
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.words import counted

JUMP = 0.4  # fraction of the price: an undeclared split of 2:1 is a move of -50 % and the session's own
DISAGREES = 1e-4  # relative; dividends are rounded to cents, so 0.5 % of Alpha Vantage's steps differ by up to this
MAX_DECIMALS = 15
MOST_GROWTH = 1e100  # of a factor, either way; no actions of a real share come near it
FLOAT32 = 2.0**-23  # relative; the ratio of two prices rounded to single precision, as Yahoo keeps them
HALF_UNITS = np.array([0.5 * 10.0**-decimals for decimals in range(MAX_DECIMALS + 1)])  # of a price's last decimal


class Basis(IntEnum):
    """What a symbol's factor is made from."""

    NOTHING = 0  # neither actions nor a ratio are given
    ACTIONS = 1
    FACTOR = 2
    ADJUSTED = 3  # an adjusted close
    GAPS = 4  # a ratio is given with some bars only, so none is applied


@dataclass(frozen=True)
class End:
    """Where one symbol's bars end. Days and milliseconds are counted from 1970-01-01."""

    day: int  # the last session
    time: int  # of the last row [ms, UTC], also if it is in conflict with another one; of daily bars the session
    close: float  # as traded, of that bar
    factor: float  # cumulative
    basis: int
    ratio: float = np.nan  # adjusted / traded close of the last bar
    run: float = np.nan  # the ratio that stands for the run of equal ones the last bar is in ...
    low: float = -np.inf  # ... and what they have in common
    high: float = np.inf
    decimals: int = 0  # of adjusted closes so far
    jumps: int = 0  # moves without a reason
    jump_day: int = 0  # the first of them
    jump: float = 0.0
    doubts: int = 0  # bars of which the adjusted close disagrees with the actions
    doubt_day: int = 0  # the worst of them
    given: float = 1.0  # its step by the adjusted close
    step: float = 1.0  # ... and by the actions
    gaps: int = 0  # bars without a ratio
    gap_day: int = 0  # the first of them
    strays: int = 0  # bars that reach far beyond the closes around them
    stray_day: int = 0  # the first of them
    stray: float = 0.0

    def notes(self, symbol: str, bars: int) -> tuple[str, ...]:
        """Return what is doubtful about a symbol of so many bars."""
        notes = []
        if self.doubts:
            notes.append(
                f"{symbol}: the adjusted close disagrees with dividends and splits on "
                f"{counted(self.doubts, 'bar')}, most on {_date(self.doubt_day)}: "
                f"a step of {self.given:.6g} against {self.step:.6g}; the actions are believed"
            )
        if self.gaps:
            notes.append(
                f"{symbol}: no adjustment factor on {self.gaps:,} of {counted(bars, 'bar')}, first on "
                f"{_date(self.gap_day)}, so none is applied; give all rows one, or none"
            )
        if self.jumps:
            notes.append(
                f"{symbol}: the close moves by more than {JUMP:.0%} on {counted(self.jumps, 'bar')} without a "
                f"corporate "
                f"action that explains it, first on {_date(self.jump_day)} ({self.jump:+.1%})"
            )
        if self.strays:
            notes.append(
                f"{symbol}: {counted(self.strays, 'bar')} reached more than {JUMP:.0%} beyond both its close and the "
                f"one before, first on {_date(self.stray_day)} ({self.stray:+.1%}); a wrong price does so, and stops "
                f"fill there"
            )
        return tuple(notes)


_TYPES = {field.name: pa.int64() if field.type in {int, "int"} else pa.float64() for field in fields(End)}
ENDS = pa.schema([("symbol", pa.string()), *_TYPES.items()])


@dataclass(frozen=True)
class Following:
    """What new rows of stored symbols come to; symbols that cannot be followed have rows and state of no meaning."""

    factor: np.ndarray  # (rows,)
    ends: dict[str, np.ndarray]  # (symbols,) by field of `End`
    can: np.ndarray  # (symbols,) whether the rows follow from the end alone


def whole_ends(stored: pa.Table) -> pa.Table:
    """Return a stored table as ENDS; one of an earlier version counted no strays."""
    for name in ENDS.names[len(stored.column_names) :]:
        stored = stored.append_column(name, pa.array(np.zeros(len(stored)), ENDS.field(name).type))
    return stored.cast(ENDS)


def stray_of(high: np.ndarray, low: np.ndarray, close: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Return how far bars reach beyond the nearer of two closes, their own and the one before: a fraction, + above it.

    All prices are adjusted. Of the two ends of a bar it is the one that reaches farther.
    """
    above, below = high / np.maximum(close, before) - 1, low / np.minimum(close, before) - 1
    return np.where(above >= -below, above, below)


def ends_table(ends: Mapping[str, End]) -> pa.Table:
    """Return ends by symbol as a table."""
    columns = zip(*(astuple(end) for end in ends.values()), strict=True) if ends else [()] * len(_TYPES)
    return pa.table([list(ends), *map(list, columns)], schema=ENDS)


def follow(ends: Mapping[str, np.ndarray], rows: Mapping[str, np.ndarray], starts: np.ndarray) -> Following:
    """Return factors and new ends of rows that come after the ends of their symbols.

    Parameters
    ----------
    ends : mapping of arrays, (symbols,)
        By field of `End`.
    rows : mapping of arrays, (rows,)
        ``session`` and ``time``, datetime64, and float64: ``high``, ``low``, ``close``, ``factor``, ``adjusted_close``
        (NaN where there is none), ``dividend`` and ``split``.
    starts : array of int, (symbols + 1,)
        Rows ``starts[i]:starts[i + 1]`` are symbol i's.
    """
    now = {name: values.copy() for name, values in ends.items()}
    can = now["basis"] != Basis.GAPS
    factor = np.full(len(rows["session"]), np.nan)
    counts = np.diff(starts)
    for nth in range(int(counts.max(initial=0))):  # the first row of every symbol, then the second ...
        at = np.flatnonzero(counts > nth)
        row = starts[at] + nth
        before = {name: values[at] for name, values in now.items()}
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # of symbols that cannot be followed
            after, follows = _one_more(before, {name: values[row] for name, values in rows.items()})
        factor[row] = after["factor"]
        can[at] &= follows & is_possible(after["factor"])
        for name, values in after.items():
            now[name][at] = values
    return Following(factor, now, can)


def _one_more(end: dict[str, np.ndarray], row: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return the ends after one more row each, and whether they follow."""
    time = row["time"].astype("datetime64[ms]").astype(np.int64)
    day = row["session"].astype("datetime64[D]").astype(np.int64)
    ratio = row["adjusted_close"] / row["close"]
    acts = (row["dividend"] != 0) | (row["split"] != 1)
    basis = end["basis"].copy()
    basis[acts & (basis == Basis.NOTHING)] = Basis.ACTIONS
    no_ratio = np.isnan(row["factor"]) & np.isnan(row["adjusted_close"])
    follows = (time > end["time"]) & np.select(
        [basis == Basis.ACTIONS, basis == Basis.NOTHING, basis == Basis.FACTOR, basis == Basis.ADJUSTED],
        [True, no_ratio, ~np.isnan(row["factor"]) & ~acts, ~np.isnan(row["adjusted_close"]) & ~acts],
        default=False,
    )
    by_actions = row["split"] * (1 + row["dividend"] / row["close"])
    given = ratio / end["ratio"]
    doubtful = (basis == Basis.ACTIONS) & (np.abs(given / by_actions - 1) > DISAGREES)
    worst = doubtful & ((end["doubts"] == 0) | (_off(given, by_actions) > _off(end["given"], end["step"])))
    steps, run = _run_on(end, basis, row)
    factor = end["factor"] * np.where(basis == Basis.ACTIONS, by_actions, steps)
    close, before = row["close"] * factor, end["close"] * end["factor"]
    move, stray = close / before - 1, stray_of(row["high"] * factor, row["low"] * factor, close, before)
    jumps, strays = np.abs(move) > JUMP, np.abs(stray) > JUMP
    first, first_stray = jumps & (end["jumps"] == 0), strays & (end["strays"] == 0)
    after = {
        "day": day,
        "time": time,
        "close": row["close"],
        "factor": factor,
        "basis": basis,
        "ratio": ratio,
        **run,
        "jumps": end["jumps"] + jumps,
        "jump_day": np.where(first, day, end["jump_day"]),
        "jump": np.where(first, move, end["jump"]),
        "doubts": end["doubts"] + doubtful,
        "doubt_day": np.where(worst, day, end["doubt_day"]),
        "given": np.where(worst, given, end["given"]),
        "step": np.where(worst, by_actions, end["step"]),
        "gaps": end["gaps"],
        "gap_day": end["gap_day"],
        "strays": end["strays"] + strays,
        "stray_day": np.where(first_stray, day, end["stray_day"]),
        "stray": np.where(first_stray, stray, end["stray"]),
    }
    return after, follows


def _run_on(
    end: dict[str, np.ndarray], basis: np.ndarray, row: dict[str, np.ndarray]
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return the steps of ratios, see `pipeline.bars.assembly`, and the runs they are in."""
    adjusted, close = row["adjusted_close"], row["close"]
    is_adjusted = basis == Basis.ADJUSTED
    decimals = np.where(is_adjusted, np.maximum(end["decimals"], decimals_of(adjusted)), end["decimals"])
    ratio = np.where(is_adjusted, adjusted / close, row["factor"])
    half = np.where(is_adjusted, HALF_UNITS[decimals] / adjusted + FLOAT32, FLOAT32)
    lowest, highest = ratio * (1 - half), ratio * (1 + half)
    low, high = np.maximum(end["low"], lowest), np.minimum(end["high"], highest)
    is_new = low > high
    run = {
        "run": np.where(is_new, ratio, end["run"]),
        "low": np.where(is_new, lowest, low),
        "high": np.where(is_new, highest, high),
        "decimals": decimals,
    }
    has_runs = is_adjusted | (basis == Basis.FACTOR)
    for name in ("run", "low", "high"):
        run[name] = np.where(has_runs, run[name], end[name])
    return np.where(has_runs & is_new, ratio / end["run"], 1.0), run


class Run(NamedTuple):
    """Consecutive bars whose ratio is one number, as far as rounding lets one see: somewhere from `low` to `high`."""

    first: int
    low: float
    high: float


def runs_of(ratio: np.ndarray, half: np.ndarray) -> list[Run]:
    """Return the runs of a ratio, (bars,) with at least one, each of which may be off by the fraction `half`."""
    runs, first, low, high = [], 0, -np.inf, np.inf
    bounds = zip((ratio * (1 - half)).tolist(), (ratio * (1 + half)).tolist(), strict=True)
    for bar, (lowest, highest) in enumerate(bounds):
        if max(low, lowest) > min(high, highest):
            runs.append(Run(first, low, high))
            first, low, high = bar, lowest, highest
        else:
            low, high = max(low, lowest), min(high, highest)
    return [*runs, Run(first, low, high)]


def is_possible(factor: np.ndarray) -> np.ndarray:
    """Tell of each cumulative factor whether a real share could have come to it."""
    return (factor > 1 / MOST_GROWTH) & (factor < MOST_GROWTH)


def decimals_of(values: np.ndarray) -> np.ndarray:
    """Return with how many decimals each price was printed: the fewest that give it back."""
    decimals = np.full(len(values), MAX_DECIMALS)
    for fewer in reversed(range(MAX_DECIMALS)):
        decimals[np.round(values, fewer) == values] = fewer
    return decimals


def _off(given: np.ndarray, step: np.ndarray) -> np.ndarray:
    return np.abs(given / step - 1)


def _date(day: int) -> str:
    return str(np.datetime64(day, "D"))
