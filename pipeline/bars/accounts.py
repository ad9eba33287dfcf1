"""Where every row went: rows in = stored + duplicates + quarantined, and nothing is dropped by an update."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.bars.holding import with_held
from pipeline.bars.intake import Intake, source_of
from pipeline.bars.manifest import SourceFile
from pipeline.bars.parts import Built
from pipeline.bars.refusals import carried_over, read_quarantine
from pipeline.bars.store import Snapshot, Symbol
from pipeline.errors import ConfigError, InvariantError
from pipeline.schema import QUARANTINE
from pipeline.words import counted


@dataclass(frozen=True)
class Accounts:
    """Where every row went."""

    files: tuple[SourceFile, ...]
    symbols: tuple[Symbol, ...]
    duplicates: dict[str, int]  # by symbol, where there are any
    quarantine: pa.Table

    @property
    def counts(self) -> dict[str, int]:
        """How many files and rows came, and what became of them."""
        return {
            "files": len(self.files),
            "files_refused": sum(file.refused for file in self.files),
            "rows_in": sum(file.rows_in for file in self.files),
            "stored": sum(symbol.rows for symbol in self.symbols),
            "duplicates": sum(self.duplicates.values()),
            "quarantined": pc.sum(pc.greater(self.quarantine["line"], 0)).as_py() or 0,
            "symbols": len(self.symbols),
        }


def accounts(intake: Intake, built: Sequence[Built]) -> Accounts:
    """Add up the books of the snapshot to be.

    Raises
    ------
    InvariantError
        Rows in are not rows stored, dropped as duplicates and quarantined.
    """
    records = (*(source_of(*file) for file in intake.readings), *intake.grown, *intake.same, *intake.lost)
    files = with_held({record.path: record for record in records}, intake)
    extents = {symbol: extent for block in built for symbol, extent in block.extents.items()}
    symbols = {name: entry for name, entry in intake.stored.items() if name not in intake.touched}
    for name, rows, last in intake.followers.extents():
        symbols[name] = symbols[name]._replace(rows=symbols[name].rows + rows, last=last)
    for name, extent in extents.items():
        if extent.rows:
            scale = intake.stored[name].scale if name in intake.stored else extent.factor
            symbols[name] = Symbol(name, extent.block, extent.rows, extent.first, extent.last, scale)
    duplicates = {name: extent.duplicates for name, extent in extents.items() if extent.duplicates}
    duplicates |= {name: count for name, count in intake.duplicates.items() if name not in intake.touched}
    quarantine = pa.concat_tables(_quarantines(intake, built))
    accounts = Accounts(
        files=tuple(files[path] for path in sorted(files)),
        symbols=tuple(symbols[name] for name in sorted(symbols)),
        duplicates=dict(sorted(duplicates.items())),
        quarantine=quarantine,
    )
    counts = accounts.counts
    if counts["rows_in"] != counts["stored"] + counts["duplicates"] + counts["quarantined"]:
        raise InvariantError(
            f"ingest: {counts}; rows in = stored + duplicates + quarantined. This is a defect: please report it."
        )
    return accounts


def check_whole(before: Snapshot, books: Accounts) -> None:
    """See that a store built afresh has what the one before it had; ConfigError where it would lose bars."""
    now = {entry.symbol: entry for entry in books.symbols}
    lost = [
        entry for entry in before.manifest.symbols if entry.symbol not in now or now[entry.symbol].rows < entry.rows
    ]
    if lost:
        rows = now[lost[0].symbol].rows if lost[0].symbol in now else 0
        raise ConfigError(
            f"store {before.root}: made with other options of data, by which {len(lost):,} of its "
            f"{counted(len(before.manifest.symbols), 'symbol')} would lose bars, {lost[0].symbol} "
            f"{lost[0].rows - rows:,} of {lost[0].rows:,}; one store per data set. "
            f"Give data.store another folder, or run `ingest --rebuild` to "
            f"replace it."
        )


def _quarantines(intake: Intake, built: Sequence[Built]) -> list[pa.Table]:
    tables = [QUARANTINE.empty_table(), *(reading.quarantine for reading, _ in intake.readings)]
    tables += [block.quarantine for block in built]
    if not intake.previous:
        return tables
    tables += [reading.quarantine for reading in intake.tails]
    tables += [held.refused for held in intake.held.values()]
    if intake.previous.manifest.quarantine.rows:
        before = read_quarantine(intake.previous)
        lost = {record.path for record in intake.lost}
        unread = {record.path for record in (*intake.same, *intake.lost, *intake.grown)}
        read = {reading.path for reading, _ in intake.readings}
        tables.append(carried_over(before, unread, read - lost, read & lost, intake.touched.union(intake.held)))
    return tables
