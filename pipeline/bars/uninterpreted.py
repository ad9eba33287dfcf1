"""Rows of files under one header before they are judged, and which of their further columns are numbers."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.bars.cells import Cells, Lines, ParquetTable, Text
from pipeline.bars.content import Content
from pipeline.bars.layouts import Match
from pipeline.bars.quality import NUMERAL, has_zones, numbers
from pipeline.bars.rows import Shape
from pipeline.bars.times import of_two


@dataclass(frozen=True)
class Source:
    """A file ready to be interpreted."""

    path: Path
    content: Content
    symbol: str | None  # by the file's name
    match: Match
    table: Text | ParquetTable


@dataclass(frozen=True)
class Rows:
    """The rows of files of one header, uninterpreted."""

    sources: Sequence[Source]
    match: Match
    lines: Lines | ParquetTable
    cells: Cells
    owners: np.ndarray  # (rows,) index into `sources`
    numbers: np.ndarray  # (rows,) line in the file

    @cached_property
    def moments(self) -> pa.Array:
        """The cells that tell when a bar was."""
        places, columns = self.match.places, self.cells.columns
        if "date" in places:
            return of_two(columns[places["date"]], columns[places["time"]])
        return columns[places["time" if "time" in places else "session"]]

    @cached_property
    def is_zoned(self) -> bool:
        """Whether these have time zones."""
        return has_zones(self.moments)

    def per_file(self, chosen: np.ndarray) -> np.ndarray:
        """Count the chosen rows of each file."""
        return np.bincount(self.owners[chosen], minlength=len(self.sources))


@dataclass(frozen=True)
class Extras:
    """Further columns: numbers where a file's cells are numbers or empty throughout, and not all empty."""

    columns: Mapping[str, np.ndarray]  # (rows,), NaN in files where it is none
    kept: Mapping[str, np.ndarray]  # (files,) by every name
    blank: Mapping[str, np.ndarray]  # (files,) whether all its cells are empty

    def of(self, place: int) -> tuple[str, ...]:
        """Return the names that the file at `place` has."""
        return tuple(name for name, kept in self.kept.items() if kept[place])

    def fit(self, shape: Shape) -> bool:
        """Tell whether appended cells leave the further columns what they were: numbers, or blank, or neither."""
        numeric = [self.kept[name] | self.blank[name] for name in shape.extras]
        return bool(np.all(numeric)) and bool(np.all([self.blank[name] for name in shape.blank]))


def extras_of(rows: Rows, names: Iterable[str]) -> Extras:
    """Return which of some further columns are numbers, file by file."""
    columns, kept, blank = {}, {}, {}
    files = len(rows.sources)
    for name in names:
        column = rows.cells.columns[rows.match.extras[name]]
        kept[name], blank[name] = np.ones(files, bool), np.zeros(files, bool)
        if pa.types.is_string(column.type):
            column = pc.fill_null(column, "")
            empty = pc.equal(column, "").to_numpy(zero_copy_only=False)
            if not empty.any() and pc.all(pc.match_substring_regex(column, NUMERAL)).as_py():
                columns[name] = numbers(column, rows.numbers)
                continue
            numeric = pc.match_substring_regex(column, NUMERAL).to_numpy(zero_copy_only=False)
            blank[name] = rows.per_file(~empty) == 0
            kept[name] = (rows.per_file(~empty & ~numeric) == 0) & ~blank[name]
            column = pc.if_else(pa.array(kept[name][rows.owners]), column, "")
        if kept[name].any():
            columns[name] = numbers(column, rows.numbers)
    return Extras(columns, kept, blank)
