"""Run directories: each appears whole or not at all.

::

    <output>/<name>/<run_key>-<attempt>/   a published run: its files, and run.json with the sha256 of each
    <output>/latest                        symlink to the run published last

Where a run is written before, and what is kept of one that fails, `pipeline.results.attempts` tells.
"""

import errno
import hashlib
import json
import os
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from pipeline.errors import ExitCode, PipelineError
from pipeline.failpoints import failpoint
from pipeline.files import is_there, sha256_of, sync_all, sync_folder, unreadable, writable
from pipeline.results import attempts
from pipeline.results.attempts import LOG, RECORD, State
from pipeline.results.digest import result_digest
from pipeline.results.tables import Tables, read_table
from pipeline.words import counted

__all__ = ["RunDirectory", "as_json", "complete", "create", "result_digest", "run_key", "verify"]

TOLERANCE = 1e-9  # relative; money is float64


class RunDirectory:
    """A run being written; nobody sees it before `publish`."""

    def __init__(self, output: Path, name: str, folder: Path, life: ExitStack) -> None:
        """Write into `folder`, which is empty and locked; `life` ends with the attempt."""
        self.output = output
        self.name = name
        self.folder = folder  # where files are written until the run is published
        self.run_key = ""
        self.attempt = 0
        self.log = life.enter_context((folder / LOG).open("w", encoding="utf-8"))
        self._life = life

    @property
    def target(self) -> Path:
        """Where the published run lies."""
        return self.output / self.name / f"{self.run_key}-{self.attempt}"

    def claim(self, run_key: str) -> None:
        """Take the next attempt of a run; LockedError at once if another process is at the same run."""
        with writable("run directory", self.folder):
            self._life.enter_context(attempts.holding(self.output, self.name, run_key))
        self.run_key = run_key
        self.attempt = 1 + max(_attempts(self.output / self.name, run_key), default=0)

    def differing(self, digest: str) -> str | None:
        """Return the name of the attempt before this one if its result has another digest; the same is expected."""
        before = self.target.with_name(f"{self.run_key}-{self.attempt - 1}")
        known = attempts.read_record(before).get("result_digest", digest)
        return None if known == digest else before.name

    def write_tables(self, tables: Tables) -> None:
        """Write every table as Parquet."""
        with writable("run directory", self.folder):
            failpoint("run.before_tables")
            tables.write(self.folder)

    def write_text(self, name: str, text: str) -> None:
        """Write a text file, utf-8."""
        with writable("run directory", self.folder):
            (self.folder / name).write_text(text, encoding="utf-8")

    def write_json(self, name: str, value: Any) -> None:
        """Write `value` as JSON; a NaN or infinity in it is a ValueError."""
        self.write_text(name, as_json(value).decode())

    def publish(self, record: Mapping[str, Any]) -> Path:
        """Make the run visible, whole, and let ``latest`` point to it; return where it lies.

        Parameters
        ----------
        record : mapping
            What ``run.json`` says, ``result_digest`` among it; run_key, attempt and the bytes and sha256 of every
            file written so far are added.
        """
        with writable("run directory", self.folder):
            self.log.close()
            paths = sorted(path for path in self.folder.iterdir() if path.name != RECORD)
            files = {path.name: {"bytes": path.stat().st_size, "sha256": sha256_of(path)} for path in paths}
            failpoint("run.before_record")
        self.write_json(RECORD, {**record, "run_key": self.run_key, "attempt": self.attempt, "files": files})
        with writable("run directory", self.target):
            self.target.parent.mkdir(exist_ok=True)
            sync_all([*paths, self.folder / RECORD, self.folder, self.output])
            failpoint("run.before_rename")
            self.folder.rename(self.target)
            failpoint("run.after_rename")
            sync_folder(self.target.parent)
            self._point_latest()
        return self.target

    def _point_latest(self) -> None:
        link = self.folder.with_name(f"{self.folder.name}.latest")
        link.symlink_to(self.target.relative_to(self.output))
        failpoint("run.before_latest")
        link.replace(self.output / "latest")
        sync_folder(self.output)


def as_json(value: Any) -> bytes:
    """Return `value` as the JSON of a run directory; a NaN or infinity in it is a ValueError."""
    return f"{json.dumps(value, allow_nan=False, ensure_ascii=False, indent=1)}\n".encode()


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
def create(
    output: Path,
    name: str,
    record: Mapping[str, Any] | None = None,
    ending: Callable[[], Mapping[str, Any]] = dict,
) -> Iterator[RunDirectory]:
    """Yield an empty run directory in staging.

    It is gone at the end unless it was published; of one that ends with an error the record and the log are kept
    among the failed ones, and a note of the error says where.

    Parameters
    ----------
    output : Path
        Folder of all runs.
    name : str
        Of the run.
    record : mapping, optional
        What ``run.json`` says while the run is under way.
    ending : function, optional
        What it says besides when the run has failed.

    Raises
    ------
    TemporaryError
        The disk is full or read-only.
    """
    with ExitStack() as life:
        with writable("run directory", output):
            output.mkdir(parents=True, exist_ok=True)
            _check_open(output / name)
            attempts.sweep(output)
            folder = life.enter_context(attempts.begun(output, name))
            run = RunDirectory(output, name, folder, life)
        run.write_json(RECORD, {"name": name, "state": State.RUNNING, **attempts.place(), **(record or {})})
        try:
            yield run
        except BaseException as error:
            with suppress(OSError):
                run.log.close()
            known = {**ending(), **_ending(error), "run_key": run.run_key or None}
            kept = attempts.bury(folder, known, _trace(error))
            if kept:
                error.add_note(f"record: {kept}")
            raise


def _check_open(folder: Path) -> None:
    """See that a run can be published in a folder, before anything is computed; PermissionError where it cannot."""
    if folder.exists() and not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))


def complete(output: Path, name: str, run_key: str, wanted: Collection[str] = ()) -> tuple[Path, dict[str, Any]] | None:
    """Return the newest published run of a key and its record, if its files are there with their sizes.

    The files `wanted` must be among them: a run made without a report is not complete for who asks for one.
    """
    for attempt in sorted(_attempts(output / name, run_key), reverse=True):
        folder = output / name / f"{run_key}-{attempt}"
        record = attempts.read_record(folder)
        files = record.get("files", {})
        whole = all(_has_size(folder / file, entry["bytes"]) for file, entry in files.items())
        if record and whole and files.keys() >= set(wanted):
            return folder, record
    return None


def verify(folder: Path) -> list[str]:
    """Return what is wrong with a published run, one sentence each; an empty list if it is whole.

    Every file must be what ``run.json`` says, the fills and equity must have its ``result_digest``, and at every close
    equity must be cash + receivable + positions_value. A file that nobody may read is a PermissionError.
    """
    try:
        record = json.loads((folder / RECORD).read_bytes())
        files, digest = record["files"], record["result_digest"]
    except PermissionError:
        raise
    except (OSError, ValueError, KeyError) as error:
        said = f"{folder / RECORD}: cannot be read ({unreadable(error)}); every run has one."
        return [f"{said} {_remedy(folder)}"]
    problems = [problem for name, entry in files.items() if (problem := _file_problem(folder / name, entry["sha256"]))]
    return problems or _table_problems(folder, digest)


def _file_problem(path: Path, sha256: str) -> str | None:
    if not is_there(path):
        return f"{path}: missing; run.json names it. {_remedy(path.parent)}"
    if sha256_of(path) != sha256:
        return f"{path}: changed; its sha256 is not that of run.json. {_remedy(path.parent)}"
    return None


def _remedy(folder: Path) -> str:
    """Say how a damaged run is made good: a further attempt lies beside it, so the folder itself must go."""
    return f"Remove its folder {folder.name}, then run the backtest again."


def _table_problems(folder: Path, digest: str) -> list[str]:
    problems = []
    fills, equity = read_table(folder, "fills"), read_table(folder, "equity")
    found = result_digest(fills, equity)
    if found != digest:
        problems.append(f"{folder}: result_digest {found}; run.json says {digest}. {_remedy(folder)}")
    parts = equity[["cash", "receivable", "positions_value"]]
    balanced = (parts.sum(axis=1, skipna=False) - equity["equity"]).abs() <= TOLERANCE * parts.abs().sum(axis=1)
    wrong = equity.loc[~balanced, "session"]
    if len(wrong):
        problems.append(
            f"{folder}: equity of {wrong.iloc[0]:%Y-%m-%d} is not cash + receivable + positions_value; "
            f"the books must balance ({len(wrong)} of {counted(len(balanced), 'session')} do not). Please report it as "
            f"a defect."
        )
    return problems


def _has_size(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _attempts(folder: Path, run_key: str) -> list[int]:
    """Return the numbers of the published attempts at a run."""
    numbers = [path.name.rpartition("-")[2] for path in folder.glob(f"{run_key}-*")]
    return [int(number) for number in numbers if number.isdecimal()]


def _trace(error: BaseException) -> str:
    """Return the traceback that is worth keeping: of a defect, or of what a strategy raised."""
    if isinstance(error, PipelineError | KeyboardInterrupt):
        return getattr(error, "trace", "")
    return "".join(traceback.format_exception(error))


def _ending(error: BaseException) -> dict[str, Any]:
    """Return state, exit code and reason of a run that `error` has ended."""
    if isinstance(error, KeyboardInterrupt):
        code = getattr(error, "exit_code", ExitCode.INTERRUPTED)
        return {"state": State.INTERRUPTED, "exit_code": int(code), "reason": f"{code.name.lower()} by a signal"}
    code = error.exit_code if isinstance(error, PipelineError) else ExitCode.BUG
    reason = str(error) if isinstance(error, PipelineError) else f"{type(error).__name__}: {error}"
    return {"state": State.FAILED, "exit_code": int(code), "reason": reason}
