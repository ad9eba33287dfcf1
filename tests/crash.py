"""Kill an ingest at every step that changes the disk, and see what is left; run as a script by test_ingest.

    python tests/crash.py STORE FOLDER

For n = 1, 2, ... a child is forked that ingests the CSV files of FOLDER into a copy of STORE (which may be missing)
and kills itself before its n-th fsync, rename, unlink, mkdir or rmdir. Another child then opens what is left and runs
the ingest again. Prints one JSON list per n: the snapshot after the kill, the one after the second run, and what is in
the store's folder; ends with the first n at which nothing was killed. Forking is safe: this process starts no thread.
"""

import itertools
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

from pipeline.bars.ingest import ingest
from pipeline.bars.store import exists, open_snapshot, verify
from pipeline.options import DataOptions

STEPS = ("fsync", "replace", "rename", "unlink", "mkdir", "rmdir")


def options_of(folder: Path, store: Path) -> DataOptions:
    """Return options that read the CSV files of `folder` into `store`."""
    return DataOptions(
        source="csv",
        synthetic={"symbols": 1, "sessions": 1, "start": "2020-01-02", "seed": 0},
        path=folder,
        columns={},
        file_pattern="{symbol}.csv",
        encoding="utf-8",
        adjustment=None,
        volume_unit=None,
        frequency="daily",
        time_zone=None,
        bar_label=None,
        bar_minutes=1,
        store=store,
        symbols="all",
        start=None,
        end=None,
        prices="adjusted",
        revisions="accept",
        warn_above=0.05,
        fail_above=0.5,
    )


def signature(store: Path) -> str | None:
    """Return what the store says of the market, every byte checked; None where there is no snapshot."""
    if not exists(store):
        return None
    snapshot = open_snapshot(store)
    verify(snapshot)
    return snapshot.content_id


def run(folder: Path, store: Path) -> str | None:
    """Ingest `folder` and return the signature of the store."""
    ingest(options_of(folder, store), readers=2, as_of=date(2021, 12, 31))
    return signature(store)


def kill_at(count: int) -> None:
    """Kill this process before its `count`-th step."""
    steps = itertools.count(1)

    def deadly(step: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            if next(steps) == count:
                os.kill(os.getpid(), signal.SIGKILL)
            return step(*args, **kwargs)

        return counted

    for name in STEPS:
        setattr(os, name, deadly(getattr(os, name)))


def in_child(function: Callable[[], Any]) -> tuple[bool, Any]:
    """Return whether a forked child that calls `function` lived, and what it returned."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        try:
            answer = json.dumps(function())
        except BaseException as error:  # noqa: BLE001 - the parent prints it
            answer = json.dumps(f"{type(error).__name__}: {error}")
        os.write(writer, answer.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        answer = pipe.read()
    _, status = os.waitpid(child, 0)
    return not os.WIFSIGNALED(status), json.loads(answer) if answer else None


def killed_run(folder: Path, store: Path, count: int) -> None:
    """Ingest `folder`, but die before the `count`-th step."""
    kill_at(count)
    ingest(options_of(folder, store), readers=1, as_of=date(2021, 12, 31))


def main() -> None:
    """Kill at every step in turn."""
    os.fsync = lambda _: None  # a killed process loses no flushed page: only the order of the steps matters here
    base, folder = map(Path, sys.argv[1:3])
    store = base.with_name(f"{base.name}-killed")
    for count in itertools.count(1):
        shutil.rmtree(store, ignore_errors=True)
        if base.exists():
            shutil.copytree(base, store)
        lived, _ = in_child(lambda count=count: killed_run(folder, store, count))
        _, left = in_child(lambda: signature(store))
        _, after = in_child(lambda: run(folder, store))
        line = json.dumps([left, after, sorted(path.name for path in store.iterdir())])
        sys.stdout.write(f"{line}\n")
        if lived:
            break


if __name__ == "__main__":
    main()
