"""What is asked of a disk before anything is written: that there is room, and that its locks hold."""

import re
import shutil
from pathlib import Path

from pipeline.errors import ConfigError, TemporaryError

MB = 1_000_000  # bytes
RESERVE = 16 * MB
MOUNTS = Path("/proc/self/mountinfo")  # proc(5); on Linux only
NETWORKED = {
    *("nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "glusterfs", "lustre", "beegfs", "gpfs"),
    *("fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.s3fs", "fuse.gcsfuse", "fuse.rclone"),
}


def check_room(what: str, path: Path, needed: int) -> None:
    """See that the disk of `path`, which may not exist yet, has about `needed` bytes free, and RESERVE besides.

    Raises
    ------
    TemporaryError
        It has not, so that whatever was begun would be given up half way.
    """
    there = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    free = shutil.disk_usage(there).free
    if free < needed + RESERVE:
        raise TemporaryError(
            f"{what} {path}: {free / MB:,.1f} MB are free, about {needed / MB:,.1f} MB are needed, and "
            f"{RESERVE / MB:,.0f} MB to spare; nothing was written. Make room, then run the same command again."
        )


def check_local(what: str, path: Path, *, allowed: bool) -> None:
    """See that `path`, which may not exist yet, lies on a disk of this machine.

    Raises
    ------
    ConfigError
        It lies on a network file system, where a lock may hold on one machine only, and that is not `allowed`.
    """
    kind = file_system(path)
    if kind in NETWORKED and not allowed:
        raise ConfigError(
            f"{what} {path}: lies on {kind}; locks of a network file system may not hold between machines, and two "
            f"writers would spoil it. Name a folder of a local disk, or set lock.allow_network_fs if one machine "
            f"alone writes there."
        )


def file_system(path: Path) -> str:
    """Return the type of the file system that `path` lies on, or will; empty where that cannot be told."""
    try:
        lines = MOUNTS.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return ""
    found = [line.partition(" - ") for line in lines]
    kinds = {_unescaped(before.split()[4]): after.split()[0] for before, _, after in found}  # a later mount covers
    places = [path.resolve(), *path.resolve().parents]
    return next((kinds[str(place)] for place in places if str(place) in kinds), "")


def _unescaped(text: str) -> str:
    """Return a path of the list of mounts, in which blanks and the like are octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda number: chr(int(number[1], 8)), text)
