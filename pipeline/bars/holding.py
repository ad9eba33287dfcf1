"""Symbols whose files no longer reach the first or last session that is stored: their stored bars stay.

A download that was cut, or that only goes back five years, must not take bars out of the store. Such a symbol is left
out of the intake, as if its files had not changed, until they reach far enough again or the store is rebuilt.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from pipeline.bars.intake import Held, Intake, symbols_of
from pipeline.bars.inventory import NAMED_SYMBOLS, SourceFile, recorded
from pipeline.bars.parts import Built, Extent, without


def shortened(intake: Intake, built: Sequence[Built]) -> dict[str, Extent | None]:
    """Return the stored symbols whose new bars do not reach as far as the stored ones, and what they came to."""
    extents = {symbol: extent for block in built for symbol, extent in block.extents.items()}
    short = {}
    for symbol in sorted(intake.touched & intake.stored.keys()):
        before, now = intake.stored[symbol], extents.get(symbol)
        if not (now and now.rows and now.first <= before.first and now.last >= before.last):
            short[symbol] = now
    return short


def hold(intake: Intake, short: Mapping[str, Extent | None]) -> Intake:
    """Return the intake without the symbols of `short`, whose stored bars are to stay."""
    if not intake.previous:
        return intake
    records = recorded(intake.previous)
    everything = frozenset(intake.stored)
    holders: dict[str, list[str]] = {symbol: [] for symbol in short}
    for spill in intake.spills:
        for symbol in short.keys() & spill.symbols:
            holders[symbol].append(spill.reading.path)
    read = {spill.reading.path for spill in intake.spills}.union(record.path for record in intake.replaced)
    for path in sorted(read & records.keys()):
        for symbol in short.keys() & symbols_of(records[path], everything):
            if path not in holders[symbol]:
                holders[symbol].append(path)
    return replace(
        intake,
        spills=tuple(without(spill, short.keys()) for spill in intake.spills),
        touched=intake.touched - short.keys(),
        held={
            symbol: Held(tuple(paths), f"{paths[0]}: {_what(intake, symbol, short[symbol])}")
            for symbol, paths in holders.items()
        },
    )


def with_held(files: Mapping[str, SourceFile], intake: Intake) -> dict[str, SourceFile]:
    """Return the records of files, with the symbols held for them and, in the first file of each, its rows."""
    files = dict(files)
    gone = {record.path: replace(record, rows_in=0, symbols=()) for record in intake.replaced}
    for symbol, held in intake.held.items():
        rows = intake.stored[symbol].rows + intake.duplicates.get(symbol, 0)
        for path, count in zip(held.files, (rows, *[0] * len(held.files)), strict=False):
            record = files.get(path) or gone[path]
            named = None if record.symbols is None else tuple(sorted({*record.symbols, symbol}))
            if named and len(named) > NAMED_SYMBOLS:
                named = None
            files[path] = replace(record, symbols=named, rows_in=record.rows_in + count)
    return files


def _what(intake: Intake, symbol: str, now: Extent | None) -> str:
    before = intake.stored[symbol]
    lacks = " and ".join(_lacks(before.first, before.last, now))
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
