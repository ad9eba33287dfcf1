"""Bars by period: some consecutive sessions of all symbols, for the trading loop in bounded memory."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date

import numpy as np

from pipeline.bars.parquet import read_parquet
from pipeline.bars.store import Part, Snapshot
from pipeline.modes import Frequency

UNITS = {"session": "datetime64[D]", "time": "datetime64[m]"}


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
    bars : array of int64, (sessions,)
        How many bars each session has, of all symbols.
    has_times : bool
        Whether the bars are of minutes.
    """

    sessions: np.ndarray
    times: np.ndarray
    day: np.ndarray
    starts: np.ndarray
    time: np.ndarray
    columns: dict[str, np.ndarray]
    bars: np.ndarray
    has_times: bool = False

    @classmethod
    def of_days(
        cls, sessions: np.ndarray, starts: np.ndarray, time: np.ndarray, columns: dict[str, np.ndarray]
    ) -> "PeriodBars":
        """Return daily bars: every session has one time."""
        bars = np.bincount(time, minlength=len(sessions))
        return cls(sessions, sessions.astype("datetime64[ms]"), np.arange(len(sessions)), starts, time, columns, bars)

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
    pieces = _pieces(parts, symbols)
    lengths = np.zeros(len(symbols) + 1, np.int64)
    for place, _, first, last in pieces:
        lengths[place + 1] += last - first
    starts = np.cumsum(lengths)
    clocks = ["session", "time"] if snapshot.manifest.frequency == Frequency.MINUTE else ["session"]
    arrays = {name: np.empty(starts[-1], np.int64 if name in clocks else np.float64) for name in (*clocks, *columns)}

    def fill(part: Part) -> None:
        table = read_parquet(snapshot.path(part), list(arrays))
        values = {name: table[name].to_numpy() for name in arrays}
        values |= {name: values[name].astype(UNITS[name]).astype(np.int64) for name in clocks}
        for place, owner, first, last in pieces:
            if owner is part:
                target = slice(starts[place], starts[place] + last - first)
                for name, array in arrays.items():
                    array[target] = values[name][first:last]

    with ThreadPoolExecutor(max_workers=4) as pool:
        list(pool.map(fill, {part.file: part for _, part, _, _ in pieces}.values()))
    return _period(starts, arrays)


def _pieces(parts: list[Part], symbols: Sequence[str]) -> list[tuple[int, Part, int, int]]:
    """Return the place of each symbol and the rows of it in each part, by place."""
    places = {symbol: place for place, symbol in enumerate(symbols)}
    pieces = [
        (places[symbol], part, first, last)
        for part in parts
        for symbol, first, last in zip(part.symbols, part.offsets, part.offsets[1:], strict=False)
        if symbol in places
    ]
    return sorted(pieces, key=lambda piece: piece[0])


def _period(starts: np.ndarray, arrays: dict[str, np.ndarray]) -> PeriodBars:
    """Return the period of some bars, whose ``session`` is in days and ``time``, if any, in minutes."""
    days, minutes = arrays.pop("session"), arrays.pop("time", None)
    distinct, place = _ordinals(days)
    sessions = distinct.astype("datetime64[D]")
    if minutes is None:
        return PeriodBars.of_days(sessions, starts, place, arrays)
    times, time = _ordinals(minutes)
    day = np.zeros(len(times), np.int64)
    day[time] = place
    return PeriodBars(
        sessions=sessions,
        times=times.astype("datetime64[m]").astype("datetime64[ms]"),
        day=day,
        starts=starts,
        time=time,
        columns=arrays,
        bars=np.bincount(place, minlength=len(sessions)),
        has_times=True,
    )


def _ordinals(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return distinct days or minutes, ascending, and each row's place among them (a table look-up, not a search)."""
    if not len(numbers):
        return numbers, numbers.astype(np.int32)
    base = numbers.min()
    present = np.zeros(numbers.max() - base + 1, bool)
    present[numbers - base] = True
    place = (np.cumsum(present) - 1).astype(np.int32)
    return np.flatnonzero(present) + base, place[numbers - base]


def _between(bars: PeriodBars, start: date | None, end: date | None) -> PeriodBars:
    """Drop the sessions before `start` and after `end`."""
    first = np.searchsorted(bars.sessions, np.datetime64(start, "D")) if start else 0
    last = np.searchsorted(bars.sessions, np.datetime64(end, "D"), side="right") if end else len(bars.sessions)
    if first == 0 and last == len(bars.sessions):
        return bars
    low, high = np.searchsorted(bars.day, first), np.searchsorted(bars.day, last)
    kept = (bars.time >= low) & (bars.time < high)
    return PeriodBars(
        sessions=bars.sessions[first:last],
        times=bars.times[low:high],
        day=bars.day[low:high] - first,
        starts=np.concatenate([[0], np.cumsum(kept)])[bars.starts].astype(np.int64),
        time=(bars.time[kept] - low).astype(np.int32),
        columns={name: values[kept] for name, values in bars.columns.items()},
        bars=bars.bars[first:last],
        has_times=bars.has_times,
    )
