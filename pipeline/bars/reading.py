"""One source file -> the rows that are provably bars, and everything else in the quarantine.

``content`` gives the bytes, ``cells`` the cells, ``layouts`` says what they are, ``quality`` which rows are good.
Nothing is lost and nothing invented: every data row of the file is either in `Reading.bars` or in
`Reading.quarantine`. The work is done by Arrow and NumPy on whole columns, with the GIL released, so several files
are read at once on threads.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.bars.cells import Cells, ParquetTable, TextTable
from pipeline.bars.content import Content, load, unpack
from pipeline.bars.layouts import Match, adjustment_of, clock_of, recognise, shares_per_unit, symbol_of
from pipeline.bars.quality import NUMERAL, RefusedError, Rule, is_symbol, judge, numbers, quarantine, sessions
from pipeline.bars.times import moments
from pipeline.modes import BarLabel, Frequency
from pipeline.schema import MOMENT, PRICES, SESSION

NUMBERS = (*PRICES, "volume", "factor", "adjusted_close", "dividend", "split")
ROWS = pa.schema(
    [
        ("symbol", pa.string()),
        ("session", SESSION),
        ("time", MOMENT),  # the bar's end; of daily bars the session
        *((name, pa.float64()) for name in NUMBERS),
        ("line", pa.int64()),
    ]
)
"""Rows that passed the gate; further float64 columns of the source may follow."""

_ABSENT = {"factor": None, "adjusted_close": None, "dividend": 0.0, "split": 1.0}


@dataclass(frozen=True)
class ReadOptions:
    """How source files are read."""

    columns: Mapping[str, str]  # ours: theirs (data.columns); empty = recognise by the header
    file_pattern: str  # "DA-{symbol}-T-{date}.csv"; see `symbol_of`
    as_of: date  # a bar after it is quarantined
    adjustment: str | None = None  # none | splits | all; None = the layout's own, like the next
    volume_unit: str | None = None  # shares | lots
    encoding: str = "utf-8"  # or gb18030
    frequency: Frequency = Frequency.DAILY
    time_zone: str | None = None  # of minute bars; None = the layout's own, like the next
    bar_label: BarLabel | None = None
    bar_minutes: int = 1


@dataclass(frozen=True)
class Reading:
    """What one source file gave; ``rows_in = bars + quarantined rows with a line above 0``."""

    path: str  # as given
    layout: str  # its name, "" when the file was refused
    adjustment: str  # none | splits | all, "" when the file was refused
    bars: pa.Table  # ROWS and extras, in file order
    quarantine: pa.Table  # schema.QUARANTINE; line 0 refuses the whole file
    rows_in: int  # data rows of the file, 0 when it was refused
    notes: tuple[str, ...]
    bytes: int
    mtime_ns: int
    sha256: str


def read_file(path: Path, options: ReadOptions) -> Reading:
    """Read one file of bars, whatever it is; a file that cannot be used comes back refused, not raised.

    Parameters
    ----------
    path : Path
        CSV (also gzipped) or Parquet, with a symbol column or with the symbol in its name.
    options : ReadOptions
        How to read it.

    Returns
    -------
    Reading
        Prices as the source has them [currency per share], or as traded where it has them times a factor; volume
        [shares].
    """
    symbol = symbol_of(path.name, options.file_pattern)
    content = Content(b"", 0, 0, "")
    try:
        content = load(path)
        return _read(path, content, symbol, options)
    except RefusedError as refused:
        return Reading(
            path=str(path),
            layout="",
            adjustment="",
            bars=ROWS.empty_table(),
            quarantine=quarantine(str(path), [(0, symbol, refused.rule, refused.text)]),
            rows_in=0,
            notes=(),
            bytes=content.size,
            mtime_ns=content.mtime_ns,
            sha256=content.sha256,
        )


def _read(path: Path, content: Content, symbol: str | None, options: ReadOptions) -> Reading:
    source = _source(path, content.data, options.encoding)
    match = recognise(source.header, options.columns, options.frequency)
    adjustment = adjustment_of(match, options.adjustment)
    shares = shares_per_unit(match, options.volume_unit)
    if "symbol" not in match.places and symbol is None:
        raise RefusedError(
            Rule.FILE_NAME,
            f"the name gives no allowed symbol by data.file_pattern {options.file_pattern!r}, and there is no "
            f"symbol column",
        )
    cells = source.cells(match.layout.heads)
    if not len(cells.lines) and cells.broken:
        raise RefusedError(
            Rule.SEPARATOR,
            f"no row has the header's {len(source.header)} cells: {source.text(cells.broken[0])!r}; a decimal comma, "
            f"a thousands separator, or another separator than the comma?",
        )
    _check_fixed(match, cells, source.header)
    symbols = _symbols(match, cells, symbol)
    columns = {**_when(match, cells, options), **_columns(match, cells, shares)}
    broken, rules = judge(columns, _allowed(symbols), options.as_of)
    extras, notes = _extras(match, cells)
    bars = _table(symbols, {**columns, **extras}, cells.lines).filter(pa.array(broken == len(rules)))
    entries = [(line, None if "symbol" in match.places else symbol, Rule.CELLS) for line in cells.broken]
    for row in np.flatnonzero(broken < len(rules)).tolist():
        named = symbols[row].as_py()
        entries.append((int(cells.lines[row]), named if is_symbol(named) else None, rules[broken[row]]))
    return Reading(
        path=str(path),
        layout=match.layout.name,
        adjustment=adjustment,
        bars=bars,
        quarantine=quarantine(str(path), [(*entry, source.text(entry[0])) for entry in sorted(entries)]),
        rows_in=len(cells.lines) + len(cells.broken),
        notes=(*cells.notes, *match.notes, *notes, *_order(bars)),
        bytes=content.size,
        mtime_ns=content.mtime_ns,
        sha256=content.sha256,
    )


def _source(path: Path, data: bytes, encoding: str) -> TextTable | ParquetTable:
    if path.name.endswith(".parquet"):
        return ParquetTable(data)
    return TextTable(unpack(data) if path.name.endswith(".gz") else data, encoding)


def _check_fixed(match: Match, cells: Cells, header: Sequence[str]) -> None:
    """Refuse a file that says of itself that it is not what its layout is for: minutes, or prices adjusted."""
    for place, allowed in match.fixed.items():
        other = pc.invert(pc.is_in(pc.cast(cells.columns[place], pa.string()), pa.array(allowed)))
        row = pc.index(other, value=True).as_py()
        if row >= 0:
            raise RefusedError(
                Rule.FIXED,
                f"{cells.columns[place][row].as_py()!r} in column {header[place]!r} at line {cells.lines[row]}; of "
                f"layout {match.layout.name} only {' or '.join(map(repr, allowed))} is read",
            )


def _when(match: Match, cells: Cells, options: ReadOptions) -> dict[str, np.ndarray]:
    """Return the session of each row, and of minute bars the time."""
    if options.frequency is Frequency.DAILY:
        column = cells.columns[match.places["session"]]
        return {"session": sessions(column, cells.lines, compact=match.layout.compact)}
    clock = clock_of(match, options.time_zone, options.bar_label, options.bar_minutes)
    time, session = moments(cells.columns[match.places["time"]], cells.lines, clock)
    return {"session": session, "time": time}


def _columns(match: Match, cells: Cells, shares: int) -> dict[str, np.ndarray]:
    """Return numbers, prices and volume in our units; what a unit makes infinite is left to the gate."""
    columns = {
        name: numbers(cells.columns[match.places[name]], cells.lines) for name in NUMBERS if name in match.places
    }
    with np.errstate(over="ignore"):
        if match.layout.is_scaled:
            factor = np.where(np.isfinite(columns["factor"]) & (columns["factor"] > 0), columns["factor"], np.nan)
            columns |= {name: columns[name] / factor for name in PRICES}
            columns["volume"] = columns["volume"] * factor
        columns["volume"] = columns["volume"] * shares
    return columns


def _symbols(match: Match, cells: Cells, symbol: str | None) -> pa.DictionaryArray:
    """Return every row's symbol: the column's exact text, else the one in the file's name."""
    if "symbol" not in match.places:
        return pa.DictionaryArray.from_arrays(pa.array(np.zeros(len(cells.lines), np.int32)), pa.array([symbol]))
    column = cells.columns[match.places["symbol"]]
    if not pa.types.is_string(column.type):
        raise RefusedError(Rule.COLUMN_TYPE, f"symbols are {column.type}, not text; leading zeros may be lost")
    return pc.dictionary_encode(column.fill_null(""))


def _allowed(symbols: pa.DictionaryArray) -> np.ndarray:
    """Tell of each row whether its symbol is allowed; every symbol is looked at once."""
    return np.array([is_symbol(text) for text in symbols.dictionary.to_pylist()])[symbols.indices.to_numpy()]


def _extras(match: Match, cells: Cells) -> tuple[dict[str, np.ndarray], list[str]]:
    """Return the further columns whose cells are numbers or empty, and a note of each that is left out."""
    extras, notes = {}, []
    for name, place in match.extras.items():
        column = cells.columns[place]
        if pa.types.is_string(column.type):
            empty = pc.equal(pc.fill_null(column, ""), "")
            if pc.all(empty).as_py() or not pc.all(pc.or_(empty, pc.match_substring_regex(column, NUMERAL))).as_py():
                notes.append(f"column {name!r} is ignored: it holds other things than numbers, or nothing")
                continue
        extras[name] = numbers(column, cells.lines)
    return extras, notes


def _table(symbols: pa.DictionaryArray, columns: Mapping[str, np.ndarray], lines: np.ndarray) -> pa.Table:
    """Lay judged columns out as ROWS, then the extras."""
    rows = len(lines)
    session = columns["session"].astype("datetime64[ms]")
    time = pa.array(columns.get("time", session))
    arrays = {"symbol": pc.cast(symbols, pa.string()), "session": pa.array(session), "time": time.cast(MOMENT)}
    for name in NUMBERS:
        arrays[name] = (
            pa.array(columns[name]) if name in columns else pa.repeat(pa.scalar(_ABSENT[name], pa.float64()), rows)
        )
    arrays["line"] = pa.array(lines)
    return pa.table(arrays | {name: pa.array(values) for name, values in columns.items() if name not in arrays})


def _order(bars: pa.Table) -> list[str]:
    """Note where a symbol's bars neither ascend nor, as some vendors write them, descend throughout."""
    symbols, times = bars["symbol"], bars["time"].to_numpy()
    backwards = times[1:] < times[:-1]
    if not backwards.any():
        return []
    same = pc.equal(symbols[1:], symbols[:-1]).to_numpy()
    count = int((backwards & same).sum())
    if count in {0, int(same.sum())}:
        return []
    return [f"unsorted rows: {count} bars come after a later one; they are sorted"]
