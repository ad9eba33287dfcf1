"""What an ingest has to go by: the files read, those that need not be, and the snapshot they update; or a market."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

import numpy as np

from pipeline.bars.inventory import NAMED_SYMBOLS, SourceFile, recorded, size_and_mtime, survey
from pipeline.bars.parts import Spill
from pipeline.bars.reading import ROWS, Reading
from pipeline.bars.simulator import Market
from pipeline.bars.store import Snapshot, Symbol
from pipeline.bars.synthetic import survey as survey_market
from pipeline.errors import DataError
from pipeline.schema import QUARANTINE, STORED


@dataclass(frozen=True)
class Held:
    """A symbol whose stored bars stay although its files were read anew; see `pipeline.bars.holding`."""

    files: tuple[str, ...]  # that give it, or gave it
    text: str


@dataclass(frozen=True)
class Intake:
    """Everything that decides the next snapshot."""

    previous: Snapshot | None
    spills: tuple[Spill, ...]  # files read, refused ones too, ascending by path
    same: tuple[SourceFile, ...]  # unchanged and not read
    lost: tuple[SourceFile, ...]  # gone, or refused now and good before: their symbols' bars stay ...
    replaced: tuple[SourceFile, ...]  # ... and those whose symbols were looked for anew in other files
    touched: frozenset[str]  # symbols assembled anew
    held: Mapping[str, Held] = field(default_factory=dict)
    market: Market | None = None  # made up: its one spill has no file, since bars are made where they are needed

    @property
    def extras(self) -> tuple[str, ...]:
        """Numeric columns beyond the usual ones, ascending."""
        names = {name for spill in self.spills for name in spill.extras}
        return tuple(sorted(names.union(self.previous.manifest.columns[len(STORED) :] if self.previous else ())))

    @property
    def rows_of(self) -> dict[str, int]:
        """How many rows were read of each symbol."""
        rows: dict[str, int] = {}
        for spill in self.spills:
            for symbol, count in zip(spill.symbols, np.diff(spill.offsets).tolist(), strict=True):
                rows[symbol] = rows.get(symbol, 0) + count
        return rows

    @property
    def sessions(self) -> tuple[np.ndarray, np.ndarray]:
        """The distinct days of the rows read, ascending, and how many rows each has."""
        days = np.concatenate([np.empty(0, "datetime64[D]"), *(spill.days for spill in self.spills)])
        distinct, place = np.unique(days, return_inverse=True)
        rows = np.concatenate([np.empty(0, np.int64), *(spill.rows for spill in self.spills)])
        return distinct, np.bincount(place, rows, len(distinct)).astype(np.int64)

    @property
    def stored(self) -> dict[str, Symbol]:
        """The symbols of the snapshot before."""
        return self.previous.by_symbol if self.previous else {}

    @property
    def duplicates(self) -> dict[str, int]:
        """How many rows of a symbol were dropped as duplicates in the snapshot before, where there are any."""
        return self.previous.manifest.ingest["duplicates"] if self.previous else {}


def take_in(files: Sequence[Path], previous: Snapshot | None, read: Callable[[Iterable[Path]], list[Spill]]) -> Intake:
    """Read the changed files, then the unchanged ones that share a symbol with them."""
    records = recorded(previous) if previous else {}
    everything = frozenset(previous.by_symbol) if previous else frozenset()
    found = survey(files, records)
    spills = read(found.changed)
    lost = [record for record in (*found.gone, *_refused_now(records, spills)) if record.symbols != ()]
    lost += [record for record in found.same if record.refused and record.symbols != ()]
    paths_lost = {record.path for record in lost}
    changed = [records[path] for path in map(str, found.changed) if path in records and path not in paths_lost]
    touched = {symbol for spill in spills for symbol in spill.symbols}
    touched = touched.union(*(symbols_of(record, everything) for record in changed))
    related = _related(touched, [*found.same, *lost], everything)
    spills += read(Path(record.path) for record in found.same if record in related)
    return Intake(
        previous=previous,
        spills=tuple(sorted(spills, key=lambda spill: spill.reading.path)),
        same=tuple(record for record in found.same if record not in related and record.path not in paths_lost),
        lost=tuple(record for record in lost if record not in related),
        replaced=tuple(record for record in lost if record in related),
        touched=frozenset(touched),
    )


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
        sha256=sha256(repr(market).encode()).hexdigest(),
    )
    spill = Spill(reading, Path(), (), symbols, offsets, counted.days, counted.bars)
    return Intake(None, (spill,), same=(), lost=(), replaced=(), touched=frozenset(symbols), market=market)


def source_of(spill: Spill) -> SourceFile:
    """Return what a snapshot remembers of a file that was read."""
    reading = spill.reading
    size, mtime = (reading.bytes, reading.mtime_ns) if reading.sha256 else size_and_mtime(Path(reading.path))
    return SourceFile(
        path=reading.path,
        bytes=size,
        mtime_ns=mtime,
        sha256=reading.sha256,
        adjustment=reading.adjustment,
        rows_in=reading.rows_in,
        symbols=spill.symbols if len(spill.symbols) <= NAMED_SYMBOLS else None,
        refused=spill.is_refused,
    )


def check_adjustment(intake: Intake) -> str:
    """Return what the prices of all files are; DataError naming two files that differ."""
    known = [*map(source_of, intake.spills), *intake.same, *intake.lost]
    good = [record for record in known if record.symbols != ()]
    for record in good:
        if record.adjustment != good[0].adjustment:
            kinds = Counter(other.adjustment for other in good)
            raise DataError(
                f"{record.path}: prices adjusted for {record.adjustment!r} ({kinds[record.adjustment]} files), those "
                f"of {good[0].path} for {good[0].adjustment!r} ({kinds[good[0].adjustment]} files); a store holds one "
                f"kind, so nothing was stored or quarantined. Ingest them into two stores: a folder (data.path) and a "
                f"data.store for each kind."
            )
    return good[0].adjustment if good else ""


def _refused_now(records: Mapping[str, SourceFile], spills: Iterable[Spill]) -> Iterator[SourceFile]:
    """Yield the recorded files that are refused now: what they gave when they were good, under what they are now."""
    for spill in spills:
        if spill.is_refused and spill.reading.path in records:
            before = records[spill.reading.path]
            yield replace(
                source_of(spill), adjustment=before.adjustment, rows_in=before.rows_in, symbols=before.symbols
            )


def symbols_of(record: SourceFile, everything: frozenset[str]) -> frozenset[str]:
    """Return the symbols a file gave; `everything` where they were too many to be recorded."""
    return everything if record.symbols is None else frozenset(record.symbols)


def _related(touched: set[str], records: Sequence[SourceFile], everything: frozenset[str]) -> set[SourceFile]:
    """Return the records that share a symbol with `touched`, directly or through others; add theirs to `touched`."""
    related: set[SourceFile] = set()
    grown = True
    while grown:
        near = {
            record
            for record in records
            if record not in related and not touched.isdisjoint(symbols_of(record, everything))
        }
        grown = bool(near)
        related |= near
        for record in near:
            touched |= symbols_of(record, everything)
    return related
