"""A source file as a table of cells: text of CSV, typed columns of Parquet.

Everything is bounded before it is parsed, and whatever a file can hold ends as a `RefusedError` that says what came.
The lines of several text files under one header are parsed together: a file of few rows costs little more than them.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from pipeline.bars.content import MAX_BYTES
from pipeline.bars.encodings import as_utf8
from pipeline.bars.quality import RefusedError, Rule
from pipeline.words import counted

MAX_ROWS = 50_000_000
MAX_COLUMNS = 500
MAX_HEADER = 64 << 10
_OTHER_SEPARATORS = ";\t|"


@dataclass(frozen=True)
class Cells:
    """What the rows of a file, or of several, hold, uninterpreted."""

    columns: tuple[pa.Array, ...]  # (rows,) each; text, or what Parquet had
    places: np.ndarray  # (rows,) which of all lines a row is, from 0
    broken: np.ndarray  # the same of the lines whose cells are not as many as the header's


@dataclass(frozen=True)
class Text:
    """A CSV file as lines of UTF-8, the header's apart from the rest."""

    head: bytes  # each line with its newline
    body: bytes  # the same, so there is a newline at the end ...
    is_cut: bool  # ... even if the file had none
    above: int  # lines of the file before the body

    @property
    def lines(self) -> int:
        """How many lines the file has."""
        return self.above + self.body.count(b"\n")

    @property
    def ticker(self) -> str:
        """The symbol that a second line of the header names in every cell, as yfinance writes it; "" if none does."""
        lines = self.head.strip(b"\n").split(b"\n")
        name, *cells = lines[1].decode().split(",") if len(lines) > 1 else [""]
        return cells[0] if name == "Ticker" and len(set(cells)) == 1 else ""

    @property
    def header(self) -> tuple[str, ...]:
        """Names of the columns: the cells of the header's first line."""
        text = self.head.lstrip(b"\n").partition(b"\n")[0].decode()
        separator = max(_OTHER_SEPARATORS, key=text.count)
        if text.count(separator) > text.count(","):
            raise RefusedError(Rule.SEPARATOR, f"cells are separated by {separator!r}, not by commas: {text[:80]!r}")
        names = tuple(next(csv.reader([text])))
        _check_columns(len(names))
        return names


def text_of(data: bytes, encoding: str = "utf-8") -> Text:
    """Return a CSV file's bytes as text with one line of header; blank lines before it are the header's too.

    Raises
    ------
    RefusedError
        There is nothing, the bytes are no text in `encoding` (``utf-8`` or ``gb18030``), or the header is endless.
    """
    data = data.removeprefix(b"\xef\xbb\xbf")
    if not data.strip():
        raise RefusedError(Rule.NOT_BARS, "the file is empty")
    data = as_utf8(data, encoding)
    is_cut = not data.endswith(b"\n")
    text = _shifted(Text(b"", data + b"\n" if is_cut else data, is_cut, above=0))
    if len(text.head.lstrip(b"\n")) > MAX_HEADER:
        raise RefusedError(Rule.TOO_LARGE, f"a header of more than {MAX_HEADER} bytes")
    return text


def with_heads(text: Text, heads: Sequence[str]) -> Text:
    """Return a text whose header has further lines, that begin with the cells `heads`; RefusedError if it has not."""
    for head in heads:
        longer = _shifted(text)
        line = longer.head[len(text.head) :].strip(b"\n").decode()
        if not line.startswith(f"{head},"):
            came = repr(line[:40]) if line else "the end of the file"
            raise RefusedError(
                Rule.NOT_BARS,
                f"the header goes on with {came}; a line of {head!r} is expected{_other_bars(line, head)}",
            )
        text = longer
    return text


def _other_bars(line: str, head: str) -> str:
    """Return what to do where yfinance wrote bars of the other frequency."""
    others = {"Date": ("Datetime", "minute"), "Datetime": ("Date", "daily")}
    other, frequency = others.get(head, ("", ""))
    return f". Set data.frequency: {frequency}." if other and line.startswith(f"{other},") else ""


def _shifted(text: Text) -> Text:
    """Return a text with its body's first line that is not blank, and the blank ones before it, in the head."""
    blank = len(text.body) - len(text.body.lstrip(b"\n"))
    stop = text.body.find(b"\n", blank) + 1 or len(text.body)
    above = text.above + blank + (blank < len(text.body))
    return replace(text, head=text.head + text.body[:stop], body=text.body[stop:], above=above)


class Lines:
    """The lines of one or several files after the header, one after the other."""

    def __init__(self, files: Sequence[Text]) -> None:
        """Find them."""
        bodies = [file.body for file in files]
        self.data = b"".join(bodies)
        self.ends = np.flatnonzero(np.frombuffer(self.data, np.uint8) == ord("\n"))
        self.starts = np.concatenate([[0], self.ends[:-1] + 1])[: len(self.ends)]
        self.firsts = np.searchsorted(self.ends, np.cumsum([0, *map(len, bodies)]))  # of each file, and their number
        self.above = np.array([file.above for file in files])

    def owners(self, places: np.ndarray) -> np.ndarray:
        """Return which file each line is of."""
        return np.searchsorted(self.firsts[1:], places, side="right")

    def numbers(self, places: np.ndarray) -> np.ndarray:
        """Return each line's number in its file, from 1."""
        owners = self.owners(places)
        return places - self.firsts[owners] + self.above[owners] + 1

    def text(self, place: int) -> str:
        """Return a line as it came."""
        return self.data[self.starts[place] : self.ends[place]].decode()

    def cells(self, columns: int) -> Cells:
        """Parse them, every cell as text; RefusedError where a quote spans lines."""
        written = np.flatnonzero(self.ends > self.starts)  # blank lines are no rows
        if b'"' in self.data:
            self._check_quotes(written)
        names = [str(place) for place in range(columns)]
        broken: list[int] = []  # indices into `written`

        def skip(row: pa_csv.InvalidRow) -> str:
            broken.append(row.number - 1)  # blank lines are not counted
            return "skip"

        if not len(written):
            return Cells(tuple(pa.array([], pa.string()) for _ in names), written, written)
        try:
            table = pa_csv.read_csv(
                pa.BufferReader(self.data),
                read_options=pa_csv.ReadOptions(
                    use_threads=False,  # only then invalid rows carry their number
                    block_size=len(self.data) + 1,
                    column_names=names,
                ),
                parse_options=pa_csv.ParseOptions(invalid_row_handler=skip),
                convert_options=pa_csv.ConvertOptions(
                    column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
                ),
            )
        except pa.ArrowInvalid as error:
            raise RefusedError(Rule.QUOTES, f"cannot be parsed: {error}") from None
        if table.num_rows + len(broken) != len(written):
            raise RefusedError(Rule.QUOTES, "a newline inside quotes, or a quote that is closed on a later line")
        columns_of_text = tuple(column.combine_chunks() for column in table.columns)
        return Cells(columns_of_text, np.delete(written, broken), written[broken])

    def _check_quotes(self, written: np.ndarray) -> None:
        """See that the last row of every file closes its quotes."""
        owners = self.owners(written)
        lasts = written[np.append(owners[1:] != owners[:-1], [True] * (len(written) > 0))]
        for place, line in zip(lasts.tolist(), self.numbers(lasts).tolist(), strict=True):
            if self.text(place).count('"') % 2:
                raise RefusedError(Rule.QUOTES, f"a quote that is never closed at line {line}; was the file cut?")


class ParquetTable:
    """A Parquet file of primitive columns."""

    def __init__(self, data: bytes) -> None:
        """Read and judge the footer."""
        try:
            self.file = pq.ParquetFile(pa.BufferReader(data))
            schema, footer = self.file.schema_arrow, self.file.metadata
            self.header = tuple(schema.names)
            unpacked = sum(footer.row_group(group).total_byte_size for group in range(footer.num_row_groups))
        except (pa.ArrowException, OSError, ValueError) as error:  # ValueError: names that are no UTF-8
            raise RefusedError(Rule.NOT_BARS, f"not a Parquet file, or a damaged one: {error}") from None
        _check_columns(len(self.header))
        if footer.num_rows > MAX_ROWS or unpacked > MAX_BYTES:
            raise RefusedError(
                Rule.TOO_LARGE, f"{counted(footer.num_rows, 'row')} in {counted(unpacked, 'byte')}; split it"
            )
        for name, kind in zip(schema.names, schema.types, strict=True):
            if not _is_primitive(kind):
                raise RefusedError(Rule.COLUMN_TYPE, f"column {name!r} is {kind}; {Rule.COLUMN_TYPE.sentence}")

    def owners(self, places: np.ndarray) -> np.ndarray:
        """Return which file each row is of: there is one."""
        return np.zeros(len(places), np.int64)

    def numbers(self, places: np.ndarray) -> np.ndarray:
        """Return each row's number, from 1."""
        return places + 1

    def text(self, place: int) -> str:
        """Return a row as text."""
        return ",".join(_shown(column[place]) for column in self._columns)

    def cells(self, _: int = 0) -> Cells:
        """Read every column."""
        if not self._columns or not len(self._columns[0]):
            raise RefusedError(Rule.NOT_BARS, "no rows")
        return Cells(self._columns, np.arange(len(self._columns[0])), np.empty(0, np.int64))

    @cached_property
    def _columns(self) -> tuple[pa.Array, ...]:
        try:
            table = self.file.read(use_threads=False)
            table.validate(full=True)
            return tuple(_plain(column) for column in table.columns)
        except (pa.ArrowException, OSError) as error:
            raise RefusedError(Rule.NOT_BARS, f"a damaged Parquet file: {error}") from None


def _shown(cell: pa.Scalar) -> str:
    try:
        return str(cell.as_py())
    except (ValueError, OverflowError):  # a moment outside Python's years
        return "?"


def _check_columns(count: int) -> None:
    if count > MAX_COLUMNS:
        raise RefusedError(Rule.TOO_LARGE, f"{counted(count, 'column')}; at most {MAX_COLUMNS} are read")


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _is_primitive(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    kinds = pa.types
    numeric = kinds.is_integer(kind) or kinds.is_floating(kind) or kinds.is_boolean(kind) or kinds.is_null(kind)
    return _is_text(kind) or numeric or kinds.is_date(kind) or kinds.is_timestamp(kind)


def _plain(column: pa.ChunkedArray) -> pa.Array:
    """Return one array, text of any kind as string."""
    if _is_text(column.type) or pa.types.is_dictionary(column.type):
        column = column.cast(pa.string())
    return pa.chunked_array(column.chunks, column.type).combine_chunks()
