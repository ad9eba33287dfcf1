"""Where every row went: rows in = stored + duplicates + quarantined, and nothing is dropped by an update."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.bars.intake import Intake, source_of
from pipeline.bars.inventory import SourceFile
from pipeline.bars.parts import Built, Extent
from pipeline.bars.refusals import carried_over, read_quarantine
from pipeline.bars.store import Symbol
from pipeline.errors import DataError, InvariantError
from pipeline.schema import QUARANTINE


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
    files = {record.path: record for record in (*map(source_of, intake.spills), *intake.same, *intake.lost)}
    extents = {symbol: extent for block in built for symbol, extent in block.extents.items()}
    symbols = {name: entry for name, entry in intake.stored.items() if name not in intake.touched}
    for name, extent in extents.items():
        if extent.rows:
            scale = intake.stored[name].scale if name in intake.stored else extent.factor
            symbols[name] = Symbol(name, extent.block, extent.rows, extent.first, extent.last, scale)
    duplicates = {name: extent.duplicates for name, extent in extents.items() if extent.duplicates}
    if intake.previous:
        before = intake.previous.manifest.ingest["duplicates"]
        duplicates |= {name: count for name, count in before.items() if name not in intake.touched}
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


def check_lost(intake: Intake, extents: Mapping[str, Extent]) -> None:
    """See that other files cover what came from files that are gone; DataError where an update would drop bars."""
    for record in intake.replaced:
        for symbol in intake.stored.keys() if record.symbols is None else record.symbols:
            before, now = intake.stored.get(symbol), extents.get(symbol)
            if before and not (now and now.rows and now.first <= before.first and now.last >= before.last):
                raise DataError(
                    f"{record.path}: gone or refused, and the files left lack some of its bars of {symbol} "
                    f"({before.first}..{before.last}); an update drops none. Bring it back, or run `ingest --rebuild`."
                )


def _quarantines(intake: Intake, built: Sequence[Built]) -> list[pa.Table]:
    tables = [QUARANTINE.empty_table(), *(spill.reading.quarantine for spill in intake.spills)]
    tables += [block.quarantine for block in built]
    if intake.previous:
        before = read_quarantine(intake.previous.path(intake.previous.manifest.quarantine))
        read, lost = {spill.reading.path for spill in intake.spills}, {record.path for record in intake.lost}
        carried = {record.path for record in (*intake.same, *intake.lost)}
        tables.append(carried_over(before, carried, read & lost))
    return tables
