"""Source files -> what each of them gave: good rows, and the rest in the quarantine with file, line and rule.

``content`` gives the bytes, ``cells`` the cells, ``layouts`` says what they are, ``interpret`` which rows are bars.
Nothing is lost and nothing invented. The work is done by Arrow and NumPy, with the GIL released, so files are read at
once on threads; those under one header are interpreted together, unless some must be refused: then each is looked at
alone, and its own reason told.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.bars.cells import ParquetTable, Text, text_of, with_heads
from pipeline.bars.content import Content, load, unpack
from pipeline.bars.declared import facts_of
from pipeline.bars.encodings import as_utf8
from pipeline.bars.interpret import interpreted
from pipeline.bars.layouts import Match, recognise
from pipeline.bars.naming import agree, check_name, symbol_of
from pipeline.bars.quality import RefusedError, Rule, is_symbol, quarantine
from pipeline.bars.rows import FILED_ROWS, ROWS, Batch, Reading, ReadOptions, Shape, joined
from pipeline.bars.uninterpreted import Source


@dataclass(frozen=True)
class Loaded:
    """A file's content, or why there is none."""

    path: Path
    content: Content
    refusal: RefusedError | None = None


@dataclass(frozen=True)
class Tail:
    """A text file of which only the lines are wanted that were appended since it was read."""

    path: Path
    content: Content  # its data are the new lines
    lines: int  # the file had before
    shape: Shape


def load_file(path: Path, known: tuple[int, str] = (0, "")) -> Loaded:
    """Read a file's bytes, see `pipeline.bars.content.load`."""
    try:
        return Loaded(path, load(path, known))
    except RefusedError as refused:
        return Loaded(path, Content(b"", 0, 0, ""), refused)


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
    batch = read_files([load_file(path)], options)
    return batch.readings[0]._replace(bars=batch.bars.drop_columns("file"))


def read_files(files: Sequence[Loaded], options: ReadOptions) -> Batch:
    """Read several files, as `read_file` does each of them."""
    groups: dict[object, list[Source]] = {}
    matches: dict[bytes, Match] = {}
    batches = []
    for file in files:
        try:
            source = _prepared(file, options, matches)
        except RefusedError as refused:
            batches.append(_refused(file, refused, options))
        else:
            head = source.table.head if isinstance(source.table, Text) else file.path
            groups.setdefault(head, []).append(source)
    for sources in groups.values():
        batches += _apart(sources, options)
    return joined(batches)


def read_tails(tails: Sequence[Tail], options: ReadOptions) -> tuple[Batch, tuple[Path, ...]]:
    """Read the lines that were appended to files of one shape.

    Returns
    -------
    Batch
        Their rows and quarantine are of the new lines alone; bytes, mtime, crc32, lines and shape the file's.
    tuple of Path
        Files whose new lines cannot be read without the others.
    """
    unread: list[Path] = []
    shape = tails[0].shape
    head = shape.head.encode()
    match = recognise(Text(head, b"", is_cut=False, above=0).header, options.columns, options.frequency)
    sources = [source for tail in tails if (source := _appended(tail, head, match, options, unread))]
    batches = _growths(sources, options, shape, unread)
    return joined(batches), tuple(unread)


def _prepared(file: Loaded, options: ReadOptions, matches: dict[bytes, Match]) -> Source:
    """Find out what a file's header says; `matches` are the layouts found so far."""
    if file.refusal:
        raise file.refusal
    path, data = file.path, file.content.data
    table: Text | ParquetTable
    if path.name.endswith(".parquet"):
        table = ParquetTable(data)
        match = recognise(table.header, options.columns, options.frequency)
        if match.layout.heads:
            heads = 1 + len(match.layout.heads)
            raise RefusedError(Rule.NOT_BARS, f"a header of {heads} lines, as CSV has it, in a Parquet file")
    else:
        table = text_of(unpack(data) if path.name.endswith(".gz") else data, options.encoding)
        match = matches.get(table.head) or recognise(table.header, options.columns, options.frequency)
        matches[table.head] = match
        table = with_heads(table, match.layout.heads)
    facts_of(match, options)
    symbol = _symbol_of(path, table, options)
    if "symbol" not in match.places and symbol is None:
        raise RefusedError(
            Rule.FILE_NAME,
            f"the name gives no allowed symbol by data.file_pattern {options.file_pattern!r}, and there is no "
            f"symbol column. {Rule.SYMBOL.sentence}",
        )
    return Source(path, file.content, symbol, match, table)


def _appended(tail: Tail, head: bytes, match: Match, options: ReadOptions, unread: list[Path]) -> Source | None:
    """Return what was appended to a file, under its header; add the file to `unread` if it is no whole plain lines."""
    data = tail.content.data
    if not data.isascii() or b"\0" in data or not data.endswith(b"\n"):
        unread.append(tail.path)
        return None
    text = Text(head, as_utf8(data, "utf-8"), is_cut=False, above=tail.lines)
    return Source(tail.path, tail.content, _symbol_of(tail.path, text, options), match, text)


def _symbol_of(path: Path, table: Text | ParquetTable, options: ReadOptions) -> str | None:
    """Return the symbol by a file's name, or by its header where that names one and the name is no symbol."""
    named = symbol_of(path.name, options.file_pattern)
    inside = table.ticker if isinstance(table, Text) else ""
    if not is_symbol(inside):
        return named
    check_name(named, inside, "the header's line of 'Ticker'")
    return named if named and agree(named, inside) else inside


def _apart(sources: Sequence[Source], options: ReadOptions) -> list[Batch]:
    """Interpret files of one header together or, where that is refused, in halves, down to those that are."""
    try:
        return [interpreted(sources, options)]
    except RefusedError as refused:
        if len(sources) == 1:
            return [_refused(Loaded(sources[0].path, sources[0].content), refused, options)]
    middle = len(sources) // 2
    return [*_apart(sources[:middle], options), *_apart(sources[middle:], options)]


def _growths(sources: Sequence[Source], options: ReadOptions, shape: Shape, unread: list[Path]) -> list[Batch]:
    """Do the same with lines that were appended; add to `unread` the files where they do not suffice."""
    if not sources:
        return []
    try:
        return [interpreted(sources, options, shape)]
    except RefusedError:
        if len(sources) == 1:
            unread.append(sources[0].path)
            return []
    middle = len(sources) // 2
    return [part for half in (sources[:middle], sources[middle:]) for part in _growths(half, options, shape, unread)]


def _refused(file: Loaded, refused: RefusedError, options: ReadOptions) -> Batch:
    symbol, content = symbol_of(file.path.name, options.file_pattern), file.content
    reading = Reading(
        path=str(file.path),
        layout="",
        adjustment="",
        bars=ROWS.empty_table(),
        quarantine=quarantine(str(file.path), [(0, symbol, refused.rule, refused.text)]),
        rows_in=0,
        notes=(),
        bytes=content.size,
        mtime_ns=content.mtime_ns,
        crc32=content.crc32,
    )
    return Batch((reading,), FILED_ROWS.empty_table())
