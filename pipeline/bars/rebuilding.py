"""What a rebuild does to the bars of the store it replaces: told like every other change of stored bars."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from pipeline.bars.inventory import check_source
from pipeline.bars.parquet import read_parquet
from pipeline.bars.parts import Built
from pipeline.bars.revisions import Revised, compared_bars, gone
from pipeline.bars.rounds import Notes
from pipeline.bars.slices import Slices
from pipeline.bars.store import Snapshot, exists, open_snapshot, open_whole
from pipeline.errors import ConfigError, DataError, StoreCorruptError
from pipeline.events import Warned
from pipeline.options import DataOptions
from pipeline.words import counted, listed


def replaced_by(options: DataOptions, notes: Notes) -> Snapshot | None:
    """Return the snapshot that a rebuild replaces, the newest that can be read; None where none is of this source.

    Where the store is damaged so much that there is none, `notes` are told.
    """
    if not exists(options.store):
        return None
    try:
        snapshot = _readable(options.store)
        check_source(snapshot, options)
    except StoreCorruptError as error:
        notes.tell(
            f"store {options.store}: nothing of what it held can be read ({error.what}), so nobody can tell which bars "
            f"the rebuild loses or changes. Look whether all source files are there",
            Warned,
        )
        return None
    except (ConfigError, DataError):
        return None
    return snapshot


def _readable(root: Path) -> Snapshot:
    try:
        return open_snapshot(root, as_it_is=True)
    except StoreCorruptError:
        return open_whole(root)


def compared_with(before: Snapshot, built: Sequence[Built], adjustment: str, notes: Notes) -> list[Built]:
    """Return what was built with what became of the bars that `before` holds, as far as these can be read.

    Parameters
    ----------
    before : Snapshot
        What is replaced.
    built : sequence of Built
        All blocks of the snapshot to be, at least one.
    adjustment : {"none", "splits", "all"}
        What the files' prices are adjusted for.
    notes : Notes
        Told which symbols cannot be compared, since their parts are damaged.
    """
    block_of = {
        symbol: number for number, block in enumerate(built) for symbol, each in block.extents.items() if each.rows
    }
    revised: dict[int, dict[str, Revised]] = defaultdict(dict)
    damaged: list[str] = []
    for block in sorted({entry.block for entry in before.manifest.symbols}):
        entries = [entry for entry in before.manifest.symbols if entry.block == block]
        for entry in entries:
            if entry.symbol not in block_of:
                revised[0][entry.symbol] = gone(entry)
        stay = [entry.symbol for entry in entries if entry.symbol in block_of]
        try:
            old = _stored_bars(before, block)
        except DataError:
            damaged += stay
            continue
        new = {number: _built_bars(built[number]) for number in {block_of[symbol] for symbol in stay}}
        for symbol in stay:
            change = compared_bars(symbol, old[symbol], new[block_of[symbol]][symbol], adjustment)
            if change:
                revised[block_of[symbol]][symbol] = change
    if damaged:
        notes.tell(
            f"store {before.root}: the stored bars of {counted(len(damaged), 'symbol')} are damaged and were not "
            f"compared with those of the files: {listed(damaged)}. Look whether their files are whole",
            Warned,
        )
    return [replace(block, revised=block.revised | revised[number]) for number, block in enumerate(built)]


def _stored_bars(snapshot: Snapshot, block: int) -> dict[str, pa.Table]:
    """Return the bars of a block by symbol, every byte checked."""
    parts = sorted((part for part in snapshot.manifest.parts if part.block == block), key=lambda part: part.period)
    return _by_symbol(
        [Slices(read_parquet(snapshot.path(part), sha256=part.sha256), part.symbols, part.offsets) for part in parts]
    )


def _built_bars(block: Built) -> dict[str, pa.Table]:
    return _by_symbol(
        [Slices(read_parquet(part.file), part.symbols, part.offsets) for part in block.parts if part.file]
    )


def _by_symbol(parts: Sequence[Slices]) -> dict[str, pa.Table]:
    """Return the bars of each symbol in some parts, periods ascending."""
    merged = Slices.merge(parts)
    return dict(merged.each()) if merged else {}
