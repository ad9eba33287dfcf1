"""A night: every run of a batch in its order, tried again where that helps, and the truth about each of them.

One batch of a name at a time. A batch begins where the last one of the same runs ended, however it ended: a run that
is complete is found by its key and left as it is, so that starting a batch again is always right.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from pipeline import log
from pipeline.batch import catchup, exposition, notice, page, record, retention
from pipeline.batch.attempt import Runner
from pipeline.batch.file import Backfill, BatchOptions
from pipeline.batch.planning import Planned
from pipeline.batch.progress import Progress
from pipeline.batch.record import BatchRecord, RunRecord
from pipeline.compute.choose import foresees_processes
from pipeline.errors import ExitCode
from pipeline.files import locked, writable
from pipeline.interrupts import Stopped
from pipeline.results import attempts

WRITTEN_EVERY, DRAWN_EVERY = 5.0, 20.0  # seconds: batch.json, index.html


@dataclass(frozen=True)
class Task:
    """A run of a batch on one evening."""

    run: Planned
    again: bool  # even if it is complete
    record: RunRecord


class Night:
    """A batch under way."""

    def __init__(self, options: BatchOptions, folder: Path, told: BatchRecord, progress: Progress) -> None:
        """Begin its log."""
        self.options = options
        self.folder = folder
        self.told = told
        self.progress = progress
        self.began = time.monotonic()
        self.written = self.drawn = 0.0
        self.stream = (folder / record.LOG).open("w", encoding="utf-8")
        self.lines = log.JsonLines(self.stream, f"{told.batch} {told.id}")

    def go(self, evenings: Sequence[Sequence[Task]], runner: Runner) -> None:
        """Make the runs of every evening, oldest first; after one that did not end well, no later one is begun."""
        for tasks in evenings:
            self._evening(list(tasks), runner)
            bad = [task.record for task in tasks if not task.record.is_well]
            if bad and tasks is not evenings[-1]:
                reason = f"{bad[0].label} as of {bad[0].as_of} did not end well; later evenings wait for it"
                for task in (task for later in evenings for task in later if task.record.state == "pending"):
                    task.record.state, task.record.reason = "blocked", reason
                return

    def _evening(self, waiting: list[Task], runner: Runner) -> None:
        records = {task.record.label: task.record for task in waiting}
        not_before = dict.fromkeys(records, 0.0)
        while waiting:
            waiting = [task for task in waiting if not self._is_blocked(task, records)]
            ready = [task for task in waiting if self._is_ready(task, records, not_before)]
            if ready:
                task = ready[0]
                self._attempt(task, runner)
                if task.record.exit_code == ExitCode.TEMPORARY and task.record.attempts <= self.options.retries:
                    not_before[task.record.label] = time.monotonic() + self._postpone(task.record)
                else:
                    waiting.remove(task)
            elif waiting:
                self._save(at_once=True)
                soonest = min(not_before[task.record.label] for task in waiting if task.record.state == "waiting")
                time.sleep(max(0.0, soonest - time.monotonic()))

    def _is_ready(self, task: Task, records: dict[str, RunRecord], not_before: dict[str, float]) -> bool:
        needed = all(records[need].is_well for need in task.run.needs)
        return needed and time.monotonic() >= not_before[task.record.label]

    def _is_blocked(self, task: Task, records: dict[str, RunRecord]) -> bool:
        """Block a run whose needs cannot be met any more."""
        ended = [need for need in task.run.needs if records[need].state in {"failed", "blocked", "abandoned"}]
        if ended:
            task.record.state, task.record.reason = "blocked", f"needs {ended[0]}, which is {records[ended[0]].state}"
            self.lines.write("WARNING", "run_blocked", label=task.record.label, reason=task.record.reason)
            self.progress.finish(task.record)
        return bool(ended)

    def _attempt(self, task: Task, runner: Runner) -> None:
        told = task.record
        told.state = "running"
        self.lines.write("INFO", "run_start", label=told.label, as_of=told.as_of, attempt=told.attempts + 1)
        self._save()
        self.progress.begin(told)
        began = time.monotonic()
        answer = runner.make(task.run.options, self.progress, once=not task.again)
        told.take(answer, time.monotonic() - began)
        level = "INFO" if told.is_well else "ERROR"
        ending = {"state": told.state, "code": told.exit_code, "reason": told.reason, "sec": told.seconds}
        where = told.run_dir if told.is_well else told.record
        self.lines.write(level, "run_end", label=told.label, as_of=told.as_of, **ending, path=where)
        self.progress.finish(told)
        if told.state == "interrupted":
            raise Stopped(ExitCode(answer["exit_code"]))

    def _postpone(self, told: RunRecord) -> float:
        """Put a run off; return for how many seconds."""
        backoff = self.options.backoff or (0.0,)
        seconds = backoff[min(told.attempts, len(backoff)) - 1]
        told.state = "waiting"
        self.lines.write("WARNING", "retry", label=told.label, attempt=told.attempts + 1, sec=seconds)
        self.progress.say(f"{told.label}: tried again in {seconds:g} s, attempt {told.attempts + 1}")
        return seconds

    def _save(self, *, at_once: bool = False) -> None:
        now = time.monotonic()
        if at_once or now - self.written >= WRITTEN_EVERY:
            self.told.seconds = round(now - self.began, 3)
            self.told.write(self.folder)
            self.written = time.monotonic()
        if at_once or now - self.drawn >= DRAWN_EVERY:
            page.write(self.folder.parents[2])
            self.drawn = time.monotonic()

    def end(self, stop: Stopped | None) -> ExitCode:
        """Say how it ended, in the record and on the page."""
        told = self.told
        code = stop.code if stop else record.gravest(told.runs)
        told.state = "interrupted" if stop else {0: "committed", 3: "degraded"}.get(code, "failed")
        told.exit_code, told.reason = int(code), _reason(told)
        for run in told.runs:
            if run.state in {"running", "waiting"}:
                run.state = "interrupted" if stop else run.state
        self._save(at_once=True)
        return code

    def close(self) -> None:
        """Write the last line of the log."""
        told = self.told
        text = log.exit_line(told.exit_code, told.state, told.reason, self.folder, run=self.lines.run)
        self.lines.put(text)
        self.stream.close()


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
    LockedError
        A batch of that name is under way.
    TemporaryError
        Its records cannot be written.
    """
    output = runs[0].options.output.dir
    with writable("batch", output), locked(output / record.FOLDER / options.name / "lock", f"batch {options.name}"):
        abandoned = record.settle(output, options.name)
        attempts.sweep(output)
        evenings = _evenings(options, runs, as_of, output)
        tasks = [task for evening in evenings for task in evening]
        folder = record.new_folder(output, options.name, as_of)
        began = datetime.now(UTC).isoformat(timespec="seconds")
        told = BatchRecord(
            options.name, folder.name, str(file.absolute()), str(as_of), began, [task.record for task in tasks]
        )
        night = Night(options, folder, told, progress)
        progress.start(told)
        night.lines.write(
            "INFO", "batch_start", batch=options.name, as_of=str(as_of), runs=len(tasks), abandoned=abandoned
        )
        stop = _made(night, evenings, tasks)
        code = night.end(stop)
        _afterwards(night, output, complete=stop is None)
        night.close()
    return BatchOutcome(
        batch=options.name,
        folder=str(folder),
        state=told.state,
        exit_code=code,
        reason=told.reason,
        as_of=told.as_of,
        seconds=told.seconds,
        counts=told.counts,
        page=str(output / page.NAME),
        runs=[vars(run) for run in told.runs],
    )


def _made(night: Night, evenings: Sequence[Sequence[Task]], tasks: Sequence[Task]) -> Stopped | None:
    """Make the runs; return what stopped that, if a signal did."""
    processes = any(foresees_processes(task.run.options) for task in tasks)
    try:
        with Runner(processes=processes, verifies=night.options.verify) as runner:
            night.go(evenings, runner)
    except KeyboardInterrupt as stop:
        return stop if isinstance(stop, Stopped) else Stopped(ExitCode.INTERRUPTED)
    return None


def _evenings(options: BatchOptions, runs: Sequence[Planned], as_of: date, output: Path) -> list[list[Task]]:
    """Return the runs of each evening, oldest first."""
    known = catchup.known(output, options.name) if options.catch_up else {}
    past = catchup.missing(runs, as_of, options.catch_up, options.backfill, known)
    again = options.backfill is Backfill.ALL
    return [[_task(run, day, again=again) for run in due] for day, due in [*past, (as_of, list(runs))]]


def _task(run: Planned, as_of: date, *, again: bool) -> Task:
    own = run.options.as_of
    day = as_of if own is None else min(own, as_of)
    return Task(replace(run, options=run.options.model_copy(update={"as_of": day})), again, RunRecord.of(run, day))


def _afterwards(night: Night, output: Path, *, complete: bool) -> None:
    """Tell those who asked, and tidy up; what fails here is said, and changes nothing else."""
    steps: list[tuple[str, Callable[[], object]]] = []
    if night.options.metrics:
        path = night.options.metrics
        steps.append(("metrics", lambda: exposition.write(path, night.told, output)))
    if night.options.on_failure and night.told.exit_code:
        words = night.options.on_failure
        steps.append(("on_failure", lambda: notice.tell(words, night.told)))
    if complete:
        keep = night.options.keep
        steps.append(("retention", lambda: retention.tidy(output, night.told.batch, keep.batches)))
    for name, step in steps:
        try:
            step()
        except Exception as error:  # noqa: BLE001 - the runs are made; what tells of them must not undo that
            night.progress.say(f"warning: {name}: {error}")
            with suppress(OSError):
                night.lines.write("WARNING", name, text=str(error))


def _reason(told: BatchRecord) -> str:
    bad = {state: number for state, number in told.counts.items() if state not in {"committed", "complete"}}
    return ", ".join(f"{number} {state}" for state, number in bad.items())
