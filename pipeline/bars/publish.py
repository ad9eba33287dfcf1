"""From staged parts to a committed snapshot."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.bars.books import Accounts
from pipeline.bars.intake import Intake
from pipeline.bars.parquet import parquet_bytes, read_parquet
from pipeline.bars.parts import Built
from pipeline.bars.refusals import quarantine_csv
from pipeline.bars.store import Manifest, Part, Period, Snapshot, Table, Writer
from pipeline.bars.synthetic import instruments
from pipeline.schema import ACTIONS, INSTRUMENTS, STORED


def publish(
    writer: Writer,
    intake: Intake,
    periods: Sequence[Period],
    built: Sequence[Built],
    books: Accounts,
    made: Mapping[str, Any],
) -> Snapshot:
    """Adopt the staged parts and tables, and commit the manifest that names them."""
    done = {block.block for block in built}
    before = intake.previous.manifest.parts if intake.previous else ()
    stored = {(part.block, part.sha256): part for part in before}
    parts = [part for part in before if part.block not in done]
    actions = _actions(intake, built)
    listed = instruments(intake.market) if intake.market else INSTRUMENTS.empty_table()
    for block in built:
        for staged in block.parts:
            if staged.file is None:
                parts.append(replace(stored[block.block, staged.sha256], period=staged.period))
            else:
                stem = f"block-{block.block:05d}-{periods[staged.period].first}"
                file, size, digest = writer.adopt(staged.file, stem)
                parts.append(Part(file, block.block, staged.period, size, digest, staged.symbols, staged.offsets))
    manifest = Manifest(
        number=writer.number,
        columns=(*STORED, *intake.extras),
        periods=tuple(periods),
        symbols=books.symbols,
        parts=tuple(sorted(parts, key=lambda part: (part.block, part.period))),
        actions=_table(writer, "actions.parquet", parquet_bytes(actions), len(actions)),
        instruments=_table(writer, "instruments.parquet", parquet_bytes(listed), len(listed)),
        quarantine=_table(writer, "quarantine.csv", quarantine_csv(books.quarantine), len(books.quarantine)),
        sources=tuple(asdict(file) for file in books.files),
        ingest={**made, "duplicates": books.duplicates},
        counts=books.counts,
    )
    return writer.commit(manifest)


def _actions(intake: Intake, built: Sequence[Built]) -> pa.Table:
    tables = [block.actions for block in built]
    if intake.previous:
        before = read_parquet(intake.previous.path(intake.previous.manifest.actions))
        touched = pa.array(sorted(intake.touched), pa.string())
        tables.append(before.filter(pc.invert(pc.is_in(before["symbol"], touched))).cast(ACTIONS))
    return pa.concat_tables(tables).sort_by([("symbol", "ascending"), ("ex_date", "ascending")])


def _table(writer: Writer, name: str, content: bytes | pa.Buffer, rows: int) -> Table:
    staged = writer.staging / name
    with staged.open("xb") as sink:
        sink.write(content)
    return Table(*writer.adopt(staged, staged.stem), rows)
