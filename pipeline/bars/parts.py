"""What the workers of an ingest do last: build the parts of a block that change. Only the parent commits."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.bars.assembly import Assembled, assemble
from pipeline.bars.conflicts import Conflict, conflict
from pipeline.bars.ends import End
from pipeline.bars.jumps import Jump, first_after
from pipeline.bars.parquet import parquet_bytes, read_parquet
from pipeline.bars.plan import period_of
from pipeline.bars.revisions import Revised, compared, with_stored_factor
from pipeline.bars.rows import ROWS
from pipeline.bars.simulator import Market, symbol_of
from pipeline.bars.slices import Slices
from pipeline.bars.spills import Spill, by_symbol
from pipeline.bars.store import Part, Period
from pipeline.bars.synthetic import rows_of
from pipeline.files import sync
from pipeline.modes import Frequency
from pipeline.schema import ACTIONS, QUARANTINE, bars_schema


@dataclass(frozen=True)
class Piece:
    """Rows ``first:last`` of a spill."""

    spill: int
    first: int
    last: int


@dataclass(frozen=True)
class Sources:
    """What all blocks are built from, shared by their tasks."""

    spills: tuple[Spill, ...]
    numbers: tuple[np.ndarray, ...]  # of each spill: its files' places in `files`
    files: tuple[str, ...]  # names of the source files, ascending
    market: Market | None
    actions: pa.Table  # stored, schema.ACTIONS
    extras: tuple[str, ...]
    frequency: Frequency
    is_widened: bool  # whether stored parts lack some of the extras
    adjustment: str
    periods: tuple[Period, ...]
    before: tuple[Period, ...]  # of the snapshot before
    staging: Path


@dataclass(frozen=True)
class BlockTask:
    """One block to build: symbols read anew, symbols that go on, and what of the rest shares parts with them."""

    block: int
    pieces: tuple[Piece, ...]
    made: tuple[int, ...]  # numbers of the market's symbols that are made up here
    renewed: frozenset[str]  # symbols that are stored and read anew
    following: Slices  # bars that go on where stored ones end
    stored: tuple[tuple[Path, Part], ...]  # periods ascending
    sources: Sources


@dataclass(frozen=True)
class StagedPart:
    """A part's content; `file` is None where it is that of the stored part `stored`."""

    period: int
    file: Path | None
    symbols: tuple[str, ...]
    offsets: tuple[int, ...]
    stored: Part | None = None


@dataclass(frozen=True)
class Extent:
    """What a symbol's bars came to."""

    block: int
    rows: int
    first: str  # session, ISO
    last: str  # session, ISO
    factor: float  # of the last bar
    duplicates: int


@dataclass(frozen=True)
class Built:
    """A block's parts, and what assembling its symbols found."""

    block: int
    parts: tuple[StagedPart, ...]
    extents: dict[str, Extent]  # symbols read anew; 0 rows where none was usable
    ends: dict[str, End]
    actions: pa.Table
    quarantine: pa.Table
    notes: dict[str, tuple[str, ...]]  # by symbol, where there are any
    revised: dict[str, Revised]  # stored symbols whose bars changed
    conflicts: dict[str, Conflict]  # stored symbols with refused rows, should their bars stay
    jumps: dict[str, Jump]  # stored symbols with a jump behind their stored bars


def build_block(task: BlockTask) -> Built:
    """Assemble a block's symbols and put each part that differs from the stored one into the staging folder."""
    stored = StoredParts(task)
    fresh: dict[str, Assembled] = {}
    revised, conflicts, jumps = {}, {}, {}
    for symbol, rows in _fresh(task):
        assembled = assemble(symbol, rows, task.sources.files, task.sources.extras, task.sources.frequency)
        before = stored.bars_of[symbol] if symbol in task.renewed else None
        if before is not None and len(assembled.quarantine):
            conflicts[symbol] = conflict(rows, task.sources.files, assembled.quarantine, before)
        if before is not None and len(assembled.bars):
            assembled = with_stored_factor(before, assembled)
            change = compared(symbol, before, stored.actions_of(symbol), assembled, task.sources.adjustment)
            if change:
                revised[symbol] = change
            if jump := first_after(before, assembled.bars):
                jumps[symbol] = jump
        fresh[symbol] = assembled
    extents = {symbol: _extent(task.block, each.bars, each.duplicates) for symbol, each in fresh.items()}
    return Built(
        block=task.block,
        parts=tuple(_parts(task, stored, fresh)),
        extents=extents,
        ends={symbol: each.end for symbol, each in fresh.items() if each.end},
        actions=pa.concat_tables([ACTIONS.empty_table(), *(each.actions for each in fresh.values())]),
        quarantine=pa.concat_tables([QUARANTINE.empty_table(), *(each.quarantine for each in fresh.values())]),
        notes={symbol: each.notes for symbol, each in fresh.items() if each.notes},
        revised=revised,
        conflicts=conflicts,
        jumps=jumps,
    )


class StoredParts:
    """The stored parts of a block, each read when it is first needed."""

    def __init__(self, task: BlockTask) -> None:
        """Read nothing yet."""
        self.task = task
        self.schema = bars_schema(task.sources.extras, task.sources.frequency)
        self._read: dict[str, pa.Table] = {}

    def read(self, file: Path, part: Part) -> Slices:
        """Return a part's bars, with NaN in the columns it lacks."""
        if part.file not in self._read:
            table = read_parquet(file, sha256=part.sha256)
            for name in self.task.sources.extras:
                if name not in table.column_names:
                    table = table.append_column(name, pa.array(np.full(len(table), np.nan)))
            self._read[part.file] = table.select(self.schema.names).cast(self.schema).combine_chunks()
        return Slices(self._read[part.file], part.symbols, part.offsets)

    @cached_property
    def bars_of(self) -> dict[str, pa.Table]:
        """The stored bars of the symbols read anew."""
        found = defaultdict(list)
        for file, part in self.task.stored:
            for symbol, bars in self.read(file, part).each():
                if symbol in self.task.renewed:
                    found[symbol].append(bars)
        return {symbol: pa.concat_tables(bars).combine_chunks() for symbol, bars in found.items()}

    def actions_of(self, symbol: str) -> pa.Table:
        """Return the stored actions of a symbol."""
        actions = self.task.sources.actions
        return actions.filter(pc.equal(actions["symbol"], symbol))


def _fresh(task: BlockTask) -> Iterator[tuple[str, pa.Table]]:
    """Yield the rows of each symbol to assemble, of all its files together, or made up."""
    sources = task.sources
    if sources.market:
        for number in task.made:
            rows = rows_of(sources.market, number)
            yield symbol_of(number), rows.append_column("file", pa.array(np.zeros(len(rows), np.int32)))
    tables = []
    for piece in task.pieces:
        table = sources.spills[piece.spill].table().slice(piece.first, piece.last - piece.first)
        for name in sources.extras:
            if name not in table.column_names:
                table = table.append_column(name, pa.array(np.full(len(table), np.nan)))
        files = pa.array(sources.numbers[piece.spill][table["file"].to_numpy()])
        tables.append(table.select([*ROWS.names, *sources.extras]).append_column("file", files))
    if tables:
        yield from Slices(*by_symbol(pa.concat_tables(tables))).each()


def _extent(block: int, bars: pa.Table, duplicates: int) -> Extent:
    if not len(bars):
        return Extent(block, 0, "", "", 1.0, duplicates)
    first, last = (str(bars["session"][row].as_py().date()) for row in (0, len(bars) - 1))
    return Extent(block, len(bars), first, last, bars["factor"][-1].as_py(), duplicates)


def _parts(task: BlockTask, stored: StoredParts, fresh: dict[str, Assembled]) -> Iterator[StagedPart]:
    """Yield the block's parts, oldest period first."""
    periods = task.sources.periods
    anew = Slices.join({symbol: assembled.bars for symbol, assembled in fresh.items()}, stored.schema)
    new = [slices.by_period(periods) for slices in (anew, task.following) if slices.symbols]
    homes = period_of(periods, np.array([period.first for period in task.sources.before], "datetime64[D]"))
    for number in range(len(periods)):
        old = [(file, part) for file, part in task.stored if homes[part.period] == number]
        part = _part(task, stored, number, old, [found[number] for found in new if number in found])
        if part:
            yield part


def _part(
    task: BlockTask, stored: StoredParts, period: int, old: list[tuple[Path, Part]], new: list[Slices]
) -> StagedPart | None:
    """Return a part's content; the stored one where nothing of it changed, None where there is nothing."""
    only = old[0][1] if len(old) == 1 and not task.sources.is_widened else None
    if only and not new and task.renewed.isdisjoint(only.symbols):
        return StagedPart(period, None, only.symbols, only.offsets, only)
    kept = [stored.read(file, part).without(task.renewed) for file, part in old]
    slices = Slices.merge([each for each in (*kept, *new) if each.symbols])
    if slices is None:
        return None
    if only and slices.is_same(stored.read(*old[0])):
        return StagedPart(period, None, only.symbols, only.offsets, only)
    content = parquet_bytes(slices.bars)
    file = task.sources.staging / f"{task.block}-{period}.parquet"
    with file.open("xb") as sink:
        sink.write(content)
    sync(file)  # here, where several are flushed at a time
    return StagedPart(period, file, slices.symbols, tuple(map(int, slices.offsets)))
