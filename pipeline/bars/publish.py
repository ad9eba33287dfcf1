"""From staged parts to a committed snapshot."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from pipeline.bars.accounts import Accounts
from pipeline.bars.ends import End, ends_table, whole_ends
from pipeline.bars.holding import disputed
from pipeline.bars.intake import Intake
from pipeline.bars.lately import carried
from pipeline.bars.manifest import Update, as_recorded
from pipeline.bars.news import mended, news
from pipeline.bars.parquet import parquet_bytes
from pipeline.bars.parts import Built
from pipeline.bars.refusals import quarantine_csv
from pipeline.bars.rows import Reading
from pipeline.bars.store import Manifest, Part, Period, Snapshot, Table, Writer
from pipeline.bars.synthetic import instruments
from pipeline.bars.vendors import PLAINEST
from pipeline.errors import StoreCorruptError
from pipeline.files import is_there, replace_file
from pipeline.modes import Frequency
from pipeline.schema import ACTIONS, INSTRUMENTS, MOMENT, REVISIONS, STORED
from pipeline.words import counted

MOST_REVISIONS = 100_000


def publish(
    writer: Writer,
    intake: Intake,
    periods: Sequence[Period],
    built: Sequence[Built],
    books: Accounts,
    made: Mapping[str, Any],
) -> Snapshot:
    """Adopt the staged parts and tables, and commit the manifest that names them."""
    listed = instruments(intake.market) if intake.market else INSTRUMENTS.empty_table()
    revisions = _revisions(intake, built, writer.number)
    sources, shapes = as_recorded(books.files)
    manifest = Manifest(
        number=writer.number,
        columns=(*STORED, *intake.extras),
        periods=tuple(periods),
        symbols=books.symbols,
        parts=tuple(sorted(_parts(writer, intake, periods, built), key=lambda part: (part.block, part.period))),
        actions=_parquet(writer, "actions", _actions(intake, built)),
        instruments=_parquet(writer, "instruments", listed),
        quarantine=_table(writer, "quarantine.csv", quarantine_csv(books.quarantine), len(books.quarantine)),
        revisions=_parquet(writer, "revisions", revisions),
        ends=_parquet(writer, "ends", _ends(intake, built)),
        sources=sources,
        shapes=shapes,
        ingest={**made, "duplicates": books.duplicates},
        counts=books.counts,
        remarks=_remarks(intake, built),
        held=_held(intake),
        disputed=_disputed(intake),
        revised=_revised(intake, built),
        news=news(intake, built, books),
        lately=_lately(intake, built, books),
    )
    _write_revisions(writer.root, revisions, manifest.frequency)  # first: whoever dies after the commit has told
    return writer.commit(manifest)


def _parts(writer: Writer, intake: Intake, periods: Sequence[Period], built: Sequence[Built]) -> Iterator[Part]:
    """Yield the parts of the snapshot to be: the stored ones of blocks that did not change, and what was built."""
    done = {block.block for block in built}
    for part in intake.previous.manifest.parts if intake.previous else ():
        if part.block not in done:
            yield part
    for block in built:
        for staged in block.parts:
            if staged.file is None and staged.stored:
                yield replace(staged.stored, period=staged.period)
            elif staged.file:
                stem = f"block-{block.block:05d}-{periods[staged.period].first}"
                file, size, digest = writer.adopt(staged.file, stem)
                yield Part(file, block.block, staged.period, size, digest, staged.symbols, staged.offsets)


def file_remarks(reading: Reading) -> list[str]:
    """Return what was noted of a file, each sentence beginning with its name."""
    return [f"{reading.path}: {note}" for note in reading.notes]


def plain_remark(intake: Intake, adjustment: str | None) -> Iterator[str]:
    """Say of files with the plainest header there is what they are taken for, unless `data.adjustment` told it."""
    files = sum(reading.layout == PLAINEST for reading, _ in intake.readings)
    if files and adjustment is None:
        yield (
            f"{counted(files, 'file')} of layout {PLAINEST}: prices are taken as adjusted for splits and dividends. If "
            f"they are not, set data.adjustment: none or splits"
        )


def _remarks(intake: Intake, built: Sequence[Built]) -> dict[str, list[str]]:
    """Return what was noted, by symbol or file; of those that were not read anew, what was noted before."""
    remarks = {reading.path: file_remarks(reading) for reading, _ in intake.readings if reading.notes}
    for block in built:
        for symbol, notes in block.notes.items():
            remarks[symbol] = [*remarks.get(symbol, []), *notes]
    if intake.previous:
        unread = {record.path for record in (*intake.same, *intake.lost, *intake.grown)}
        unread |= intake.stored.keys() - intake.touched
        before = intake.previous.manifest.remarks
        remarks |= {subject: texts for subject, texts in before.items() if subject in unread}
        remarks |= going_on_remarks(intake)
    return dict(sorted(remarks.items()))


def _held(intake: Intake) -> dict[str, str]:
    """Return what is said of the symbols whose stored bars stay, now and since earlier updates."""
    before = intake.previous.manifest.held if intake.previous else {}
    stay = {symbol: text for symbol, text in before.items() if symbol not in intake.touched}
    return dict(sorted({**stay, **{symbol: held.text for symbol, held in intake.held.items()}}.items()))


def going_on_remarks(intake: Intake) -> dict[str, list[str]]:
    """Return what is doubtful of the symbols whose bars go on, where there is anything."""
    go_on = intake.followers
    doubtful = np.add.reduce([go_on.ends[name].to_numpy() for name in ("jumps", "strays", "doubts", "gaps")]) > 0
    places = np.flatnonzero(doubtful)
    ends = go_on.ends.take(places).drop_columns("symbol").to_pylist()
    new = np.diff(go_on.starts)
    return {
        symbol: list(End(**end).notes(symbol, intake.stored[symbol].rows + int(new[place])))
        for place, end in zip(places.tolist(), ends, strict=True)
        for symbol in [go_on.symbols[place]]
    }


def _disputed(intake: Intake) -> tuple[str, ...]:
    before = set(intake.previous.manifest.disputed) - intake.touched if intake.previous else set()
    return tuple(sorted(before.union(symbol for symbol, held in intake.held.items() if held.is_disputed)))


def _revised(intake: Intake, built: Sequence[Built]) -> dict[str, str]:
    """Return what was changed in stored bars, by symbol; where no file brought anything, by the update before."""
    if intake.previous and intake.is_empty:
        return intake.previous.manifest.revised
    return {symbol: change.sentence for symbol, change in sorted(disputed(built).items())}


def _lately(intake: Intake, built: Sequence[Built], books: Accounts) -> tuple[Update, ...]:
    """Return what holds of the updates of this night before this one."""
    revised = _revised(intake, built)
    if intake.replaces:
        everything = intake.replaces.manifest.sources["path"]  # what is refused is told anew
        return carried(intake.replaces, everything, revised, is_empty=False)
    if not intake.previous:
        return ()
    return carried(intake.previous, mended(intake, books), revised, is_empty=intake.is_empty)


def _revisions(intake: Intake, built: Sequence[Built], number: int) -> pa.Table:
    """Return the revisions of the snapshots before and of this one, at most MOST_REVISIONS, the newest."""
    tables = [REVISIONS.empty_table()]
    if intake.previous:
        tables.append(intake.previous.table(intake.previous.manifest.revisions).cast(REVISIONS))
    if intake.replaces:
        with suppress(StoreCorruptError):  # then what was known is lost, which the rebuild is for
            tables.append(intake.replaces.table(intake.replaces.manifest.revisions).cast(REVISIONS))
    found = [change.table for block in built for _, change in sorted(block.revised.items())]
    if found:
        now = pa.concat_tables(found)
        tables.append(now.set_column(0, REVISIONS.field(0), pa.repeat(pa.scalar(number, pa.int64()), len(now))))
    every = pa.concat_tables(tables)
    return every.slice(max(len(every) - MOST_REVISIONS, 0))


def _write_revisions(store: Path, table: pa.Table, frequency: str) -> None:
    """Write what is known of revisions as CSV, the newest last; where there are none there is no such file.

    One that says more, since a rebuild could not read what was known, or it is another data set's, is kept beside it.
    """
    place = store / "revisions.csv"
    content = _csv(table, frequency) if len(table) else b""
    if len(table) < MOST_REVISIONS and is_there(place) and not content.startswith(place.read_bytes()):
        place.replace(store / "revisions.old.csv")
    if content:
        replace_file(place, content)


def _csv(table: pa.Table, frequency: str) -> bytes:
    kind = pa.date32() if frequency == Frequency.DAILY else MOMENT
    for name in ("first", "last"):
        table = table.set_column(table.schema.get_field_index(name), name, table[name].cast(kind))
    sink = pa.BufferOutputStream()
    pa_csv.write_csv(table, sink, pa_csv.WriteOptions(quoting_style="needed"))
    return sink.getvalue().to_pybytes()


def _ends(intake: Intake, built: Sequence[Built]) -> pa.Table:
    """Return where every symbol's bars end."""
    tables = [intake.followers.ends, *(ends_table(block.ends) for block in built)]
    if intake.previous:
        before = whole_ends(intake.previous.table(intake.previous.manifest.ends))
        anew = pa.array([*intake.touched, *intake.followers.symbols], pa.string())
        tables.append(before.filter(pc.invert(pc.is_in(before["symbol"], anew))))
    return pa.concat_tables(tables).sort_by("symbol")


def _actions(intake: Intake, built: Sequence[Built]) -> pa.Table:
    tables = [intake.followers.actions, *(block.actions for block in built)]
    if intake.previous:
        before = intake.previous.table(intake.previous.manifest.actions)
        touched = pa.array(sorted(intake.touched), pa.string())
        tables.append(before.filter(pc.invert(pc.is_in(before["symbol"], touched))).cast(ACTIONS))
    return pa.concat_tables(tables).sort_by(
        [(name, "ascending") for name in ("symbol", "ex_date", "dividend", "split")]
    )


def _parquet(writer: Writer, name: str, table: pa.Table) -> Table:
    return _table(writer, f"{name}.parquet", parquet_bytes(table), len(table))


def _table(writer: Writer, name: str, content: bytes | pa.Buffer, rows: int) -> Table:
    staged = writer.staging / name
    with staged.open("xb") as sink:
        sink.write(content)
    return Table(*writer.adopt(staged, staged.stem), rows)
