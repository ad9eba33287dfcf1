"""One backtest: bars -> signals -> trading -> results, the whole flow on one screen."""

from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from datetime import date
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline import __version__, config, place
from pipeline.auto import Assignment, assign
from pipeline.bars.blocks import blocks_of
from pipeline.bars.store import Snapshot
from pipeline.compute import scheduler
from pipeline.dashboard import performance
from pipeline.errors import ConfigError, ExitCode
from pipeline.events import Listener, Note, Published, Stage, Warned, ignore, stage
from pipeline.journal import Journal
from pipeline.modes import Fill, Kind, Prices
from pipeline.options import DataOptions, Options
from pipeline.record import description, identity, versions_of
from pipeline.results import metrics, report, rundir
from pipeline.results.splits import trades_through_splits
from pipeline.results.tables import Tables
from pipeline.signals import build
from pipeline.signals.strategy import Strategy, load_strategy
from pipeline.summary import summary_of
from pipeline.trading.actions import Actions, read_actions
from pipeline.trading.compiled import is_warm
from pipeline.trading.loop import Ledger, trade
from pipeline.trading.rehearsal import rehearsed
from pipeline.upkeep import opened_store, refused_at_ingest


@dataclass(frozen=True)
class Outcome:
    """What a run tells its caller; the rest is in `run_dir`."""

    run_dir: str
    result_digest: str
    state: str  # committed | degraded
    exit_code: ExitCode
    metrics: dict[str, float | None]
    stages: dict[str, float]  # seconds
    scheduler: dict[str, Any]
    rows: dict[str, int]
    warnings: list[str]
    summary: list[tuple[str, str]]  # label, value with its unit


def backtest(conf: str | Path, *overrides: str, listener: Listener = ignore) -> Outcome:
    """Run the backtest that a config file describes; `overrides` are ``"KEY=VALUE"`` as on the command line.

    Raises
    ------
    PipelineError
        Of the kind that says whose fault it is (`pipeline.errors`).
    """
    return run(config.load(Path(conf), overrides), listener)


def run(options: Options, listener: Listener = ignore, start: scheduler.Start = scheduler.start) -> Outcome:
    """Run one backtest and publish its run directory; errors as of `backtest`.

    `start` starts the scheduler: for many runs, what `scheduler.kept` yields, so that its workers stay warm.
    """
    with Journal(listener) as journal:
        return _run(options, journal, start)


def _run(options: Options, journal: Journal, start: scheduler.Start) -> Outcome:
    strategy = load_strategy(options.strategy.name, options.strategy.params)
    options = resolved(options, strategy)
    snapshot = _snapshot(options, journal)
    symbols = chosen_symbols(snapshot, options.data)
    check_span(snapshot, symbols, options.data)
    check_benchmark(snapshot, options.output.benchmark)
    actions = read_actions(snapshot, symbols) if options.data.prices is Prices.RAW else None
    versions = versions_of(__version__)
    key = rundir.run_key({**identity(options, snapshot, strategy), "versions": versions})
    with rundir.create(options.output.dir, options.name, key) as directory, ExitStack() as running:
        blocks = blocks_of(snapshot, symbols)
        build.columns_needed(strategy, blocks)
        with stage(journal, Stage.CHOOSE):
            assignment = assign(blocks, strategy, options, start, journal)
        where = running.enter_context(place.taken(assignment.choice, options, snapshot, start, journal))
        if is_watched := place.is_watched(options.scheduler):
            running.enter_context(place.watched(where, place.about(options, snapshot, symbols), journal))
        changes = _signals(assignment, strategy, where, options, journal, directory.folder / "performance.html")
        if not is_watched:
            running.close()  # its workers give their memory back before the loop takes its own
        ledger = _trade(snapshot, symbols, changes, options, actions, journal)
        with stage(journal, Stage.RESULTS):
            tables = _tables(ledger, changes)
            figures = metrics.summary(tables, options.trading.cash)
            directory.write_tables(tables)
            directory.write_json("metrics.json", metrics.document(figures))
            directory.write_text("config.yaml", config.dump(options))
        record = {
            **description(options, snapshot, strategy, where.choice),
            "versions": versions,
            "symbols": len(symbols),
            "rows": {"bars": ledger.bars, **{name: len(getattr(tables, name)) for name in _COUNTED}},
            "orders": metrics.endings(tables.orders),
            "result_digest": rundir.result_digest(tables.fills, tables.equity),
        }
        if options.output.report:
            _report(directory, record, journal, tables, figures)
        return _published(directory, record, journal, figures)


ELSEWHERE = {Kind.PROCESSES, Kind.DISTRIBUTED}  # kinds that leave this process free while signals are computed
_COUNTED = ("signals", "orders", "fills", "trades", "payments")


def resolved(options: Options, strategy: Strategy) -> Options:
    """Return `options` with every option of the strategy in them, defaults included, as values instead of text."""
    params = {name: list(value) if isinstance(value, tuple) else value for name, value in strategy.params.items()}
    return options.model_copy(update={"strategy": options.strategy.model_copy(update={"params": params})})


def chosen_symbols(snapshot: Snapshot, options: DataOptions) -> list[str]:
    """Return the symbols to trade, ascending.

    Raises
    ------
    ConfigError
        `data.symbols` names one that is not in the store.
    """
    if options.symbols == "all":
        return list(snapshot.by_symbol)
    for symbol in options.symbols:
        if symbol not in snapshot.by_symbol:
            close = get_close_matches(symbol, snapshot.by_symbol, 1)
            guess = f"Did you mean {close[0]!r}?" if close else "`make ingest` brings new ones in."
            raise ConfigError(
                f"data.symbols: {symbol!r} is not in the store {snapshot.root}; "
                f"it holds {len(snapshot.by_symbol)} symbols. {guess}"
            )
    return sorted(options.symbols)


def check_span(snapshot: Snapshot, symbols: Sequence[str], options: DataOptions) -> None:
    """Refuse a `data.start` behind the last bar of `symbols`, and a `data.end` before their first one.

    Raises
    ------
    ConfigError
        Naming the setting and the first and last session of the bars.
    """
    entries = [snapshot.by_symbol[symbol] for symbol in symbols]
    first, last = min(entry.first for entry in entries), max(entry.last for entry in entries)
    late = options.start is not None and options.start > date.fromisoformat(last)
    if late or (options.end is not None and options.end < date.fromisoformat(first)):
        setting, day = ("start", options.start) if late else ("end", options.end)
        raise ConfigError(
            f"data.{setting}: {day}; the bars in {snapshot.root} go from {first} to {last}, and a run needs some "
            f"between data.start and data.end. Correct data.{setting}, or ingest bars of that time."
        )


def check_benchmark(snapshot: Snapshot, benchmark: str | None) -> None:
    """Refuse an `output.benchmark` that is not in the store, as ConfigError."""
    if benchmark is not None and benchmark not in snapshot.by_symbol:
        raise ConfigError(
            f"output.benchmark: {benchmark!r} is not in the store; a benchmark needs bars. Ingest it, or take null: "
            f"an equal part of every symbol."
        )


def _snapshot(options: Options, journal: Journal) -> Snapshot:
    """Open the store and tell what its ingest refused; a degraded ingest, just now, makes the run degraded."""
    snapshot, degraded = opened_store(options, journal)
    if degraded:
        journal.leave_out(degraded)
    elif refused := refused_at_ingest(snapshot):
        journal(Warned(refused))
    return snapshot


def _signals(
    assignment: Assignment,
    strategy: Strategy,
    where: scheduler.Scheduler,
    options: Options,
    journal: Journal,
    page: Path,
) -> pd.DataFrame:
    """Compute the changes of opinion `where` the scheduler says, and Dask's report of it if asked for."""
    tasks, span = assignment.tasks_for(where.choice.workers), (options.data.start, options.data.end)
    report = performance.recorded(where.client, page) if options.output.performance else nullcontext()
    beside = rehearsed(options.trading) if where.choice.kind in ELSEWHERE else nullcontext()
    try:
        with beside, report, stage(journal, Stage.SIGNALS, total=len(tasks), unit="partitions"):
            parts = build.signals(tasks, strategy, span, where, journal)
            changes = build.by_session([*assignment.parts, *parts])
    except performance.PerformanceReportError as error:
        journal.leave_out(str(error))
    journal.monitor.traffic, journal.monitor.workers = where.traffic, where.choice.workers
    return changes


def _trade(
    snapshot: Snapshot,
    symbols: Sequence[str],
    changes: pd.DataFrame,
    options: Options,
    actions: Actions | None,
    journal: Journal,
) -> Ledger:
    if options.trading.fill is Fill.CLOSE:
        journal(Warned("trading.fill is close: orders fill at the close that gave the signal, which is optimistic"))
    if not is_warm():
        journal(Note("compiling the trading loop, once per version: about 20 seconds"))
    bars = sum(snapshot.by_symbol[symbol].rows for symbol in symbols)
    with stage(journal, Stage.TRADING, total=bars, unit="bars"):
        ledger = trade(
            snapshot,
            symbols,
            changes,
            options.trading,
            start=options.data.start,
            end=options.data.end,
            benchmark=options.output.benchmark,
            actions=actions,
            listener=journal,
        )
    journal.monitor.bars = ledger.bars
    if ledger.clipped:
        journal(Warned(f"{ledger.clipped:,} negative signals were taken as 0, since trading.short is false"))
    return ledger


def _tables(ledger: Ledger, changes: pd.DataFrame) -> Tables:
    sessions = ledger.equity["session"]
    return Tables(
        equity=ledger.equity,
        orders=ledger.orders,
        fills=ledger.fills,
        trades=trades_through_splits(ledger.fills, ledger.payments, sessions.to_numpy()),
        payments=ledger.payments,
        signals=changes,
        benchmark=pd.DataFrame({"session": sessions, "value": ledger.benchmark}),
    )


def _report(
    directory: rundir.RunDirectory,
    record: dict[str, Any],
    journal: Journal,
    tables: Tables,
    figures: dict[str, float | None],
) -> None:
    """Write report.html; the numbers are complete without it, so a page that fails costs the page only."""
    try:
        with stage(journal, Stage.REPORT):
            known = {"run_key": directory.run_key, "attempt": directory.attempt}
            page = report.page({**record, **known, **journal.record()}, tables, figures)
            directory.write_text("report.html", page)
    except Exception as error:  # noqa: BLE001 - told, and the run ends with exit code 3
        journal.leave_out(f"report skipped: {type(error).__name__}: {error}")


def _published(
    directory: rundir.RunDirectory, record: dict[str, Any], journal: Journal, figures: dict[str, float | None]
) -> Outcome:
    known = journal.record()
    journal(Note(known["monitor"]["amdahl"]["sentence"]))
    if journal.logged:
        journal(Note(f"the strategy logged {journal.logged:,} lines, see log.jsonl"))
    journal.lines.write("INFO", "exit", code=journal.exit_code, state=journal.state, path=str(directory.target))
    directory.write_text("log.jsonl", journal.text)
    record |= known
    target = directory.publish(record)
    filled, partial, rejected = (int(figures[f"orders_{how}"] or 0) for how in ("filled", "partial", "rejected"))
    journal(Published(journal.state, str(target), filled, partial + rejected))
    return Outcome(
        run_dir=str(target),
        result_digest=record["result_digest"],
        state=journal.state,
        exit_code=journal.exit_code,
        metrics=figures,
        stages=journal.stages,
        scheduler=record["scheduler"],
        rows=record["rows"],
        warnings=journal.warnings,
        summary=summary_of(target, record, figures),
    )
