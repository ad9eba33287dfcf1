"""One backtest: bars -> signals -> trading -> results, the whole flow on one screen."""

import platform
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from importlib.metadata import version
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline import __version__, config, log
from pipeline.bars.blocks import Block, blocks_of, open_bars
from pipeline.bars.store import Snapshot
from pipeline.compute import monitor, scheduler
from pipeline.compute.choose import Choice, choose
from pipeline.dashboard import performance
from pipeline.errors import ConfigError, ExitCode
from pipeline.events import Event, Listener, Note, Stage, StageFinished, Warned, ignore, stage
from pipeline.options import DataOptions, Fill, Options
from pipeline.results import metrics, report, rundir
from pipeline.results.tables import Tables
from pipeline.results.trades import trades_of
from pipeline.signals import build
from pipeline.signals.strategy import Strategy, load_strategy
from pipeline.summary import summary_of
from pipeline.trading.loop import Ledger, trade
from pipeline.upkeep import opened_store

SCHEMA_VERSION = 1
VERSIONED = ("dask", "distributed", "numba", "numpy", "pandas", "pyarrow", "TA-Lib")


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


class Journal:
    """What a run says of itself while it works; it passes every event on to a listener."""

    def __init__(self, listener: Listener) -> None:
        """Write nothing yet."""
        self.listener = listener
        self.began = datetime.now(UTC)
        self.stages: dict[str, float] = {}
        self.warnings: list[str] = []
        self.left_out: list[str] = []  # why the run is degraded
        self.peak_memory_mb = 0.0
        self._text = StringIO()
        self.lines = log.JsonLines(self._text, self.began.isoformat(timespec="seconds"))

    def __call__(self, event: Event) -> None:
        """Keep what belongs into the run directory."""
        if isinstance(event, StageFinished):
            self.stages[event.stage] = round(event.seconds, 4)
        elif isinstance(event, Warned):
            self.warnings.append(event.text)
        self.lines(event)
        self.listener(event)

    def leave_out(self, what: str) -> None:
        """Warn, and end the run with exit code 3."""
        self.left_out.append(what)
        self(Warned(what))

    @property
    def state(self) -> str:
        """How the run is published."""
        return "degraded" if self.left_out else "committed"

    @property
    def exit_code(self) -> ExitCode:
        """What the command ends with."""
        return ExitCode.DEGRADED if self.left_out else ExitCode.OK

    @property
    def text(self) -> str:
        """The log so far, as JSON lines."""
        return self._text.getvalue()


def backtest(conf: str | Path, *overrides: str, listener: Listener = ignore) -> Outcome:
    """Run the backtest that a config file describes; `overrides` are ``"KEY=VALUE"`` as on the command line.

    Raises
    ------
    PipelineError
        Of the kind that says whose fault it is (`pipeline.errors`).
    """
    return run(config.load(Path(conf), overrides), listener)


def run(options: Options, listener: Listener = ignore) -> Outcome:
    """Run one backtest and publish its run directory; errors as of `backtest`."""
    journal = Journal(listener)
    strategy = load_strategy(options.strategy.name, options.strategy.params)
    options = resolved(options, strategy)
    snapshot = opened_store(options, journal)
    symbols = chosen_symbols(snapshot, options.data)
    blocks = blocks_of(snapshot, symbols)
    choice = choose(options.scheduler, len(symbols), len(blocks))
    journal(Note(f"scheduler: {choice.kind} with {choice.workers} workers ({choice.reason})"))
    key = rundir.run_key(_identity(options, snapshot, strategy))
    with rundir.create(options.output.dir, options.name, key) as directory:
        changes = _signals(blocks, strategy, choice, options, journal, directory.folder / "performance.html")
        ledger = _trade(snapshot, symbols, changes, options, journal)
        with stage(journal, Stage.RESULTS):
            tables = _tables(ledger, changes)
            figures = metrics.summary(tables, options.trading.cash)
            directory.write_tables(tables)
            directory.write_json("metrics.json", metrics.document(figures))
            directory.write_text("config.yaml", config.dump(options))
        record = {
            **_description(options, snapshot, strategy, choice),
            "rows": {"bars": ledger.bars, **{name: len(getattr(tables, name)) for name in _COUNTED}},
            "result_digest": rundir.result_digest(tables.fills, tables.equity),
        }
        if options.output.report:
            _report(directory, record, journal, tables, figures)
        return _published(directory, record, journal, figures)


_COUNTED = ("signals", "orders", "fills", "trades")


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


def _signals(
    blocks: Sequence[Block], strategy: Strategy, choice: Choice, options: Options, journal: Journal, page: Path
) -> pd.DataFrame:
    """Compute the changes of opinion where `choice` says, and Dask's performance report of it if asked for."""
    bars = open_bars(blocks, build.columns_needed(strategy, blocks))
    lazy = build.changes(bars, strategy, blocks, start=options.data.start, end=options.data.end)
    wants_page = options.output.performance
    with ExitStack() as running:
        with stage(journal, Stage.START):
            started = scheduler.start(
                choice, clustered=wants_page, dashboard=options.scheduler.dashboard, listener=journal
            )
            place = running.enter_context(started)
        try:
            with (
                performance.recorded(place.client, page) if wants_page else nullcontext(),
                stage(journal, Stage.SIGNALS, total=len(blocks), unit="partitions"),
            ):
                changes = build.collect(lazy, place, journal)
        except performance.PerformanceReportError as error:
            journal.leave_out(str(error))
        journal.peak_memory_mb = monitor.peak_memory_mb()
    return changes


def _trade(
    snapshot: Snapshot, symbols: Sequence[str], changes: pd.DataFrame, options: Options, journal: Journal
) -> Ledger:
    if options.trading.fill is Fill.CLOSE:
        journal(Warned("trading.fill is close: orders fill at the close that gave the signal, which is optimistic"))
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
            listener=journal,
        )
    if ledger.clipped:
        journal(Warned(f"{ledger.clipped:,} negative signals were taken as 0, since trading.short is false"))
    return ledger


def _tables(ledger: Ledger, changes: pd.DataFrame) -> Tables:
    sessions = ledger.equity["session"]
    return Tables(
        equity=ledger.equity,
        orders=ledger.orders,
        fills=ledger.fills,
        trades=trades_of(ledger.fills, sessions.to_numpy()),
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
            page = report.page({**record, **known, **_state(journal)}, tables, figures)
            directory.write_text("report.html", page)
    except Exception as error:  # noqa: BLE001 - told, and the run ends with exit code 3
        journal.leave_out(f"report skipped: {type(error).__name__}: {error}")


def _published(
    directory: rundir.RunDirectory, record: dict[str, Any], journal: Journal, figures: dict[str, float | None]
) -> Outcome:
    journal.lines.write("INFO", "exit", code=journal.exit_code, state=journal.state, path=str(directory.target))
    directory.write_text("log.jsonl", journal.text)
    record |= _state(journal)
    target = directory.publish(record)
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


def _state(journal: Journal) -> dict[str, Any]:
    """Return what run.json says of how the run went."""
    return {
        "state": journal.state,
        "exit_code": int(journal.exit_code),
        "reason": "; ".join(journal.left_out),
        "started": journal.began.isoformat(timespec="seconds"),
        "stages": dict(journal.stages),
        "peak_memory_mb": round(max(journal.peak_memory_mb, monitor.peak_memory_mb()), 1),
        "warnings": list(journal.warnings),
    }


def _identity(options: Options, snapshot: Snapshot, strategy: Strategy) -> dict[str, Any]:
    """Return what the result depends on: config, bars, strategy, versions; never the scheduler or where things lie."""
    return {
        "data": options.data.model_dump(mode="json", include={"symbols", "start", "end", "prices"}),
        "trading": options.trading.model_dump(mode="json"),
        "benchmark": options.output.benchmark,
        "snapshot": snapshot.content_id,
        "strategy": {"sha256": strategy.sha256, "params": options.strategy.params},
        "versions": _versions(),
    }


def _description(options: Options, snapshot: Snapshot, strategy: Strategy, choice: Choice) -> dict[str, Any]:
    """Return what run.json says of what was run, and where."""
    manifest = snapshot.manifest
    return {
        "schema_version": SCHEMA_VERSION,
        "name": options.name,
        "config": options.model_dump(mode="json"),
        "versions": _versions(),
        "snapshot": {
            "store": str(snapshot.root),
            "number": manifest.number,
            "content_id": snapshot.content_id,
            "symbols": len(manifest.symbols),
            "counts": manifest.counts,
            "adjustment": manifest.ingest["adjustment"],
            "notes": [],
        },
        "strategy": {
            "name": strategy.name,
            "file": strategy.file,
            "sha256": strategy.sha256,
            "params": options.strategy.params,
        },
        "scheduler": {
            "kind": choice.kind.value,
            "workers": choice.workers,
            "reason": choice.reason,
            "predicted": choice.predicted,
        },
    }


def _versions() -> dict[str, str]:
    return {
        "pipeline": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in VERSIONED},
    }
