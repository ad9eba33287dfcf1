"""Bars by period: some consecutive sessions of all symbols, for the trading loop in bounded memory."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date

import numpy as np

from pipeline.bars.parquet import read_parquet
from pipeline.bars.store import Part, Snapshot


@dataclass(frozen=True)
class PeriodBars:
    """The bars of some consecutive sessions, as traded.

    Attributes
    ----------
    sessions : array of datetime64[D], (sessions,)
        Every session on which any of the symbols has a bar, ascending.
    times : array of datetime64[ms], (times,)
        Every time at which any of them has a bar, ascending: of minute bars their ends [UTC], of daily bars the
        sessions.
    day : array of int64, (times,)
        Index into `sessions` of each time, ascending.
    starts : array of int64, (symbols + 1,)
        Rows ``starts[i]:starts[i + 1]`` are symbol i's, in the order the symbols were asked for.
    time : array of int32, (rows,)
        Index into `times`, ascending within a symbol.
    columns : dict of float64 arrays, (rows,)
        Prices as traded [currency per share], volume [shares], factor.
    has_times : bool
        Whether the bars are of minutes.
    """

    sessions: np.ndarray
    times: np.ndarray
    day: np.ndarray
    starts: np.ndarray
    time: np.ndarray
    columns: dict[str, np.ndarray]
    has_times: bool = False

    @classmethod
    def of_days(
        cls, sessions: np.ndarray, starts: np.ndarray, time: np.ndarray, columns: dict[str, np.ndarray]
    ) -> "PeriodBars":
        """Return daily bars: every session has one time."""
        return cls(sessions, sessions.astype("datetime64[ms]"), np.arange(len(sessions)), starts, time, columns)

    @property
    def closing(self) -> np.ndarray:
        """Of each time whether it is the last of its session, bool (times,)."""
        return np.diff(self.day, append=len(self.sessions)) != 0


def read_periods(
    snapshot: Snapshot, symbols: Sequence[str], columns: Sequence[str], start: date | None, end: date | None
) -> Iterator[PeriodBars]:
    """Yield the periods between `start` and `end` (both included), oldest first, reading each when it is asked for.

    Parameters
    ----------
    snapshot : Snapshot
        Where to read.
    symbols : sequence of str
        Which symbols, ascending; all of them in the snapshot.
    columns : sequence of str
        Which stored columns (`pipeline.schema.STORED`).
    start, end : date or None
        First and last session; None is the snapshot's own.
    """
    for number, period in enumerate(snapshot.manifest.periods):
        if (end and period.first > end.isoformat()) or (start and period.last < start.isoformat()):
            continue
        parts = [part for part in snapshot.manifest.parts if part.period == number]
        bars = _read_period(snapshot, parts, symbols, columns)
        bars = _between(bars, start, end)
        if len(bars.sessions):
            yield bars


def _read_period(snapshot: Snapshot, parts: list[Part], symbols: Sequence[str], columns: Sequence[str]) -> PeriodBars:
    place = {symbol: index for index, symbol in enumerate(symbols)}
    pieces: list[tuple[int, Part, int, int]] = []
    for part in parts:
        for symbol, first, last in zip(part.symbols, part.offsets, part.offsets[1:], strict=False):
            if symbol in place:
                pieces.append((place[symbol], part, first, last))
    pieces.sort(key=lambda piece: piece[0])
    lengths = np.zeros(len(symbols) + 1, np.int64)
    for index, _, first, last in pieces:
        lengths[index + 1] += last - first
    starts = np.cumsum(lengths)
    needed = list({part.file: part for _, part, _, _ in pieces}.values())
    days = np.empty(starts[-1], np.int64)
    arrays = {name: np.empty(starts[-1], np.float64) for name in columns}

    def fill(part: Part) -> None:
        table = read_parquet(snapshot.path(part), ["session", *columns])
        day = table["session"].to_numpy().astype("datetime64[D]").astype(np.int64)
        values = {name: table[name].to_numpy() for name in columns}
        for index, owner, first, last in pieces:
            if owner is part:
                target = slice(starts[index], starts[index] + last - first)
                days[target] = day[first:last]
                for name in columns:
                    arrays[name][target] = values[name][first:last]

    with ThreadPoolExecutor(max_workers=4) as pool:
        list(pool.map(fill, needed))
    sessions, ordinals = _ordinals(days)
    return PeriodBars.of_days(sessions, starts, ordinals, arrays)


def _ordinals(days: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct days, ascending, and each row's place among them (a table look-up, not a search)."""
    if not len(days):
        return days.astype("datetime64[D]"), days.astype(np.int32)
    base = days.min()
    present = np.zeros(days.max() - base + 1, bool)
    present[days - base] = True
    place = (np.cumsum(present) - 1).astype(np.int32)
    return (np.flatnonzero(present) + base).astype("datetime64[D]"), place[days - base]


def _between(bars: PeriodBars, start: date | None, end: date | None) -> PeriodBars:
    """Drop the sessions before `start` and after `end`."""
    first = np.searchsorted(bars.sessions, np.datetime64(start, "D")) if start else 0
    last = np.searchsorted(bars.sessions, np.datetime64(end, "D"), side="right") if end else len(bars.sessions)
    if first == 0 and last == len(bars.sessions):
        return bars
    kept = (bars.time >= first) & (bars.time < last)
    starts = np.concatenate([[0], np.cumsum(kept)])[bars.starts].astype(np.int64)
    return PeriodBars.of_days(
        bars.sessions[first:last],
        starts,
        (bars.time[kept] - first).astype(np.int32),
        {name: values[kept] for name, values in bars.columns.items()},
    )
