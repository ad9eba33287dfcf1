"""One backtest: bars -> signals -> trading -> results, the whole flow on one screen."""

from contextlib import ExitStack, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline import __version__, config, place
from pipeline.auto import Assignment, assign
from pipeline.bars.lately import acknowledge
from pipeline.bars.odd_sessions import odd_sessions
from pipeline.compute import scheduler
from pipeline.dashboard import performance
from pipeline.disks import check_local, check_room
from pipeline.errors import StrategyError
from pipeline.events import (
    AttemptBegun,
    Listener,
    Note,
    PartitionsStarted,
    Published,
    Stage,
    Warned,
    ignore,
    noted_if_slow,
    stage,
)
from pipeline.files import readable
from pipeline.journal import Journal
from pipeline.modes import Fill, Kind
from pipeline.options import Options
from pipeline.outcome import Outcome, found, left_out, not_the_same, outcome_of
from pipeline.plan import Opened, Plan, planned
from pipeline.record import beginning, description, versions_of
from pipeline.results import metrics, report, rundir
from pipeline.results.splits import trades_through_splits
from pipeline.results.tables import Tables
from pipeline.signals import build
from pipeline.summary import why_idle
from pipeline.trading.compiled import is_warm
from pipeline.trading.loop import Ledger, trade
from pipeline.trading.rehearsal import rehearsed
from pipeline.upkeep import opened_store
from pipeline.words import counted

PAGE_BYTES = 4_000_000  # the report, and all that does not grow with the bars
BYTES_PER_BAR = 1  # signals, orders, fills and trades of a strategy that changes its mind on one bar of twenty
ELSEWHERE = {Kind.PROCESSES, Kind.DISTRIBUTED}  # kinds that leave this process free while signals are computed


def backtest(conf: str | Path, *overrides: str, listener: Listener = ignore) -> Outcome:
    """Run the backtest that a config file describes; `overrides` are ``"KEY=VALUE"`` as on the command line.

    Raises
    ------
    PipelineError
        Of the kind that says whose fault it is (`pipeline.errors`).
    """
    return run(config.load(Path(conf), overrides), listener)


def run(
    options: Options,
    listener: Listener = ignore,
    *,
    start: scheduler.Start = scheduler.start,
    opened: Opened = opened_store,
    once: bool = False,
    batch: str | None = None,
) -> Outcome:
    """Run one backtest and publish its run directory; errors as of `backtest`.

    Parameters
    ----------
    options : Options
        What to run; `deadline` is for those who can end the process (`pipeline.batch`).
    listener : Listener
        Hears how the run goes.
    start : function
        Starts the scheduler: for many runs, what `scheduler.kept` yields, so that its workers stay warm.
    opened : function
        Opens the store: for many runs, one that keeps it open.
    once : bool
        Return what a complete run of the same key came to, if there is one.
    batch : str or None
        Which batch makes the run, if one does: ``run.json`` says so, and only such runs are ever removed by one.

    Raises
    ------
    PipelineError
        A record of the attempt is kept (`pipeline.results.attempts`); a note of the error says where.
    """
    with ExitStack() as attempt:
        journal = attempt.enter_context(Journal(listener, datetime.now(UTC), batch))
        begun = {**beginning(options), "started": journal.started}
        check_local("run directory", options.output.dir, allowed=options.lock.allow_network_fs)
        directory = attempt.enter_context(rundir.create(options.output.dir, options.name, begun, journal.record))
        attempt.enter_context(readable())  # inside of the attempt, whose record is to say the same
        journal(AttemptBegun(str(directory.folder)))
        journal.write_to(directory.log)
        with place.foretold(options, journal):
            plan = planned(options, opened, journal)
        run_key = rundir.run_key({**plan.identity, "versions": versions_of(__version__)})
        done = rundir.complete(options.output.dir, options.name, run_key, _pages(options)) if once else None
        if done:
            return found(*done, journal, options)
        directory.claim(run_key)
        check_room("run directory", options.output.dir, _needed(plan))
        made = _made(plan, directory, start, journal)
        if batch is None:
            acknowledge(plan.snapshot)
        return made


def _made(plan: Plan, directory: rundir.RunDirectory, start: scheduler.Start, journal: Journal) -> Outcome:
    """Compute what was planned, and publish it."""
    options = plan.options
    if not is_warm():
        journal(Note("the trading loop will be compiled, once per version and user: about 20 seconds"))
    with ExitStack() as running:
        asking = f"auto: asking the strategy about {plan.symbols[0]} first, to see what it takes"
        with stage(journal, Stage.CHOOSE), noted_if_slow(journal, asking):  # named kinds take no time
            assignment = assign(plan.blocks, plan.strategy, options, start, journal)
        choice = place.explained(assignment.choice, len(assignment.tasks), options.scheduler)
        where = running.enter_context(place.taken(choice, options, plan.snapshot, start, journal))
        if is_watched := place.is_watched(options.scheduler):
            running.enter_context(place.watched(where, place.about(options, plan.snapshot, plan.symbols), journal))
        changes = _signals(plan, assignment, where, journal, directory.folder / "performance.html")
        if not is_watched:
            running.close()  # its workers give their memory back before the loop takes its own
        ledger = _trade(plan, changes, journal)
        with stage(journal, Stage.RESULTS):
            tables = _tables(ledger, changes)
            figures, endings = metrics.summary(tables, options.trading.cash), metrics.endings(tables.orders)
            directory.write_tables(tables)
            directory.write_json("metrics.json", metrics.document(figures))
            directory.write_text("config.yaml", config.dump(options))
        digest = rundir.result_digest(tables.fills, tables.equity)
        record = {
            **description(options, plan.snapshot, plan.strategy, where.choice, plan.newest),
            "versions": versions_of(__version__),
            "symbols": len(plan.symbols),
            "uneven": plan.even.record,
            "odd_sessions": _odd_sessions(ledger, options, journal),
            "rows": {"bars": int(ledger.bars.sum()), **{name: len(getattr(tables, name)) for name in _COUNTED}},
            "orders": endings,
            "result_digest": digest,
            "differs_from": directory.differing(digest),
        }
        if record["differs_from"]:
            journal.leave_out(not_the_same(record["differs_from"]))
        if idle := why_idle(endings):
            journal(Warned(idle))
        if options.output.report:
            _report(directory, record, journal, tables, figures)
        return _published(directory, record, journal, figures)


def _needed(plan: Plan) -> int:
    """Return about how many bytes a run takes on disk."""
    return PAGE_BYTES + BYTES_PER_BAR * sum(plan.snapshot.by_symbol[symbol].rows for symbol in plan.symbols)


def _pages(options: Options) -> list[str]:
    """Return the pages that a run is asked for; whether they are made is no part of its key."""
    asked = {"report.html": options.output.report, "performance.html": options.output.performance}
    return [name for name, is_asked in asked.items() if is_asked]


_COUNTED = ("signals", "orders", "fills", "trades", "payments")


def _signals(
    plan: Plan, assignment: Assignment, where: scheduler.Scheduler, journal: Journal, page: Path
) -> pd.DataFrame:
    """Compute the changes of opinion `where` the scheduler says, and Dask's report of it if asked for."""
    options, tasks = plan.options, assignment.tasks_for(where.choice.workers)
    span = (options.data.start, options.last_session)
    report = performance.recorded(where.client, page) if options.output.performance else nullcontext()
    beside = rehearsed(options.trading) if where.choice.kind in ELSEWHERE else nullcontext()
    try:
        with beside, report, stage(journal, Stage.SIGNALS, total=len(tasks), unit="partition"):
            journal(PartitionsStarted(tuple(map(str, tasks))))
            parts = build.signals(tasks, plan.strategy, span, where, journal, on_error=options.on_error)
            changes = build.by_session([*assignment.parts, *parts])
    except performance.PerformanceReportError as error:
        journal.leave_out(str(error))
    journal.monitor.traffic, journal.monitor.workers = where.traffic, where.choice.workers
    if journal.skipped:
        _check_that_some_are_left(journal.skipped, plan)
        journal.leave_out(left_out(journal.skipped))
    return changes


def _check_that_some_are_left(skipped: dict[str, str], plan: Plan) -> None:
    if len(skipped) == len(plan.symbols):
        first = skipped[min(skipped)]
        raise StrategyError(f"{first} It failed on every symbol; on_error: skip needs one that is left.")


def _trade(plan: Plan, changes: pd.DataFrame, journal: Journal) -> Ledger:
    options, snapshot, symbols = plan.options, plan.snapshot, plan.symbols
    if options.trading.fill is Fill.CLOSE:
        journal(Warned("trading.fill is close: orders fill at the close that gave the signal, which is optimistic"))
    bars = sum(snapshot.by_symbol[symbol].rows for symbol in symbols)
    with stage(journal, Stage.TRADING, total=bars, unit="bar"):
        ledger = trade(
            snapshot,
            symbols,
            changes,
            options.trading,
            start=options.data.start,
            end=options.last_session,
            benchmark=options.output.benchmark,
            actions=plan.actions,
            listener=journal,
        )
    journal.monitor.bars = int(ledger.bars.sum())
    if ledger.clipped:
        journal(
            Warned(f"trading.short is false, so negative signals are taken as 0; of these there are {ledger.clipped:,}")
        )
    return ledger


def _odd_sessions(ledger: Ledger, options: Options, journal: Journal) -> dict[str, Any]:
    """Return what `run.json` says of sessions that look like none, and tell it."""
    days = ledger.equity["session"].to_numpy("datetime64[D]")
    odd = odd_sessions(days, ledger.bars, options.fresh, options.trading.market)
    for text in odd.warnings:
        journal(Warned(text))
    return odd.record


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
        journal(Note(f"the strategy logged {counted(journal.logged, 'line')}, see log.jsonl"))
    journal.close(directory.target)
    record |= known
    target = directory.publish(record)
    filled, partial, rejected = (int(figures[f"orders_{how}"] or 0) for how in ("filled", "partial", "rejected"))
    journal(Published(journal.state, str(target), filled, partial + rejected))
    return outcome_of(target, record, figures)
