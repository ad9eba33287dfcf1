"""The runs of a batch, one after the other: each after those it needs, tried again where that helps.

What happens is told to three: the record (``batch.json``), the log, and whoever watches.
"""

import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pipeline import log
from pipeline.batch import doubts, page, record
from pipeline.batch.file import BatchOptions
from pipeline.batch.planning import Planned
from pipeline.batch.progress import Progress
from pipeline.batch.record import BatchRecord, RunRecord
from pipeline.batch.runner import Runner
from pipeline.errors import ExitCode, PipelineError, TemporaryError
from pipeline.files import unwritten
from pipeline.interrupts import Stopped
from pipeline.words import counted

WRITTEN_EVERY, DRAWN_EVERY = 5.0, 20.0  # seconds: batch.json, index.html


@dataclass(frozen=True)
class Task:
    """A run of a batch on one evening."""

    run: Planned
    again: bool  # even if it is complete
    record: RunRecord


class Night:
    """A batch under way."""

    def __init__(
        self, options: BatchOptions, folder: Path, told: BatchRecord, lines: log.JsonLines, progress: Progress
    ) -> None:
        """Make nothing yet."""
        self.options = options
        self.folder = folder
        self.output = folder.parents[2]
        self.told = told
        self.lines = lines
        self.progress = progress
        self.began = time.monotonic()
        self.written = self.drawn = 0.0
        earlier = (before for _, before in record.history(self.output, told.batch))
        before = next((each for each in earlier if each.is_telling), None)
        self.is_refused = False  # by the disk
        self.known = before.doubts if before else None  # what was warned of the last time, if there was one

    def go(self, evenings: Sequence[Sequence[Task]], runner: Runner) -> None:
        """Make the runs of every evening, oldest first; after one that did not end well, no later one is begun."""
        for number, tasks in enumerate(evenings, 1):
            self._evening(list(tasks), runner)
            bad = next((task.record for task in tasks if not task.record.is_well), None)
            if bad and number < len(evenings):
                self._hold([task.record for later in evenings[number:] for task in later], bad)
                return

    def _hold(self, later: Sequence[RunRecord], bad: RunRecord) -> None:
        """Block the runs of the evenings after one that did not end well."""
        held = f"{bad.label} as of {bad.as_of}, which is {bad.state}"
        for told in later:
            told.state, told.reason = "blocked", f"waits for {held}: mend it, or go on with --backfill none"
        self.lines.write("WARNING", "evenings_blocked", runs=len(later), label=bad.label, as_of=bad.as_of)
        self.progress.say(
            f"{counted(len(later), 'run')} of later evenings blocked by {held}; evenings are made in order, all runs "
            f"of one before the next. Mend it and start the batch again, or go on without it: --backfill none."
        )

    def _evening(self, waiting: list[Task], runner: Runner) -> None:
        records = {task.record.label: task.record for task in waiting}
        not_before = dict.fromkeys(records, 0.0)
        while waiting:
            waiting = [task for task in waiting if not self._is_blocked(task, records)]
            ready = [task for task in waiting if self._is_ready(task, records, not_before)]
            if ready:
                told = ready[0].record
                code = self._attempt(ready[0], runner)
                if code == ExitCode.TEMPORARY and told.attempts <= self.options.retries:
                    not_before[told.label] = time.monotonic() + self._postpone(told)
                    continue
                waiting.remove(ready[0])
                self.progress.finish(told)
                if told.state == "interrupted":
                    raise Stopped(code)
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

    def _attempt(self, task: Task, runner: Runner) -> ExitCode:
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
        for text in told.warnings:
            self.lines.write("WARNING", "warning", label=told.label, as_of=told.as_of, text=text)
        return ExitCode(answer["exit_code"])

    def _postpone(self, told: RunRecord) -> float:
        """Put a run off that disk, memory or cluster failed; return for how many seconds."""
        backoff = self.options.backoff or (0.0,)
        seconds = backoff[min(told.attempts, len(backoff)) - 1]
        told.state = "waiting"
        self.lines.write("WARNING", "retry", label=told.label, attempt=told.attempts + 1, sec=seconds)
        which = f"attempt {told.attempts + 1} of {self.options.retries + 1}"
        self.progress.say(f"{self.progress.named(told)}: retrying in {seconds:g} s, {which}: {told.reason}")
        return seconds

    def _save(self, *, at_once: bool = False) -> None:
        now = time.monotonic()
        if at_once or now - self.written >= WRITTEN_EVERY:
            self.told.seconds = round(now - self.began, 3)
            self._write()
            self.written = time.monotonic()
        if at_once or now - self.drawn >= DRAWN_EVERY:
            self._draw()
            self.drawn = time.monotonic()

    def _write(self) -> None:
        """Put the record to disk; of a first batch nothing is new, as all of it would be."""
        if self.known is not None:
            self.told.new_warnings = doubts.news(self.told.doubts, self.known)
        self.told.write(self.folder)

    def _draw(self) -> None:
        try:
            page.write(self.output)
        except OSError as error:
            self.warn("page", unwritten(error, self.output / page.NAME))
        except Exception as error:  # noqa: BLE001 - told; the runs matter more than the page that shows them
            self.warn("page", f"{type(error).__name__}: {error}")

    def warn(self, what: str, text: str) -> None:
        """Tell, once, that something beside the runs failed; it changes nothing else."""
        if (said := f"{what}: {text}") in self.told.warnings:
            return
        self.told.warnings.append(said)
        self.progress.say(f"warning: {said}")
        with suppress(PipelineError):
            self.lines.write("WARNING", what, text=text)

    def remove(self, gone: Iterable[Path]) -> None:
        """Tell of each run, and of each record of a batch, that is removed: at once, also if a later one cannot be.

        The page that was drawn as the runs ended links to them, so it is drawn once more.
        """
        counts = {"run": 0, "old record": 0}
        try:
            for path in gone:
                what = "old record" if path.parent == self.folder.parent else "run"
                counts[what] += 1
                self.lines.write("INFO", "removed", what="batch" if what == "old record" else what, path=str(path))
        finally:
            if any(counts.values()):
                said = " and ".join(counted(count, what) for what, count in counts.items() if count)
                self.progress.say(f"removed {said}: {counted(self.options.keep.batches, 'batch record')} kept")
                self._draw()

    def tell_doubts(self) -> None:
        """Say each warning of the runs once; record and page have those of the batch itself, too."""
        for text, runs in self.told.warned.items():
            self.progress.warn(text, runs)
        if self.told.warnings:
            with suppress(OSError):  # then the log has them
                self._write()
            self._draw()

    def end(self, stop: Stopped | None) -> ExitCode:
        """Say how it ended, in the record and on the page."""
        told = self.told
        code = stop.exit_code if stop else record.gravest(told.runs)
        told.state = "interrupted" if stop else {0: "committed", 3: "degraded"}.get(code, "failed")
        told.exit_code, told.reason = int(code), record.reason(told.runs)
        for run in told.runs:
            if run.state in {"running", "waiting"}:
                run.state = "interrupted" if stop else run.state
        self._save(at_once=True)
        return code

    def refuse(self, error: TemporaryError) -> ExitCode:
        """End a batch whose records the disk refuses; what is known of its runs is told all the same."""
        told, self.is_refused = self.told, True
        told.state, told.exit_code, told.reason = "failed", int(error.exit_code), str(error)
        told.seconds = round(time.monotonic() - self.began, 3)
        for run in told.runs:
            run.state = "interrupted" if run.state in {"running", "waiting"} else run.state
        self.progress.say(told.reason)
        with suppress(OSError):  # there may be room again, since what was half written is gone
            self._write()
        return error.exit_code
