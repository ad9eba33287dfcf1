"""What an ingest has to go by: the files read, those that need not be, and the snapshot they update; or a market."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from zlib import crc32

import numpy as np
import pyarrow as pa

from pipeline.bars.following import NOBODY, Followers
from pipeline.bars.inventory import size_and_mtime
from pipeline.bars.manifest import NAMED_SYMBOLS, SourceFile
from pipeline.bars.rows import ROWS, Reading
from pipeline.bars.simulator import Market
from pipeline.bars.spills import Spill
from pipeline.bars.store import Snapshot, Symbol
from pipeline.bars.synthetic import survey as survey_market
from pipeline.errors import DataError
from pipeline.modes import Frequency
from pipeline.schema import QUARANTINE, STORED, bars_schema
from pipeline.words import counted


@dataclass(frozen=True)
class Held:
    """A symbol whose stored bars stay although its files were read anew; see `pipeline.bars.holding`."""

    files: tuple[str, ...]  # that give it, or gave it
    text: str
    is_disputed: bool  # they would change stored bars
    refused: pa.Table  # schema.QUARANTINE: rows of these files that were refused and are no stored bars


@dataclass(frozen=True)
class Intake:
    """Everything that decides the next snapshot."""

    previous: Snapshot | None
    spills: tuple[Spill, ...]  # batches of files read whole, refused ones too
    grown: tuple[SourceFile, ...]  # files of which only the appended lines were read ...
    tails: tuple[Reading, ...]  # ... and these lines
    same: tuple[SourceFile, ...]  # unchanged and not read
    lost: tuple[SourceFile, ...]  # gone, or refused now and good before: their symbols' bars stay ...
    replaced: tuple[SourceFile, ...]  # ... and those whose symbols were looked for anew in other files
    touched: frozenset[str]  # symbols assembled anew, from all their rows
    followers: Followers = NOBODY  # symbols whose stored bars go on
    newcomers: Spill | None = None  # rows of touched symbols that only the appended lines have
    held: Mapping[str, Held] = field(default_factory=dict)
    frequency: Frequency = Frequency.DAILY
    replaces: Snapshot | None = None  # by a rebuild, which does not go by it, but tells what becomes of its bars
    market: Market | None = None  # made up: its one spill has no file, since bars are made where they are needed

    @property
    def spilled(self) -> tuple[Spill, ...]:
        """All rows of the symbols that are assembled anew."""
        return self.spills if self.newcomers is None else (*self.spills, self.newcomers)

    @property
    def is_empty(self) -> bool:
        """Whether no file brought anything: then what the update before brought is news still."""
        return not (self.spills or self.grown)

    @property
    def extras(self) -> tuple[str, ...]:
        """Numeric columns beyond the usual ones, ascending."""
        names = {name for spill in self.spilled for name in spill.extras}
        return tuple(sorted(names.union(self.previous.manifest.columns[len(STORED) :] if self.previous else ())))

    @property
    def schema(self) -> pa.Schema:
        """What the parts hold."""
        return bars_schema(self.extras, self.frequency)

    @property
    def rows_of(self) -> dict[str, int]:
        """How many rows were read of each symbol that is assembled anew."""
        rows: dict[str, int] = {}
        for spill in self.spilled:
            for symbol, count in zip(spill.symbols, np.diff(spill.offsets).tolist(), strict=True):
                if symbol in self.touched:
                    rows[symbol] = rows.get(symbol, 0) + count
        return rows

    @property
    def sessions(self) -> tuple[np.ndarray, np.ndarray]:
        """The distinct days of the rows that are stored anew or follow, ascending, and how many rows each has."""
        counted = [_days_of(spill, self.touched) for spill in self.spilled]
        follow = np.unique(self.followers.bars["session"].to_numpy().astype("datetime64[D]"), return_counts=True)
        days = np.concatenate([np.empty(0, "datetime64[D]"), *(days for days, _ in [*counted, follow])])
        distinct, place = np.unique(days, return_inverse=True)
        rows = np.concatenate([np.empty(0, np.int64), *(rows for _, rows in [*counted, follow])])
        return distinct, np.bincount(place, rows, len(distinct)).astype(np.int64)

    @property
    def readings(self) -> Iterator[tuple[Reading, tuple[str, ...] | None]]:
        """Every file read whole, with its symbols, None where they are many."""
        return chain.from_iterable(zip(spill.readings, spill.named, strict=True) for spill in self.spills)

    @property
    def stored(self) -> dict[str, Symbol]:
        """The symbols of the snapshot before."""
        return self.previous.by_symbol if self.previous else {}

    @property
    def duplicates(self) -> dict[str, int]:
        """How many rows of a symbol were dropped as duplicates in the snapshot before, where there are any."""
        return self.previous.manifest.ingest["duplicates"] if self.previous else {}


def make_up(market: Market) -> Intake:
    """Return what a made-up market has in place of files: one source, with every bar counted and none made."""
    counted = survey_market(market)
    symbols = tuple(counted.bars_of)
    offsets = (0, *np.cumsum([*counted.bars_of.values()]).tolist())
    reading = Reading(
        path="data.synthetic",
        layout="synthetic",
        adjustment="none",
        bars=ROWS.empty_table(),
        quarantine=QUARANTINE.empty_table(),
        rows_in=offsets[-1],
        notes=(),
        bytes=0,
        mtime_ns=0,
        crc32=f"{crc32(repr(market).encode()):08x}",
    )
    named = symbols if len(symbols) <= NAMED_SYMBOLS else None
    spill = Spill((reading,), (named,), Path(), (), symbols, offsets, counted.days, counted.bars)
    return first_of_all((spill,), market.frequency, market)


def first_of_all(spills: Sequence[Spill], frequency: Frequency, market: Market | None = None) -> Intake:
    """Return what the first snapshot goes by: files read whole, or a market."""
    return Intake(
        previous=None,
        spills=tuple(spills),
        grown=(),
        tails=(),
        same=(),
        lost=(),
        replaced=(),
        touched=frozenset(chain.from_iterable(spill.symbols for spill in spills)),
        frequency=frequency,
        market=market,
    )


def source_of(reading: Reading, symbols: tuple[str, ...] | None) -> SourceFile:
    """Return what a snapshot remembers of a file that was read whole; `symbols` None where they are many."""
    size, mtime = (reading.bytes, reading.mtime_ns) if reading.crc32 else size_and_mtime(Path(reading.path))
    return SourceFile(
        path=reading.path,
        bytes=size,
        mtime_ns=mtime,
        crc32=reading.crc32,
        adjustment=reading.adjustment,
        rows_in=reading.rows_in,
        symbols=symbols,
        refused=reading.is_refused,
        lines=reading.lines,
        shape=reading.shape,
        waits=reading.waits,
    )


def check_adjustment(intake: Intake) -> str:
    """Return what the prices of all files are; DataError naming two files that differ."""
    known = [*(source_of(*file) for file in intake.readings), *intake.grown, *intake.same, *intake.lost]
    good = [record for record in known if record.symbols != ()]
    for record in good:
        if record.adjustment != good[0].adjustment:
            kinds = Counter(other.adjustment for other in good)
            raise DataError(
                f"{record.path}: prices adjusted for {record.adjustment!r} "
                f"({counted(kinds[record.adjustment], 'file')}), those of {good[0].path} for {good[0].adjustment!r} "
                f"({counted(kinds[good[0].adjustment], 'file')}); a store holds one "
                f"kind, so nothing was stored or quarantined. Ingest them into two stores: a folder (data.path) and a "
                f"data.store for each kind."
            )
    return good[0].adjustment if good else ""


def symbols_of(record: SourceFile, everything: frozenset[str]) -> frozenset[str]:
    """Return the symbols a file gave; `everything` where they were too many to be recorded."""
    return everything if record.symbols is None else frozenset(record.symbols)


def _days_of(spill: Spill, symbols: frozenset[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct days of the symbols' rows, and how many rows each has."""
    if symbols.issuperset(spill.symbols):
        return spill.days, spill.rows
    chosen = np.repeat([symbol in symbols for symbol in spill.symbols], np.diff(spill.offsets))
    days = spill.table()["session"].to_numpy().astype("datetime64[D]")[chosen]
    return np.unique(days, return_counts=True)
