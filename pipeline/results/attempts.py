"""Attempts at runs: the folders they are written in, and what is kept of those that came to nothing.

::

    <output>/.staging/<name>.<began>-<pid>/      under way: its folder is locked by the process that writes it
    <output>/.staging/<name>.<run_key>.lock      held by the one attempt at that run
    <output>/.failed/<name>.<began>-<pid>/       run.json (state and reason), log.jsonl and traceback of a failed one

The lock is the folder itself (``flock``): the kernel frees it however the owner dies, and it moves along with the
rename that publishes. Whoever begins an attempt looks after those that nobody holds: their processes died, so they are
kept as ``abandoned``. A process that forks while it writes a run keeps the lock alive in its child, so worker pools
are started before.
"""

import fcntl
import json
import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

from pipeline.files import is_at, locked, replace_file, sync_folder
from pipeline.log import exit_line
from pipeline.results.history import read as read_record

__all__ = [
    "FAILED",
    "RECORD",
    "State",
    "begun",
    "bury",
    "discard",
    "forget",
    "holding",
    "place",
    "read_record",
    "sweep",
]

RECORD = "run.json"
LOG = "log.jsonl"
KEPT = {RECORD, LOG, "config.yaml", "traceback.txt"}  # of an attempt that failed
STAGING, FAILED = ".staging", ".failed"
KEPT_FOR = timedelta(days=7)
DISCARDED = ".removed"  # what such a folder's name ends with
STAMP = "%Y%m%dT%H%M%S.%fZ"


class State(StrEnum):
    """How far an attempt came: ``running`` leads to one of the others."""

    RUNNING = "running"
    COMMITTED = "committed"
    DEGRADED = "degraded"  # committed, with something refused or left out
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    ABANDONED = "abandoned"  # its process died without a word


def place() -> dict[str, Any]:
    """Return what tells one process from all others: pid, host and boot."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    boot_id = boot.read_text().strip() if boot.exists() else ""
    return {"pid": os.getpid(), "host": socket.gethostname(), "boot_id": boot_id}


@contextmanager
def begun(output: Path, name: str) -> Iterator[Path]:
    """Yield an empty folder in staging, locked until the end; what is still there at the end is removed."""
    staging = output / STAGING
    staging.mkdir(parents=True, exist_ok=True)
    folder, lock = _claim(staging, name)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


@contextmanager
def holding(output: Path, name: str, run_key: str) -> Iterator[None]:
    """Hold the lock of a run: one attempt at it at a time. LockedError at once if there is another one."""
    with locked(output / STAGING / f"{name}.{run_key}.lock", f"run {name} {run_key}", passing=True):
        yield


def bury(folder: Path, ending: Mapping[str, Any], traceback: str = "") -> Path | None:
    """Keep the record and log of an attempt that ended without a result; return where, None if that was impossible.

    Parameters
    ----------
    folder : Path
        In staging; the caller holds it, or its owner is dead.
    ending : mapping
        What ``run.json`` is to say: at least `state`, `exit_code` and `reason`.
    traceback : str
        Of a defect, or of what a strategy raised.
    """
    kept = folder.parents[1] / FAILED / folder.name
    try:
        record = {**read_record(folder), **ending}
        if traceback:
            (folder / "traceback.txt").write_text(traceback, encoding="utf-8", errors="backslashreplace")
        with (folder / LOG).open("a", encoding="utf-8") as log:
            log.write(
                exit_line(record["exit_code"], record["state"], record["reason"], kept, run=record.get("started"))
            )
        replace_file(folder / RECORD, (json.dumps(record, ensure_ascii=False, indent=1) + "\n").encode())
        for path in folder.iterdir():
            if path.name not in KEPT:
                path.unlink()
        kept.parent.mkdir(exist_ok=True)
        folder.rename(kept)
        sync_folder(kept.parent)
    except OSError:  # a full disk, say: that the attempt failed is told elsewhere too
        return None
    forget(kept.parents[1])
    return kept


def discard(output: Path, folder: Path) -> None:
    """Remove a published run, or another folder below `output`: at once for all who look, whatever comes between."""
    staging = output / STAGING
    staging.mkdir(exist_ok=True)
    gone = folder.rename(staging / f"{folder.parent.name}.{folder.name}-{os.getpid()}{DISCARDED}")
    shutil.rmtree(gone)


def sweep(output: Path) -> list[Path]:
    """Look after what dead owners left in staging; return the records of attempts found abandoned."""
    found = []
    staging = output / STAGING
    for path in list(staging.iterdir()) if staging.is_dir() else []:
        with suppress(FileNotFoundError):  # published or swept by another one since we looked
            owner = output / path.readlink() if path.is_symlink() else path
            found.append(_end_if_dead(path, owner))
    return [record for record in found if record]


def _end_if_dead(path: Path, owner: Path) -> Path | None:
    """Bury a staging folder that nobody holds; remove the lock or the link of a run that is over."""
    if path.is_symlink() and not owner.exists():
        path.unlink()
    descriptor = lock_of(owner)
    if descriptor is None:
        return None
    try:
        if path.is_symlink() or path.suffix == ".lock":
            path.unlink()
        elif (path / RECORD).exists() and path.suffix != DISCARDED:
            reason = "the process died; nothing was published"
            return bury(path, {"state": State.ABANDONED, "exit_code": None, "reason": reason})
        else:
            shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(descriptor)
    return None


def lock_of(path: Path) -> int | None:
    """Lock a folder or lock file; None if somebody holds it, or if it is something else, or no longer there."""
    kind = 0 if path.suffix == ".lock" else os.O_DIRECTORY
    with suppress(FileNotFoundError, NotADirectoryError):
        descriptor = os.open(path, os.O_RDONLY | kind | os.O_CLOEXEC)
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if is_at(path, descriptor):  # not one that was swept since
                return descriptor
        os.close(descriptor)
    return None


def _claim(staging: Path, name: str) -> tuple[Path, int]:
    """Make and lock a folder of its own for an attempt that begins now."""
    while True:
        folder = staging / f"{name}.{datetime.now(UTC).strftime(STAMP)}-{os.getpid()}"
        with suppress(FileExistsError):
            folder.mkdir()
            lock = lock_of(folder)
            if lock is not None:  # else it was swept as it was born
                return folder, lock


def forget(output: Path) -> None:
    """Remove the records of attempts that began longer ago than they are kept."""
    oldest = (datetime.now(UTC) - KEPT_FOR).strftime(STAMP)
    failed = output / FAILED
    for path in failed.iterdir() if failed.is_dir() else ():
        if path.name.rpartition("-")[0][-len("20261125T223000.000000Z") :] < oldest:
            shutil.rmtree(path, ignore_errors=True)
