"""Symbols whose stored bars stay, whatever their files are now.

A download that was cut, or that only goes back five years, must not take bars out of the store; nor must files that
would change stored bars, if `data.revisions` says refuse. Such a symbol is left out of the intake, as if its files had
not changed, until they reach far enough again, or agree again, or the store is rebuilt.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import pyarrow.compute as pc

from pipeline.bars.conflicts import Conflict
from pipeline.bars.intake import Held, Intake, symbols_of
from pipeline.bars.manifest import NAMED_SYMBOLS, SourceFile
from pipeline.bars.parts import Built, Extent
from pipeline.bars.revisions import Revised
from pipeline.bars.spills import without
from pipeline.schema import QUARANTINE


def shortened(intake: Intake, built: Sequence[Built]) -> dict[str, Extent | None]:
    """Return the stored symbols whose new bars do not reach as far as the stored ones, and what they came to."""
    extents = {symbol: extent for block in built for symbol, extent in block.extents.items()}
    short = {}
    for symbol in sorted(intake.touched & intake.stored.keys()):
        before, now = intake.stored[symbol], extents.get(symbol)
        if not (now and now.rows and now.first <= before.first and now.last >= before.last):
            short[symbol] = now
    return short


def disputed(built: Sequence[Built]) -> dict[str, Revised]:
    """Return the stored symbols whose bars would change by more than what vendors do to adjusted prices."""
    return {symbol: change for block in built for symbol, change in block.revised.items() if not change.is_expected}


def hold(intake: Intake, why: Mapping[str, Extent | Revised | None], built: Sequence[Built]) -> Intake:
    """Return the intake without the symbols of `why`, whose stored bars are to stay."""
    if not intake.previous:
        return intake
    conflicts = {symbol: conflict for block in built for symbol, conflict in block.conflicts.items()}
    records = intake.previous.manifest.source_files
    everything = frozenset(intake.stored)
    holders: dict[str, list[str]] = {symbol: [] for symbol in why}
    for spill in intake.spills:
        for symbol in why.keys() & spill.symbols:
            rows = spill.table()
            files = pc.unique(rows.filter(pc.equal(rows["symbol"], symbol))["file"]).to_pylist()
            holders[symbol] += [spill.readings[file].path for file in sorted(files)]
    read = {reading.path for reading, _ in intake.readings}.union(record.path for record in intake.replaced)
    for path in sorted(read & records.keys()):
        for symbol in why.keys() & symbols_of(records[path], everything):
            if path not in holders[symbol]:
                holders[symbol].append(path)
    return replace(
        intake,
        spills=tuple(without(spill, why.keys()) for spill in intake.spills),
        touched=intake.touched - why.keys(),
        held={
            **intake.held,
            **{
                symbol: Held(
                    tuple(paths),
                    f"{paths[0]}: {_what(intake, symbol, why[symbol], found)}",
                    isinstance(why[symbol], Revised),
                    found.refused if found else QUARANTINE.empty_table(),
                )
                for symbol, paths in holders.items()
                for found in [conflicts.get(symbol)]
            },
        },
    )


def with_held(files: Mapping[str, SourceFile], intake: Intake) -> dict[str, SourceFile]:
    """Return the records of files, with the symbols held for them and, in the first file of each, its stored rows.

    Rows that were refused count where they are, so that each is in the books.
    """
    files = dict(files)
    gone = {record.path: record._replace(rows_in=0, symbols=()) for record in intake.replaced}
    for symbol, held in intake.held.items():
        rows = intake.stored[symbol].rows + intake.duplicates.get(symbol, 0)
        for path, count in zip(held.files, (rows, *[0] * len(held.files)), strict=False):
            record = files.get(path) or gone[path]
            named = None if record.symbols is None else tuple(sorted({*record.symbols, symbol}))
            if named and len(named) > NAMED_SYMBOLS:
                named = None
            files[path] = record._replace(symbols=named, rows_in=record.rows_in + count)
        for path, count in Counter(held.refused["file"].to_pylist()).items():
            files[path] = files[path]._replace(rows_in=files[path].rows_in + count)
    return files


def _what(intake: Intake, symbol: str, why: Extent | Revised | None, conflict: Conflict | None) -> str:
    before = intake.stored[symbol]
    if isinstance(why, Revised):
        return (
            f"{why.sentence}; all {before.rows:,} stay, since data.revisions is refuse. Set it to accept to take them"
        )
    for which, session in (("newest", before.last), ("first", before.first)):
        if conflict and (where := conflict.words(session)):
            return (
                f"{symbol} has rows that contradict each other for its {which} stored session {session}, in {where}; "
                f"its {before.rows:,} stored bars stay. Correct the file: one row for a session"
            )
    lacks = " and ".join(_lacks(before.first, before.last, why))
    return (
        f"{symbol} no longer reaches {lacks}; its {before.rows:,} stored bars stay. `ingest --rebuild` takes the file "
        f"as it is"
    )


def _lacks(first: str, last: str, now: Extent | None) -> Iterator[str]:
    if not now or not now.rows:
        yield f"{last} (it has no good bar)"
        return
    if now.first > first:
        yield f"{first} (it begins {now.first})"
    if now.last < last:
        yield f"{last} (it ends {now.last})"
