"""The process that makes a batch's runs one after the other, with one set of warm workers for all of them.

``python -m pipeline.batch.worker ORDERS REPORTS LIFELINE [--processes] [--verify]``: descriptors to read orders from
and to write reports to (`pipeline.batch.wire`), and one whose other end the parent holds: when the parent dies,
however it dies, the kernel kills this process, and with it the workers.
"""

import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from typing import IO, TYPE_CHECKING, Any

from pipeline.batch import wire
from pipeline.compute import workers
from pipeline.errors import ExitCode, PipelineError
from pipeline.events import Event, StageProgress, Warned
from pipeline.garbage import undisturbed
from pipeline.interrupts import Stopped, stoppable

if TYPE_CHECKING:
    from pipeline.bars.store import Snapshot
    from pipeline.events import Listener
    from pipeline.options import Options
    from pipeline.plan import Opened

EVERY = 0.1  # seconds between two reports of progress


class Reports:
    """A listener that passes events on to the parent."""

    def __init__(self, stream: IO[bytes]) -> None:
        """Write to `stream`."""
        self.stream = stream
        self.told = 0.0

    def __call__(self, event: Event) -> None:
        """Report an event, progress not more often than anybody could look at."""
        if isinstance(event, StageProgress):
            if time.monotonic() - self.told < EVERY:
                return
            self.told = time.monotonic()
        message = wire.of_event(event)
        if message:
            self.send(message)

    def send(self, message: dict[str, Any]) -> None:
        """Report a message."""
        self.stream.write(wire.line(message))
        self.stream.flush()


def opening(*, verifies: bool) -> "Opened":
    """Return what opens each store once, compared with its checksums if it `verifies`, and keeps it open.

    All runs of a batch see the same bars; each tells what there is to be warned of, and is as degraded as the first.
    """
    from pipeline.bars import store
    from pipeline.upkeep import opened_store

    known: dict[str, tuple[Snapshot, str, list[Warned]]] = {}

    def opened(options: "Options", listener: "Listener") -> "tuple[Snapshot, str]":
        source = options.data.model_dump_json(exclude={"symbols", "start", "end", "prices"})
        if source in known:
            snapshot, degraded, warnings = known[source]
            for warning in warnings:
                listener(warning)
            return snapshot, degraded
        told: list[Event] = []

        def hear(event: Event) -> None:
            told.append(event)
            listener(event)

        snapshot, degraded = opened_store(options, hear)
        if verifies:
            store.verify(snapshot)
        known[source] = snapshot, degraded, [event for event in told if isinstance(event, Warned)]
        return snapshot, degraded

    return opened


def answer_of(run: Callable[[], Any]) -> dict[str, Any]:
    """Return what a run came to: state, exit code and reason, and the outcome or where its record is."""
    try:
        outcome = asdict(run())
    except PipelineError as error:
        return _failed("failed", error.exit_code, str(error), error)
    except KeyboardInterrupt as stop:
        code = stop.exit_code if isinstance(stop, Stopped) else ExitCode.INTERRUPTED
        return _failed("interrupted", code, f"{code.name.lower()} by a signal", stop)
    except Exception as error:  # noqa: BLE001 - a defect costs its run, not the batch; its record has the traceback
        last = traceback.extract_tb(error.__traceback__)[-1]
        reason = f"{last.filename}:{last.lineno}: {type(error).__name__}: {error}; a defect of the pipeline."
        return _failed("failed", ExitCode.BUG, reason, error)
    return {
        "state": outcome["state"],
        "exit_code": int(outcome["exit_code"]),
        "reason": outcome["reason"],
        "outcome": outcome,
    }


def _failed(state: str, code: ExitCode, reason: str, error: BaseException) -> dict[str, Any]:
    notes = [note.removeprefix("record: ") for note in getattr(error, "__notes__", []) if note.startswith("record: ")]
    return {"state": state, "exit_code": int(code), "reason": reason, "record": notes[0] if notes else None}


def main() -> None:
    """Make the runs that are ordered until there are no more orders."""
    orders, reports, lifeline = map(int, sys.argv[1:4])
    workers.die_with(lifeline)
    os.dup2(2, 1)  # what strategies print is no answer
    if "--processes" in sys.argv:
        workers.prestart()
    with suppress(KeyboardInterrupt), stoppable():
        with undisturbed():
            from pipeline.compute import scheduler
            from pipeline.options import Options
            from pipeline.run import run

        opened = opening(verifies="--verify" in sys.argv)
        with os.fdopen(orders, "rb") as asked, os.fdopen(reports, "wb") as stream, scheduler.kept() as start:
            listener = Reports(stream)
            for order in map(json.loads, asked):
                options = Options.model_validate(order["options"])
                how = {"once": order["once"], "batch": order["batch"]}
                answer = answer_of(lambda: run(options, listener, start=start, opened=opened, **how))  # noqa: B023
                listener.send({"answer": answer})
                if answer["state"] == "interrupted":
                    return


if __name__ == "__main__":
    main()
