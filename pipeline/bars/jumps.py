"""New bars whose prices move further than shares do: a split that nobody declared, another unit, or a wrong price."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.bars.ends import JUMP, stray_of
from pipeline.bars.following import Followers


class Jump(NamedTuple):
    """One of them."""

    session: str  # ISO
    move: float  # of the close, fraction of the adjusted close before; of a stray, of the nearer close
    is_stray: bool  # the bar reaches beyond both its close and the one before

    def sentence(self, symbol: str) -> str:
        """Return what a user is told of it."""
        if self.is_stray:
            return (
                f"{symbol}: the bar of {self.session} reaches {self.move:+.1%} beyond both its close and the one "
                f"before, and stops fill there. Look whether its open, high or low is wrong, and correct it"
            )
        return (
            f"{symbol}: the close of {self.session} moves by {self.move:+.1%} without a corporate action that explains "
            f"it. Look whether the file lacks a split, or has an error, and correct it"
        )


def first_after(before: pa.Table, bars: pa.Table) -> Jump | None:
    """Return the first jump of a symbol's `bars` that lies behind its stored ones."""
    when = "time" if "time" in bars.column_names else "session"
    is_new = bars[when].to_numpy() > before[when].to_numpy()[-1]
    close = _adjusted(bars, "close")
    moves = _Moves.of(bars, np.concatenate([[np.nan], close[:-1]]))
    return moves.first(np.flatnonzero(is_new))


def of_followers(go_on: Followers, ends: pa.Table) -> Iterator[tuple[str, Jump]]:
    """Yield the symbols whose bars go on from `ends` (`pipeline.bars.ends.ENDS`) with a jump, and the first of each."""
    if not go_on.symbols:
        return
    place = pc.index_in(pa.array(go_on.symbols, pa.string()), ends["symbol"].combine_chunks())
    last = ends.take(place)
    before = np.concatenate([[np.nan], _adjusted(go_on.bars, "close")[:-1]])
    before[go_on.starts[:-1]] = _adjusted(last, "close")
    moves = _Moves.of(go_on.bars, before)
    far = np.flatnonzero(moves.is_far)
    owners = np.searchsorted(go_on.starts, far, side="right") - 1
    for owner in np.unique(owners).tolist():
        if jump := moves.first(far[owners == owner]):
            yield go_on.symbols[owner], jump


class _Moves(NamedTuple):
    """How far bars move, and reach; all (rows,)."""

    days: np.ndarray
    close: np.ndarray  # fraction of the close before
    reach: np.ndarray  # `stray_of`

    @classmethod
    def of(cls, bars: pa.Table, before: np.ndarray) -> "_Moves":
        """Return those of `bars`, from the adjusted close `before` each of them."""
        high, low, close = (_adjusted(bars, name) for name in ("high", "low", "close"))
        return cls(bars["session"].to_numpy(), close / before - 1, stray_of(high, low, close, before))

    @property
    def is_far(self) -> np.ndarray:
        """Which bars move or reach further than `JUMP`."""
        return (np.abs(self.close) > JUMP) | (np.abs(self.reach) > JUMP)

    def first(self, rows: np.ndarray) -> Jump | None:
        """Return the first of the `rows` that is far: by its close, if that is, else by its reach."""
        found = rows[self.is_far[rows]]
        if not len(found):
            return None
        row = found[0]
        is_stray = not abs(self.close[row]) > JUMP
        move = self.reach[row] if is_stray else self.close[row]
        return Jump(str(self.days[row].astype("datetime64[D]")), float(move), is_stray)


def _adjusted(prices: pa.Table, name: str) -> np.ndarray:
    """Return the prices of a column, adjusted."""
    return prices[name].to_numpy() * prices["factor"].to_numpy()
