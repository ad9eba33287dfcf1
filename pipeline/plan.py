"""What a run will do, before anything is computed: its strategy, its bars, its symbols, its name."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from difflib import get_close_matches
from typing import Any

from pipeline.bars.blocks import Block, blocks_of
from pipeline.bars.degraded import refused_at_ingest
from pipeline.bars.evenness import Evenness, evenness
from pipeline.bars.freshness import late
from pipeline.bars.naming import agree
from pipeline.bars.store import Snapshot
from pipeline.errors import ConfigError
from pipeline.events import Listener, Warned
from pipeline.journal import Journal
from pipeline.modes import Frequency, Prices
from pipeline.options import DataOptions, Options
from pipeline.record import identity
from pipeline.signals.strategy import Strategy, load_strategy
from pipeline.trading.actions import Actions, read_actions
from pipeline.upkeep import today
from pipeline.words import counted, listed

SHOWN = 3  # symbols in a message
Opened = Callable[[Options, Listener], tuple[Snapshot, str]]
"""`pipeline.upkeep.opened_store`, or one that keeps it open."""


@dataclass(frozen=True)
class Plan:
    """A run before anything is computed."""

    options: Options  # every option of the strategy in them
    strategy: Strategy
    snapshot: Snapshot
    symbols: list[str]
    blocks: list[Block]
    newest: date  # the last session that is seen
    actions: Actions | None  # at raw prices only
    even: Evenness  # symbols behind the others, ended, or with gaps

    @property
    def identity(self) -> dict[str, Any]:
        """What the result depends on, the versions of everything aside."""
        return identity(self.options, self.snapshot, self.strategy, self.newest)


def planned(options: Options, opened: Opened, journal: Journal) -> Plan:
    """Return what `options` come to; errors as of `pipeline.run.run`, as far as they show before the work."""
    strategy = load_strategy(options.strategy.name, options.strategy.params)
    options = resolved(options, strategy)
    snapshot = _snapshot(options, opened, journal)
    symbols = chosen_symbols(snapshot, options.data, options.last_session)
    check_span(snapshot, symbols, options)
    check_benchmark(snapshot, options.output.benchmark)
    actions = read_actions(snapshot, symbols) if options.data.prices is Prices.RAW else None
    newest = newest_of(snapshot, symbols, options.last_session)
    if stale := late(newest, options.as_of or today(), options.fresh, options.trading.market):
        journal.leave_out(stale)
    even = _evenness(snapshot, symbols, newest, options, journal)
    blocks = blocks_of(snapshot, symbols)
    return Plan(options, strategy, snapshot, symbols, blocks, newest, actions, even)


def resolved(options: Options, strategy: Strategy) -> Options:
    """Return `options` with every option of the strategy in them, defaults included, as values instead of text."""
    params = {name: list(value) if isinstance(value, tuple) else value for name, value in strategy.params.items()}
    return options.model_copy(update={"strategy": options.strategy.model_copy(update={"params": params})})


def chosen_symbols(snapshot: Snapshot, options: DataOptions, last: date | None) -> list[str]:
    """Return the symbols to trade, ascending; of all, those that have bars up to `last`.

    Raises
    ------
    ConfigError
        `data.symbols` names one that is not in the store.
    """
    if options.symbols == "all":
        entries = snapshot.by_symbol.items()
        there = [symbol for symbol, entry in entries if last is None or date.fromisoformat(entry.first) <= last]
        return there or list(snapshot.by_symbol)
    for symbol in options.symbols:
        if symbol not in snapshot.by_symbol:
            raise ConfigError(
                f"data.symbols: {symbol!r} is not in the store {snapshot.root}; it holds {_there(symbol, snapshot)} "
                f"`make ingest` brings new ones in."
            )
    return sorted(options.symbols)


def check_span(snapshot: Snapshot, symbols: Sequence[str], options: Options) -> None:
    """Refuse a `data.start` behind the last bar of `symbols`, and a `data.end` or `as_of` before it or their first one.

    Raises
    ------
    ConfigError
        Naming the setting and the first and last session of the bars.
    """
    entries = [snapshot.by_symbol[symbol] for symbol in symbols]
    first, last = min(entry.first for entry in entries), max(entry.last for entry in entries)
    start, end = options.data.start, options.last_session
    is_late = start is not None and start > date.fromisoformat(last)
    if is_late or (end is not None and end < max(filter(None, (start, date.fromisoformat(first))))):
        setting = "data.start" if is_late else "data.end" if end == options.data.end else "as_of"
        begin = f"data.start ({start})" if start and not is_late else "data.start"
        raise ConfigError(
            f"{setting}: {start if is_late else end}; the bars in {snapshot.root} go from {first} to {last}, and a run "
            f"needs some between {begin} and data.end or as_of. Correct {setting}, or ingest bars of that time."
        )


def check_benchmark(snapshot: Snapshot, benchmark: str | None) -> None:
    """Refuse an `output.benchmark` that is not in the store, as ConfigError."""
    if benchmark is not None and benchmark not in snapshot.by_symbol:
        raise ConfigError(
            f"output.benchmark: {benchmark!r} is not in the store, which holds {_there(benchmark, snapshot)} A "
            f"benchmark needs bars: ingest it, or take null, an equal part of every symbol."
        )


def _there(symbol: str, snapshot: Snapshot) -> str:
    """Return how many symbols a store holds, and which of them may be meant; else the first ones."""
    known = list(snapshot.by_symbol)
    count = counted(len(known), "symbol")
    folded = {each.casefold(): each for each in known}
    alike = [each for each in known if agree(symbol, each)]
    near = [folded[each] for each in get_close_matches(symbol.casefold(), folded, SHOWN)]
    if meant := list(dict.fromkeys([*alike, *near]))[:SHOWN]:
        return f"{count}. Did you mean {' or '.join(map(repr, meant))}?"
    return f"{count}: {listed(known)}."


def newest_of(snapshot: Snapshot, symbols: Sequence[str], last: date | None) -> date:
    """Return the last session that a run sees, as far as the store's first and last ones tell."""
    newest = date.fromisoformat(max(snapshot.by_symbol[symbol].last for symbol in symbols))
    return newest if last is None else min(newest, last)


def _evenness(snapshot: Snapshot, symbols: Sequence[str], newest: date, options: Options, journal: Journal) -> Evenness:
    """Return which symbols are behind, ended or have gaps in all of their bars, and tell it."""
    entries = [snapshot.by_symbol[symbol] for symbol in symbols]
    is_minute = snapshot.manifest.frequency == Frequency.MINUTE
    even = evenness(entries, newest, options.fresh, options.trading.market, has_times=is_minute)
    for event in even.events:
        journal(event)
    return even


def _snapshot(options: Options, opened: Opened, journal: Journal) -> Snapshot:
    """Open the store and tell what its ingest refused; a store that counts as degraded makes the run degraded."""
    snapshot, degraded = opened(options, journal)
    if degraded:
        journal.leave_out(degraded)
    refused = refused_at_ingest(snapshot)
    if refused and refused not in degraded:
        journal(Warned(refused))
    return snapshot
