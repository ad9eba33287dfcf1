"""Files that appear whole or not at all, and the lock of those who write them.

The order is always write, fsync the file, rename, fsync the directory: a reader sees the old or the new content,
also after ``kill -9`` or a power cut (POSIX promises nothing more, hence the sha256 in every manifest).
"""

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from pipeline.errors import LockedError, TemporaryError

MOMENT = 0.02  # seconds
SYNCED_AT_ONCE = 16

__all__ = ["is_at", "locked", "replace_file", "sha256_of", "sync", "sync_all", "sync_folder", "unreadable", "writable"]


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
    staged.write_bytes(content)
    sync(staged)
    staged.replace(path)
    sync_folder(path.parent)


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
        raise TemporaryError(
            f"{what} {path}: {error.strerror or error}; it could not be written. "
            f"Check free space and permissions of {path}, then run the same command again."
        ) from error


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
            holder = os.pread(descriptor, 1000, 0).decode(errors="replace").strip()
            os.close(descriptor)
            raise LockedError(
                f"{path}: locked by {holder or 'another process'}; one writer at a time. Wait for it to end."
            ) from None
        if is_at(path, descriptor):
            return descriptor
        os.close(descriptor)


def is_at(path: Path, descriptor: int) -> bool:
    """Tell whether an open file or folder is still the one at `path`."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
