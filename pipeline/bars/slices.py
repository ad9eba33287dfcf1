"""Bars of some symbols in one table, each symbol's rows together, and how such tables are cut and merged."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import numpy as np
import pyarrow as pa

from pipeline.bars.plan import period_of
from pipeline.bars.store import Period


@dataclass(frozen=True, eq=False)
class Slices:
    """Rows ``offsets[i]:offsets[i + 1]`` of `bars` are those of ``symbols[i]``, sessions ascending."""

    bars: pa.Table
    symbols: tuple[str, ...]  # ascending
    offsets: Sequence[int] | np.ndarray

    @classmethod
    def join(cls, bars: Mapping[str, pa.Table], schema: pa.Schema) -> Self:
        """Return the bars of symbols as one; symbols without a bar are left out."""
        symbols = tuple(sorted(symbol for symbol, table in bars.items() if len(table)))
        tables = [bars[symbol] for symbol in symbols]
        offsets = np.cumsum([0, *map(len, tables)]).tolist()
        return cls(pa.concat_tables([schema.empty_table(), *tables]), symbols, offsets)

    @classmethod
    def merge(cls, several: Sequence["Slices"]) -> "Slices | None":
        """Return several as one, a symbol's rows in the order they are given; None where there is nothing."""
        if len(several) < 2:  # noqa: PLR2004
            return several[0] if several else None
        symbols = tuple(sorted({symbol for each in several for symbol in each.symbols}))
        place = {symbol: number for number, symbol in enumerate(symbols)}
        codes = np.concatenate([each.codes([place[symbol] for symbol in each.symbols]) for each in several])
        order = np.argsort(codes, kind="stable")
        bars = pa.concat_tables(each.bars for each in several).combine_chunks().take(order)
        return cls(bars, symbols, np.searchsorted(codes[order], np.arange(len(symbols) + 1)).tolist())

    def each(self) -> Iterator[tuple[str, pa.Table]]:
        """Yield every symbol with its bars."""
        for symbol, (first, last) in zip(self.symbols, pairwise(self.offsets), strict=True):
            yield symbol, self.bars.slice(first, last - first)

    def codes(self, numbers: Sequence[int] | np.ndarray) -> np.ndarray:
        """Return of every row the number that its symbol has."""
        return np.repeat(np.asarray(numbers, np.int64), np.diff(self.offsets))

    def chosen(self, rows: np.ndarray) -> "Slices":
        """Return the rows where `rows`, (rows,) of bool, is true."""
        if rows.all():
            return self
        counts = np.bincount(self.codes(range(len(self.symbols)))[rows], minlength=len(self.symbols))
        symbols = tuple(symbol for symbol, count in zip(self.symbols, counts.tolist(), strict=True) if count)
        offsets = np.cumsum([0, *counts[counts > 0].tolist()]).tolist()
        return Slices(self.bars.filter(pa.array(rows)), symbols, offsets)

    def without(self, symbols: Collection[str]) -> "Slices":
        """Return the rows of the other symbols."""
        stay = np.array([symbol not in symbols for symbol in self.symbols], bool)
        return self.chosen(np.repeat(stay, np.diff(self.offsets)))

    def by_period(self, periods: Sequence[Period]) -> dict[int, "Slices"]:
        """Return what falls in each period, where that is something."""
        homes = period_of(periods, self.bars["session"].to_numpy())
        return {number: self.chosen(homes == number) for number in np.unique(homes).tolist()}

    def is_same(self, other: "Slices") -> bool:
        """Tell whether the symbols and all their values are those of `other`, NaN for NaN."""
        if self.symbols != other.symbols or list(self.offsets) != list(other.offsets):
            return False
        names = [name for name in self.bars.column_names if name != "symbol"]
        pairs = (
            (self.bars[name].to_numpy().view(np.int64), other.bars[name].to_numpy().view(np.int64)) for name in names
        )
        return all(np.array_equal(one, two) for one, two in pairs)
