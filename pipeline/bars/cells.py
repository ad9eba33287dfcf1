"""A source file as a table of cells: text of CSV, typed columns of Parquet, each row with its line.

Everything is bounded before it is parsed, and whatever a file can hold ends as a `RefusedError` that says what came.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from pipeline.bars.content import MAX_BYTES
from pipeline.bars.quality import RefusedError, Rule

MAX_ROWS = 50_000_000
MAX_COLUMNS = 500
MAX_HEADER = 64 << 10
ENCODINGS = ("utf-8", "gb18030")
_OTHER_SEPARATORS = ";\t|"


@dataclass(frozen=True)
class Cells:
    """What a file holds, uninterpreted."""

    columns: tuple[pa.Array, ...]  # (rows,) each; text, or what Parquet had
    lines: np.ndarray  # (rows,) 1-based
    broken: tuple[int, ...]  # lines whose cells are not as many as the header's
    notes: tuple[str, ...]


class TextTable:
    """A CSV file: its header, its physical lines, its cells."""

    def __init__(self, data: bytes, encoding: str = "utf-8") -> None:
        """Check that `data` is text in `encoding`, ``utf-8`` or ``gb18030``, and find its lines."""
        data = data.removeprefix(b"\xef\xbb\xbf")
        if not data.strip():
            raise RefusedError(Rule.NOT_BARS, "the file is empty")
        data = _as_utf8(data, encoding)
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        self.data = data
        ends = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n"))
        if not data.endswith(b"\n"):
            ends = np.append(ends, len(data))
        self.starts = np.concatenate([[0], ends[:-1] + 1])
        self.ends = ends
        self.written = np.flatnonzero(ends > self.starts)  # blank lines are no rows
        if self.ends[self.written[0]] - self.starts[self.written[0]] > MAX_HEADER:
            raise RefusedError(Rule.TOO_LARGE, f"a header of more than {MAX_HEADER} bytes")

    def text(self, line: int) -> str:
        """Return a line as it came."""
        return self.data[self.starts[line - 1] : self.ends[line - 1]].decode()

    @cached_property
    def header(self) -> tuple[str, ...]:
        """Names of the columns."""
        text = self.text(int(self.written[0]) + 1)
        separator = max(_OTHER_SEPARATORS, key=text.count)
        if text.count(separator) > text.count(","):
            raise RefusedError(Rule.SEPARATOR, f"cells are separated by {separator!r}, not by commas: {text[:80]!r}")
        names = tuple(next(csv.reader([text])))
        _check_columns(len(names))
        return names

    def cells(self, heads: Sequence[str] = ()) -> Cells:
        """Parse the lines after the header, every cell as text.

        Parameters
        ----------
        heads : sequence of str
            First cells of further lines of the header.

        Raises
        ------
        RefusedError
            The header goes on otherwise, there is no row, or a quote spans lines.
        """
        self._check_heads(heads)
        above = int(self.written[len(heads)]) + 1  # physical lines
        lines = self.written[1 + len(heads) :] + 1
        if not len(lines):
            raise RefusedError(Rule.NOT_BARS, "a header and no rows")
        if self.text(int(lines[-1])).count('"') % 2:
            raise RefusedError(Rule.QUOTES, f"a quote that is never closed at line {lines[-1]}; was the file cut?")
        names = [str(place) for place in range(len(self.header))]
        broken: list[int] = []  # indices into `lines`

        def skip(row: pa_csv.InvalidRow) -> str:
            broken.append(row.number - above - 1)  # the lines above are counted, blank ones below are not
            return "skip"

        try:
            table = pa_csv.read_csv(
                pa.BufferReader(self.data),
                read_options=pa_csv.ReadOptions(
                    use_threads=False,  # only then invalid rows carry their number
                    block_size=len(self.data) + 1,
                    column_names=names,
                    skip_rows=above,
                ),
                parse_options=pa_csv.ParseOptions(invalid_row_handler=skip),
                convert_options=pa_csv.ConvertOptions(
                    column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
                ),
            )
        except pa.ArrowInvalid as error:
            raise RefusedError(Rule.QUOTES, f"cannot be parsed: {error}") from None
        if table.num_rows + len(broken) != len(lines):
            raise RefusedError(Rule.QUOTES, "a newline inside quotes, or a quote that is closed on a later line")
        return Cells(
            columns=tuple(column.combine_chunks() for column in table.columns),
            lines=np.delete(lines, broken),
            broken=tuple(lines[broken].tolist()),
            notes=() if self.data.endswith(b"\n") else ("no newline at the end: the file may be truncated",),
        )

    def _check_heads(self, heads: Sequence[str]) -> None:
        lines = (self.written[1 : 1 + len(heads)] + 1).tolist()
        for line, head in zip_longest(lines, heads):
            if line is None or not self.text(line).startswith(f"{head},"):
                came = "the end of the file" if line is None else repr(self.text(line)[:40])
                raise RefusedError(Rule.NOT_BARS, f"the header goes on with {came}; a line of {head!r} is expected")


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
            raise RefusedError(Rule.TOO_LARGE, f"{footer.num_rows} rows in {unpacked} bytes; split it")
        for name, kind in zip(schema.names, schema.types, strict=True):
            if not _is_primitive(kind):
                raise RefusedError(Rule.COLUMN_TYPE, f"column {name!r} is {kind}; {Rule.COLUMN_TYPE.sentence}")

    def text(self, line: int) -> str:
        """Return a row as text."""
        return ",".join(_shown(column[line - 1]) for column in self._columns)

    def cells(self, heads: Sequence[str] = ()) -> Cells:
        """Read every column; lines are numbers of rows. A header of several lines is none of Parquet's."""
        if heads:
            raise RefusedError(Rule.NOT_BARS, f"a header of {1 + len(heads)} lines, as CSV has it, in a Parquet file")
        if not self._columns or not len(self._columns[0]):
            raise RefusedError(Rule.NOT_BARS, "no rows")
        return Cells(self._columns, np.arange(1, len(self._columns[0]) + 1), (), ())

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


def _as_utf8(data: bytes, encoding: str) -> bytes:
    """Return text in `encoding` as UTF-8."""
    if data.isascii() and b"\0" not in data:
        return data
    others = [other for other in ENCODINGS if other != encoding and _is_text_in(other, data)]
    # Chinese text in GB18030 is no UTF-8, but the other way round it may pass, as gibberish
    if _is_text_in(encoding, data) and not (encoding == "gb18030" and others):
        return data if encoding == "utf-8" else data.decode(encoding).encode()
    cure = f"Set data.encoding to {others[0]}, if it is that" if others else "Save it as UTF-8 CSV"
    raise RefusedError(Rule.ENCODING, f"not {encoding.upper()} text: starts with {data[:12]!r}. {cure}.")


def _is_text_in(encoding: str, data: bytes) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return b"\0" not in data


def _check_columns(count: int) -> None:
    if count > MAX_COLUMNS:
        raise RefusedError(Rule.TOO_LARGE, f"{count} columns; at most {MAX_COLUMNS} are read")


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
