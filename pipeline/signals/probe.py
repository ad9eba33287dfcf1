"""What a strategy costs, measured on real bars: the first symbols are computed here, and their signals kept.

So nothing is computed in vain. What a probe costs is that for some hundredths of a second one core works alone.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from time import perf_counter

import pandas as pd

from pipeline.bars.blocks import Block, bytes_of, columns_of, load_block
from pipeline.compute import gil
from pipeline.compute.meter import Meter
from pipeline.compute.queueing import queued
from pipeline.errors import PipelineError
from pipeline.events import Cost, Listener, SymbolsProbed, ignore
from pipeline.modes import OnError
from pipeline.signals.build import columns_needed
from pipeline.signals.partition import Span, signals_of_block
from pipeline.signals.strategy import Strategy
from pipeline.signals.task import Line, overheard

ENOUGH = 0.03  # seconds of work tell what a bar costs, and whether the GIL is held all the time
TRIAL_ROWS = 500  # of the first symbol, to see whether whole ones can be afforded:
QUICK_TRIAL = 0.012  # a trial of so many seconds allows for ...
USUAL_ROWS = 10_000  # ... a symbol of so many bars
KNOCK_EVERY = 0.001  # seconds
LEAST_KNOCKS = 5  # fewer say nothing; a GIL that is held all the time answers only 200 a second
READ_SECONDS = 9e-8  # per bar, where only one block was read: the first read of a process loads libraries
LEAST = 1e-10  # seconds per bar; a clock may not see less


@dataclass(frozen=True)
class Probe:
    """The first symbols of some blocks, computed, and what they say about the rest."""

    parts: list[pd.DataFrame]  # their signals
    done: list[Block]  # which they are; may be none
    rest: list[Block]
    cost: Cost
    log: list[Line]  # what the strategy logged
    seconds_per_row: float  # on one core, the read included
    held: float | None  # fraction of the time that the GIL was held; None: it was too short to tell


def probe(
    blocks: Sequence[Block],
    strategy: Strategy,
    span: Span,
    on_error: OnError = OnError.FAIL,
    listener: Listener = ignore,
) -> Probe:
    """Compute the signals of the first symbols of `blocks` for some hundredths of a second.

    Parameters
    ----------
    blocks : sequence of Block
        At least one.
    strategy : Strategy
        Asked for whole symbols; where one would take too long, for the first bars of one, whose answer is not kept.
    span : (date or None, date or None)
        First and last session on which an opinion counts.
    on_error : OnError
        Whether a symbol on which the strategy fails is an error or is left out.
    listener : Listener
        Told which symbols the strategy is asked about, should it never answer.

    Raises
    ------
    ConfigError
        The strategy declares a column that these bars do not have.
    StrategyError, TemporaryError
        The strategy fails on a whole symbol: the one that is told of under any scheduler.
    """
    prober, meter = _Prober(blocks, strategy, span, on_error, listener), Meter()
    knocks, taken = gil.seen()
    with gil.watched(KNOCK_EVERY), overheard(strategy) as log:
        rest = prober.compute()
    knocks, taken = (now - before for now, before in zip(gil.seen(), (knocks, taken), strict=True))
    meter.has_read(sum(block.rows for block in prober.done), prober.loaded)
    return Probe(
        parts=prober.parts,
        done=prober.done,
        rest=rest,
        cost=meter.cost(),
        log=log,
        seconds_per_row=prober.per_row,
        held=taken / knocks if knocks >= LEAST_KNOCKS else None,
    )


class _Prober:
    """A probe under way."""

    def __init__(
        self, blocks: Sequence[Block], strategy: Strategy, span: Span, on_error: OnError, listener: Listener
    ) -> None:
        self.blocks, self.strategy, self.span, self.on_error = blocks, strategy, span, on_error
        self.listener = listener
        self.known, self.columns = columns_of(blocks[0]), columns_needed(strategy, blocks)
        self.calls: list[tuple[float, int]] = []  # seconds and bars
        self.reads: list[tuple[float, int]] = []
        self.parts: list[pd.DataFrame] = []
        self.done: list[Block] = []
        self.loaded = 0
        self.began = perf_counter()

    def compute(self) -> list[Block]:
        """Compute symbols until enough is known, and return what is left."""
        waiting = list(reversed(self.blocks))
        while waiting:
            block = waiting.pop()
            frame = self._read(block)
            if not self.parts:
                self.listener(SymbolsProbed(str(block.between(0, 1))))
                if not self._affords_symbols(frame.iloc[: block.lengths[0]]):
                    return [block, *reversed(waiting)]
            while block.symbols:
                count = self._fitting(block.lengths)
                some, block = block.between(0, count), block.between(count, len(block.symbols))
                self.listener(SymbolsProbed(str(some)))
                self._keep(some, frame.iloc[: some.rows])
                frame = frame.iloc[some.rows :]
                if self._has_enough():
                    return [each for each in (block, *reversed(waiting)) if each.symbols]
        return []

    def _read(self, block: Block) -> pd.DataFrame:
        began = perf_counter()
        frame = load_block(block, self.columns)
        self.reads.append((perf_counter() - began, len(frame)))
        return frame

    def _affords_symbols(self, symbol: pd.DataFrame) -> bool:
        """Try the strategy on the first bars of a symbol; what it answers, or that it fails on so few, is no matter."""
        first = symbol.iloc[:TRIAL_ROWS]
        trial = self._ask(first)
        if trial > QUICK_TRIAL:
            trial = self._ask(first)  # the first call may import and compile
        if trial * len(symbol) / len(first) <= ENOUGH or (trial <= QUICK_TRIAL and len(symbol) <= USUAL_ROWS):
            return True
        self._ask(symbol.iloc[: max(1, int(len(first) * ENOUGH / trial))])
        return False

    def _fitting(self, lengths: Sequence[int]) -> int:
        """Return how many of the next symbols fit into the time that is left; at least one."""
        left = ENOUGH - (perf_counter() - self.began)
        return max(1, bisect_right(list(accumulate(lengths)), left / self._asked_per_row))

    def _keep(self, block: Block, frame: pd.DataFrame) -> None:
        self._ask(frame)
        if isinstance(self.answer, PipelineError):
            raise self.answer
        self.parts.append(self.answer)
        self.done.append(block)
        self.loaded += bytes_of(frame)

    def _ask(self, frame: pd.DataFrame) -> float:
        """Ask the strategy, keep the answer, and return the seconds it would take with a core of its own."""
        began, before = perf_counter(), queued()
        self.answer = signals_of_block(
            frame, strategy=self.strategy, known=self.known, span=self.span, on_error=self.on_error
        )
        self.calls.append((perf_counter() - began - (queued() - before), len(frame)))
        return self.calls[-1][0]

    def _has_enough(self) -> bool:
        return perf_counter() - self.began >= ENOUGH

    @property
    def per_row(self) -> float:
        """Seconds per bar on one core."""
        return self._asked_per_row + (_mean(self.reads[1:]) if len(self.reads) > 1 else READ_SECONDS)

    @property
    def _asked_per_row(self) -> float:
        """Seconds per bar of asking for whole symbols; of the last trial, if there were none."""
        return _mean(self.calls[-len(self.parts) :] if self.parts else self.calls[-1:])


def _mean(samples: Sequence[tuple[float, int]]) -> float:
    return max(sum(seconds for seconds, _ in samples) / sum(rows for _, rows in samples), LEAST)
