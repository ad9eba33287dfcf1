"""One config under every scheduler, in turns: what each kind takes here, and what `auto` makes of it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from pipeline.compute import workers
from pipeline.errors import ExitCode, InvariantError
from pipeline.events import Event, Listener, Note, Stage, Warned, ignore
from pipeline.modes import Kind
from pipeline.options import Options
from pipeline.outcome import Outcome
from pipeline.results.history import read
from pipeline.run import run
from pipeline.words import counted

KINDS = (Kind.SYNCHRONOUS, Kind.THREADS, Kind.PROCESSES, Kind.DISTRIBUTED, Kind.AUTO)
BEFORE_TRADING = (Stage.CHOOSE, Stage.START, Stage.SIGNALS)  # what depends on the kind
MEGABYTE = 2**20
COLUMNS = (
    ("workers", "workers", ",.0f"),
    ("start", "start [s]", ".3f"),
    ("signals", "signals [s]", ".3f"),
    ("times_faster", "times faster", ".2f"),
    ("run", "whole run [s]", ".3f"),
    ("cpu", "cores used [%]", ".0%"),
    ("gil", "GIL taken [%]", ".0%"),
    ("memory", "memory [MB]", ",.0f"),
    ("workers_memory", "of a worker", ",.0f"),
    ("sent", "sent [MB]", ".2f"),
    ("received", "received [MB]", ".2f"),
)


@dataclass(frozen=True)
class Figures:
    """What a kind took, medians over the rounds."""

    kind: Kind  # as asked for; `auto` is what it chose, when it knew the runs before
    workers: int
    start: float  # seconds until workers were there, choosing included
    signals: float  # seconds
    times_faster: float  # than synchronous, start and signals together
    run: float  # seconds, all stages
    cpu: float | None  # fraction of all cores, while signals were computed
    gil: float | None  # fraction of the moments at which a strategy held its process's lock
    memory: float  # MB, peak of this process while signals were computed
    workers_memory: float | None  # MB, peak of the largest worker
    sent: float  # MB, to other processes
    received: float  # MB


@dataclass(frozen=True)
class Bench:
    """One config under every kind."""

    bars: int
    symbols: int
    rounds: int
    result_digest: str  # of all of them
    kinds: list[Figures]
    auto: dict[str, Any]  # kind, workers, reason and predicted seconds of its last choice
    summary: list[tuple[str, str]]
    exit_code: ExitCode = ExitCode.OK


def bench(options: Options, listener: Listener = ignore, rounds: int = 3) -> Bench:
    """Run `options` under every kind of scheduler, in turns; nothing is published.

    Parameters
    ----------
    options : Options
        Of a backtest; its own ``scheduler.kind`` does not count. Its bars are ingested if they are not yet.
    listener : Listener
        Told of each run that is over.
    rounds : int
        How often each kind runs; before the first round there is one more run, which does not count: it loads files
        and machine code.

    Raises
    ------
    InvariantError
        Two kinds do not come to the same result.
    PipelineError
        As of `pipeline.run.run`.
    """
    with _unrecorded(), TemporaryDirectory() as folder:
        workers.prestart()
        listener(Note("a run that does not count, to load files and machine code"))
        first = run(_under(Kind.SYNCHRONOUS, options, Path(folder) / "first"), listener)
        taken: dict[Kind, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
        for number in range(rounds):
            for kind in KINDS:
                outcome = run(_under(kind, options, Path(folder)), _warnings(listener))
                _check(kind, outcome, first)
                taken[kind].append(read(Path(outcome.run_dir)))
                listener(Note(f"round {number + 1} of {rounds}, {kind}: {_before_trading(outcome.stages):.3f} s"))
    least = median(_before_trading(record["stages"]) for record in taken[Kind.SYNCHRONOUS])
    figures = [_figures(kind, records, least) for kind, records in taken.items()]
    auto = taken[Kind.AUTO][-1]["scheduler"]
    bars, symbols = first.rows["bars"], taken[Kind.AUTO][-1]["symbols"]
    size = f"{counted(bars, 'bar')} of {counted(symbols, 'symbol')}, medians of {counted(rounds, 'round')}"
    summary = list(_rows(figures, auto, size, first.result_digest))
    return Bench(bars, symbols, rounds, first.result_digest, figures, auto, summary)


@contextmanager
def _unrecorded() -> Iterator[None]:
    """Take from an error the note where the record of its run is, which is gone with its folder."""
    try:
        yield
    except BaseException as error:
        if hasattr(error, "__notes__"):
            error.__notes__ = [note for note in error.__notes__ if not note.startswith("record: ")]
        raise


def _under(kind: Kind, options: Options, folder: Path) -> Options:
    scheduler = options.scheduler.model_copy(update={"kind": kind, "dashboard": False})
    output = options.output.model_copy(update={"dir": folder, "report": False, "performance": False})
    return options.model_copy(update={"scheduler": scheduler, "output": output})


def _warnings(listener: Listener) -> Listener:
    """Return a listener that passes on only what the user must see and what the first run did not tell."""

    def hear(event: Event) -> None:
        if isinstance(event, Warned) and event.text.startswith("scheduler"):
            listener(event)

    return hear


def _check(kind: Kind, outcome: Outcome, first: Outcome) -> None:
    if outcome.result_digest != first.result_digest:
        raise InvariantError(
            f"bench: {kind} came to {outcome.result_digest[:16]}, synchronous to {first.result_digest[:16]}; results "
            f"do not depend on the scheduler. Does the strategy use a clock, files, or random numbers of its own?"
        )


def _before_trading(stages: Mapping[str, float]) -> float:
    return sum(stages.get(stage, 0.0) for stage in BEFORE_TRADING)


def _figures(kind: Kind, records: Sequence[Mapping[str, Any]], least: float) -> Figures:
    def middle(*path: str) -> float | None:
        known = [value for record in records if (value := _at(record, path)) is not None]
        return median(known) if known else None

    return Figures(
        kind=kind,
        workers=records[-1]["scheduler"]["workers"],
        start=median(_before_trading(each["stages"]) - each["stages"][Stage.SIGNALS] for each in records),
        signals=middle("stages", "signals") or 0.0,
        times_faster=least / median(_before_trading(record["stages"]) for record in records),
        run=median(sum(record["stages"].values()) for record in records),
        cpu=middle("monitor", "stages", "signals", "cpu_utilisation"),
        gil=middle("monitor", "signals", "gil_held"),
        memory=middle("monitor", "stages", "signals", "peak_memory_mb") or 0.0,
        workers_memory=middle("monitor", "stages", "signals", "workers_peak_memory_mb"),
        sent=(middle("monitor", "signals", "sent_bytes") or 0.0) / MEGABYTE,
        received=(middle("monitor", "signals", "received_bytes") or 0.0) / MEGABYTE,
    )


def _at(record: Any, path: Sequence[str]) -> Any:
    for name in path:
        record = record[name]
    return record


def _rows(kinds: Sequence[Figures], auto: Mapping[str, Any], size: str, digest: str) -> Iterator[tuple[str, str]]:
    yield "kind", "  ".join(head for _, head, _ in COLUMNS)
    for each in kinds:
        values = asdict(each)
        cells = ["n/a" if values[name] is None else format(values[name], form) for name, _, form in COLUMNS]
        yield each.kind, "  ".join(f"{cell:>{len(head)}}" for cell, (_, head, _) in zip(cells, COLUMNS, strict=True))
    yield "auto took", f"{auto['kind']} with {counted(auto['workers'], 'worker')} ({auto['reason']})"
    yield "measured", size
    yield "digest", f"{digest[:16]}..., the same under every kind"
