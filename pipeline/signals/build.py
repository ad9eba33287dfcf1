"""The signals of a whole store: a strategy mapped over the partitions, the changes of its opinion collected.

Bars never leave the worker that reads them: a task carries a block's whereabouts and the strategy, and returns the
sessions on which the wanted exposure changes, a few percent of the bars.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import dask.dataframe as dd
import numpy as np
import pandas as pd

from pipeline.bars.blocks import Block, columns_of, open_bars
from pipeline.compute.scheduler import Scheduler
from pipeline.compute.transfer import packed, unpacked
from pipeline.errors import ConfigError, PipelineError
from pipeline.events import (
    Listener,
    Logged,
    PartitionFailed,
    PartitionFinished,
    Stage,
    StageProgress,
    SymbolSkipped,
    ignore,
)
from pipeline.modes import OnError
from pipeline.schema import MINUTE_SIGNALS, SIGNALS
from pipeline.signals.partition import Span, failures_of
from pipeline.signals.strategy import Strategy
from pipeline.signals.task import cost_of, log_of, measured_signals

DAYS_OF_16_BITS = 2**16


def columns_needed(strategy: Strategy, blocks: Sequence[Block]) -> tuple[str, ...]:
    """Return which columns of the bars a strategy reads: those it declares, or all there are.

    Raises
    ------
    ConfigError
        It declares a column that these bars do not have.
    """
    known = columns_of(blocks[0])
    for name in strategy.columns or ():
        if name not in known:
            raise ConfigError(
                f"strategy {strategy.name!r}: its COLUMNS name {name!r}; these bars have {', '.join(known)}. "
                f"Repair COLUMNS in {strategy.file}, or ingest a source that has it."
            )
    return strategy.columns or known


def signals(
    blocks: Sequence[Block],
    strategy: Strategy,
    span: Span,
    scheduler: Scheduler,
    listener: Listener = ignore,
    *,
    on_error: OnError = OnError.FAIL,
) -> list[pd.DataFrame]:
    """Return the changes of a strategy's opinion in each of some blocks; there may be none of them.

    As `changes`, computed by `collect`.
    """
    return collect(changes(blocks, strategy, span, on_error), blocks, scheduler, listener) if blocks else []


def changes(blocks: Sequence[Block], strategy: Strategy, span: Span, on_error: OnError = OnError.FAIL) -> dd.DataFrame:
    """Return the changes of a strategy's opinion, lazily, one partition per block.

    Parameters
    ----------
    blocks : sequence of Block
        Whose bars; ones from `pipeline.bars.split.split` keep all workers busy to the end.
    strategy : Strategy
        Sees one symbol at a time, whole history until the end of `span`.
    span : (date or None, date or None)
        First and last session on which an opinion counts, both included; bars before it warm the strategy up, bars
        after it are not seen, and the first opinion is compared with 0.
    on_error : OnError
        Whether a symbol on which the strategy fails is an error or is left out.

    Returns
    -------
    Dask DataFrame
        Of `pipeline.schema.SIGNALS`, or `MINUTE_SIGNALS`; the attrs of a partition say what it cost. A partition whose
        strategy fails is the error itself, for `collect` to raise: so every scheduler reports the same one, and nothing
        but text crosses a process border. Partitions stand where Dask computes them in the order of `blocks`.
    """
    placed = [blocks[place] for place in ranks(len(blocks))]
    return open_bars(placed, columns_needed(strategy, blocks)).map_partitions(
        measured_signals,
        strategy=strategy,
        known=columns_of(blocks[0]),
        span=span,
        on_error=on_error,
        meta=MINUTE_SIGNALS if blocks[0].has_times else SIGNALS,
        enforce_metadata=False,
        token=f"signals {strategy.name}",
    )


def ranks(partitions: int) -> list[int]:
    """Return for each partition the place at which Dask computes it: independent tasks go by their keys, as text."""
    order = sorted(range(partitions), key=str, reverse=True)
    places = [0] * partitions
    for place, partition in enumerate(order):
        places[partition] = place
    return places


def collect(
    lazy: dd.DataFrame, blocks: Sequence[Block], scheduler: Scheduler, listener: Listener = ignore
) -> list[pd.DataFrame]:
    """Compute `changes` on a scheduler.

    Parameters
    ----------
    lazy, blocks
        What `changes` returned, and what it was given.
    scheduler : Scheduler
        Where to compute.
    listener : Listener
        Told of every partition as it comes in, what it cost, and what the strategy logged there.

    Returns
    -------
    list of DataFrame
        The changes in each block, for `by_session` to put together.

    Raises
    ------
    StrategyError, TemporaryError
        The first one in the order of the symbols, under every scheduler and division into blocks.
    """
    places = ranks(len(blocks))
    arrived = Arrived(blocks, listener)
    opened: Callable[[Any], Any] = lambda answer: answer  # noqa: E731 - or what undoes the packing
    if scheduler.sends:
        lazy, opened = lazy.map_partitions(packed, meta=SIGNALS, enforce_metadata=False, token=_title(lazy)), unpacked
    scheduler.compute(lazy.to_delayed(), seen=lambda place, answer: arrived.look(places[place], opened(answer)))
    return arrived.parts


def _title(lazy: dd.DataFrame) -> str:
    """Return what the tasks of `lazy` are called, without the number that makes them unique."""
    return str(lazy._name.rpartition("-")[0])  # noqa: SLF001 - Dask tells it nowhere else


class Arrived:
    """What came in of some blocks: tell of it, and of failures raise the first, once those before it are known."""

    def __init__(self, blocks: Sequence[Block], listener: Listener) -> None:
        """Expect the answer of each block; they are in the order of their symbols."""
        self.blocks, self.listener = blocks, listener
        self.parts = [SIGNALS] * len(blocks)
        self.waiting = set(range(len(blocks)))
        self.failures: dict[int, PipelineError] = {}

    def look(self, number: int, answer: pd.DataFrame | PipelineError) -> None:
        """Take in the answer of one block."""
        self.waiting.discard(number)
        if isinstance(answer, PipelineError):
            self.failures[number] = answer
            self.listener(PartitionFailed(str(self.blocks[number])))
        else:
            self.parts[number] = answer
            self._tell(self.blocks[number], answer)
        if self.failures and min(self.failures) < min(self.waiting, default=math.inf):
            raise self.failures[min(self.failures)]

    def _tell(self, block: Block, answer: pd.DataFrame) -> None:
        name = str(block)
        for line in log_of(answer):
            self.listener(Logged(name, line.level, line.text))
        for symbol, text in failures_of(answer).items():
            self.listener(SymbolSkipped(symbol, text))
        self.listener(PartitionFinished(name, len(block.symbols), cost_of(answer)))
        self.listener(StageProgress(Stage.SIGNALS, len(self.blocks) - len(self.waiting) - len(self.failures)))


def by_session(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return the changes of some partitions as one table, sorted by (session or time, symbol), whatever their order."""
    names = [part["symbol"].array.categories.tolist() for part in parts]
    place = {symbol: number for number, symbol in enumerate(sorted(set().union(*names)))}
    symbols: Any = np.concatenate(
        [
            np.array([place[symbol] for symbol in own], np.intp)[part["symbol"].array.codes]
            for part, own in zip(parts, names, strict=True)
        ]
    )
    others = {name: np.concatenate([part[name].to_numpy() for part in parts]) for name in ("session", "signal")}
    when = others["session"]
    if "time" in parts[0]:
        when = np.concatenate([part["time"].to_numpy("datetime64[ms]") for part in parts])
    rows = _by_time(when, symbols)
    columns = {
        "symbol": pd.Categorical.from_codes(symbols[rows], categories=pd.Index(list(place))),
        "session": others["session"][rows],
        **({"time": pd.DatetimeIndex(when[rows], tz="UTC")} if "time" in parts[0] else {}),
        "signal": others["signal"][rows],
    }
    return pd.DataFrame(columns, copy=False)


def _by_time(when: np.ndarray, symbols: np.ndarray) -> np.ndarray:
    """Return the rows by time, then symbol.

    Sessions of rows that are sorted by symbol, the usual case, fit into 16 bits, which NumPy sorts ten times as fast.
    """
    days = when.astype("datetime64[D]")
    numbers = days.astype(np.int64)
    is_short = len(numbers) > 0 and np.ptp(numbers) < DAYS_OF_16_BITS
    if is_short and (when == days).all() and (symbols[1:] >= symbols[:-1]).all():
        return np.argsort((numbers - numbers.min()).astype(np.uint16), kind="stable")
    return np.lexsort([symbols, when])
