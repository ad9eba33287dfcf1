"""Where bars lie: which block a symbol is in, which period a session is in. Pure functions of row counts.

A *block* is some consecutive symbols, for the signals; a *period* some consecutive sessions, for the trading loop.
The same bars give the same layout, in whatever order their files came. An update keeps the layout it finds: new
symbols form new blocks, new sessions go to the open tail, and a tail grown too long is folded into a closed period.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from itertools import pairwise
from math import ceil

import numpy as np

from pipeline.bars.store import Period

BLOCK_ROWS = 150_000  # of a period, about 10 MB in memory: what a part holds
HISTORY_ROWS = 4_000_000  # of all periods: what a task, and so a worker, holds of a column is 32 MB
LEAST_BLOCKS = 16  # so that a small market still keeps the cores busy
CLOSED_ROWS = 4_000_000  # what the trading loop holds at once
TAIL_ROWS = 250_000  # what a nightly update rewrites at most
TAIL_DAYS = 366
UNITS = ("datetime64[Y]", "datetime64[M]", "datetime64[D]")


def block_count(rows: int, symbols: int) -> int:
    """Return how many blocks a new store of `rows` bars of `symbols` symbols gets."""
    largest = min(rows, CLOSED_ROWS)  # of a period
    return min(symbols, max(ceil(largest / BLOCK_ROWS), ceil(rows / HISTORY_ROWS), LEAST_BLOCKS))


def lay_blocks(rows: Mapping[str, int], count: int, first: int = 0) -> dict[str, int]:
    """Share symbols out among `count` blocks, consecutive and as even in rows as whole symbols allow.

    Parameters
    ----------
    rows : mapping of str to int
        How many bars (> 0) each symbol has.
    count : int
        How many blocks, at most one per symbol.
    first : int
        Number of the first block.

    Returns
    -------
    dict of str to int, symbols ascending
        The block of each symbol.
    """
    blocks: dict[str, int] = {}
    left, filled, block, symbols = sum(rows.values()), 0, first, sorted(rows)
    for place, symbol in enumerate(symbols):
        is_full = filled + rows[symbol] / 2 > left / count
        is_needed = len(symbols) - place < count
        if filled and count > 1 and (is_full or is_needed):
            left, filled, block, count = left - filled, 0, block + 1, count - 1
        blocks[symbol] = block
        filled += rows[symbol]
    return blocks


def lay_periods(days: np.ndarray, rows: np.ndarray) -> tuple[Period, ...]:
    """Split a history: the last calendar year is the open tail, the years before it closed periods.

    Where years hold more bars than a period may, it is split at months, or anywhere; and so is the tail.

    Parameters
    ----------
    days : array of datetime64[D], (sessions,)
        Distinct, ascending, at least one.
    rows : array of int, (sessions,)
        How many bars each session has.
    """
    tail = next(start for start, size in _last_pieces(days, rows) if size <= TAIL_ROWS or start == len(days) - 1)
    starts, filled = [0], 0
    for first, stop in pairwise([*_pieces(days[:tail], rows[:tail]), tail]):
        size = int(rows[first:stop].sum())
        if filled and filled + size > CLOSED_ROWS:
            starts.append(first)
            filled = 0
        filled += size
    if filled:
        starts.append(tail)
    return tuple(
        Period(str(days[first]), str(days[stop - 1]), open=stop == len(days))
        for first, stop in pairwise([*starts, len(days)])
    )


def _last_pieces(days: np.ndarray, rows: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield where the last calendar year, month and session begin, and how many bars each has."""
    for unit in UNITS:
        start = int(np.searchsorted(days.astype(unit), days[-1].astype(unit)))
        yield start, int(rows[start:].sum())


def _pieces(days: np.ndarray, rows: np.ndarray) -> list[int]:
    """Return where the calendar years begin; or the months, or sessions, where those hold more than a period may."""
    for unit in UNITS:
        starts = np.unique(days.astype(unit), return_index=True)[1]
        if not len(starts) or np.add.reduceat(rows, starts).max() <= CLOSED_ROWS:
            break
    return starts.tolist()


def extend_periods(
    periods: Sequence[Period], kept: Sequence[int], days: np.ndarray, rows: np.ndarray
) -> tuple[Period, ...]:
    """Make room for the sessions of an update; fold the tail away when it has grown too long.

    Parameters
    ----------
    periods : sequence of Period
        The layout so far.
    kept : sequence of int
        How many bars of each period the update does not touch.
    days, rows : arrays, (sessions,)
        The sessions of the update, as in `lay_periods`; may be empty.
    """
    place = period_of(periods, days)
    *closed, tail = (_widened(period, days[place == number]) for number, period in enumerate(periods))
    *sizes, tail_rows = (size + int(rows[place == number].sum()) for number, size in enumerate(kept))
    length = date.fromisoformat(tail.last) - date.fromisoformat(tail.first)
    is_new = days > np.datetime64(periods[-1].last)
    if not is_new.any() or (tail_rows <= TAIL_ROWS and length.days <= TAIL_DAYS):
        return (*closed, tail)
    folded = replace(tail, last=periods[-1].last, open=False)
    *missed, new_tail = lay_periods(days[is_new], rows[is_new])
    for period, size in (
        (folded, tail_rows - int(rows[is_new].sum())),
        *((period, _rows_of(period, days, rows)) for period in missed),
    ):
        if closed and sizes[-1] + size <= CLOSED_ROWS:
            closed[-1] = replace(closed[-1], last=period.last)
            sizes[-1] += size
        else:
            closed.append(period)
            sizes.append(size)
    return (*closed, new_tail)


def period_of(periods: Sequence[Period], days: np.ndarray) -> np.ndarray:
    """Return the period each day falls in; what lies before the first or between two belongs to the earlier one."""
    starts = np.array([period.first for period in periods], "datetime64[D]")
    return np.maximum(np.searchsorted(starts, days, side="right") - 1, 0)


def _widened(period: Period, days: np.ndarray) -> Period:
    """Return `period` with `days`, ascending, in it."""
    if not len(days):
        return period
    return replace(period, first=min(period.first, str(days[0])), last=max(period.last, str(days[-1])))


def _rows_of(period: Period, days: np.ndarray, rows: np.ndarray) -> int:
    inside = (days >= np.datetime64(period.first)) & (days <= np.datetime64(period.last))
    return int(rows[inside].sum())
