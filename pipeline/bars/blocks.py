"""Bars by block: a symbol's whole history, for the signals.

``open_bars`` gives a Dask DataFrame with one partition per block. The read is part of the task (``dd.from_map``), so
under processes or a cluster no bar passes through the parent, and nothing is fused behind our back (dask#12193).
A block can be cut between symbols and joined to others (``pipeline.bars.split``): what the store wrote is one way to
divide the work, not the only one.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.bars.parquet import read_parquet
from pipeline.bars.store import Part, Snapshot
from pipeline.compute.meter import METER, Meter
from pipeline.modes import Frequency
from pipeline.schema import MINUTE_SIGNALS, NAMES, PRICES, RAW_PRICES, SIGNALS

if TYPE_CHECKING:
    import dask.dataframe as dd


@dataclass(frozen=True)
class Slice:
    """Rows ``first:last`` of a part are consecutive sessions of one symbol."""

    part: int  # index into the block's files
    first: int
    last: int


@dataclass(frozen=True)
class Block:
    """Some whole symbols and where their bars lie: all that travels to a worker (about 1 KB)."""

    number: int
    files: tuple[str, ...]
    symbols: tuple[str, ...]
    scales: tuple[float, ...]
    slices: tuple[tuple[Slice, ...], ...]  # per symbol, sessions ascending
    extras: tuple[str, ...]  # numeric columns of the source beyond the usual ones
    has_times: bool = False  # whether the bars are of minutes
    shared: frozenset[str] = frozenset()  # files of which other tasks have pieces: worth keeping for the next one

    def __str__(self) -> str:
        """Name the block by its symbols, as reports and the dashboard do."""
        return self.symbols[0] if len(self.symbols) == 1 else f"{self.symbols[0]}..{self.symbols[-1]}"

    def __dask_tokenize__(self) -> str:
        """Identify the block for Dask by its symbols, whole ones, and files, which are named by what is in them."""
        return hashlib.sha256(repr((self.files, self.symbols, self.scales)).encode()).hexdigest()

    @cached_property
    def lengths(self) -> tuple[int, ...]:
        """How many bars each symbol has."""
        return tuple(sum(piece.last - piece.first for piece in slices) for slices in self.slices)

    @property
    def rows(self) -> int:
        """How many bars there are."""
        return sum(self.lengths)

    def between(self, first: int, last: int) -> "Block":
        """Return the block of the symbols ``first:last`` of this one."""
        if (first, last) == (0, len(self.symbols)):
            return self
        return replace(
            self,
            symbols=self.symbols[first:last],
            scales=self.scales[first:last],
            slices=self.slices[first:last],
        )

    def cut(self, at: int) -> "list[Block]":
        """Return a block as two tasks, of its first `at` symbols and the others; a worker reads their files once."""
        whole = replace(self, shared=frozenset(self.files))
        return [whole.between(0, at), whole.between(at, len(self.symbols))]


def joined(blocks: Sequence[Block]) -> Block:
    """Return one block of the symbols of several, in their order."""
    if len(blocks) == 1:
        return blocks[0]
    files: list[str] = []
    slices: list[tuple[Slice, ...]] = []
    for block in blocks:
        shift = len(files)
        slices += [tuple(replace(piece, part=piece.part + shift) for piece in own) for own in block.slices]
        files += block.files
    return replace(
        blocks[0],
        files=tuple(files),
        symbols=tuple(symbol for block in blocks for symbol in block.symbols),
        scales=tuple(scale for block in blocks for scale in block.scales),
        slices=tuple(slices),
        shared=frozenset().union(*(block.shared for block in blocks)),
    )


def blocks_of(snapshot: Snapshot, symbols: Sequence[str]) -> list[Block]:
    """Return the blocks that hold `symbols` (ascending), each reduced to those of them it holds."""
    wanted = set(symbols)
    blocks = []
    parts_of: dict[int, list[Part]] = {}
    for part in snapshot.manifest.parts:
        parts_of.setdefault(part.block, []).append(part)
    for number in sorted(parts_of):
        parts = sorted(parts_of[number], key=lambda part: part.period)
        slices: dict[str, list[Slice]] = {}
        for index, part in enumerate(parts):
            for symbol, first, last in zip(part.symbols, part.offsets, part.offsets[1:], strict=False):
                if symbol in wanted:
                    slices.setdefault(symbol, []).append(Slice(index, first, last))
        names = tuple(sorted(slices))
        if names:
            blocks.append(
                Block(
                    number=number,
                    files=tuple(str(snapshot.path(part)) for part in parts),
                    symbols=names,
                    scales=tuple(snapshot.by_symbol[name].scale for name in names),
                    slices=tuple(tuple(slices[name]) for name in names),
                    extras=snapshot.manifest.columns[6:],
                    has_times=snapshot.manifest.frequency == Frequency.MINUTE,
                )
            )
    return blocks


def columns_of(block: Block) -> tuple[str, ...]:
    """Return the numeric columns a strategy may ask of a block: adjusted prices, volume, raw prices, extras."""
    return (*PRICES, "volume", *RAW_PRICES, *block.extras)


def load_block(block: Block, columns: Sequence[str]) -> pd.DataFrame:
    """Read the bars of a block.

    Parameters
    ----------
    block : Block
        What to read.
    columns : sequence of str
        Any of `columns_of`, in the order wanted. ``open high low close`` are adjusted
        (``price x factor / scale``), ``raw_open ... raw_close`` as traded [currency per share].

    Returns
    -------
    DataFrame, (bars, 2 + columns)
        ``symbol`` (categorical), ``session``, of minute bars ``time`` (UTC), then `columns` as float64; sorted by
        symbol, then time.
    """
    names = ("session", *(["time"] if block.has_times else []), *_stored_columns(columns))
    tables = _tables(block, names)
    parts = {name: [table[name].to_numpy() for table in tables] for name in names}
    arrays = {name: _gather(block, parts[name]) for name in parts}
    codes = np.repeat(np.arange(len(block.symbols), dtype=np.int32), block.lengths)
    frame = {
        "symbol": pd.Categorical.from_codes(
            codes, dtype=pd.CategoricalDtype(pd.Index(block.symbols, dtype=NAMES)), validate=False
        ),
        "session": arrays["session"],
    }
    if block.has_times:
        frame["time"] = pd.DatetimeIndex(arrays["time"], tz="UTC")
    scales = np.repeat(np.asarray(block.scales), block.lengths)
    for name in columns:
        if name in PRICES:
            frame[name] = arrays[name] * arrays["factor"] / scales
        else:
            frame[name] = arrays[name.removeprefix("raw_")]
    return pd.DataFrame(frame, copy=False)


def open_bars(blocks: Sequence[Block], columns: Sequence[str]) -> "dd.DataFrame":
    """Return the bars of `blocks` as a lazy Dask DataFrame, one partition per block (columns as in `load_block`)."""
    import dask
    import dask.dataframe as dd  # half a second that workers, who only read, do without

    times = MINUTE_SIGNALS if blocks[0].has_times else SIGNALS
    numbers = dict.fromkeys(columns, np.empty(0))
    meta = pd.DataFrame({name: times[name].array for name in times if name != "signal"} | numbers)
    with dask.config.set({"dataframe.convert-string": False}):  # another step in every task, for symbols only
        return dd.from_map(
            _partition, list(blocks), wanted=tuple(columns), meta=meta, label="bars", enforce_metadata=False
        )


def _partition(block: Block, wanted: Sequence[str]) -> pd.DataFrame:
    """Read a block, metered; Dask would take an argument called ``columns`` for all columns of the frame."""
    meter = Meter()
    frame = load_block(block, wanted)
    meter.has_read(len(frame), bytes_of(frame))
    frame.attrs[METER] = meter
    return frame


def bytes_of(frame: pd.DataFrame) -> int:
    """Return how many bytes the columns of a frame take in memory."""
    return sum(column.nbytes for _, column in frame.items())


_kept: dict[tuple[str, tuple[str, ...]], pa.Table] = {}
"""What the last task of this process read of files that the next one may need as well, by file and columns."""


def _tables(block: Block, names: tuple[str, ...]) -> list[pa.Table]:
    """Read the files of a block; of a block that was cut, a worker that had another piece just now has them still."""
    tables = {}
    for file in block.files:
        known = _kept.get((file, names))
        tables[file] = read_parquet(file, names) if known is None else known
    shared = {(file, names): tables[file] for file in block.shared}
    for gone in set(_kept) - set(shared):
        _kept.pop(gone, None)
    _kept.update(shared)
    return [tables[file] for file in block.files]


def _stored_columns(columns: Sequence[str]) -> list[str]:
    """Return which columns of the parts make `columns`; adjusted prices need the factor."""
    names = dict.fromkeys(name.removeprefix("raw_") for name in columns)
    if any(name in PRICES for name in columns):
        names["factor"] = None
    return list(names)


def _gather(block: Block, parts: list[np.ndarray]) -> np.ndarray:
    """Lay the slices of every symbol one after another."""
    if len(parts) == 1 and len(block.symbols) == 1:
        piece = block.slices[0][0]
        return parts[0][piece.first : piece.last]
    return np.concatenate([parts[piece.part][piece.first : piece.last] for slices in block.slices for piece in slices])
