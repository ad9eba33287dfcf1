"""Runs made in a process of their own, by whoever must outlive them: their deadlines, their deaths, their answers.

A strategy that hangs can only be ended from outside, in whatever scheduler: a thread cannot be, and code that holds
the GIL for ever lets no signal through. So the parent imports nothing heavy, watches, and kills.
"""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from pipeline.batch import wire
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
from pipeline.events import (
    AttemptBegun,
    Event,
    Listener,
    PartitionFinished,
    PartitionsStarted,
    StageFinished,
    StageStarted,
    ignore,
)
from pipeline.interrupts import Stopped
from pipeline.options import Options
from pipeline.results import attempts
from pipeline.results.attempts import State

ROOT = Path(__file__).resolve().parents[2]
UNWINDING = 6.0  # seconds that a run may take to end by itself; less than the command itself has
LINGERING = 1.0  # seconds that its children may take
SHOWN = 3  # partitions that a message names
KINDS: dict[int, type[PipelineError]] = {
    kind.exit_code: kind
    for kind in (ConfigError, DataError, StrategyError, InvariantError, TemporaryError, DeadlineError)
}


class Watch:
    """A listener that remembers how far a run came."""

    def __init__(self, listener: Listener) -> None:
        """Pass every event on to `listener`."""
        self.listener = listener
        self.folder: Path | None = None
        self.stage = "open"
        self.unfinished: dict[int, str] = {}  # partition: its symbols

    def __call__(self, event: Event) -> None:
        """Take note of an event."""
        match event:
            case AttemptBegun(folder=folder):
                self.folder = Path(folder)
            case StageStarted(stage=stage):
                self.stage = str(stage)
            case PartitionsStarted(partitions=partitions):
                self.unfinished = dict(enumerate(partitions))
            case PartitionFinished(partition=partition):
                self.unfinished.pop(partition, None)
            case StageFinished():
                self.unfinished = {}
        self.listener(event)

    @property
    def place(self) -> str:
        """In which stage the run is, and which partitions it waits for."""
        names = [f"partition {number} ({symbols})" for number, symbols in self.unfinished.items()]
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        return f"stage {self.stage}" + (f"; unfinished: {', '.join(names[:SHOWN])}{more}" if names else "")


class Runner:
    """A process that makes runs one after the other, started when it is needed, replaced when it is lost.

    Parameters
    ----------
    processes : bool
        Whether runs may need worker processes: then they are started at once.
    verifies : bool
        Whether stores are compared with their checksums before they are used.
    """

    def __init__(self, *, processes: bool, verifies: bool = False) -> None:
        """Start nothing yet."""
        self._flags = ["--processes"] * processes + ["--verify"] * verifies
        self._process: subprocess.Popen[bytes] | None = None
        self._orders = self._reports = self._lifeline = -1
        self._rest = b""

    def __enter__(self) -> Self:
        """Start the process, so that it imports while the caller goes on."""
        self._start()
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
            record of the failed attempt is).
        """
        watch = Watch(listener)
        try:
            return self._answer(options, watch, once=once)
        except DeadlineError as late:
            self._end(at_once=True)
            return _buried(watch, State.FAILED, late.exit_code, str(late))
        except KeyboardInterrupt as stop:
            code = stop.code if isinstance(stop, Stopped) else ExitCode.INTERRUPTED
            return self._unwound(watch, code)

    def _answer(self, options: Options, watch: Watch, *, once: bool) -> dict[str, Any]:
        until = None if options.deadline is None else time.monotonic() + options.deadline
        self._order({"options": options.model_dump(mode="json"), "once": once})
        for message in self._messages(until):
            if "answer" in message:
                answer: dict[str, Any] = message["answer"]
                if answer["exit_code"] in {ExitCode.BUG, ExitCode.TEMPORARY}:
                    self._end(at_once=True)  # the next run begins with a clean slate
                return answer
            watch(wire.to_event(message))
        if until is not None and time.monotonic() >= until:
            raise DeadlineError(
                f"run {options.name!r}: deadline {options.deadline:g} s passed in {watch.place}; a run ends in its "
                f"time. Give it more with `deadline`, or see why it takes so long."
            )
        return self._died(watch)

    def _order(self, order: dict[str, Any]) -> None:
        if self._process and self._process.poll() is not None:
            self._end(at_once=True)  # it died while there was nothing to do
        if self._process is None:
            self._start()
        os.write(self._orders, wire.line(order))

    def _died(self, watch: Watch) -> dict[str, Any]:
        """Answer for a process that is gone without an answer."""
        status = self._end(at_once=True)
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with {status}"
        code = ExitCode.TEMPORARY if status < 0 else ExitCode.BUG
        reason = (
            f"run: its process {how} in {watch.place}; it lives until its runs are made. "
            + ("Often memory: give it more." if status < 0 else "A defect of the pipeline; stderr says more.")
        )  # fmt: skip
        return _buried(watch, State.FAILED, code, reason)

    def _unwound(self, watch: Watch, code: ExitCode) -> dict[str, Any]:
        """Pass a signal on, and answer for the run that it ends."""
        if self._process:
            self._process.send_signal(signal.SIGTERM if code is ExitCode.TERMINATED else signal.SIGINT)
            for message in self._messages(time.monotonic() + UNWINDING):
                if "answer" in message:
                    self._end(at_once=True)
                    answer: dict[str, Any] = message["answer"]
                    return answer
            self._end(at_once=True)
        return _buried(watch, State.INTERRUPTED, code, f"{code.name.lower()} by a signal in {watch.place}")

    def _start(self) -> None:
        orders, self._orders = os.pipe()
        self._reports, reports = os.pipe()
        lifeline, self._lifeline = os.pipe()
        theirs = (orders, reports, lifeline)
        self._process = subprocess.Popen(  # noqa: S603 - ourselves
            [sys.executable, "-m", "pipeline.batch.worker", *map(str, theirs), *self._flags],
            pass_fds=theirs,
            stdin=subprocess.DEVNULL,
            env=_environment(),
            start_new_session=True,  # Ctrl-C comes here alone, and is passed on
        )
        self._rest = b""
        for descriptor in theirs:
            os.close(descriptor)

    def _messages(self, until: float | None) -> Iterator[dict[str, Any]]:
        """Yield what the process reports, until it is gone or the time is up."""
        while True:
            *lines, self._rest = self._rest.split(b"\n")
            yield from map(json.loads, lines)
            wait = None if until is None else until - time.monotonic()
            if wait is not None and wait <= 0:
                return
            if not select.select([self._reports], [], [], wait)[0]:
                continue
            read = os.read(self._reports, 1 << 16)
            if not read:
                return
            self._rest += read

    def _end(self, *, at_once: bool) -> int:
        """End the process and all it started; return its exit status."""
        process, self._process = self._process, None
        if process is None:
            return 0
        family = _family(process.pid) if at_once else []
        os.close(self._orders)  # no more orders
        if at_once:
            process.kill()
        status = process.wait()
        for descriptor in (self._reports, self._lifeline):
            os.close(descriptor)
        _see_off(family)
        return status


def answered(options: Options, listener: Listener) -> dict[str, Any]:
    """Make one run within its deadline and return its outcome, as `pipeline.run.run` would.

    Raises
    ------
    PipelineError
        Of the kind that the run failed with.
    """
    from pipeline.compute.choose import foresees_processes

    with Runner(processes=foresees_processes(options)) as runner:
        answer = runner.make(options, listener)
    if answer["state"] == State.INTERRUPTED:
        raise Stopped(ExitCode(answer["exit_code"]))
    if "outcome" in answer:
        outcome: dict[str, Any] = answer["outcome"]
        return outcome
    error = KINDS.get(answer["exit_code"], PipelineError)(answer["reason"])
    error.add_note(f"record: {answer['record']}")
    raise error


def _environment() -> dict[str, str]:
    """Return this process's environment; there, this package is found, and killed workers are no news."""
    known = {name: os.environ.get(name, "") for name in ("PYTHONPATH", "PYTHONWARNINGS")}
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), known["PYTHONPATH"]))),
        "PYTHONWARNINGS": ",".join(filter(None, (known["PYTHONWARNINGS"], "ignore:resource_tracker:UserWarning"))),
    }


def _family(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []


def _see_off(family: list[psutil.Process]) -> None:
    """Wait until processes that end with their parent are gone, and kill those that do not."""
    until = time.monotonic() + LINGERING
    while family := [child for child in family if _lives(child)]:
        if time.monotonic() > until:
            for child in family:
                child.kill()
            return
        time.sleep(0.01)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _buried(watch: Watch, state: State, code: ExitCode, reason: str) -> dict[str, Any]:
    """Answer for a run that cannot do so itself, and keep its record."""
    record = None
    if watch.folder and watch.folder.exists():
        record = attempts.bury(watch.folder, {"state": state, "exit_code": int(code), "reason": reason})
    return {"state": str(state), "exit_code": int(code), "reason": reason, "record": str(record) if record else None}
