"""Run directories: each appears whole or not at all.

::

    <output>/<name>/<run_key>-<attempt>/   a published run: its files, and run.json with the sha256 of each
    <output>/latest                        symlink to the run published last
    <output>/.staging/                     runs being written, each folder locked by its owner

The lock is the staging folder itself (``flock``): the kernel frees it however the owner dies, and it moves along with
the rename that publishes. Whoever begins a run sweeps the folders that nobody holds. A process that forks while it
writes a run keeps the lock alive in its child, so worker pools are started before.
"""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.files import sha256_of, sync, sync_folder, writable
from pipeline.results.digest import result_digest
from pipeline.results.tables import Tables, read_table

__all__ = ["RunDirectory", "create", "result_digest", "run_key", "verify"]

RECORD = "run.json"
TOLERANCE = 1e-9  # relative; money is float64


@dataclass(frozen=True)
class RunDirectory:
    """A run being written; nobody sees it before `publish`."""

    output: Path
    name: str
    run_key: str
    attempt: int

    @property
    def folder(self) -> Path:
        """Where files are written until the run is published."""
        return _staging(self.output) / f"{self.name}.{self.run_key}-{self.attempt}"

    @property
    def target(self) -> Path:
        """Where the published run lies."""
        return self.output / self.name / f"{self.run_key}-{self.attempt}"

    def write_tables(self, tables: Tables) -> None:
        """Write every table as Parquet."""
        with writable("run directory", self.folder):
            tables.write(self.folder)

    def write_text(self, name: str, text: str) -> None:
        """Write a text file, utf-8."""
        with writable("run directory", self.folder):
            (self.folder / name).write_text(text, encoding="utf-8")

    def write_json(self, name: str, value: Any) -> None:
        """Write `value` as JSON; a NaN or infinity in it is a ValueError."""
        self.write_text(name, json.dumps(value, allow_nan=False, ensure_ascii=False, indent=1) + "\n")

    def publish(self, record: Mapping[str, Any]) -> Path:
        """Make the run visible, whole, and let ``latest`` point to it; return where it lies.

        Parameters
        ----------
        record : mapping
            What ``run.json`` says, ``result_digest`` among it; run_key, attempt and the bytes and sha256 of every
            file written so far are added.
        """
        with writable("run directory", self.folder):
            paths = sorted(self.folder.iterdir())
            files = {path.name: {"bytes": path.stat().st_size, "sha256": sha256_of(path)} for path in paths}
        self.write_json(RECORD, {**record, "run_key": self.run_key, "attempt": self.attempt, "files": files})
        with writable("run directory", self.target):
            for path in (*paths, self.folder / RECORD):
                sync(path)
            sync_folder(self.folder)
            self.target.parent.mkdir(exist_ok=True)
            sync_folder(self.output)
            self.folder.rename(self.target)
            sync_folder(self.target.parent)
            self._point_latest()
        return self.target

    def _point_latest(self) -> None:
        link = self.folder.with_name(f"{self.folder.name}.latest")
        link.symlink_to(self.target.relative_to(self.output))
        link.replace(self.output / "latest")
        sync_folder(self.output)


def run_key(parts: Mapping[str, Any]) -> str:
    """Return 16 hex digits that name what a run depends on: the same `parts` in any order give the same key.

    Raises
    ------
    TypeError, ValueError
        If `parts` holds what JSON cannot: dates, paths, NaN.
    """
    canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


@contextmanager
def create(output: Path, name: str, run_key: str) -> Iterator[RunDirectory]:
    """Yield an empty run directory in staging; it is removed at the end unless it was published.

    Two runs of the same key at once get an attempt each.

    Raises
    ------
    TemporaryError
        The disk is full or read-only.
    """
    with writable("run directory", output):
        _staging(output).mkdir(parents=True, exist_ok=True)
        _sweep(output)
        run, lock = _claim(output, name, run_key)
    try:
        yield run
    finally:
        shutil.rmtree(run.folder, ignore_errors=True)
        os.close(lock)


def verify(folder: Path) -> list[str]:
    """Return what is wrong with a published run, one sentence each; an empty list if it is whole.

    Every file must be what ``run.json`` says, the fills and equity must have its ``result_digest``, and at every close
    equity must be cash + receivable + positions_value.
    """
    try:
        record = json.loads((folder / RECORD).read_bytes())
        files, digest = record["files"], record["result_digest"]
    except (OSError, ValueError, KeyError) as error:
        return [f"{folder / RECORD}: cannot be read ({error!r}); every run has one. Run the backtest again."]
    problems = [problem for name, entry in files.items() if (problem := _file_problem(folder / name, entry["sha256"]))]
    return problems or _table_problems(folder, digest)


def _file_problem(path: Path, sha256: str) -> str | None:
    if not path.is_file():
        return f"{path}: missing; run.json names it. Run the backtest again."
    if sha256_of(path) != sha256:
        return f"{path}: changed; its sha256 is not that of run.json. Run the backtest again."
    return None


def _table_problems(folder: Path, digest: str) -> list[str]:
    problems = []
    fills, equity = read_table(folder, "fills"), read_table(folder, "equity")
    found = result_digest(fills, equity)
    if found != digest:
        problems.append(f"{folder}: result_digest {found}; run.json says {digest}. Run the backtest again.")
    parts = equity[["cash", "receivable", "positions_value"]]
    balanced = (parts.sum(axis=1, skipna=False) - equity["equity"]).abs() <= TOLERANCE * parts.abs().sum(axis=1)
    wrong = equity.loc[~balanced, "session"]
    if len(wrong):
        problems.append(
            f"{folder}: equity of {wrong.iloc[0]:%Y-%m-%d} is not cash + receivable + positions_value; "
            f"the books must balance ({len(wrong)} of {len(balanced)} sessions do not). Please report it as a defect."
        )
    return problems


def _staging(output: Path) -> Path:
    return output / ".staging"


def _claim(output: Path, name: str, run_key: str) -> tuple[RunDirectory, int]:
    """Make and lock the staging folder of the next free attempt; return the run and its lock."""
    published = [path.name.rpartition("-")[2] for path in (output / name).glob(f"{run_key}-*")]
    attempt = max((int(number) for number in published if number.isdecimal()), default=0)
    while True:
        attempt += 1
        run = RunDirectory(output, name, run_key, attempt)
        lock = _lock_new(run.folder)
        if lock is not None:
            if not run.target.exists():
                return run, lock
            run.folder.rmdir()  # published since we looked
            os.close(lock)


def _lock_new(folder: Path) -> int | None:
    """Make and lock a folder; None if it is there already, or was swept as it was born."""
    try:
        folder.mkdir()
    except FileExistsError:
        return None
    return _lock(folder)


def _sweep(output: Path) -> None:
    """Remove what dead owners left in staging."""
    for path in _staging(output).iterdir():
        with suppress(FileNotFoundError):  # published or swept by another one since we looked
            _remove_if_dead(path, output / path.readlink() if path.is_symlink() else path)


def _remove_if_dead(path: Path, owner: Path) -> None:
    """Remove a staging folder that nobody holds, or the link of a run that is over."""
    lock = _lock(owner)
    if lock is None:
        return
    try:
        if path.is_symlink():
            path.unlink()
        else:
            shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(lock)


def _lock(folder: Path) -> int | None:
    """Lock a folder; None if somebody holds it, or if it is no folder, or no longer there."""
    with suppress(FileNotFoundError, NotADirectoryError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        with suppress(BlockingIOError, FileNotFoundError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), folder.stat()):  # not one that was swept since
                return descriptor
        os.close(descriptor)
    return None
