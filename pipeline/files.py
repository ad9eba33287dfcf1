"""Files that appear whole or not at all, and the lock of those who write them.

The order is always write, fsync the file, rename, fsync the directory: a reader sees the old or the new content,
also after ``kill -9`` or a power cut (POSIX promises nothing more, hence the sha256 in every manifest).
"""

import errno
import fcntl
import hashlib
import json
import os
import stat
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from pipeline.errors import DataError, LockedError, PipelineError, TemporaryError

MOMENT = 0.02  # seconds
SYNCED_AT_ONCE = 16
FAILING = {errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE}
IN_THE_WAY = {errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENOTEMPTY}
ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}

__all__ = [
    "is_at",
    "is_there",
    "locked",
    "readable",
    "refusal",
    "replace_file",
    "sha256_of",
    "sweep_staged",
    "sync",
    "sync_all",
    "sync_folder",
    "unreadable",
    "unwritten",
    "writable",
]


def sync(path: Path) -> None:
    """Flush a finished file to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_all(paths: Iterable[Path]) -> None:
    """Flush finished files and folders to disk, all at once: the disk takes them together in a fraction of the time."""
    with ThreadPoolExecutor(SYNCED_AT_ONCE) as pool:
        for done in [pool.submit(sync, path) for path in paths]:
            done.result()


def sync_folder(folder: Path) -> None:
    """Flush a directory's entries: renames and removals in it survive a power cut from here on."""
    sync(folder)


def replace_file(path: Path, content: bytes) -> None:
    """Put `content` at `path`, atomically: readers see all of the old bytes or all of the new ones."""
    staged = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        staged.write_bytes(content)
        sync(staged)
        staged.replace(path)
    except BaseException:
        with suppress(OSError):  # a full disk needs the room
            staged.unlink()
        raise
    sync_folder(path.parent)


def sweep_staged(folder: Path) -> None:
    """Remove what `replace_file` left in a folder as its process was killed; this one has nothing under way there."""
    for staged in folder.glob(".*.*.tmp"):
        pid = staged.name.split(".")[-2]
        if pid.isdecimal() and not _lives_elsewhere(int(pid)):
            staged.unlink(missing_ok=True)


def _lives_elsewhere(pid: int) -> bool:
    """Tell whether there is another process of a number; our own was somebody else's before, as in containers."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return pid != os.getpid()


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file's bytes, as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unreadable(error: Exception) -> str:
    """Return in words why a file of JSON could not be understood: of an OSError, ValueError, KeyError or TypeError."""
    match error:
        case OSError():
            return error.strerror or "the system refuses it"
        case json.JSONDecodeError():
            return f"no JSON from line {error.lineno} on"
        case KeyError():
            return f"it lacks {error}"
    return "its content is none of ours"


@contextmanager
def writable(what: str, path: Path) -> Iterator[None]:
    """Turn the operating system's refusal to write `path` into a TemporaryError that says so."""
    try:
        yield
    except OSError as error:
        raise TemporaryError(f"{what} {unwritten(error, path)}") from error


def unwritten(error: OSError, path: Path) -> str:
    """Return what the operating system's refusal to write means to the user: of the file it names, else of `path`."""
    name = error.filename2 or error.filename
    where = os.fsdecode(name) if isinstance(name, str | bytes | os.PathLike) else path
    cure = (
        "Move away what stands in its way"
        if error.errno in IN_THE_WAY
        else "Check free space, and the permissions of it and of its folder"
    )
    return f"{where}: {error.strerror or error}; it could not be written. {cure}, then run the same command again."


def refusal(error: OSError, path: Path | str | None = None) -> PipelineError | None:
    """Return what the operating system's refusal of a file is to the user; None where it is a defect of ours.

    Permissions stay as they are until somebody changes them, so that is a DataError; a disk may be well again.
    """
    where, words = path or error.filename, error.strerror or error
    if isinstance(error, PermissionError) and where:
        return DataError(
            f"{os.fsdecode(where)}: {words}; the user that runs this (uid {os.geteuid()}) must be allowed to read it. "
            f"Change its owner or mode, or those of the folders above it, then run the same command again."
        )
    if error.errno in FAILING:
        return TemporaryError(
            f"{os.fsdecode(where or 'disk')}: {words}; the system could not do it. "
            f"Check the disk and the limits of this user, then run the same command again."
        )
    return None


@contextmanager
def readable() -> Iterator[None]:
    """Turn the operating system's refusal of a file, wherever in the block it came, into an error of ours."""
    try:
        yield
    except OSError as error:
        if known := refusal(error):
            raise known from error
        raise


def is_there(path: Path) -> bool:
    """Tell whether there is a regular file; OSError where nobody can tell, which is no absence."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError as error:
        if error.errno in ABSENT:
            return False
        raise


@contextmanager
def locked(path: Path, purpose: str, *, passing: bool = False) -> Iterator[None]:
    """Hold the exclusive lock `path`; the kernel frees it however the holder dies.

    Parameters
    ----------
    path : Path
        The lock's file; its folder is made if need be.
    purpose : str
        What the holder does, for the message that others get.
    passing : bool
        Remove the file at the end: for locks of many names.

    Raises
    ------
    LockedError
        At once, when another process holds it; the message names that process as it described itself.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _held(path)
    try:
        holder = {"pid": os.getpid(), "purpose": purpose, "since": datetime.now(UTC).isoformat(timespec="seconds")}
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(holder).encode(), 0)
        yield
    finally:
        if passing:
            path.unlink(missing_ok=True)
        os.close(descriptor)


def _held(path: Path) -> int:
    """Return a descriptor of the locked file; once more where its last holder removed it meanwhile."""
    tries = 0
    while True:
        tries += 1
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if tries == 1:
                os.close(descriptor)
                time.sleep(MOMENT)  # it may be held by one who only looks whether its holder is dead
                continue
            holder = os.pread(descriptor, 1000, 0)
            os.close(descriptor)
            raise LockedError(
                f"{path}: locked by {_described(holder)}; one writer at a time. Wait for it to end."
            ) from None
        if is_at(path, descriptor):
            return descriptor
        os.close(descriptor)


def _described(holder: bytes) -> str:
    """Return in words what the holder of a lock wrote of itself; it may be about to."""
    try:
        told = json.loads(holder)
        since = datetime.fromisoformat(told["since"]).astimezone(UTC)
        return f"process {told['pid']}, {told['purpose']}, since {since:%Y-%m-%d %H:%M:%S} UTC"
    except (ValueError, TypeError, KeyError):
        return "another process"


def is_at(path: Path, descriptor: int) -> bool:
    """Tell whether an open file or folder is still the one at `path`."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
