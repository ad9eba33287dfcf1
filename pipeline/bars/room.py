"""How much room an ingest needs on its disk, told beforehand: as much as its source files, or its market, come to.

The factors are measured: of ten years of 5,000 symbols a row is 46 bytes of CSV, 112 bytes among the rows put aside,
and 23 in the store. Parquet packs twice as well as the store's text, gzip four times.
"""

from collections.abc import Mapping
from pathlib import Path

from pipeline.bars.inventory import Found, is_made_from
from pipeline.bars.manifest import Manifest, SourceFile
from pipeline.bars.minutes import MINUTES
from pipeline.bars.store import Snapshot
from pipeline.modes import Frequency, Source
from pipeline.options import DataOptions

TEXT = 3.0  # bytes on disk per byte of it, while the store is made
FACTORS = {".parquet": 2 * TEXT, ".gz": 4 * TEXT}
ROW = 23  # bytes in the store


def needed(options: DataOptions, found: Found, stored: Snapshot | None) -> int:
    """Return about how many bytes the store's disk must have free for an ingest.

    Parameters
    ----------
    options : DataOptions
        Of the source.
    found : Found
        Its files now.
    stored : Snapshot or None
        What is in the store, if anything counts.
    """
    if options.source is Source.SYNTHETIC:
        market = options.synthetic
        return market.symbols * market.sessions * ROW * (MINUTES if options.frequency is Frequency.MINUTE else 1)
    previous = stored.manifest if stored and is_made_from(stored, options) else None
    records = previous.source_files if previous else {}
    read = sum(_factor(path) * _unread(path, facts, records) for path, facts in found.files.items())
    return int(read) + (_rewritten(previous) if previous else 0)


def _unread(path: Path, facts: tuple[int, int], records: Mapping[str, SourceFile]) -> int:
    """Return how many bytes of a file are new, as far as its size and mtime tell."""
    record, (size, mtime) = records.get(str(path)), facts
    if record is None:
        return size
    if size == record.bytes:
        return 0 if mtime == record.mtime_ns else size
    return size - record.bytes if record.shape and size > record.bytes else size


def _factor(path: Path) -> float:
    return FACTORS.get(path.suffix, TEXT)


def _rewritten(manifest: Manifest) -> int:
    """Return the bytes of the parts that any new bar rewrites: those of the open period."""
    return sum(part.bytes for part in manifest.parts if manifest.periods[part.period].open)
