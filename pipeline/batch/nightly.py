"""A batch from its first line to its last: locked, made, told of, tidied up.

One batch of a name at a time. A batch begins where the last one of the same runs ended, however it ended: a run that
is complete is found by its key and left as it is, so that starting a batch again is always right.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, TextIO

from pipeline import log
from pipeline.bars.lately import acknowledge
from pipeline.bars.store import open_snapshot
from pipeline.batch import catchup, exposition, notice, page, record, retention
from pipeline.batch.file import Backfill, BatchOptions
from pipeline.batch.night import Night, Task
from pipeline.batch.planning import Planned
from pipeline.batch.progress import Progress
from pipeline.batch.record import BatchRecord, RunRecord
from pipeline.batch.runner import Runner
from pipeline.compute.choose import foresees_processes
from pipeline.disks import check_local
from pipeline.errors import ExitCode, PipelineError, TemporaryError
from pipeline.files import locked, unwritten, writable
from pipeline.interrupts import Stopped
from pipeline.results import attempts


@dataclass(frozen=True)
class BatchOutcome:
    """What a batch tells its caller; the rest is in `folder`."""

    batch: str
    folder: str
    state: str
    exit_code: ExitCode
    reason: str
    as_of: str
    seconds: float
    counts: dict[str, int]
    warnings: int  # different ones, of all runs and of the batch itself
    new_warnings: list[str]  # those of them that the batch before did not tell
    page: str
    runs: list[dict[str, Any]]


def batch(
    options: BatchOptions,
    file: Path,
    runs: Sequence[Planned],
    *,
    as_of: date,
    progress: Progress,
) -> BatchOutcome:
    """Make the runs of a batch, and all that tells of it.

    Parameters
    ----------
    options : BatchOptions
        How they are treated.
    file : Path
        Where the batch is written.
    runs : sequence of Planned
        What `pipeline.batch.planning.planned` returned.
    as_of : date
        The evening; bars after it are not seen.
    progress : Progress
        Shown how it goes.

    Raises
    ------
    ConfigError
        Its folder lies on a network file system.
    LockedError
        A batch of that name is under way.
    TemporaryError
        It cannot begin, since its records cannot be written; where that comes later, the outcome says so.
    """
    output = runs[0].options.output.dir
    check_local("batch", output, allowed=runs[0].options.lock.allow_network_fs)
    with writable("batch", output), locked(output / record.FOLDER / options.name / "lock", f"batch {options.name}"):
        abandoned = record.settle(output, options.name)
        attempts.sweep(output)
        evenings = _evenings(options, runs, as_of, output)
        folder = record.new_folder(output, options.name, as_of)
        told = BatchRecord(
            batch=options.name,
            id=folder.name,
            file=str(file.absolute()),
            as_of=str(as_of),
            started=datetime.now(UTC).isoformat(timespec="seconds"),
            runs=[task.record for evening in evenings for task in evening],
        )
        with _opened(folder / record.LOG) as stream:
            night = Night(options, folder, told, log.JsonLines(stream, f"{told.batch} {told.id}"), progress)
            code = _ended(night, evenings, abandoned)
            _afterwards(night)
            night.tell_doubts()
            _close(night)
    return _outcome(told, folder, output, code)


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    """Open a log, each line of which is flushed: what the disk refused was told, and closing it tells nothing new."""
    stream = path.open("w", encoding="utf-8")
    try:
        yield stream
    finally:
        with suppress(OSError):
            stream.close()


def _ended(night: Night, evenings: Sequence[Sequence[Task]], abandoned: Sequence[str]) -> ExitCode:
    """Make the runs, and say how that ended, also where the disk refuses to take it down."""
    told = night.told
    try:
        with writable("batch", night.folder):
            night.lines.write("INFO", "batch_start", as_of=told.as_of, runs=len(told.runs), abandoned=abandoned)
            for died in abandoned:
                night.progress.say(
                    f"batch {told.batch} {died} was abandoned: its record has no end, it died or the disk refused it; "
                    f"what it had made is found complete, the rest is made now or, of past evenings, as catch_up says"
                )
            if damage := record.damage(night.output):
                night.warn("records", damage)
            night.progress.start(told)
            return night.end(_made(night, evenings))
    except TemporaryError as error:
        return night.refuse(error)


def _close(night: Night) -> None:
    told = night.told
    try:
        night.lines.put(log.exit_line(told.exit_code, told.state, told.reason, night.folder, run=night.lines.run))
    except PipelineError as error:
        if not night.is_refused:  # else that was said
            night.warn("log", str(error))


def _outcome(told: BatchRecord, folder: Path, output: Path, code: ExitCode) -> BatchOutcome:
    return BatchOutcome(
        batch=told.batch,
        folder=str(folder),
        state=told.state,
        exit_code=code,
        reason=told.reason,
        as_of=told.as_of,
        seconds=told.seconds,
        counts=told.counts,
        warnings=len(told.doubts),
        new_warnings=told.new_warnings,
        page=str(output / page.NAME),
        runs=[vars(run) for run in told.runs],
    )


def _made(night: Night, evenings: Sequence[Sequence[Task]]) -> Stopped | None:
    """Make the runs; return what stopped that, if a signal did."""
    processes = any(foresees_processes(task.run.options) for evening in evenings for task in evening)
    try:
        with Runner(processes=processes, verifies=night.options.verify, batch=night.lines.run) as runner:
            night.go(evenings, runner)
    except KeyboardInterrupt as stop:
        return stop if isinstance(stop, Stopped) else Stopped(ExitCode.INTERRUPTED)
    return None


def _evenings(options: BatchOptions, runs: Sequence[Planned], as_of: date, output: Path) -> list[list[Task]]:
    """Return the runs of each evening, oldest first."""
    known = catchup.known(output, options.name) if options.catch_up else {}
    past = catchup.missing(runs, as_of, options.catch_up, options.backfill, known)
    again = options.backfill is Backfill.ALL  # of past evenings: what is complete of tonight stays
    made_up = [[_task(run, day, again=again) for run in due] for day, due in past]
    return [*made_up, [_task(run, as_of, again=False) for run in runs]]


def _task(run: Planned, as_of: date, *, again: bool) -> Task:
    own = run.options.as_of
    day = as_of if own is None else min(own, as_of)
    return Task(replace(run, options=run.options.model_copy(update={"as_of": day})), again, RunRecord.of(run, day))


def _acknowledge(told: record.BatchRecord) -> None:
    """Note in the stores that what was new in them was told, where the runs saw their newest snapshots."""
    records = [attempts.read_record(Path(run.run_dir)) for run in told.runs if run.run_dir]
    seen = {(each["snapshot"]["store"], each["snapshot"]["number"]) for each in records if "snapshot" in each}
    for root in sorted({root for root, _ in seen}):
        snapshot = open_snapshot(Path(root), as_it_is=True)
        if (root, snapshot.manifest.number) in seen:
            acknowledge(snapshot)


def _afterwards(night: Night) -> None:
    """Tell those who asked, and tidy up; what fails here is said, and changes nothing else."""
    output = night.output
    steps: list[tuple[str, Callable[[], object]]] = []
    if night.options.metrics:
        path = night.options.metrics
        steps.append(("metrics", lambda: exposition.write(path, night.told, output)))
    if night.options.on_failure and night.told.exit_code:
        words = night.options.on_failure
        steps.append(("on_failure", lambda: notice.tell(words, night.told)))
    if night.told.state in record.WELL:
        steps.append(("store", lambda: _acknowledge(night.told)))
        keep = night.options.keep
        steps.append(("retention", lambda: night.remove(retention.tidy(output, night.told.batch, keep.batches))))
    for name, step in steps:
        try:
            step()
        except OSError as error:
            night.warn(name, unwritten(error, output))
        except Exception as error:  # noqa: BLE001 - the runs are made; what tells of them must not undo that
            night.warn(name, str(error))
