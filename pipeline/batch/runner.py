"""Runs made in a process of their own, by whoever must outlive them: their deadlines, their deaths, their answers.

A strategy that hangs can only be ended from outside, in whatever scheduler: a thread cannot be, and code that holds
the GIL for ever lets no signal through. So the parent imports nothing heavy, watches, and kills.
"""

import signal
import time
from types import TracebackType
from typing import Any, Self

from pipeline.batch import wire
from pipeline.batch.process import RunProcess
from pipeline.batch.watch import Watch
from pipeline.compute.choose import foresees_processes
from pipeline.errors import (
    ConfigError,
    DataError,
    DeadlineError,
    ExitCode,
    InvariantError,
    PipelineError,
    StrategyError,
    TemporaryError,
)
from pipeline.events import Listener, Stage, ignore
from pipeline.interrupts import Stopped
from pipeline.options import Options
from pipeline.results import attempts
from pipeline.results.attempts import State

UNWINDING = 6.0  # seconds that a run may take to end by itself after a signal; less than the command itself has
SPENT = (ExitCode.BUG, ExitCode.TEMPORARY)
"""After these the next run begins with a fresh process."""

STRATEGY_RUNS = (Stage.CHOOSE, Stage.SIGNALS)
KILLED = "Often memory: give it more. Or the strategy kills its own process."
ENDED_BY_STRATEGY = "The strategy ended it, in compiled code: have it raise an error instead."
KINDS: dict[int, type[PipelineError]] = {
    kind.exit_code: kind
    for kind in (ConfigError, DataError, StrategyError, InvariantError, TemporaryError, DeadlineError)
}


class Runner:
    """Makes runs one after the other in a process that is started when it is needed and replaced when it is lost.

    Parameters
    ----------
    processes : bool
        Whether runs may need worker processes: then they are started at once.
    verifies : bool
        Whether stores are compared with their checksums before they are used.
    batch : str or None
        Which batch makes the runs; they are marked with it.
    """

    def __init__(self, *, processes: bool, verifies: bool = False, batch: str | None = None) -> None:
        """Start nothing yet."""
        self._batch = batch
        self._flags = ["--processes"] * processes + ["--verify"] * verifies
        self._process: RunProcess | None = None

    def __enter__(self) -> Self:
        """Start the process, so that it imports while the caller goes on."""
        self._process = RunProcess(self._flags)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the process: after what it does, or at once if an error came."""
        self._end(at_once=error is not None)

    def make(self, options: Options, listener: Listener = ignore, *, once: bool = False) -> dict[str, Any]:
        """Make a run and return what it came to.

        Parameters
        ----------
        options : Options
            What to run; after `deadline` seconds it is ended.
        listener : Listener
            Hears its events.
        once : bool
            Take a complete run of the same key for the answer.

        Returns
        -------
        dict
            ``state``, ``exit_code``, ``reason``, and ``outcome`` (of `pipeline.run.Outcome`) or ``record`` (where the
            record of the failed attempt is) and ``warnings``.
        """
        watch = Watch(listener)
        try:
            answer = self._answer(options, watch, once=once)
        except KeyboardInterrupt as stop:
            answer = self._unwound(watch, stop.exit_code if isinstance(stop, Stopped) else ExitCode.INTERRUPTED)
        if answer["exit_code"] in SPENT:
            self._end(at_once=True)
        return answer if "outcome" in answer else {**answer, "warnings": watch.warnings}

    def _answer(self, options: Options, watch: Watch, *, once: bool) -> dict[str, Any]:
        until = None if options.deadline is None else time.monotonic() + options.deadline
        process = self._ready()
        process.order({"options": options.model_dump(mode="json"), "once": once, "batch": self._batch})
        answer = _heard(process, watch, until)
        if answer:
            return answer
        if until is not None and time.monotonic() >= until:
            self._end(at_once=True)
            reason = (
                f"run {options.name!r}: deadline {options.deadline:g} s passed in {watch.place}; a run ends in its "
                f"time. Give it more with `deadline`, or see why it takes so long."
            )
            return _buried(watch, State.FAILED, ExitCode.DEADLINE, reason)
        status = process.status()
        self._end(at_once=True)
        return _died(watch, status)

    def _ready(self) -> RunProcess:
        """Return a process that waits for an order."""
        if self._process and not self._process.is_alive:
            self._end(at_once=True)  # it died while there was nothing to do
        if self._process is None:
            self._process = RunProcess(self._flags)
        return self._process

    def _unwound(self, watch: Watch, code: ExitCode) -> dict[str, Any]:
        """Pass a signal on, and answer for the run that it ends."""
        answer = None
        if self._process:
            self._process.signal(signal.SIGTERM if code is ExitCode.TERMINATED else signal.SIGINT)
            answer = _heard(self._process, watch, time.monotonic() + UNWINDING)
        self._end(at_once=True)
        reason = f"{code.name.lower()} by a signal in {watch.place}"
        return answer or _buried(watch, State.INTERRUPTED, code, reason)

    def _end(self, *, at_once: bool) -> None:
        process, self._process = self._process, None
        if process:
            process.end(at_once=at_once)


def answered(options: Options, listener: Listener) -> dict[str, Any]:
    """Make one run within its deadline and return its outcome, as `pipeline.run.run` would.

    Raises
    ------
    PipelineError
        Of the kind that the run failed with.
    """
    with Runner(processes=foresees_processes(options)) as runner:
        answer = runner.make(options, listener)
    if answer["state"] == State.INTERRUPTED:
        raise Stopped(ExitCode(answer["exit_code"]))
    if "outcome" in answer:
        outcome: dict[str, Any] = answer["outcome"]
        return outcome
    error = KINDS.get(answer["exit_code"], PipelineError)(answer["reason"])
    if answer["record"]:
        error.add_note(f"record: {answer['record']}")
    raise error


def _heard(process: RunProcess, watch: Watch, until: float | None) -> dict[str, Any] | None:
    """Return the answer of a process; None if it is gone, or the time is up, without one."""
    for message in process.messages(until):
        if "answer" in message:
            answer: dict[str, Any] = message["answer"]
            return answer
        watch(wire.to_event(message))
    return None


def _died(watch: Watch, status: int) -> dict[str, Any]:
    """Answer for a process that is gone without an answer."""
    if status < 0:
        how, hint, code = f"was killed by {signal.Signals(-status).name}", KILLED, ExitCode.TEMPORARY
    elif watch.stage in STRATEGY_RUNS:
        how, hint, code = f"ended with {status}", ENDED_BY_STRATEGY, ExitCode.STRATEGY
    else:
        how, hint, code = f"ended with {status}", "A defect of the pipeline; please report it.", ExitCode.BUG
    reason = f"run: its process {how} in {watch.place}; it lives until its runs are made. {hint}"
    return _buried(watch, State.FAILED, code, reason)


def _buried(watch: Watch, state: State, code: ExitCode, reason: str) -> dict[str, Any]:
    """Answer for a run that cannot do so itself, and keep its record."""
    record = None
    if watch.folder and watch.folder.exists():
        record = attempts.bury(watch.folder, {"state": state, "exit_code": int(code), "reason": reason})
    return {"state": str(state), "exit_code": int(code), "reason": reason, "record": str(record) if record else None}
