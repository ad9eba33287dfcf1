"""From staged parts to a committed snapshot."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.bars.accounts import Accounts
from pipeline.bars.intake import Intake
from pipeline.bars.parquet import parquet_bytes, read_parquet
from pipeline.bars.parts import Built
from pipeline.bars.reading import Reading
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
        remarks=_remarks(intake, built),
        held=_held(intake),
    )
    return writer.commit(manifest)


def file_remarks(reading: Reading) -> list[str]:
    """Return what was noted of a file, each sentence beginning with its name."""
    return [f"{reading.path}: {note}" for note in reading.notes]


def _remarks(intake: Intake, built: Sequence[Built]) -> dict[str, list[str]]:
    """Return what was noted, by symbol or file; of those that were not read anew, what was noted before."""
    remarks = {spill.reading.path: file_remarks(spill.reading) for spill in intake.spills if spill.reading.notes}
    for block in built:
        for notes in (block.notes, {symbol: [text] for symbol, text in block.dropped.items()}):
            for subject, texts in notes.items():
                remarks[subject] = [*remarks.get(subject, []), *texts]
    if intake.previous:
        unread = {record.path for record in (*intake.same, *intake.lost)} | (intake.stored.keys() - intake.touched)
        before = intake.previous.manifest.remarks
        remarks |= {subject: texts for subject, texts in before.items() if subject in unread}
    return dict(sorted(remarks.items()))


def _held(intake: Intake) -> dict[str, str]:
    """Return what is said of the symbols whose stored bars stay, now and since earlier updates."""
    before = intake.previous.manifest.held if intake.previous else {}
    stay = {symbol: text for symbol, text in before.items() if symbol not in intake.touched}
    return dict(sorted({**stay, **{symbol: held.text for symbol, held in intake.held.items()}}.items()))


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
