"""Cells under one header -> rows that are provably bars, and everything else in the quarantine.

The files may be many: their rows are judged in one go, on whole columns, and what is told of a file is told of each.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.bars.cells import Lines, ParquetTable, Text
from pipeline.bars.declared import Facts, facts_of
from pipeline.bars.layouts import plain
from pipeline.bars.naming import check_name
from pipeline.bars.quality import (
    CUT,
    RefusedError,
    Rule,
    is_symbol,
    judge,
    numbers,
    quarantine,
    sessions,
)
from pipeline.bars.rows import FILED_ROWS, NUMBERS, ROWS, Batch, Reading, ReadOptions, Shape
from pipeline.bars.times import Clock, check_length, moments
from pipeline.bars.uninterpreted import Extras, Rows, Source, extras_of
from pipeline.bars.vendors import MIDNIGHTS
from pipeline.schema import MOMENT, PRICES
from pipeline.words import counted

_ABSENT = {"factor": None, "adjusted_close": None, "dividend": 0.0, "split": 1.0}
_NONE = ROWS.empty_table()
ENOUGH = 20  # bars of a file, to say that it has no volume


def interpreted(sources: Sequence[Source], options: ReadOptions, shape: Shape | None = None) -> Batch:
    """Interpret files of one header; files of one shape, if only the lines appended to them are there.

    Raises
    ------
    RefusedError
        Some of them must be refused or, where lines were appended, be read whole.
    """
    rows = _rows(sources, is_whole=shape is None)
    match, cells = rows.match, rows.cells
    _check_fixed(rows)
    symbols = _symbols(rows)
    allowed = _allowed(symbols)
    _check_names(rows, symbols, allowed)
    facts = facts_of(match, options)
    columns = {**_when(rows, facts), **_columns(rows, facts.shares)}
    broken, rules = judge(columns, allowed, options.as_of)
    extras = extras_of(rows, match.extras if shape is None else [*shape.extras, *shape.blank])
    bars = _table(symbols, {**columns, **extras.columns}, rows).filter(pa.array(broken == len(rules)))
    if facts.clock and shape is None:
        _check_lengths(bars, len(sources), facts.clock)
    late, steps = _order(bars, len(sources))
    still = {} if shape else _still(bars, len(sources))
    if shape and (rows.is_zoned != shape.is_zoned or late.any() or not extras.fit(shape)):
        raise RefusedError(Rule.NOT_BARS, "what was appended cannot be read without the rest")
    entries = _entries(rows, symbols, broken, rules)
    waits = _waits(rows, columns["session"], broken == rules.index(Rule.FUTURE))
    counts = rows.per_file(np.ones(len(cells.places), bool)) + _broken_per_file(rows)
    readings = [
        Reading(
            path=str(source.path),
            layout=match.layout.name,
            adjustment=facts.adjustment,
            bars=_NONE,
            quarantine=quarantine(str(source.path), entries.get(place, ())),
            rows_in=int(counts[place]),
            notes=()
            if shape
            else (*_remarks(source, extras.of(place)), *_unsorted(late[place], steps[place]), *still.get(place, ())),
            bytes=source.content.size,
            mtime_ns=source.content.mtime_ns,
            crc32=source.content.crc32,
            lines=source.table.lines if isinstance(source.table, Text) else 0,
            shape=shape or (None if late[place] else _shape(rows, extras, place)),
            waits=waits.get(place, ""),
        )
        for place, source in enumerate(sources)
    ]
    return Batch(tuple(readings), bars)


def _rows(sources: Sequence[Source], *, is_whole: bool) -> Rows:
    first = sources[0].table
    if isinstance(first, ParquetTable):
        lines: Lines | ParquetTable = first
    else:
        lines = Lines([source.table for source in sources if isinstance(source.table, Text)])
    cells = lines.cells(len(first.header))
    rows = Rows(sources, sources[0].match, lines, cells, lines.owners(cells.places), lines.numbers(cells.places))
    if is_whole:
        _check_rows(rows)
    return rows


def _check_rows(rows: Rows) -> None:
    """Refuse a file without a row; one whose rows all have other cells than its header has another separator."""
    good, broken = rows.per_file(np.ones(len(rows.owners), bool)), _broken_per_file(rows)
    for place in np.flatnonzero(good == 0).tolist():
        if not broken[place]:
            raise RefusedError(Rule.NOT_BARS, "a header and no rows")
        cells = rows.cells.broken
        first = int(cells[np.argmax(rows.lines.owners(cells) == place)])
        names = rows.sources[place].table.header
        raise RefusedError(
            Rule.SEPARATOR,
            f"no row has the header's {counted(len(names), 'cell')}: {rows.lines.text(first)!r}; a "
            f"decimal comma, a thousands separator, or another separator than the comma?",
        )


def _broken_per_file(rows: Rows) -> np.ndarray:
    return np.bincount(rows.lines.owners(rows.cells.broken), minlength=len(rows.sources))


def _check_fixed(rows: Rows) -> None:
    """Refuse a file that says of itself that it is not what its layout is for: minutes, or prices adjusted."""
    for place, allowed in rows.match.fixed.items():
        texts = pc.cast(rows.cells.columns[place], pa.string())
        row = pc.index(pc.invert(pc.is_in(texts, pa.array(allowed))), value=True).as_py()
        if row >= 0:
            header, name = rows.sources[0].table.header, rows.match.layout.name
            raise RefusedError(
                Rule.FIXED,
                f"{texts[row].as_py()!r} in column {header[place]!r} at line {rows.numbers[row]}; of layout {name} "
                f"only {_shown(allowed)} is read{_minutes(header[place])}",
            )


def _shown(allowed: tuple[str, ...]) -> str:
    return "midnight" if allowed is MIDNIGHTS else " or ".join(map(repr, allowed))


def _minutes(column: str) -> str:
    """Return what to do where a column of daily bars tells that they are not."""
    return ". Set data.frequency: minute if bars are shorter than a day" if plain(column) in {"time", "per"} else ""


def _when(rows: Rows, facts: Facts) -> dict[str, np.ndarray]:
    """Return the session of each row, and of minute bars the time."""
    if facts.clock is None:
        return {"session": sessions(rows.moments, rows.numbers, compact=rows.match.layout.compact)}
    time, session = moments(rows.moments, rows.numbers, facts.clock)
    return {"session": session, "time": time}


def _columns(rows: Rows, shares: int) -> dict[str, np.ndarray]:
    """Return numbers, prices and volume in our units; what a unit makes infinite is left to the gate."""
    match, cells = rows.match, rows.cells.columns
    columns = {name: numbers(cells[match.places[name]], rows.numbers) for name in NUMBERS if name in match.places}
    with np.errstate(over="ignore"):
        if match.layout.is_scaled:
            factor = np.where(np.isfinite(columns["factor"]) & (columns["factor"] > 0), columns["factor"], np.nan)
            columns |= {name: columns[name] / factor for name in PRICES}
            columns["volume"] = columns["volume"] * factor
        columns["volume"] = columns["volume"] * shares
    return columns


def _symbols(rows: Rows) -> pa.DictionaryArray:
    """Return every row's symbol: the column's exact text, else the one in the file's name."""
    if "symbol" not in rows.match.places:
        names = pa.array([source.symbol for source in rows.sources], pa.string())
        return pa.DictionaryArray.from_arrays(pa.array(rows.owners.astype(np.int32)), names)
    column = rows.cells.columns[rows.match.places["symbol"]]
    if not pa.types.is_string(column.type):
        raise RefusedError(Rule.COLUMN_TYPE, f"symbols are {column.type}, not text; leading zeros may be lost")
    return pc.dictionary_encode(column.fill_null(""))


def _allowed(symbols: pa.DictionaryArray) -> np.ndarray:
    """Tell of each row whether its symbol is allowed; every symbol is looked at once."""
    return np.array([is_symbol(text) for text in symbols.dictionary.to_pylist()], bool)[symbols.indices.to_numpy()]


def _check_names(rows: Rows, symbols: pa.DictionaryArray, allowed: np.ndarray) -> None:
    """Refuse a file that holds one symbol and is named after another; one of several may have any name."""
    if "symbol" not in rows.match.places or not allowed.any():
        return
    files, owners, codes = len(rows.sources), rows.owners[allowed], symbols.indices.to_numpy()[allowed]
    least, most = np.full(files, len(symbols.dictionary)), np.full(files, -1)
    np.minimum.at(least, owners, codes)
    np.maximum.at(most, owners, codes)
    column = f"column {rows.sources[0].table.header[rows.match.places['symbol']]!r}"
    for place in np.flatnonzero(least == most).tolist():
        check_name(rows.sources[place].symbol, symbols.dictionary[least[place]].as_py(), column)


def _shape(rows: Rows, extras: Extras, place: int) -> Shape | None:
    """Return the shape by which lines appended to a file can be read; None if they cannot."""
    source = rows.sources[place]
    if not isinstance(source.table, Text) or source.table.is_cut or source.path.suffix == ".gz":
        return None
    blank = tuple(name for name, is_blank in extras.blank.items() if is_blank[place])
    return Shape(source.table.head.decode(), extras.of(place), blank, rows.is_zoned)


def _table(symbols: pa.DictionaryArray, columns: Mapping[str, np.ndarray], rows: Rows) -> pa.Table:
    """Lay judged columns out as FILED_ROWS, then the extras."""
    count = len(rows.numbers)
    session = columns["session"].astype("datetime64[ms]")
    time = pa.array(columns.get("time", session))
    arrays = {"symbol": pc.cast(symbols, pa.string()), "session": pa.array(session), "time": time.cast(MOMENT)}
    for name in NUMBERS:
        arrays[name] = (
            pa.array(columns[name]) if name in columns else pa.repeat(pa.scalar(_ABSENT[name], pa.float64()), count)
        )
    arrays |= {"line": pa.array(rows.numbers), "file": pa.array(rows.owners.astype(np.int32))}
    extras = {name: pa.array(values) for name, values in columns.items() if name not in FILED_ROWS.names}
    return pa.table(arrays | extras)


def _entries(
    rows: Rows, symbols: pa.DictionaryArray, broken: np.ndarray, rules: Sequence[Rule]
) -> dict[int, list[tuple[int, str | None, Rule, str]]]:
    """Return the rows that go to the quarantine, by file, each with its line, symbol, rule and text."""
    entries = defaultdict(list)
    named = "symbol" in rows.match.places
    lost = rows.cells.broken
    for place, owner, line in zip(lost, rows.lines.owners(lost), rows.lines.numbers(lost), strict=True):
        symbol = None if named else rows.sources[owner].symbol
        entries[int(owner)].append((int(line), symbol, Rule.CELLS, rows.lines.text(int(place))))
    for row in np.flatnonzero(broken < len(rules)).tolist():
        symbol = symbols[row].as_py()
        text = rows.lines.text(int(rows.cells.places[row]))
        entry = (int(rows.numbers[row]), symbol if is_symbol(symbol) else None, rules[broken[row]], text)
        entries[int(rows.owners[row])].append(entry)
    return {owner: sorted(found, key=lambda entry: entry[0]) for owner, found in entries.items()}


def _waits(rows: Rows, days: np.ndarray, future: np.ndarray) -> dict[int, str]:
    """Return by file the first of the sessions that lie in the future."""
    owners, days = rows.owners[future], days[future]
    return {owner: str(days[owners == owner].min()) for owner in np.unique(owners).tolist()}


def _order(bars: pa.Table, files: int) -> tuple[np.ndarray, np.ndarray]:
    """Count, by file, the bars that come after a later one of their symbol, and all that come after one of it."""
    symbols, times, owners = bars["symbol"], bars["time"].to_numpy(), bars["file"].to_numpy()
    backwards = times[1:] < times[:-1]
    if not backwards.any():
        return np.zeros(files, np.int64), np.zeros(files, np.int64)
    same = pc.equal(symbols[1:], symbols[:-1]).to_numpy() & (owners[1:] == owners[:-1])
    late = np.bincount(owners[1:][backwards & same], minlength=files)
    return late, np.bincount(owners[1:][same], minlength=files)


def _check_lengths(bars: pa.Table, files: int, clock: Clock) -> None:
    """Refuse a file whose bars are of another length than the clock says; rows come file by file."""
    times, days = bars["time"].to_numpy(), bars["session"].to_numpy()
    bounds = np.searchsorted(bars["file"].to_numpy(), np.arange(files + 1))
    for first, last in pairwise(bounds.tolist()):
        check_length(times[first:last], days[first:last], clock)


def _still(bars: pa.Table, files: int) -> dict[int, tuple[str]]:
    """Note, by file, where no bar has any volume."""
    owners, volume = bars["file"].to_numpy(), bars["volume"].to_numpy()
    counts, traded = np.bincount(owners, minlength=files), np.bincount(owners[volume > 0], minlength=files)
    return {
        place: (f"all {counted(int(counts[place]), 'bar')} have volume 0: no order fills in them",)
        for place in np.flatnonzero((counts >= ENOUGH) & (traded == 0)).tolist()
    }


def _remarks(source: Source, extras: Sequence[str]) -> Iterator[str]:
    if isinstance(source.table, Text) and source.table.is_cut:
        yield CUT
    yield from source.match.notes
    for name in source.match.extras:
        if name not in extras:
            yield f"column {name!r} is ignored: it holds other things than numbers, or nothing"


def _unsorted(late: int, steps: int) -> Iterator[str]:
    """Note where a symbol's bars neither ascend nor, as some vendors write them, descend throughout."""
    if late not in {0, steps}:
        yield f"unsorted rows: {counted(late, 'bar')} after a later one; sorted now"
