"""What the workers of an ingest do: spill a file's rows, build a block's parts. Only the parent commits."""

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.bars.assembly import assemble
from pipeline.bars.parquet import parquet_bytes, read_parquet
from pipeline.bars.plan import period_of
from pipeline.bars.reading import ROWS, Reading, ReadOptions, read_file
from pipeline.bars.simulator import Market, symbol_of
from pipeline.bars.store import Part, Period
from pipeline.bars.synthetic import rows_of
from pipeline.modes import Frequency
from pipeline.schema import ACTIONS, QUARANTINE, bars_schema


@dataclass(frozen=True)
class Spill:
    """A source file's accepted rows, sorted by symbol, in a file of the staging folder."""

    reading: Reading  # its bars are empty: they are in the spill
    file: Path
    extras: tuple[str, ...]
    symbols: tuple[str, ...]  # ascending
    offsets: tuple[int, ...]  # rows offsets[i]:offsets[i + 1] are symbols[i]'s
    days: np.ndarray  # datetime64[D], distinct, ascending
    rows: np.ndarray  # bars on each of the days

    @property
    def is_refused(self) -> bool:
        """Whether the file as a whole was refused."""
        return 0 in self.reading.quarantine["line"].to_pylist()


@dataclass(frozen=True)
class Piece:
    """Rows ``first:last`` of a spill."""

    spill: Path
    source: int  # index of the source file
    first: int
    last: int


@dataclass(frozen=True)
class BlockTask:
    """One block to build: symbols read anew from spills, the others taken over from the stored parts."""

    block: int
    pieces: tuple[Piece, ...]
    market: Market | None
    made: tuple[int, ...]  # numbers of the market's symbols that are made up here
    files: tuple[str, ...]  # names of the source files
    extras: tuple[str, ...]
    frequency: Frequency
    kept: tuple[str, ...]  # symbols to take over
    renewed: tuple[str, ...]  # symbols that are stored and read anew
    stored: tuple[tuple[Path, Part], ...]  # periods ascending
    periods: tuple[Period, ...]
    staging: Path


@dataclass(frozen=True)
class StagedPart:
    """A part's content; `file` is None where the store holds the same bytes already."""

    period: int
    file: Path | None
    sha256: str
    symbols: tuple[str, ...]
    offsets: tuple[int, ...]


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
    actions: pa.Table
    quarantine: pa.Table
    notes: dict[str, list[str]]  # by symbol, where there are any
    dropped: dict[str, str]  # by symbol, a sentence on the stored sessions it has no more


def spill_file(path: Path, options: ReadOptions, file: Path) -> Spill:
    """Read a source file and put its accepted rows, sorted by symbol, into the new file `file`."""
    reading = read_file(path, options)
    return _spilled(reading, reading.bars, file)


def without(spill: Spill, symbols: Collection[str]) -> Spill:
    """Return a spill without the rows of `symbols`, in a new file beside it; as if its file had never had them."""
    if set(symbols).isdisjoint(spill.symbols):
        return spill
    with pa.memory_map(str(spill.file)) as source:
        rows = pa.ipc.open_file(source).read_all()
        left = rows.filter(pc.invert(pc.is_in(rows["symbol"], pa.array(sorted(symbols), pa.string()))))
        reading = replace(spill.reading, rows_in=spill.reading.rows_in - len(rows) + len(left))
        return _spilled(reading, left, spill.file.with_suffix(".rest.arrow"))


def _spilled(reading: Reading, rows: pa.Table, file: Path) -> Spill:
    bars, symbols, offsets = _by_symbol(rows)
    days, rows = np.unique(bars["session"].to_numpy().astype("datetime64[D]"), return_counts=True)
    with file.open("xb") as sink, pa.ipc.new_file(sink, bars.schema) as writer:
        writer.write_table(bars)
    extras = tuple(name for name in bars.column_names if name not in ROWS.names)
    empty = replace(reading, bars=bars.schema.empty_table())
    return Spill(empty, file, extras, symbols, offsets, days, rows)


def build_block(task: BlockTask) -> Built:
    """Assemble a block's symbols and put each part that differs from the stored one into the staging folder."""
    bars, extents = {}, {}
    actions, quarantine = [ACTIONS.empty_table()], [QUARANTINE.empty_table()]
    notes: dict[str, list[str]] = {}
    dropped: dict[str, str] = {}
    stored = _stored(task)
    for symbol, rows in _fresh(task):
        assembled = assemble(symbol, rows, task.files, task.extras, task.frequency)
        bars[symbol] = assembled.bars
        extents[symbol] = _extent(task.block, assembled.bars, assembled.duplicates)
        actions.append(assembled.actions)
        quarantine.append(assembled.quarantine)
        if assembled.notes:
            notes[symbol] = list(assembled.notes)
        if symbol in stored:
            dropped |= _dropped(symbol, stored[symbol], assembled.bars)
    bars |= {symbol: stored[symbol] for symbol in task.kept}
    return Built(
        block=task.block,
        parts=tuple(_stage(task, bars)),
        extents=extents,
        actions=pa.concat_tables(actions),
        quarantine=pa.concat_tables(quarantine),
        notes=notes,
        dropped=dropped,
    )


def _by_symbol(rows: pa.Table) -> tuple[pa.Table, tuple[str, ...], tuple[int, ...]]:
    """Sort rows by symbol, keeping the order within a symbol; return them, the symbols and their offsets."""
    if not len(rows):
        return rows, (), (0,)
    encoded = rows["symbol"].combine_chunks().dictionary_encode()
    names = np.array(encoded.dictionary.to_pylist(), object)
    rank = np.argsort(np.argsort(names))
    codes = rank[encoded.indices.to_numpy()]
    if np.any(codes[1:] < codes[:-1]):
        order = np.argsort(codes, kind="stable")
        rows, codes = rows.take(order), codes[order]
    offsets = np.searchsorted(codes, np.arange(len(names) + 1))
    return rows.combine_chunks(), tuple(sorted(names)), tuple(offsets.tolist())


def _fresh(task: BlockTask) -> Iterator[tuple[str, pa.Table]]:
    """Yield the rows of each symbol to assemble, of all its files together, or made up."""
    if task.market:
        for number in task.made:
            rows = rows_of(task.market, number)
            yield symbol_of(number), rows.append_column("file", pa.array(np.zeros(len(rows), np.int32)))
    tables = []
    for piece in task.pieces:
        with pa.memory_map(str(piece.spill)) as source:
            table = pa.ipc.open_file(source).read_all().slice(piece.first, piece.last - piece.first)
        missing = [name for name in task.extras if name not in table.column_names]
        for name in missing:
            table = table.append_column(name, pa.array(np.full(len(table), np.nan)))
        table = table.select([*ROWS.names, *task.extras])
        tables.append(table.append_column("file", pa.array(np.full(len(table), piece.source, np.int32))))
    if tables:
        rows, symbols, offsets = _by_symbol(pa.concat_tables(tables))
        for symbol, (first, last) in zip(symbols, pairwise(offsets), strict=True):
            yield symbol, rows.slice(first, last - first)


def _stored(task: BlockTask) -> dict[str, pa.Table]:
    """Return the stored bars of the symbols to take over, and of those read anew."""
    found = defaultdict(list)
    schema = bars_schema(task.extras, task.frequency)
    for file, part in task.stored:
        table = read_parquet(file)
        for name in task.extras:
            if name not in table.column_names:
                table = table.append_column(name, pa.array(np.full(len(table), np.nan)))
        table = table.select(schema.names).cast(schema)
        for symbol, (first, last) in zip(part.symbols, pairwise(part.offsets), strict=True):
            found[symbol].append(table.slice(first, last - first))
    return {symbol: pa.concat_tables(found[symbol]) for symbol in (*task.kept, *task.renewed)}


def _dropped(symbol: str, before: pa.Table, now: pa.Table) -> dict[str, str]:
    """Return by `symbol` what is to be said of stored bars that it has no more, if there are any."""
    when = "time" if "time" in before.column_names else "session"
    missing = np.setdiff1d(before[when].to_numpy(), now[when].to_numpy())
    if not len(missing):
        return {}
    first = missing[0].astype("datetime64[D]")
    return {
        symbol: f"{symbol}: {len(missing):,} of its {len(before):,} stored {when}s are in its files no more, first "
        f"{first}; their bars are dropped"
    }


def _extent(block: int, bars: pa.Table, duplicates: int) -> Extent:
    if not len(bars):
        return Extent(block, 0, "", "", 1.0, duplicates)
    first, last = (str(bars["session"][row].as_py().date()) for row in (0, len(bars) - 1))
    return Extent(block, len(bars), first, last, bars["factor"][-1].as_py(), duplicates)


def _stage(task: BlockTask, bars: dict[str, pa.Table]) -> Iterator[StagedPart]:
    """Yield the block's parts, oldest period first."""
    numbers = range(len(task.periods))
    pieces: dict[int, list[tuple[str, pa.Table]]] = {number: [] for number in numbers}
    for symbol in sorted(bars):
        table = bars[symbol]
        bounds = np.searchsorted(period_of(task.periods, table["session"].to_numpy()), [*numbers, len(numbers)])
        for number, (first, last) in zip(numbers, pairwise(bounds.tolist()), strict=True):
            if last > first:
                pieces[number].append((symbol, table.slice(first, last - first)))
    stored = {part.sha256 for _, part in task.stored}
    for number, found in pieces.items():
        if found:
            content = parquet_bytes(pa.concat_tables(table for _, table in found))
            digest = hashlib.sha256(content).hexdigest()
            file = None
            if digest not in stored:
                file = task.staging / f"{task.block}-{number}.parquet"
                with file.open("xb") as sink:
                    sink.write(content)
            offsets = np.cumsum([0, *(len(table) for _, table in found)]).tolist()
            yield StagedPart(number, file, digest, tuple(symbol for symbol, _ in found), tuple(offsets))
