"""The place where a run computes: its scheduler started, seen to be fit, and the live page opened on it."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

from pipeline.bars.store import Snapshot
from pipeline.compute import scheduler
from pipeline.compute.choose import Choice
from pipeline.compute.site import site_of
from pipeline.dashboard import live
from pipeline.events import Event, Note, Stage, StageStarted, stage
from pipeline.files import sha256_of
from pipeline.journal import Journal
from pipeline.modes import Kind
from pipeline.options import Options, SchedulerOptions
from pipeline.signals.strategy import short_name
from pipeline.words import counted

__all__ = ["about", "explained", "foretold", "is_watched", "taken", "watched"]


def is_watched(options: SchedulerOptions) -> bool:
    """Tell whether a run is shown on a live page: where it asks for one, and on a cluster that runs anyway."""
    return options.dashboard or options.address is not None


def explained(choice: Choice, tasks: int, options: SchedulerOptions) -> Choice:
    """Return a choice; where it has fewer workers than were asked for, for want of tasks, its reason says so."""
    asked = options.workers_of(choice.kind) or 0
    if options.is_elsewhere or choice.kind is Kind.SYNCHRONOUS or asked <= choice.workers:
        return choice
    return replace(choice, reason=f"{choice.reason}; {asked:,} asked for, {counted(tasks, 'task')}")


@contextmanager
def foretold(options: Options, journal: Journal) -> Iterator[None]:
    """Say where the dashboard will be when an ingest begins: it may take long, and the cluster starts after it."""

    def hear(event: Event) -> None:
        if event == StageStarted(Stage.INGEST):  # its rounds tell how much they go through
            from pipeline.compute.local import expected_link

            link = live.page_of(expected_link(site_of(options.scheduler, options.dashboard)))
            journal(Note(f"dashboard: {link}, as soon as the bars are ingested"))

    if options.scheduler.dashboard and not options.scheduler.is_elsewhere:
        with journal.heard_by(hear):
            yield
    else:
        yield


@contextmanager
def taken(
    choice: Choice, options: Options, snapshot: Snapshot, start: scheduler.Start, journal: Journal
) -> Iterator[scheduler.Scheduler]:
    """Start the scheduler of `choice` for the block, and see that its workers read `snapshot`.

    Raises
    ------
    ConfigError, TemporaryError
        As of `pipeline.compute.scheduler.start`; or a worker does not see the store.
    """
    with ExitStack() as life:
        with stage(journal, Stage.START):
            place = life.enter_context(
                start(
                    choice,
                    clustered=options.output.performance,
                    dashboard=options.scheduler.dashboard,
                    site=site_of(options.scheduler, options.dashboard),
                    listener=journal,
                )
            )
            place.check_file(snapshot.manifest_file, sha256_of(snapshot.manifest_file))
        journal(Note(f"scheduler: {place.choice}"))
        yield place


@contextmanager
def watched(place: scheduler.Scheduler, known: dict[str, Any], journal: Journal) -> Iterator[None]:
    """Show a run on the live page of its cluster; `known` is what `about` says of it."""
    told = {**known, "scheduler": str(place.choice), "began": journal.began, "stages": dict(journal.stages)}
    with live.told(place.client, place.link, told, journal) as page, journal.heard_by(page):
        yield


def about(options: Options, snapshot: Snapshot, symbols: Sequence[str]) -> dict[str, Any]:
    """Return what the live page says of a run from its beginning."""
    entries = [snapshot.by_symbol[symbol] for symbol in symbols]
    params = ", ".join(f"{name}={value}" for name, value in options.strategy.params.items())
    return {
        "name": options.name,
        "strategy": f"{short_name(options.strategy.name)}({params})",
        "symbols": len(symbols),
        "bars": sum(entry.rows for entry in entries),
        "first": str(options.data.start or min(entry.first for entry in entries)),
        "last": str(options.last_session or max(entry.last for entry in entries)),
        "cash": options.trading.cash,
    }
