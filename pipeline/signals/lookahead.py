"""Whether a strategy looks ahead: asked with some of a symbol's bars, it must answer what it answers with all of them.

The idea is that of Freqtrade's lookahead-analysis: cut the history, ask again, compare.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np
import pandas as pd

from pipeline.errors import PipelineError
from pipeline.signals.partition import Span, signals_of_block
from pipeline.signals.strategy import Strategy

CUTS = 20  # histories of a symbol that are tried
SEED = 7  # another one tries others


@dataclass(frozen=True)
class Peek:
    """An opinion that bars to come have changed."""

    bar: str  # whose opinion: its session, of minute bars its time in UTC
    known_to: str  # the last bar of the cut history
    then: float  # exposure wanted after the bar, asked with the bars up to `known_to`; 0 before the first opinion
    later: float  # the same, asked with all bars

    def __str__(self) -> str:
        """Say what came, and what to do."""
        return (
            f"it looks ahead: after {self.bar} it wants {self.then:g} when asked with the bars up to {self.known_to}, "
            f"and {self.later:g} with all of them; later bars must change no answer. Look for shift(-1), centred "
            f"windows, means, scales or fits over the whole history, and state that is kept from call to call"
        )


def first_peek(
    frame: pd.DataFrame, strategy: Strategy, known: Sequence[str], last: Span, cuts: int = CUTS
) -> tuple[int, Peek | None]:
    """Ask a strategy about one symbol with its history cut, and find an answer that changes.

    Half of the cuts let the history end with a bar after which the opinion changes: whoever changed it for what comes
    after that bar cannot know then. The others, and the last bar, are for slips that show elsewhere.

    Parameters
    ----------
    frame : DataFrame, (bars, 2 + columns)
        One symbol's, as `pipeline.bars.blocks.load_block` gives them.
    strategy : Strategy
        Whom to ask.
    known : sequence of str
        Columns the bars could have had.
    last : (date or None, date or None)
        As of `pipeline.signals.partition`; only the second counts: opinions of the warm-up are compared, too.
    cuts : int
        How many histories to try; drawn by a seed and the symbol, and always the one that lacks only the last bar.

    Returns
    -------
    int, and Peek or None
        How many were tried; the first difference, at its last bar.

    Raises
    ------
    PipelineError
        What the strategy raised, or how it broke its contract.
    """
    span: Span = (None, last[1])
    whole = _opinions(frame, strategy, known, span)
    seen = frame if last[1] is None else frame[frame["session"] <= np.datetime64(last[1])]
    tried = 0
    for stop in _stops(whole[: len(seen)], str(seen["symbol"].iloc[0]) if len(seen) else "", cuts):
        tried += 1
        cut = seen.iloc[:stop]
        then, later = _opinions(cut, strategy, known, span), whole[:stop]
        differ = np.flatnonzero(then != later)
        if len(differ):
            place = int(differ[-1])
            return tried, Peek(_moment(cut, place), _moment(cut, -1), float(then[place]), float(later[place]))
    return tried, None


def _stops(whole: np.ndarray, symbol: str, cuts: int) -> list[int]:
    """Return how many bars the cut histories have, given the opinions on all bars; none twice."""
    bars = len(whole)
    if bars < 2:  # noqa: PLR2004 - a history of one bar cannot be cut
        return []
    random = np.random.default_rng([SEED, crc32(symbol.encode())])
    changes = 1 + np.flatnonzero(np.diff(whole, prepend=0.0))
    at_changes = random.permutation(changes)[: cuts // 2]
    others = random.choice(np.arange(1, bars), min(cuts, bars - 1), replace=False)
    stops = [bars - 1, *at_changes.tolist(), *others.tolist()]
    return [stop for stop in dict.fromkeys(stops) if stop < bars][:cuts]


def _opinions(frame: pd.DataFrame, strategy: Strategy, known: Sequence[str], span: Span) -> np.ndarray:
    """Return the exposure that stands after each bar, float64 (bars,), as a run would have it: 0 until there is one."""
    answer = signals_of_block(frame, strategy=strategy, known=known, span=span)
    if isinstance(answer, PipelineError):
        raise answer
    when = "time" if "time" in frame else "session"
    changes = pd.Series(answer["signal"].to_numpy(), index=pd.Index(answer[when]))
    return changes.reindex(frame[when], method="ffill", fill_value=0.0).to_numpy()


def _moment(frame: pd.DataFrame, place: int) -> str:
    if "time" in frame:
        return f"{frame['time'].iloc[place]:%Y-%m-%d %H:%M} UTC"
    return str(frame["session"].iloc[place].date())
