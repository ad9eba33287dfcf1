"""What no snapshot names any more, and nobody reads, removed from a store."""

import fcntl
import os
from collections.abc import Sequence
from pathlib import Path

from pipeline.bars.manifest import Manifest, read_manifest
from pipeline.errors import DataError

KEPT_SNAPSHOTS = 2  # the newest and the one before it, for a reader that has just opened it


def number_of(manifest: Path) -> int | None:
    """Return the number of the snapshot of a manifest; None of what is none."""
    return int(manifest.stem) if manifest.suffix == ".json" and manifest.stem.isdecimal() else None


def remove_unnamed(root: Path, newest: int, known: Sequence[Manifest]) -> None:
    """Remove manifests that are neither among the newest ones nor being read, and parts none of the rest names."""
    files = {manifest.number: {entry.file for entry in manifest.files} for manifest in known}
    kept: set[str] = set()
    for path in (root / "snapshots").iterdir():
        number = number_of(path)
        if number is not None and (newest - KEPT_SNAPSHOTS < number <= newest or _is_read(path)):
            kept |= files.get(number) or _files_of(root, number)
        else:
            path.unlink()
    for path in (root / "parts").iterdir():
        if path.name not in kept:
            path.unlink()


def _files_of(root: Path, number: int) -> set[str]:
    """Return the files a snapshot names; none if its manifest cannot be read, as nobody can be reading it."""
    try:
        manifest = read_manifest(root, number)
    except DataError:
        return set()
    return {entry.file for entry in manifest.files}


def _is_read(path: Path) -> bool:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)
