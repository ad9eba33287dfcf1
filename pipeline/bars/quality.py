"""What makes a bar good, and what becomes of everything else.

A row is accepted only if every mask of `judge` proves it good (a NaN compares false, so it never slips through);
otherwise it goes to the quarantine with its file, line and rule. A file in doubt as a whole is refused on line 0.
Cells come as text and become numbers and sessions here, by a grammar narrower than any parser's: Arrow reads ``0.`` as
0.0 and ``nan`` as a number, and both occur in files that were cut or filled.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from enum import StrEnum
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.schema import PRICES, QUARANTINE

EARLIEST = np.datetime64("1900-01-01", "D")
LEAST, MOST = 1e-12, 1e12  # of prices and factors: beyond any market, and what is made of them stays finite
MOST_SHARES = 1e18  # above it float64 knows no single shares, nor the hundreds of a lot
MOST_SPLIT = 1e6
TEXT_LIMIT = 200
CUT = "no newline at the end: the file may be truncated"  # noted of a file whose last row was taken all the same
NUMERAL = r"^-?([0-9]+(\.[0-9]+)?|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_GROUPED = r"^-?[0-9.]+[,'][0-9.,']*$"
_SYMBOL = re.compile(r"[^\W_][\w.^-]{0,31}")
_ISO = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:[ T]([0-9]{2}:.*?)(Z|[+-][0-9]{2}:?[0-9]{2})?)?")
_ZONE = r"(Z|[+-][0-9]{2}:?[0-9]{2})\s*$"
_COMPACT = re.compile(r"[0-9]{8}")
_MIDNIGHT = re.compile(r"00:00(:00(\.0+)?)?")
_UNKNOWN = np.datetime64("NaT", "D")
_CLEAN = QUARANTINE.empty_table()


class Rule(StrEnum):
    """Why a file or a row was refused; `sentence` says what is asked."""

    sentence: str

    def __new__(cls, value: str, sentence: str) -> Self:
        """Make a rule that is text, with its sentence beside it."""
        rule = str.__new__(cls, value)
        rule._value_ = value
        rule.sentence = sentence
        return rule

    # of a file
    UNREADABLE = "unreadable", "The file must be a regular one that can be opened and read."
    CHANGED = "changed", "The file must not change while it is read."
    TOO_LARGE = "too_large", "The file must stay within the limits of bytes, rows and columns, also unpacked."
    NOT_BARS = "not_bars", "The file must hold rows under a header that a layout or data.columns knows."
    ENCODING = "encoding", "The file must be text in data.encoding, or Parquet."
    QUOTES = "quotes", "A row must stand on one line: no newline inside quotes, no quote left open."
    SEPARATOR = (
        "separator",
        "Cells must be separated by commas, numbers have a decimal point and no thousands separator.",
    )
    TIME = "time", "Daily bars must carry dates, YYYY-MM-DD, or midnights; times all have a time zone or all have none."
    COLUMN_TYPE = "column_type", "Parquet columns must be text, numbers, dates or timestamps."
    FIXED = "fixed", "A column that says what the file holds must say what the layout is for."
    DECLARED = (
        "declared",
        "What prices are adjusted for, volume counts and times mean must be known, by the layout or settings of data.",
    )
    FILE_NAME = (
        "file_name",
        "The file's name must fit data.file_pattern and give an allowed symbol: that of its rows, if they have one.",
    )
    # of a row
    CELLS = "cells", "A row must have as many cells as the header."
    SYMBOL = (
        "symbol",
        "A symbol must be 1 to 32 letters, digits, dots, dashes or carets, beginning with a letter or digit.",
    )
    SESSION = "session", "The session must be a date: YYYY-MM-DD, of some layouts also YYYYMMDD."
    MOMENT = (
        "moment",
        "The time must be a whole minute, YYYY-MM-DD HH:MM, with :00 or offset or not, that its clock shows once.",
    )
    RANGE = "range", "The session must not be before 1900-01-01."
    FUTURE = "future", "The session must not be after the day of the ingest."
    FACTOR = "factor", "The adjustment factor must be a plain number from 1e-12 to 1e12."
    PRICE = "price", "Open, high, low and close must be plain numbers from 1e-12 to 1e12."
    OHLC = "ohlc", "Low must be the lowest and high the highest of the four prices."
    VOLUME = "volume", "The volume must be a plain number of shares from 0 to 1e18."
    ADJUSTED = "adjusted", "The adjusted close must be a plain number from 1e-12 to 1e12."
    ACTION = (
        "action",
        "A dividend must be a plain number from 0 to 1e12, a split from 1e-6 to 1e6; all of a symbol to 1e100.",
    )
    CONFLICT = "conflict", "Rows of one symbol and session, or minute, must agree; none of those that differ is kept."


class RefusedError(Exception):
    """A file is refused as a whole; `text` says what came and what to do."""

    def __init__(self, rule: Rule, text: str) -> None:
        """Keep rule and text."""
        super().__init__(text)
        self.rule, self.text = rule, text


def is_symbol(text: str | None) -> bool:
    """Tell whether `text` may name a symbol: letters of any script, digits, ``. ^ -``; normal form C, no twins."""
    return text is not None and bool(_SYMBOL.fullmatch(text)) and "_" not in text and _is_normal(text)


def _is_normal(text: str) -> bool:
    return text.isascii() or unicodedata.is_normalized("NFC", text)


def printable(text: str) -> str:
    """Return `text` as the quarantine keeps it: at most 200 characters, none that acts on a terminal."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text[:TEXT_LIMIT])


def quarantine(file: str, entries: Iterable[tuple[int, str | None, Rule, str]]) -> pa.Table:
    """Return a quarantine table of `entries`: line (0 is the whole file), symbol, rule, text."""
    rows = [(file, line, symbol, str(rule), printable(text)) for line, symbol, rule, text in entries]
    if not rows:
        return _CLEAN
    return pa.table([list(column) for column in zip(*rows, strict=True)], schema=QUARANTINE)


def numbers(cells: pa.Array, lines: np.ndarray) -> np.ndarray:
    """Return cells as float64, NaN where they are no plain numerals.

    Parameters
    ----------
    cells : Array of text or numbers, (rows,)
        As they came.
    lines : array of int64, (rows,)
        Where they stand, for the message.

    Raises
    ------
    RefusedError
        Some cell has a decimal comma or thousands separators, so any other may lack its own.
    """
    if pa.types.is_temporal(cells.type):
        raise RefusedError(Rule.COLUMN_TYPE, f"a column of numbers is {cells.type}")
    if not pa.types.is_string(cells.type):
        return pc.cast(cells, pa.float64(), safe=False).fill_null(np.nan).to_numpy(zero_copy_only=False)
    plain = pc.match_substring_regex(cells, NUMERAL)
    if not pc.all(plain).as_py():
        cells = pc.ascii_trim_whitespace(cells)
        grouped = pc.index(pc.match_substring_regex(cells, _GROUPED), value=True).as_py()
        if grouped >= 0:
            raise RefusedError(
                Rule.SEPARATOR,
                f"{cells[grouped].as_py()!r} at line {lines[grouped]} looks like a decimal comma or a thousands "
                f"separator; write 1234.5",
            )
        cells = pc.if_else(pc.match_substring_regex(cells, NUMERAL), cells, "nan")
    return pc.cast(cells, pa.float64()).to_numpy(zero_copy_only=False)


def sessions(cells: pa.Array, lines: np.ndarray, *, compact: bool) -> np.ndarray:
    """Return cells as datetime64[D], NaT where they are no dates of the declared form; midnights are local ones.

    Parameters
    ----------
    cells : Array of text, dates or timestamps, (rows,)
        As they came.
    lines : array of int64, (rows,)
        Where they stand, for the message.
    compact : bool
        Whether YYYYMMDD is a date beside YYYY-MM-DD.

    Raises
    ------
    RefusedError
        Some cell has a time of day other than midnight, or only some of them have a time zone.
    """
    if pa.types.is_timestamp(cells.type):
        return _midnights(cells, lines)
    try:
        return pc.cast(cells, pa.date32()).to_numpy(zero_copy_only=False).astype("datetime64[D]")
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        distinct = pc.dictionary_encode(pc.fill_null(pc.cast(cells, pa.string()), ""))
    codes = distinct.indices.to_numpy()
    texts = [text.strip() for text in distinct.dictionary.to_pylist()]
    days = [_day(text, compact=compact) for text in texts]
    moment = _moment(texts, days)
    if moment is not None:
        row = int(np.argmax(codes == moment))
        _refuse_time(cells[row].as_py(), lines[row])
    return np.array(days, "datetime64[D]")[codes]


def has_zones(cells: pa.Array) -> bool:
    """Tell whether any of the cells that mean sessions carries a time zone."""
    if pa.types.is_timestamp(cells.type):
        return cells.type.tz is not None
    try:
        pc.cast(cells, pa.date32())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return bool(pc.any(pc.match_substring_regex(pc.cast(cells, pa.string()), _ZONE)).as_py())
    return False


def _moment(texts: Sequence[str], days: Sequence[np.datetime64 | None]) -> int | None:
    """Return the place of the first text that is no midnight, or else of one with a zone where others have none."""
    if None in days:
        return days.index(None)
    zoned = [bool(found and found[3]) for found in map(_ISO.fullmatch, texts)]
    if any(zoned) and not all(zone or day is _UNKNOWN for zone, day in zip(zoned, days, strict=True)):
        return zoned.index(True)
    return None


def _midnights(cells: pa.Array, lines: np.ndarray) -> np.ndarray:
    if cells.type.tz is not None:
        try:
            cells = pc.local_timestamp(cells)
        except pa.ArrowInvalid:  # a zone that is none
            _refuse_time(str(cells.type), lines[0])
    times = cells.to_numpy(zero_copy_only=False)
    days = times.astype("datetime64[D]")
    timed = (times != days) & ~np.isnat(times)
    if timed.any():
        row = int(np.argmax(timed))
        _refuse_time(str(times[row]), lines[row])
    return days


def _refuse_time(text: str, line: int) -> None:
    raise RefusedError(
        Rule.TIME,
        f"{text!r} at line {line} is a moment; daily bars are dated YYYY-MM-DD, or by local midnights that all have a "
        f"time zone or all have none",
    )


def _day(text: str, *, compact: bool) -> np.datetime64 | None:
    """Return the day `text` means, NaT if none, None if it is a moment within a day."""
    found = _ISO.fullmatch(text)
    if found and found[2] and not _MIDNIGHT.fullmatch(found[2]):
        return None
    if not found and not (compact and _COMPACT.fullmatch(text)):
        return _UNKNOWN
    try:
        return np.datetime64(date.fromisoformat(found[1] if found else text), "D")
    except ValueError:
        return _UNKNOWN


def judge(columns: Mapping[str, np.ndarray], good_symbol: np.ndarray, as_of: date) -> tuple[np.ndarray, list[Rule]]:
    """Say of every row which rule it breaks first.

    Parameters
    ----------
    columns : mapping of arrays, (rows,)
        ``session`` datetime64[D], of minute bars ``time`` datetime64[ms], prices [currency per share], ``volume``
        [shares], and where the source has them
        ``factor``, ``adjusted_close``, ``dividend`` [currency per share], ``split`` [shares after / before], all
        float64.
    good_symbol : array of bool, (rows,)
        Whether the row's symbol is allowed.
    as_of : date
        The last session that can have happened.

    Returns
    -------
    array of int, (rows,), and list of rules
        Index into the rules, which ends with the length of the list where the row breaks none.
    """
    session, opened, high, low, close = (columns[name] for name in ("session", *PRICES))
    ones = np.ones(len(session))
    optional = ("factor", "adjusted_close", "dividend", "split")
    factor, adjusted, dividend, split = (columns.get(name, ones) for name in optional)
    moment = {Rule.MOMENT: ~np.isnat(columns["time"])} if "time" in columns else {Rule.SESSION: ~np.isnat(session)}
    holds = {
        Rule.SYMBOL: good_symbol,
        **moment,
        Rule.RANGE: session >= EARLIEST,
        Rule.FUTURE: session <= np.datetime64(as_of, "D"),
        Rule.FACTOR: _within(factor, LEAST, MOST),
        Rule.PRICE: np.logical_and.reduce([_within(columns[name], LEAST, MOST) for name in PRICES]),
        Rule.OHLC: (low <= np.minimum(opened, close)) & (high >= np.maximum(opened, close)),
        Rule.VOLUME: _within(columns["volume"], 0, MOST_SHARES),
        Rule.ADJUSTED: _within(adjusted, LEAST, MOST),
        Rule.ACTION: _within(dividend, 0, MOST) & _within(split, 1 / MOST_SPLIT, MOST_SPLIT),
    }
    none_broken = np.zeros(len(session), bool)
    return np.argmin([*holds.values(), none_broken], axis=0), list(holds)


def _within(values: np.ndarray, least: float, most: float) -> np.ndarray:
    """Tell of each value whether it is a number between two others; NaN and infinities are not."""
    return (values >= least) & (values <= most)
