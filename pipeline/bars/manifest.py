"""What a snapshot is: blocks, periods, parts and where they came from; written as sealed JSON."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import date
from functools import cached_property
from itertools import compress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pipeline.bars.damage import MANIFEST, RESTORE_MANIFEST, corrupt
from pipeline.bars.rows import Shape
from pipeline.bars.sealing import is_as_sealed, sealed
from pipeline.errors import DataError
from pipeline.files import unreadable

Row = TypeVar("Row", bound=NamedTuple)

FORMAT = 6
OLDEST = 4  # formats from this one on are read, and the next commit writes FORMAT: 5 has fewer columns in `ends` ...
UNSEALED = 4  # ... and this one no checksum either
NAMED_SYMBOLS = 100  # a file of more symbols is recorded without their names: manifests stay small
TABLES = ("actions", "instruments", "quarantine", "revisions", "ends")


class Symbol(NamedTuple):
    """One symbol: where its bars are, and the scale that makes its adjusted prices."""

    symbol: str
    block: int
    rows: int
    first: str  # session, ISO
    last: str  # session, ISO
    scale: float  # adjusted price = price x factor / scale


def columns_of(rows: Sequence[Row], kind: type[Row]) -> dict[str, list[Any]]:
    """Return named tuples column by column: so JSON is half as long, and read in half the time."""
    columns = zip(*rows, strict=True) if rows else [()] * len(kind._fields)
    return dict(zip(kind._fields, map(list, columns), strict=True))


def rows_of(columns: Mapping[str, list[Any]], kind: type[Row]) -> Iterator[Row]:
    """Yield them again; KeyError or ValueError where the columns are not theirs."""
    return map(kind._make, zip(*(columns[name] for name in kind._fields), strict=True))


class SourceFile(NamedTuple):
    """What a snapshot remembers of one source file; a refused one keeps the facts of its last good content."""

    path: str
    bytes: int
    mtime_ns: int
    crc32: str  # hex, "" where it could not be read
    adjustment: str
    rows_in: int
    symbols: tuple[str, ...] | None  # None: more than NAMED_SYMBOLS
    refused: bool
    lines: int = 0  # of a text file
    shape: Shape | None = None  # how lines appended to it are read; None: only with the others
    waits: str = ""  # the first session that was refused because it lay in the future, ISO

    def is_awaited(self, as_of: date) -> bool:
        """Tell whether sessions that lay in the future have come."""
        return "" < self.waits <= as_of.isoformat()

    @property
    def gave_none(self) -> bool:
        """Whether the file never gave a bar: if it disappears, nothing is missing."""
        return self.symbols == ()


def as_recorded(files: Sequence[SourceFile]) -> tuple[dict[str, list[Any]], list[list[Any]]]:
    """Return source files and their shapes as a manifest keeps them; `Manifest.source_files` reads them back."""
    shapes: dict[Shape, int] = {}
    columns = columns_of(files, SourceFile)
    columns["symbols"] = [None if names is None else list(names) for names in columns["symbols"]]
    columns["shape"] = [None if shape is None else shapes.setdefault(shape, len(shapes)) for shape in columns["shape"]]
    return columns, [[each.head, list(each.extras), list(each.blank), each.is_zoned] for each in shapes]


@dataclass(frozen=True)
class Period:
    """Consecutive sessions, both ends included; an open one is the tail."""

    first: str
    last: str
    open: bool


@dataclass(frozen=True)
class Part:
    """One Parquet file: the bars of a block's symbols in a period, sorted by (symbol, session).

    Rows ``offsets[i]:offsets[i + 1]`` belong to ``symbols[i]``.
    """

    file: str
    block: int
    period: int
    bytes: int
    sha256: str
    symbols: tuple[str, ...]
    offsets: tuple[int, ...]

    @property
    def rows(self) -> int:
        """How many bars the part holds."""
        return self.offsets[-1]


@dataclass(frozen=True)
class Table:
    """A file beside the parts, one for each of TABLES."""

    file: str
    bytes: int
    sha256: str
    rows: int


@dataclass(frozen=True)
class News:
    """What an update brought, and what is doubtful in it; see `pipeline.bars.news`."""

    rows: int = 0  # new ones
    rows_refused: int = 0
    files: int = 0  # new ones
    refused_files: tuple[str, ...] = ()  # those of them that were refused, as the quarantine's CSV has their paths
    refused: str = ""  # a sentence on the refused rows ...
    rows_from: tuple[str, ...] = ()  # ... and the files they are of, as the quarantine's CSV has their paths
    jumps: tuple[str, ...] = ()  # sentences on new bars whose close jumps, by symbol
    newcomers: tuple[str, ...] = ()  # symbols that the store had no bars of before

    @property
    def is_doubtful(self) -> bool:
        """Whether there is anything to tell."""
        return bool(self.refused_files or self.refused or self.jumps or self.newcomers)

    @property
    def files_refused(self) -> int:
        """How many of the new files were refused."""
        return len(self.refused_files)

    @property
    def counts(self) -> dict[str, int]:
        """The numbers, by the names that those of a whole store have."""
        return {
            "files": self.files,
            "files_refused": self.files_refused,
            "rows_in": self.rows,
            "quarantined": self.rows_refused,
        }


@dataclass(frozen=True)
class Update:
    """What an update changed and brought, and when."""

    at: float  # seconds since the epoch
    revised: dict[str, str]  # symbols whose stored bars it changed, and how
    news: News
    number: int = 0  # of its snapshot


@dataclass(frozen=True)
class Manifest:
    """Everything a snapshot is; written as JSON."""

    number: int
    columns: tuple[str, ...]  # numeric columns of the parts: STORED and the source's extras
    periods: tuple[Period, ...]
    symbols: tuple[Symbol, ...]  # ascending by symbol
    parts: tuple[Part, ...]
    actions: Table
    instruments: Table
    quarantine: Table
    revisions: Table  # stored bars that vendors changed, since the store was begun
    ends: Table  # what the next bars of symbols need to know of those before
    sources: dict[str, list[Any]]  # the source files, column by column, see `as_recorded`
    shapes: list[list[Any]]  # of the files
    ingest: dict[str, Any]  # the options that made it, and what its prices are
    counts: dict[str, int]  # rows_in = stored + duplicates + quarantined, and files
    remarks: dict[str, list[str]] = field(default_factory=dict)  # what is doubtful, by symbol or source file
    held: dict[str, str] = field(default_factory=dict)  # symbols whose stored bars stay against their files, and why
    disputed: tuple[str, ...] = ()  # those of them whose files would change stored bars
    revised: dict[str, str] = field(default_factory=dict)  # symbols whose stored bars this snapshot changed, and how
    news: News = News()  # of the update that made this snapshot
    lately: tuple[Update, ...] = ()  # those of the hours before it, the newest last; see `pipeline.bars.lately`
    format: int = FORMAT

    @property
    def files(self) -> "tuple[Part | Table, ...]":
        """Every file of the snapshot."""
        return (*self.parts, *(getattr(self, name) for name in TABLES))

    @property
    def refused(self) -> tuple[str, ...]:
        """The paths of the source files that were refused, ascending."""
        return tuple(compress(self.sources["path"], self.sources["refused"]))

    @cached_property
    def source_files(self) -> dict[str, SourceFile]:
        """The source files by path, ascending."""
        shapes = [Shape(head, tuple(extras), tuple(blank), zoned) for head, extras, blank, zoned in self.shapes]
        columns = {
            **self.sources,
            "symbols": [None if names is None else tuple(names) for names in self.sources["symbols"]],
            "shape": [None if place is None else shapes[place] for place in self.sources["shape"]],
        }
        return dict(zip(columns["path"], rows_of(columns, SourceFile), strict=True))

    @property
    def frequency(self) -> str:
        """How often there is a bar: daily or minute."""
        return self.ingest.get("frequency", "daily")

    @property
    def notes(self) -> tuple[str, ...]:
        """What is doubtful about the bars; each sentence begins with its symbol or source file."""
        return (*self.held.values(), *(text for texts in self.remarks.values() for text in texts))

    def to_json(self) -> bytes:
        """Return the manifest as a JSON document."""
        content = {each.name: getattr(self, each.name) for each in fields(self)}
        content |= {"periods": [vars(period) for period in self.periods]}
        content |= {"symbols": columns_of(self.symbols, Symbol), "parts": [vars(part) for part in self.parts]}
        content |= {name: vars(getattr(self, name)) for name in (*TABLES, "news")}
        content |= {"lately": [vars(update) | {"news": vars(update.news)} for update in self.lately]}
        return sealed(json.dumps(content, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode())

    @classmethod
    def from_fields(cls, content: dict[str, Any]) -> "Manifest":
        """Make a manifest of parsed JSON; KeyError or TypeError where it is none."""
        return cls(
            number=content["number"],
            columns=tuple(content["columns"]),
            periods=tuple(Period(**period) for period in content["periods"]),
            symbols=tuple(rows_of(content["symbols"], Symbol)),
            parts=tuple(
                Part(**{**part, "symbols": tuple(part["symbols"]), "offsets": tuple(part["offsets"])})
                for part in content["parts"]
            ),
            actions=Table(**content["actions"]),
            instruments=Table(**content["instruments"]),
            quarantine=Table(**content["quarantine"]),
            revisions=Table(**content["revisions"]),
            ends=Table(**content["ends"]),
            sources=content["sources"],
            shapes=content["shapes"],
            ingest=content["ingest"],
            counts=content["counts"],
            remarks=content["remarks"],
            held=content["held"],
            disputed=tuple(content["disputed"]),
            revised=content["revised"],
            news=_news(content.get("news", {})),
            lately=tuple(Update(**each | {"news": _news(each["news"])}) for each in content.get("lately", [])),
        )


def _news(content: dict[str, Any]) -> News:
    """Return what an update brought; what an older version did not keep is not known."""
    names = [each.name for each in fields(News) if each.name in content]
    values: dict[str, Any] = {
        name: tuple(content[name]) if isinstance(content[name], list) else content[name] for name in names
    }
    return News(**values)


def manifest_path(root: Path, number: int) -> Path:
    """Return where the manifest of a snapshot lies."""
    return root / "snapshots" / f"{number}.json"


def read_manifest(root: Path, number: int) -> Manifest:
    """Read the manifest of a snapshot; DataError where it is of another format, StoreCorruptError where it is none."""
    name = f"snapshots/{number}.json"
    document = manifest_path(root, number).read_bytes()
    is_whole = is_as_sealed(document)
    if is_whole is False:
        raise corrupt(root, f"{name} differs from its sha256", MANIFEST, RESTORE_MANIFEST)
    try:
        fields = json.loads(document)
        if fields["format"] not in range(OLDEST, FORMAT + 1):
            raise DataError(
                f"store {root}: format {fields['format']}; this version reads {OLDEST} to {FORMAT}. "
                f"Run `ingest --rebuild`."
            )
        if fields["format"] > UNSEALED and not is_whole:
            raise corrupt(root, f"{name} does not begin with its sha256", MANIFEST, RESTORE_MANIFEST)
        if fields["number"] != number:
            raise corrupt(root, f"{name} is that of snapshot {fields['number']}", MANIFEST, RESTORE_MANIFEST)
        return Manifest.from_fields(fields)
    except (ValueError, KeyError, TypeError) as error:
        raise corrupt(root, f"{name} cannot be read ({unreadable(error)})", MANIFEST, RESTORE_MANIFEST) from None
