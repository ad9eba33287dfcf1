"""Source files read whole in batches, each batch's good rows in a file of the staging folder, sorted by symbol."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.bars.manifest import NAMED_SYMBOLS
from pipeline.bars.reading import Loaded, read_files
from pipeline.bars.rows import FILED_ROWS, Batch, Reading, ReadOptions

MOST_PAIRS = 50_000_000  # of files and symbols; one byte each, for a moment


@dataclass(frozen=True)
class Spill:
    """The accepted rows of a batch of files, in a file of the staging folder."""

    readings: tuple[Reading, ...]  # ascending by path; their bars are in the spill
    named: tuple[tuple[str, ...] | None, ...]  # each file's symbols, None where they are more than NAMED_SYMBOLS
    file: Path
    extras: tuple[str, ...]
    symbols: tuple[str, ...]  # of all files, ascending
    offsets: tuple[int, ...]  # rows offsets[i]:offsets[i + 1] are symbols[i]'s
    days: np.ndarray  # datetime64[D], distinct, ascending
    rows: np.ndarray  # bars on each of the days

    def table(self) -> pa.Table:
        """Return the rows: `FILED_ROWS` and the extras."""
        with pa.memory_map(str(self.file)) as source:
            return pa.ipc.open_file(source).read_all()


def spill_files(files: Sequence[Loaded], options: ReadOptions, file: Path) -> Spill:
    """Read source files and put their accepted rows, sorted by symbol, into the new file `file`."""
    return spill_rows(read_files(files, options), file)


def without(spill: Spill, symbols: Collection[str]) -> Spill:
    """Return a spill without the rows of `symbols`, in a new file beside it; as if its files had never had them."""
    if set(symbols).isdisjoint(spill.symbols):
        return spill
    rows = spill.table()
    is_out = pc.is_in(rows["symbol"], pa.array(sorted(symbols), pa.string()))
    out = np.bincount(rows["file"].filter(is_out).to_numpy(), minlength=len(spill.readings)).tolist()
    readings = [each._replace(rows_in=each.rows_in - count) for each, count in zip(spill.readings, out, strict=True)]
    return spill_rows(Batch(tuple(readings), rows.filter(pc.invert(is_out))), spill.file.with_suffix(".rest.arrow"))


def by_symbol(rows: pa.Table) -> tuple[pa.Table, tuple[str, ...], tuple[int, ...]]:
    """Sort rows by symbol, keeping the order within a symbol; return them, the symbols and their offsets."""
    if not len(rows):
        return rows, (), (0,)
    names, codes = encoded(rows["symbol"])
    if np.any(codes[1:] < codes[:-1]):
        order = np.argsort(codes, kind="stable")
        rows, codes = rows.take(order), codes[order]
    offsets = np.searchsorted(codes, np.arange(len(names) + 1))
    return rows.combine_chunks(), names, tuple(offsets.tolist())


def encoded(symbols: pa.ChunkedArray) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the distinct symbols, ascending, and of each row which of them it is."""
    encoded = symbols.combine_chunks().dictionary_encode()
    names = np.array(encoded.dictionary.to_pylist(), object)
    rank = np.argsort(np.argsort(names))
    return tuple(sorted(names)), rank[encoded.indices.to_numpy()]


def spill_rows(batch: Batch, file: Path) -> Spill:
    """Put the rows of a batch, sorted by symbol, into the new file `file`."""
    bars, symbols, offsets = by_symbol(batch.bars)
    days, rows = np.unique(bars["session"].to_numpy().astype("datetime64[D]"), return_counts=True)
    with file.open("xb") as sink, pa.ipc.new_file(sink, bars.schema) as writer:
        writer.write_table(bars)
    extras = tuple(name for name in bars.column_names if name not in FILED_ROWS.names)
    named = _named(bars, symbols, offsets, len(batch.readings))
    return Spill(batch.readings, named, file, extras, symbols, offsets, days, rows)


def _named(
    bars: pa.Table, symbols: Sequence[str], offsets: Sequence[int], files: int
) -> tuple[tuple[str, ...] | None, ...]:
    """Return the symbols of each file, where they are few enough to be remembered."""
    codes = np.repeat(np.arange(len(symbols)), np.diff(offsets))
    pairs = bars["file"].to_numpy().astype(np.int64) * len(symbols) + codes
    if files * len(symbols) <= MOST_PAIRS:
        present = np.zeros(files * len(symbols), bool)
        present[pairs] = True
        distinct = np.flatnonzero(present)
    else:
        distinct = np.unique(pairs)
    owners, codes = np.divmod(distinct, max(len(symbols), 1))
    bounds = np.searchsorted(owners, np.arange(files + 1)).tolist()
    return tuple(
        None if last - first > NAMED_SYMBOLS else tuple(symbols[code] for code in codes[first:last].tolist())
        for first, last in pairwise(bounds)
    )
