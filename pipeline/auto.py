"""``scheduler.kind: auto`` at work: what the strategy costs, by whoever knows it, and where it is computed therefore.

The strategy's own word comes before what earlier runs measured, and that before a probe, which is work done: the
symbols it computes are not computed again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pandas as pd

from pipeline.bars.blocks import Block, joined
from pipeline.bars.split import split
from pipeline.compute import workers
from pipeline.compute.choose import Choice, Ready, Work, choose, named
from pipeline.compute.scheduler import Start, warm_kinds
from pipeline.events import Listener, Logged, PartitionFinished, SymbolSkipped
from pipeline.modes import Complexity, Kind
from pipeline.options import Options
from pipeline.results.history import known
from pipeline.signals.partition import failures_of
from pipeline.signals.probe import Probe, probe
from pipeline.signals.strategy import Strategy
from pipeline.words import counted

UNKNOWN_SECONDS = 1e-5  # per bar, where nobody knows: fine tasks, for a slow strategy in large ones keeps one core
UNKNOWN_ALONE = 1e-4  # the same where one worker computes: a slow strategy in large ones shows no progress
DECLARED = {Complexity.LIGHT: 1.5e-7, Complexity.HEAVY: 2e-6}  # seconds per bar


@dataclass(frozen=True)
class Assignment:
    """Where the signals of a run are computed, and in which tasks."""

    choice: Choice
    tasks: list[Block]  # what is left to compute, the largest first
    blocks: Sequence[Block]  # the same, as it is stored
    seconds_per_row: float
    parts: list[pd.DataFrame] = field(default_factory=list)  # signals that are there already

    def tasks_for(self, workers: int) -> list[Block]:
        """Return the tasks for so many workers; a cluster elsewhere may have more than the config told."""
        more = workers > self.choice.workers
        return split(self.blocks, workers, self.seconds_per_row) if more else self.tasks


@dataclass(frozen=True)
class Price:
    """What a strategy costs."""

    seconds_per_row: float
    held: float | None
    source: str


def assign(
    blocks: Sequence[Block], strategy: Strategy, options: Options, start: Start, listener: Listener
) -> Assignment:
    """Return where the signals of `blocks`, at least one, are computed.

    `start` is what will start the scheduler: it may have warm workers. `listener` is told what a probe has computed.

    Raises
    ------
    StrategyError, TemporaryError
        The strategy fails in the probe.
    """
    choice = named(options.scheduler, sum(len(block.symbols) for block in blocks))
    price = _declared(strategy) or _remembered(blocks, strategy, options)
    if choice is not None:
        unknown = UNKNOWN_SECONDS if choice.workers > 1 else UNKNOWN_ALONE
        return _divided(choice, blocks, price.seconds_per_row if price else unknown)
    clustered = options.output.performance or options.scheduler.dashboard
    ready = Ready(workers.ready_in(), warm_kinds(start), clustered)
    if price is not None:
        choice = choose(options.scheduler, _work(blocks, _own_word(price, strategy)), ready)
        return _divided(choice, blocks, price.seconds_per_row)
    probed = probe(blocks, strategy, (options.data.start, options.last_session), options.on_error, listener)
    price = _own_word(_measured(probed), strategy)
    if clustered:  # whoever watches, or reads the report, sees everything
        return _divided(choose(options.scheduler, _work(blocks, price), ready), blocks, price.seconds_per_row)
    _tell(probed, listener)
    choice = choose(options.scheduler, _work(probed.rest or blocks, price), ready)
    if not probed.rest:
        choice = replace(choice, kind=Kind.SYNCHRONOUS, workers=1, reason=f"{choice.reason}; the probe computed it all")
    return replace(_divided(choice, probed.rest, price.seconds_per_row), parts=probed.parts)


def _declared(strategy: Strategy) -> Price | None:
    if strategy.complexity is None:
        return None
    return Price(DECLARED[strategy.complexity], None, f"the strategy declares COMPLEXITY = {strategy.complexity}")


def _remembered(blocks: Sequence[Block], strategy: Strategy, options: Options) -> Price | None:
    same = {"sha256": strategy.sha256, "params": options.strategy.params}
    before = known(options.output.dir, options.name, same, sum(block.rows for block in blocks))
    if before is None:
        return None
    return Price(before.seconds_per_row, before.held, counted(before.runs, "earlier run"))


def _measured(probed: Probe) -> Price:
    symbols = sum(len(block.symbols) for block in probed.done)
    source = f"a probe of {1000 * probed.cost.wall:.0f} ms, {counted(symbols, 'symbol')}"
    return Price(probed.seconds_per_row, probed.held, source)


def _own_word(price: Price, strategy: Strategy) -> Price:
    """Return the price with what the strategy says of the GIL, if it says anything."""
    return price if strategy.releases_gil is None else replace(price, held=0.0 if strategy.releases_gil else 1.0)


def _work(blocks: Sequence[Block], price: Price) -> Work:
    rows, symbols = sum(block.rows for block in blocks), sum(len(block.symbols) for block in blocks)
    return Work(rows * price.seconds_per_row, price.held, symbols, price.source)


def _divided(choice: Choice, blocks: Sequence[Block], seconds_per_row: float) -> Assignment:
    """Assign `blocks` as `choice` says, with no more workers than there are tasks."""
    tasks = split(blocks, choice.workers, seconds_per_row)
    workers = max(1, min(choice.workers, len(tasks)))
    return Assignment(replace(choice, workers=workers), tasks, blocks, seconds_per_row)


def _tell(probed: Probe, listener: Listener) -> None:
    if probed.done:
        done = joined(probed.done)
        for line in probed.log:
            listener(Logged(str(done), line.level, line.text))
        for symbol, text in (pair for part in probed.parts for pair in failures_of(part).items()):
            listener(SymbolSkipped(symbol, text))
        listener(PartitionFinished(str(done), len(done.symbols), probed.cost))
