"""The signals of a whole store: a strategy mapped over the partitions, the changes of its opinion collected.

Bars never leave the worker that reads them: a task carries a block's whereabouts and the strategy, and returns the
sessions on which the wanted exposure changes, a few percent of the bars.
"""

import math
from collections.abc import Sequence
from datetime import date
from typing import Any

import dask.dataframe as dd
import numpy as np
import pandas as pd
from dask.delayed import Delayed
from dask.order import order

from pipeline.bars.blocks import Block, columns_of
from pipeline.compute.scheduler import Scheduler
from pipeline.errors import ConfigError, PipelineError, StrategyError
from pipeline.events import Listener, PartitionFinished, Stage, StageProgress, SymbolSkipped, ignore
from pipeline.modes import OnError
from pipeline.schema import MINUTE_SIGNALS, SIGNALS
from pipeline.signals.partition import Partial, signals_of_block
from pipeline.signals.strategy import Strategy


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


def changes(
    bars: dd.DataFrame,
    strategy: Strategy,
    blocks: Sequence[Block],
    *,
    start: date | None,
    end: date | None,
    on_error: OnError = OnError.FAIL,
) -> dd.DataFrame:
    """Return the changes of a strategy's opinion, lazily, one partition per block of `bars`.

    Parameters
    ----------
    bars : Dask DataFrame
        Of `pipeline.bars.blocks.open_bars`, with the `columns_needed`.
    strategy : Strategy
        Sees one symbol at a time, whole history until `end`.
    blocks : sequence of Block
        What `bars` are made of.
    start, end : date or None
        First and last session on which an opinion counts, both included; bars before `start` warm the strategy up,
        bars after `end` are not seen, and the first opinion is compared with 0.
    on_error : OnError
        Whether a symbol on which the strategy fails is an error or is left out.

    Returns
    -------
    Dask DataFrame
        Of `pipeline.schema.SIGNALS`, or `MINUTE_SIGNALS`. A partition whose strategy fails is the error itself, for
        `collect` to raise: so every scheduler reports the same one, and nothing but text crosses a process border.
    """
    return bars.map_partitions(
        signals_of_block,
        strategy=strategy,
        known=columns_of(blocks[0]),
        span=(start, end),
        on_error=on_error,
        meta=MINUTE_SIGNALS if blocks[0].has_times else SIGNALS,
        enforce_metadata=False,
        token=f"signals {strategy.name}",
    )


def collect(lazy: dd.DataFrame, scheduler: Scheduler, listener: Listener = ignore) -> pd.DataFrame:
    """Compute `changes` on a scheduler and lay them out by session.

    Returns
    -------
    DataFrame, (changes, 3)
        ``symbol`` (one categorical over all symbols, ascending), ``session``, of minute bars ``time``, ``signal``;
        sorted by (session or time, symbol).
        The same bit for bit for any scheduler, number of workers and blocks.

    Raises
    ------
    StrategyError, TemporaryError
        The same one under every scheduler, if several partitions fail; or no symbol is left of those that may fail.
    """
    tasks = lazy.to_delayed()
    first_failure = _FirstFailure(tasks)

    def seen(partition: int, result: Any) -> None:
        first_failure.look(partition, result)
        listener(PartitionFinished(partition))

    parts = scheduler.compute(tasks, lambda count: listener(StageProgress(Stage.SIGNALS, count)), seen=seen)
    return by_session(_usable(parts, listener))


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
    rows = np.lexsort([symbols, when])
    columns = {
        "symbol": pd.Categorical.from_codes(symbols[rows], categories=pd.Index(list(place))),
        "session": others["session"][rows],
        **({"time": pd.DatetimeIndex(when[rows], tz="UTC")} if "time" in parts[0] else {}),
        "signal": others["signal"][rows],
    }
    return pd.DataFrame(columns, copy=False)


def _usable(parts: Sequence[pd.DataFrame | Partial], listener: Listener) -> list[pd.DataFrame]:
    """Return the changes of every partition; tell `listener` of the symbols that a strategy failed on."""
    failures = {symbol: text for part in parts if isinstance(part, Partial) for symbol, text in part.failures.items()}
    frames = [part.changes if isinstance(part, Partial) else part for part in parts]
    if failures and len(failures) == sum(len(frame["symbol"].cat.categories) for frame in frames):
        first = failures[min(failures)]
        raise StrategyError(f"{first} It failed on every symbol; on_error: skip needs one that is left.")
    for symbol, text in sorted(failures.items()):
        listener(SymbolSkipped(symbol, text))
    return frames


class _FirstFailure:
    """Raise the first failure in Dask's order of the tasks, as soon as those before it are known to be well.

    So every scheduler raises the same one, however its workers race, and none computes much in vain.
    """

    def __init__(self, tasks: Sequence[Delayed]) -> None:
        ranks = order(dict(tasks[0].dask)) if tasks else {}  # partitions share one graph
        self.ranks = [ranks[task.key] for task in tasks]
        self.waiting = set(self.ranks)
        self.failures: dict[int, PipelineError] = {}

    def look(self, partition: int, result: Any) -> None:
        self.waiting.discard(self.ranks[partition])
        if isinstance(result, PipelineError):
            self.failures[self.ranks[partition]] = result
        if self.failures and min(self.failures) < min(self.waiting, default=math.inf):
            raise self.failures[min(self.failures)]
