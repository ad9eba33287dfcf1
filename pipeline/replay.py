"""Some symbols of a run, asked again in this process: where a debugger, a print and a profiler reach the strategy."""

import cProfile
import io
import pstats
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, fields
from time import perf_counter
from typing import Any

import pandas as pd

from pipeline.bars.blocks import Block, blocks_of, columns_of, load_block
from pipeline.errors import ConfigError, ExitCode, PipelineError
from pipeline.events import Listener, Note, Warned, ignore
from pipeline.interrupts import is_own
from pipeline.options import Options
from pipeline.plan import chosen_symbols
from pipeline.signals.build import columns_needed
from pipeline.signals.lookahead import first_peek
from pipeline.signals.partition import Span, signals_of_block
from pipeline.signals.strategy import Strategy, load_strategy
from pipeline.signals.task import overheard
from pipeline.upkeep import opened_store
from pipeline.words import counted

RANGE = ".."
HEAVIEST = 15  # lines of a profile


@dataclass(frozen=True)
class Replay:
    """What a strategy answered for some symbols."""

    symbols: list[dict[str, Any]]  # of each: symbol, bars, changes, last (opinion), seconds
    summary: list[tuple[str, str]]
    exit_code: ExitCode = ExitCode.OK


@dataclass(frozen=True)
class _Watched(Strategy):
    """A strategy whose exceptions are shown before they become one line of text, and whose functions are timed."""

    failed: Callable[[BaseException], None] = print
    profiler: cProfile.Profile | None = None

    def function(self) -> Callable[[pd.DataFrame], Any]:
        """Return its `signal`, options filled in, watched."""
        signal = super().function()

        def watched(bars: pd.DataFrame) -> Any:
            try:
                with self.profiler or nullcontext():
                    return signal(bars)
            except BaseException as error:
                if is_own(error):
                    self.failed(error)
                raise

        return watched


def replay(
    options: Options,
    which: str,
    listener: Listener = ignore,
    *,
    failed: Callable[[BaseException], None] = lambda _: None,
    profile: bool = False,
    look_ahead: bool = False,
) -> Replay:
    """Ask the strategy about some symbols, one after another, here.

    Parameters
    ----------
    options : Options
        Of the backtest.
    which : str
        A symbol, or a partition as run.json, log and report name it: ``AAPL..AMZN``, both included.
    listener : Listener
        Told what the strategy logs and, with `profile`, where its time went.
    failed : function of an exception
        Called with what the strategy raised, its traceback whole, before it ends the replay.
    profile : bool
        Time its functions; they take longer then.
    look_ahead : bool
        Ask again with histories cut at random sessions, and see that no answer changes; one that does is told, and
        ends the replay with exit code 5.

    Raises
    ------
    ConfigError
        There is no such symbol.
    PipelineError
        What a run with this strategy would raise.
    """
    strategy = load_strategy(options.strategy.name, options.strategy.params)
    profiler = cProfile.Profile() if profile else None
    known = {each.name: getattr(strategy, each.name) for each in fields(Strategy)}
    watched = _Watched(**known, failed=failed, profiler=profiler)
    snapshot, _ = opened_store(options, listener)
    blocks = blocks_of(snapshot, _within(which, chosen_symbols(snapshot, options.data, options.last_session)))
    span = options.data.start, options.last_session
    ones = [block.between(place, place + 1) for block in blocks for place in range(len(block.symbols))]
    try:
        symbols = [_asked(block, watched, span, listener) for block in ones]
        if look_ahead:
            symbols = [
                each | _checked(block, watched, span, listener) for each, block in zip(symbols, ones, strict=True)
            ]
    finally:
        if profiler is not None:
            listener(Note(_heaviest(profiler)))
    peeks = any(each.get("look_ahead") for each in symbols)
    return Replay(symbols, [_row(each) for each in symbols], ExitCode.STRATEGY if peeks else ExitCode.OK)


def _within(which: str, symbols: list[str]) -> list[str]:
    first, through, last = which.partition(RANGE)
    last = last if through else first
    if not {first, last} <= set(symbols):
        raise ConfigError(
            f"replay: {which!r} is none of the {counted(len(symbols), 'symbol')} of this run, "
            f"{symbols[0]}..{symbols[-1]}; a symbol expected, "
            f"or a partition as run.json names it. See monitor.partitions in run.json."
        )
    if first > last:
        raise ConfigError(f"replay: {which!r} runs backwards; the first symbol comes first. Ask for {last}..{first}.")
    return [symbol for symbol in symbols if first <= symbol <= last]


def _asked(block: Block, strategy: Strategy, span: Span, listener: Listener) -> dict[str, Any]:
    """Return what the strategy answers for a block of one symbol, by the way that a worker goes."""
    frame = load_block(block, columns_needed(strategy, [block]))
    began = perf_counter()
    with overheard(strategy) as lines:
        answer = signals_of_block(frame, strategy=strategy, known=columns_of(block), span=span)
    seconds = perf_counter() - began
    for line in lines:
        listener(Note(f"{block} {line.level}: {line.text}"))
    if isinstance(answer, PipelineError):
        raise answer
    last = answer.iloc[-1] if len(answer) else None
    return {
        "symbol": str(block),
        "bars": len(frame),
        "changes": len(answer),
        "last_change": None if last is None else str(last["session"].date()),
        "signal": None if last is None else float(last["signal"]),
        "seconds": round(seconds, 6),
    }


def _checked(block: Block, strategy: Strategy, span: Span, listener: Listener) -> dict[str, Any]:
    """Return how many cut histories of a block of one symbol were tried, and an answer that they change."""
    frame = load_block(block, columns_needed(strategy, [block]))
    tried, peek = first_peek(frame, strategy, columns_of(block), span)
    if peek is not None:
        listener(Warned(f"signals: strategy {strategy.name!r} for {str(block)!r}: {peek}."))
    return {"cuts": tried, "look_ahead": None if peek is None else asdict(peek)}


def _row(asked: dict[str, Any]) -> tuple[str, str]:
    last = f", the last to {asked['signal']:g} on {asked['last_change']}" if asked["changes"] else ""
    count = f"{counted(asked['changes'], 'change')} of opinion"
    told = f"{counted(asked['bars'], 'bar')}, {count}{last}; {1000 * asked['seconds']:.1f} ms"
    if "cuts" in asked:
        found = "LOOKS AHEAD" if asked["look_ahead"] else "no look-ahead"
        told += f"; {found} with its history cut {counted(asked['cuts'], 'time')}"
    return asked["symbol"], told


def _heaviest(profiler: cProfile.Profile) -> str:
    text = io.StringIO()
    pstats.Stats(profiler, stream=text).strip_dirs().sort_stats("cumulative").print_stats(HEAVIEST)
    return text.getvalue().strip()
