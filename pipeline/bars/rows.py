"""What is read from source files: rows that passed the gate, and what each file gave."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

import numpy as np
import pyarrow as pa

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

FILED_ROWS = ROWS.append(pa.field("file", pa.int32()))
"""The same with an index into a list of files."""


@dataclass(frozen=True)
class ReadOptions:
    """How source files are read."""

    columns: Mapping[str, str]  # ours: theirs (data.columns); empty = recognise by the header
    file_pattern: str  # "DA-{symbol}-T-{date}.csv"; see `pipeline.bars.naming.symbol_of`
    as_of: date  # a bar after it is quarantined
    adjustment: str | None = None  # none | splits | all; None = the layout's own, like the next
    volume_unit: str | None = None  # shares | lots
    encoding: str = "utf-8"  # or gb18030
    frequency: Frequency = Frequency.DAILY
    time_zone: str | None = None  # of minute bars; None = the layout's own, like the next
    bar_label: BarLabel | None = None
    bar_minutes: int = 1


class Shape(NamedTuple):
    """What decides how lines are read that are appended to a text file, besides its layout."""

    head: str  # the header's lines
    extras: tuple[str, ...]  # further columns that are kept
    blank: tuple[str, ...]  # ... and those left out because nothing has stood in them yet
    is_zoned: bool  # whether its times have time zones


class Reading(NamedTuple):
    """What one source file gave; ``rows_in = bars + quarantined rows with a line above 0``."""

    path: str  # as given
    layout: str  # its name, "" when the file was refused
    adjustment: str  # none | splits | all, "" when the file was refused
    bars: pa.Table  # ROWS and extras, in file order; empty where the bars of several files are together
    quarantine: pa.Table  # schema.QUARANTINE; line 0 refuses the whole file
    rows_in: int  # data rows of the file, 0 when it was refused
    notes: tuple[str, ...]
    bytes: int
    mtime_ns: int
    crc32: str  # hex
    lines: int = 0  # of the file, the header's too
    shape: Shape | None = None  # None: lines appended to it cannot be read without the others
    waits: str = ""  # the first session that was refused because it lies in the future, ISO

    @property
    def is_refused(self) -> bool:
        """Whether the file as a whole was refused."""
        return not self.layout


@dataclass(frozen=True)
class Batch:
    """What several files gave, their bars in one table."""

    readings: tuple[Reading, ...]
    bars: pa.Table  # FILED_ROWS and extras, null where a file has none; `file` is an index into `readings`


def joined(batches: Sequence[Batch]) -> Batch:
    """Return several batches as one, its readings ascending by path."""
    readings = [reading for batch in batches for reading in batch.readings]
    order = sorted(range(len(readings)), key=lambda place: readings[place].path)
    rank = np.empty(len(readings), np.int32)
    rank[order] = np.arange(len(readings))
    tables, start = [FILED_ROWS.empty_table()], 0
    for batch in batches:
        place = batch.bars.schema.get_field_index("file")
        files = rank[batch.bars["file"].to_numpy() + start]
        tables.append(batch.bars.set_column(place, FILED_ROWS.field("file"), pa.array(files)))
        start += len(batch.readings)
    return Batch(tuple(readings[place] for place in order), pa.concat_tables(tables, promote_options="default"))
