"""Rows that contradict each other, held against what is stored: one of them may be the stored bar itself."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.bars.quality import Rule
from pipeline.schema import PRICES

_JUDGED = (*PRICES, "volume")


@dataclass(frozen=True)
class Conflict:
    """What was refused of a stored symbol as its rows were assembled."""

    refused: pa.Table  # schema.QUARANTINE, without the rows that are the stored bars
    places: tuple[tuple[str, str, int], ...]  # session, file and line of every row that contradicts another one

    def words(self, session: str) -> str:
        """Return where the rows of a session that contradict each other are; empty if there are none."""
        lines: dict[str, list[str]] = {}
        for day, file, line in self.places:
            if day == session:
                lines.setdefault(file, []).append(str(line))
        return ", ".join(f"{file} lines {' and '.join(several)}" for file, several in lines.items())


def conflict(rows: pa.Table, files: Sequence[str], refused: pa.Table, bars: pa.Table) -> Conflict:
    """Tell the refused rows of a symbol that are its stored bars from those that are not.

    Parameters
    ----------
    rows : Table
        As of `pipeline.bars.assembly.assemble`, like the next two.
    files : sequence of str
        Paths of the source files.
    refused : Table
        The quarantine that was made of the rows.
    bars : Table
        The symbol's stored bars.
    """
    where = zip(refused["file"].to_pylist(), refused["line"].to_pylist(), strict=True)
    rules = dict(zip(where, refused["rule"].to_pylist(), strict=True))
    names = [files[number] for number in rows["file"].to_pylist()]
    keys = list(zip(names, rows["line"].to_pylist(), strict=True))
    mine = [place for place, key in enumerate(keys) if key in rules]
    some = rows.take(mine)
    when = _when(bars)
    there = bars.filter(pc.is_in(bars[when], value_set=some[when].combine_chunks()))
    stored = dict(zip(_times(there), _values(there), strict=True))
    places, are_stored = [], set()
    for time, values, place in sorted(
        zip(_times(some), _values(some), mine, strict=True), key=lambda row: keys[row[2]]
    ):
        if rules[keys[place]] == Rule.CONFLICT:
            places.append((time[:10], *keys[place]))
        if stored.get(time) == values:
            del stored[time]
            are_stored.add(keys[place])
    return Conflict(refused.filter(pa.array([key not in are_stored for key in rules], pa.bool_())), tuple(places))


def _when(table: pa.Table) -> str:
    return "time" if "time" in table.column_names else "session"


def _times(table: pa.Table) -> list[str]:
    return table[_when(table)].to_numpy().astype("datetime64[m]").astype(str).tolist()


def _values(table: pa.Table) -> list[tuple[float, ...]]:
    return list(zip(*(table[name].to_pylist() for name in _JUDGED), strict=True))
