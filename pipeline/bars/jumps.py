"""Closes of new bars that move further than shares do in a session: a split that nobody declared, or another unit."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.bars.ends import JUMP
from pipeline.bars.following import Followers


class Jump(NamedTuple):
    """One of them."""

    session: str  # ISO
    move: float  # fraction of the adjusted close before

    def sentence(self, symbol: str) -> str:
        """Return what a user is told of it."""
        return (
            f"{symbol}: the close of {self.session} moves by {self.move:+.1%} without a corporate action that explains "
            f"it. Look whether the file lacks a split, or has an error, and correct it"
        )


def first_after(before: pa.Table, bars: pa.Table) -> Jump | None:
    """Return the first jump of a symbol's `bars` that lies behind its stored ones."""
    when = "time" if "time" in bars.column_names else "session"
    is_new = bars[when].to_numpy() > before[when].to_numpy()[-1]
    close = bars["close"].to_numpy() * bars["factor"].to_numpy()
    moves = close / np.concatenate([[np.nan], close[:-1]]) - 1
    return _first(bars, moves, np.flatnonzero(is_new))


def of_followers(go_on: Followers, ends: pa.Table) -> Iterator[tuple[str, Jump]]:
    """Yield the symbols whose bars go on from `ends` (`pipeline.bars.ends.ENDS`) with a jump, and the first of each."""
    if not go_on.symbols:
        return
    place = pc.index_in(pa.array(go_on.symbols, pa.string()), ends["symbol"].combine_chunks())
    last = ends.take(place)
    close = go_on.bars["close"].to_numpy() * go_on.bars["factor"].to_numpy()
    before = np.concatenate([[np.nan], close[:-1]])
    before[go_on.starts[:-1]] = last["close"].to_numpy() * last["factor"].to_numpy()
    moves = close / before - 1
    far = np.flatnonzero(np.abs(moves) > JUMP)
    owners = np.searchsorted(go_on.starts, far, side="right") - 1
    for owner in np.unique(owners).tolist():
        if jump := _first(go_on.bars, moves, far[owners == owner]):
            yield go_on.symbols[owner], jump


def _first(bars: pa.Table, moves: np.ndarray, rows: np.ndarray) -> Jump | None:
    """Return the first of the `rows` that jumps."""
    found = rows[np.abs(moves[rows]) > JUMP]
    if not len(found):
        return None
    day = bars["session"].to_numpy()[found[0]].astype("datetime64[D]")
    return Jump(str(day), float(moves[found[0]]))
