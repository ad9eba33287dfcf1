"""Rows that only go on where stored bars end -> the bars that are to be appended, of all symbols at once."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.bars.ends import ENDS, follow
from pipeline.bars.rows import FILED_ROWS
from pipeline.bars.spills import encoded
from pipeline.modes import Frequency
from pipeline.schema import ACTIONS, MINUTE_BARS, bars_schema

_NEEDED = ("high", "low", "close", "factor", "adjusted_close", "dividend", "split")


@dataclass(frozen=True)
class Followers:
    """Symbols whose stored bars go on, and with what."""

    symbols: tuple[str, ...]  # ascending
    starts: np.ndarray  # rows starts[i]:starts[i + 1] of the bars are symbols[i]'s
    bars: pa.Table  # schema.MINUTE_BARS and extras, by symbol and time; of daily bars the times are the sessions
    actions: pa.Table  # schema.ACTIONS
    ends: pa.Table  # ENDS, one row per symbol

    def extents(self) -> Iterator[tuple[str, int, str]]:
        """Yield every symbol with the number of its new bars, and the session of the last one."""
        lasts = self.ends["day"].to_numpy().astype("datetime64[D]").astype(str)
        yield from zip(self.symbols, np.diff(self.starts).tolist(), lasts.tolist(), strict=True)

    def only(self, symbols: Collection[str]) -> "Followers":
        """Return what is left with these symbols alone."""
        chosen = np.array([symbol in symbols for symbol in self.symbols], bool)
        if chosen.all():
            return self
        counts = np.diff(self.starts)
        names = tuple(symbol for symbol, is_chosen in zip(self.symbols, chosen, strict=True) if is_chosen)
        return Followers(
            names,
            np.concatenate([[0], np.cumsum(counts[chosen])]),
            self.bars.filter(pa.array(np.repeat(chosen, counts))),
            self.actions.filter(pc.is_in(self.actions["symbol"], pa.array(names, pa.string()))),
            self.ends.filter(pa.array(chosen)),
        )


NOBODY = Followers((), np.zeros(1, np.int64), MINUTE_BARS.empty_table(), ACTIONS.empty_table(), ENDS.empty_table())


def followers(rows: pa.Table, ends: pa.Table, barred: Collection[str]) -> tuple[Followers, frozenset[str]]:
    """Return which symbols' rows follow from where their stored bars end, and the symbols of which they do not.

    Parameters
    ----------
    rows : Table
        `pipeline.bars.rows.FILED_ROWS` and extras, in any order.
    ends : Table
        ENDS of the stored symbols.
    barred : collection of str
        Symbols that shall not follow.
    """
    if not len(rows):
        return NOBODY, frozenset()
    names, codes = encoded(rows["symbol"])
    times = rows["time"].to_numpy()
    order = np.lexsort((times, codes))
    rows, codes, times = rows.take(order), codes[order], times[order]
    starts = np.searchsorted(codes, np.arange(len(names) + 1))
    place = pc.index_in(pa.array(names, pa.string()), ends["symbol"].combine_chunks())
    can = place.is_valid().to_numpy(zero_copy_only=False) & ~np.isin(names, list(barred))
    twice = (codes[1:] == codes[:-1]) & (times[1:] == times[:-1])
    can[codes[1:][twice]] = False
    before = ends.take(place.fill_null(0))
    arrays = {name: rows[name].fill_null(np.nan).to_numpy() for name in _NEEDED}
    found = follow(
        {name: before[name].to_numpy() for name in ENDS.names[1:]},
        {**arrays, "session": rows["session"].to_numpy(), "time": times},
        starts,
    )
    can &= found.can
    everyone = Followers(
        names,
        starts,
        _bars(rows, found.factor),
        _actions(rows),
        pa.table([pa.array(names), *(found.ends[name] for name in ENDS.names[1:])], schema=ENDS),
    )
    followed = frozenset(np.array(names, object)[can].tolist())
    return everyone.only(followed), frozenset(names) - followed


def _bars(rows: pa.Table, factor: np.ndarray) -> pa.Table:
    extras = [name for name in rows.column_names if name not in FILED_ROWS.names]
    schema = bars_schema(extras, Frequency.MINUTE)  # daily ones have times too, so far
    columns = {name: rows[name] for name in MINUTE_BARS.names} | {"factor": pa.chunked_array([factor])}
    columns |= {name: rows[name].fill_null(np.nan) for name in extras}
    return pa.table(columns, schema=schema)


def _actions(rows: pa.Table) -> pa.Table:
    acted = rows.filter(pc.or_(pc.not_equal(rows["dividend"], 0), pc.not_equal(rows["split"], 1)))
    columns = {"symbol": acted["symbol"], "ex_date": acted["session"]}
    columns |= {"pay_date": pa.nulls(len(acted), ACTIONS.field("pay_date").type)}
    return pa.table({**columns, "dividend": acted["dividend"], "split": acted["split"]}, schema=ACTIONS)
