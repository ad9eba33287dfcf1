"""What a snapshot is: blocks, periods, parts and where they came from; written as JSON."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from pipeline.errors import DataError, StoreCorruptError

Row = TypeVar("Row")

FORMAT = 4
TABLES = ("actions", "instruments", "quarantine", "revisions", "ends")


@dataclass(frozen=True)
class Symbol:
    """One symbol: where its bars are, and the scale that makes its adjusted prices."""

    symbol: str
    block: int
    rows: int
    first: str  # session, ISO
    last: str  # session, ISO
    scale: float  # adjusted price = price x factor / scale


def columns_of(rows: Iterable[Any], kind: type) -> dict[str, list[Any]]:
    """Return instances of a dataclass column by column: so JSON is half as long, and read in half the time."""
    return {name: [getattr(row, name) for row in rows] for name in _names(kind)}


def rows_of(columns: Mapping[str, list[Any]], kind: type[Row]) -> Iterator[Row]:
    """Yield them again; KeyError or ValueError where the columns are not theirs."""
    for values in zip(*(columns[name] for name in _names(kind)), strict=True):
        yield kind(*values)


def _names(kind: Any) -> list[str]:
    return [each.name for each in fields(kind)]


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
    sources: dict[str, list[Any]]  # the source files, column by column, as `pipeline.bars.inventory` records them
    shapes: list[list[Any]]  # of the files, see `pipeline.bars.rows.Shape`
    ingest: dict[str, Any]  # the options that made it, and what its prices are
    counts: dict[str, int]  # rows_in = stored + duplicates + quarantined, and files
    remarks: dict[str, list[str]] = field(default_factory=dict)  # what is doubtful, by symbol or source file
    held: dict[str, str] = field(default_factory=dict)  # symbols whose stored bars stay against their files, and why
    disputed: tuple[str, ...] = ()  # those of them whose files would change stored bars
    revised: dict[str, str] = field(default_factory=dict)  # symbols whose stored bars this snapshot changed, and how
    format: int = FORMAT

    @property
    def files(self) -> "tuple[Part | Table, ...]":
        """Every file of the snapshot."""
        return (*self.parts, *(getattr(self, name) for name in TABLES))

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
        content = {**vars(self), "periods": [vars(period) for period in self.periods]}
        content |= {"symbols": columns_of(self.symbols, Symbol), "parts": [vars(part) for part in self.parts]}
        content |= {name: vars(getattr(self, name)) for name in TABLES}
        return json.dumps(content, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()

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
        )


def manifest_path(root: Path, number: int) -> Path:
    """Return where the manifest of a snapshot lies."""
    return root / "snapshots" / f"{number}.json"


def read_manifest(root: Path, number: int) -> Manifest:
    """Read the manifest of a snapshot; DataError where it is of another format, StoreCorruptError where it is none."""
    try:
        fields = json.loads(manifest_path(root, number).read_bytes())
        if fields["format"] != FORMAT:
            raise DataError(
                f"store {root}: format {fields['format']}; this version reads {FORMAT}. Run `ingest --rebuild`."
            )
        return Manifest.from_fields(fields)
    except (ValueError, KeyError, TypeError) as error:
        raise corrupt(root, f"snapshots/{number}.json cannot be read ({error!r})") from None


def corrupt(root: Path, what: str) -> StoreCorruptError:
    """Return the error of a store that is not as it was committed."""
    return StoreCorruptError(
        f"store {root}: corrupt, {what}; parts never change after their commit. Rebuild with `ingest --rebuild`."
    )
