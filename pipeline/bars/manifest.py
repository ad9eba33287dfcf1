"""What a snapshot is: blocks, periods, parts and where they came from; written as JSON."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any

FORMAT = 3


@dataclass(frozen=True)
class Symbol:
    """One symbol: where its bars are, and the scale that makes its adjusted prices."""

    symbol: str
    block: int
    rows: int
    first: str  # session, ISO
    last: str  # session, ISO
    scale: float  # adjusted price = price x factor / scale


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
    """A file beside the parts (actions, instruments, quarantine)."""

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
    sources: tuple[dict[str, Any], ...]  # one per source file, as `ingest` records them
    ingest: dict[str, Any]  # the options that made it, and what its prices are
    counts: dict[str, int]  # rows_in = stored + duplicates + quarantined, and files
    remarks: dict[str, list[str]] = field(default_factory=dict)  # what is doubtful, by symbol or source file
    held: dict[str, str] = field(default_factory=dict)  # symbols whose files lack stored bars, and what they lack
    format: int = FORMAT

    @property
    def files(self) -> "tuple[Part | Table, ...]":
        """Every file of the snapshot."""
        return (*self.parts, self.actions, self.instruments, self.quarantine)

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
        return json.dumps(asdict(self), allow_nan=False, ensure_ascii=False, indent=1).encode()

    @classmethod
    def from_fields(cls, fields: dict[str, Any]) -> "Manifest":
        """Make a manifest of parsed JSON; KeyError or TypeError where it is none."""
        return cls(
            number=fields["number"],
            columns=tuple(fields["columns"]),
            periods=tuple(Period(**period) for period in fields["periods"]),
            symbols=tuple(Symbol(**symbol) for symbol in fields["symbols"]),
            parts=tuple(
                Part(**{**part, "symbols": tuple(part["symbols"]), "offsets": tuple(part["offsets"])})
                for part in fields["parts"]
            ),
            actions=Table(**fields["actions"]),
            instruments=Table(**fields["instruments"]),
            quarantine=Table(**fields["quarantine"]),
            sources=tuple(fields["sources"]),
            ingest=fields["ingest"],
            counts=fields["counts"],
            remarks=fields["remarks"],
            held=fields["held"],
        )
