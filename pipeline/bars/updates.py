"""Which files an ingest reads, and which symbols it assembles anew: as little as comes to what a rebuild gives.

A symbol whose new rows lie after its stored bars just goes on (`pipeline.bars.following`), and one that comes for the
first time is assembled from its new rows. Every other symbol that changed is assembled from all of its rows, so all
files that have some of them are read whole, and the other symbols of files that were rewritten are assembled too.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.bars.ends import whole_ends
from pipeline.bars.following import followers
from pipeline.bars.intake import Intake, first_of_all, source_of, symbols_of
from pipeline.bars.inventory import Survey, survey
from pipeline.bars.manifest import NAMED_SYMBOLS, SourceFile
from pipeline.bars.quality import Rule
from pipeline.bars.refusals import read_quarantine
from pipeline.bars.rows import Batch
from pipeline.bars.spills import Spill
from pipeline.bars.store import Snapshot
from pipeline.bars.taking import Reader, Taken
from pipeline.errors import TemporaryError


def take_in(
    files: Mapping[Path, tuple[int, int]], previous: Snapshot | None, reader: Reader, *, reopened: Sequence[str] = ()
) -> Intake:
    """Read what changed, and whatever else is needed to assemble the symbols that do not just go on.

    `reopened` are symbols that were held and shall be looked at anew.
    """
    as_of, frequency = reader.options.as_of, reader.options.frequency
    if not previous:
        return first_of_all(reader.take([*files], {}).spills, frequency)
    before = _Before(previous, previous.manifest.source_files)
    found = survey(files, before.records, as_of)
    taken = reader.take(found.changed, before.growable(as_of))
    lost = _lost(before.records, found, taken.spills)
    paths_lost = {record.path for record in lost}
    grown = _grown(taken.tails, before.records)
    new = {reading.path for spill in taken.spills for reading in spill.readings if reading.path not in before.records}
    changed = _changed(taken.spills, before, new | paths_lost).union(reopened)
    ends = whole_ends(previous.table(previous.manifest.ends))
    go_on, others = followers(_arrived(taken, new), ends, changed | before.barred)
    candidates = [record for record in (*found.same, *grown) if record.path not in paths_lost]
    touched, replaced, related = _closure(before, changed | (others & before.known), lost, candidates)
    whole = reader.whole(Path(record.path) for record in related)
    _check_unchanged(whole, related)
    again = {record.path for record in related}
    touched |= others
    return Intake(
        previous=previous,
        spills=(*taken.spills, *whole),
        grown=tuple(record for record in grown if record.path not in again),
        tails=tuple(reading for reading in taken.tails.readings if reading.path not in again),
        same=tuple(record for record in found.same if record.path not in again | paths_lost),
        lost=tuple(record for record in lost if record not in replaced),
        replaced=tuple(replaced),
        touched=frozenset(touched),
        followers=go_on.only(set(go_on.symbols) - touched),
        newcomers=_newcomers(taken.tails, others - before.known, again, reader),
        frequency=frequency,
    )


@dataclass(frozen=True)
class _Before:
    """What the store knows."""

    snapshot: Snapshot
    records: Mapping[str, SourceFile]

    @cached_property
    def barred(self) -> frozenset[str]:
        """Symbols whose new rows cannot be judged alone: others are held out, or all of them conflict."""
        manifest = self.snapshot.manifest
        if not manifest.quarantine.rows:
            return frozenset(manifest.held)
        refused = read_quarantine(self.snapshot)
        conflicting = refused.filter(pc.equal(refused["rule"], Rule.CONFLICT))["symbol"].to_pylist()
        return frozenset(manifest.held).union(set(conflicting) - self.snapshot.by_symbol.keys())

    @cached_property
    def known(self) -> frozenset[str]:
        """All symbols of which the recorded files have good rows."""
        return self.barred.union(self.snapshot.by_symbol)

    def growable(self, as_of: date) -> dict[str, SourceFile]:
        """Return the files of which only appended lines need be read, should there be any.

        Not so where rows have come that lay in the future, or a symbol's stored bars are held against its file.
        """
        held, known = frozenset(self.snapshot.manifest.held), self.known
        return {
            path: record
            for path, record in self.records.items()
            if record.shape
            and not record.is_awaited(as_of)
            and (not held or held.isdisjoint(symbols_of(record, known)))
        }


def _lost(records: Mapping[str, SourceFile], found: Survey, spills: Iterable[Spill]) -> list[SourceFile]:
    """Return the files that gave bars and are gone or refused now, with what they gave when they were good."""
    refused = [
        source_of(reading, ())._replace(
            adjustment=records[reading.path].adjustment,
            rows_in=records[reading.path].rows_in,
            symbols=records[reading.path].symbols,
        )
        for reading in chain.from_iterable(spill.readings for spill in spills)
        if reading.is_refused and reading.path in records
    ]
    still = [record for record in found.same if record.refused]
    return [record for record in (*found.gone, *refused, *still) if not record.gave_none]


def _grown(tails: Batch, records: Mapping[str, SourceFile]) -> list[SourceFile]:
    """Return the records of grown files as they are now."""
    symbols: dict[int, set[str]] = defaultdict(set)
    for file, symbol in zip(tails.bars["file"].to_pylist(), tails.bars["symbol"].to_pylist(), strict=True):
        symbols[file].add(symbol)
    grown = []
    for place, reading in enumerate(tails.readings):
        before = records[reading.path]
        named = before.symbols
        if named is not None and not symbols[place].issubset(named):
            named = tuple(sorted({*named, *symbols[place]}))
        grown.append(
            before._replace(
                bytes=reading.bytes,
                mtime_ns=reading.mtime_ns,
                crc32=reading.crc32,
                rows_in=before.rows_in + reading.rows_in,
                symbols=None if named and len(named) > NAMED_SYMBOLS else named,
                lines=reading.lines,
                waits=min(before.waits or reading.waits, reading.waits or before.waits),
            )
        )
    return grown


def _changed(spills: Iterable[Spill], before: _Before, others: Collection[str]) -> set[str]:
    """Return the symbols of files that were rewritten, those they gave before and those they give now."""
    changed: set[str] = set()
    for spill in spills:
        for reading, named in zip(spill.readings, spill.named, strict=True):
            if reading.path not in others:
                changed |= symbols_of(before.records[reading.path], before.known)
                changed.update(spill.symbols if named is None else named)
    return changed


def _arrived(taken: Taken, new: Collection[str]) -> pa.Table:
    """Return the rows of files that are new, and those that were appended."""
    tables = [taken.tails.bars]
    for spill in taken.spills:
        is_new = np.array([reading.path in new for reading in spill.readings], bool)
        if is_new.any():
            rows = spill.table()
            tables.append(rows if is_new.all() else rows.filter(pa.array(is_new[rows["file"].to_numpy()])))
    return pa.concat_tables(tables, promote_options="default")


def _closure(
    before: _Before, touched: set[str], lost: Sequence[SourceFile], candidates: Sequence[SourceFile]
) -> tuple[set[str], list[SourceFile], list[SourceFile]]:
    """Return all symbols to assemble anew, the lost files that no longer count, and the files to read once more.

    A lost file counts for all of its symbols or for none; a symbol that is held is looked at whenever a file of its
    is read.
    """
    known, held = before.known, frozenset(before.snapshot.manifest.held)
    replaced: list[SourceFile] = []
    related: list[SourceFile] = []
    size = -1
    while touched and size != len(touched) + len(replaced):
        size = len(touched) + len(replaced)
        replaced = [record for record in lost if not touched.isdisjoint(symbols_of(record, known))]
        touched = touched.union(*(symbols_of(record, known) for record in replaced))
        related = [record for record in candidates if not touched.isdisjoint(symbols_of(record, known))]
        touched = touched.union(*(held & symbols_of(record, known) for record in related))
    return touched, replaced, related


def _check_unchanged(spills: Iterable[Spill], records: Iterable[SourceFile]) -> None:
    """See that files read once more are what they were; TemporaryError where one is being written."""
    known = {record.path: record.crc32 for record in records}
    for reading in chain.from_iterable(spill.readings for spill in spills):
        if reading.crc32 != known[reading.path]:
            raise TemporaryError(
                f"{reading.path}: changed while its folder was ingested; files must be complete before they are read. "
                f"Run the same command again when its writer is done."
            )


def _newcomers(tails: Batch, symbols: Collection[str], again: Collection[str], reader: Reader) -> Spill | None:
    """Put aside the appended rows of new symbols, but for those in files that were read whole after all."""
    rows = tails.bars
    is_wanted = np.isin(rows["symbol"].to_numpy(zero_copy_only=False), list(symbols))
    read = np.array([reading.path in again for reading in tails.readings], bool)
    chosen = is_wanted & ~read[rows["file"].to_numpy()] if len(rows) else is_wanted
    return reader.spill(Batch(tails.readings, rows.filter(pa.array(chosen, pa.bool_())))) if chosen.any() else None
