"""The bar store: immutable snapshots of Parquet parts, committed atomically.

::

    CURRENT               number of the newest snapshot; where it is lost, that is the newest whole one
    snapshots/<n>.json    manifest: its sha256, periods, symbols, parts with offsets and sha256, sources, counts
    parts/                Parquet files, one per block x period, never changed after they are committed
    staging/              what a writer is at; swept by the next writer
    lock                  held by the one writer
    quarantine.csv        what the last ingest refused (a copy, for eyes)

A *block* is some whole symbols, a *period* consecutive sessions of all symbols; the last period is the open *tail*,
the only one that a nightly update rewrites. The order of a commit (restic's, and Iceberg's): parts, manifest,
pointer, each flushed before the next, so a reader sees the old or the new snapshot, whole. A reader holds a shared
lock on the manifest it reads, and the sweep leaves that snapshot alone.
"""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pyarrow as pa

from pipeline.bars.damage import RESTORE_MANIFEST, corrupt
from pipeline.bars.manifest import Manifest, Part, Period, Symbol, Table, manifest_path, read_manifest
from pipeline.bars.parquet import read_parquet
from pipeline.bars.pointer import check_sizes, exists, is_lost, loss, newest, newest_whole, numbers, point_to
from pipeline.bars.sweeping import remove_unnamed
from pipeline.errors import DataError, LockedError
from pipeline.failpoints import failpoint
from pipeline.files import locked, replace_file, sha256_of, sync, sync_folder, writable

__all__ = [
    "Manifest",
    "Part",
    "Period",
    "Snapshot",
    "Symbol",
    "Table",
    "Writer",
    "exists",
    "open_snapshot",
    "open_whole",
    "problems",
    "sweep",
    "verify",
    "writing",
]


@dataclass(frozen=True)
class Snapshot:
    """An opened snapshot. Its manifest stays locked for reading as long as this object lives."""

    root: Path
    manifest: Manifest
    _lock: int = field(repr=False, compare=False)

    def __del__(self) -> None:
        """Give the shared lock back."""
        os.close(self._lock)

    def path(self, part: Part | Table) -> Path:
        """Return where a part or table lies."""
        return self.root / "parts" / part.file

    @property
    def manifest_file(self) -> Path:
        """Where the manifest lies."""
        return manifest_path(self.root, self.manifest.number)

    def table(self, table: Table) -> pa.Table:
        """Read a table of the snapshot, every byte checked; StoreCorruptError where one differs."""
        return read_parquet(self.path(table), sha256=table.sha256)

    @property
    def loss(self) -> str:
        """What is to be told where CURRENT is lost and this snapshot is taken; else nothing."""
        return loss(self.root, self.manifest)

    @cached_property
    def by_symbol(self) -> dict[str, Symbol]:
        """The manifest's symbols by name."""
        return {entry.symbol: entry for entry in self.manifest.symbols}

    @cached_property
    def content_id(self) -> str:
        """sha256 of what the snapshot says about the market: the same bars give the same id, however they came."""
        manifest = self.manifest
        content = {
            "columns": manifest.columns,
            "symbols": [(s.symbol, s.rows, s.first, s.last, s.scale) for s in manifest.symbols],
            "parts": sorted((p.block, p.period, p.sha256) for p in manifest.parts),
            "actions": manifest.actions.sha256,
            "instruments": manifest.instruments.sha256,
        }
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def open_snapshot(root: Path, known: Snapshot | None = None, *, as_it_is: bool = False) -> Snapshot:
    """Open the newest snapshot and check that its files are there with their sizes; `known` if it is that one.

    With `as_it_is` the files are not looked at: for `problems`.

    Raises
    ------
    DataError
        No store at `root`, or one of another format version.
    StoreCorruptError
        The manifest or a part is missing, changed or of the wrong size, or no snapshot is whole.
    """
    if not exists(root):
        raise DataError(f"store {root}: not found; bars are ingested before they are read. Run `ingest` first.")
    while True:
        number = newest(root)
        if known and known.manifest.number == number:
            return known
        try:
            lock = _held(root, number)
        except FileNotFoundError:
            if newest(root) != number:  # a commit and its sweep came between
                continue
            raise corrupt(
                root,
                f"CURRENT names snapshot {number}, and snapshots/{number}.json is missing",
                "a manifest is removed only after CURRENT names a newer one",
                RESTORE_MANIFEST,
            ) from None
        try:
            manifest = read_manifest(root, number)
        except BaseException:
            os.close(lock)
            raise
        snapshot = Snapshot(root, manifest, lock)
        if os.fstat(lock).st_nlink:  # else the sweep removed it before the lock held
            if not as_it_is:
                check_sizes(root, manifest)
            return snapshot


def open_whole(root: Path) -> Snapshot:
    """Open the newest snapshot that is whole, whatever CURRENT says; StoreCorruptError if none is."""
    number = newest_whole(root)
    return Snapshot(root, read_manifest(root, number), _held(root, number))


def verify(snapshot: Snapshot) -> int:
    """Read every file of a snapshot and compare it with the manifest; return how many were compared.

    Raises
    ------
    StoreCorruptError
        Naming the first file whose sha256 differs.
    """
    for problem in problems(snapshot):
        raise corrupt(snapshot.root, problem)
    return len(snapshot.manifest.files)


def problems(snapshot: Snapshot) -> Iterator[str]:
    """Yield of every file of a snapshot that is not as its manifest says which it is, and how it differs.

    Of those that nobody may read the first is a PermissionError after all others are looked at: they need no rebuild.
    """
    refused = []
    for entry in snapshot.manifest.files:
        path = snapshot.path(entry)
        try:
            size = path.stat().st_size
            if size != entry.bytes:
                yield f"parts/{entry.file} has {size} bytes, not {entry.bytes}"
            elif sha256_of(path) != entry.sha256:
                yield f"parts/{entry.file} differs from its sha256"
        except FileNotFoundError:
            yield f"parts/{entry.file} is missing"
        except PermissionError as error:
            refused.append(error)
        except OSError as error:
            yield f"parts/{entry.file}: {error.strerror}"
    if refused:
        raise refused[0]


class Writer:
    """The one writer of a store, between `writing` and its end."""

    def __init__(self, root: Path, previous: Snapshot | None) -> None:
        """Sweep what a dead writer left; nothing is visible to readers before `commit`."""
        self.root = root
        self.staging = root / "staging"
        self.previous = previous
        shutil.rmtree(self.staging, ignore_errors=True)
        for half_written in root.glob(".*.tmp"):
            half_written.unlink()
        for folder in (self.staging, root / "parts", root / "snapshots"):
            folder.mkdir(parents=True, exist_ok=True)
        if previous and is_lost(root):
            point_to(root, previous.manifest.number)
        if previous or not exists(root):
            remove_unnamed(root, previous.manifest.number if previous else 0, [previous.manifest] if previous else [])
        self.number = 1 + max(numbers(root), default=0)

    def adopt(self, staged: Path, stem: str) -> tuple[str, int, str]:
        """Flush a staged file, move it among the parts; return its new name, bytes and sha256."""
        digest = sha256_of(staged)
        name = f"{stem}-{digest[:16]}{staged.suffix}"
        sync(staged)
        failpoint("store.before_adopt")
        adopted = staged.replace(self.root / "parts" / name)
        return name, adopted.stat().st_size, digest

    def commit(self, manifest: Manifest) -> Snapshot:
        """Make `manifest` the newest snapshot and sweep what nothing refers to any more."""
        sync_folder(self.root / "parts")
        failpoint("store.before_manifest")
        replace_file(manifest_path(self.root, manifest.number), manifest.to_json())
        failpoint("store.before_pointer")
        point_to(self.root, manifest.number)
        failpoint("store.before_sweep")
        snapshot = Snapshot(self.root, manifest, _held(self.root, manifest.number))
        remove_unnamed(self.root, manifest.number, [manifest, *([self.previous.manifest] if self.previous else [])])
        return snapshot


@contextmanager
def writing(root: Path, *, rebuild: bool = False, known: Snapshot | None = None) -> Iterator[Writer]:
    """Lock `root`, repair what a crash left, and yield its writer.

    Parameters
    ----------
    root : Path
        The store's folder; made if it is not there.
    rebuild : bool
        Do not look at the snapshot before, which may be corrupt.
    known : Snapshot, optional
        Opened before; read again only if it is the newest no more.

    Raises
    ------
    LockedError
        Another process is writing.
    TemporaryError
        The disk is full or read-only.
    """
    with writable("store", root):
        root.mkdir(parents=True, exist_ok=True)
        with locked(root / "lock", "ingest"):
            writer = Writer(root, None if rebuild or not exists(root) else open_snapshot(root, known))
            try:
                yield writer
            finally:
                shutil.rmtree(writer.staging, ignore_errors=True)


def sweep(root: Path) -> None:
    """Repair what a dead writer left, or a lost CURRENT, unless another writer is at work."""
    if (root / "staging").exists() or is_lost(root):
        with suppress(LockedError), writing(root):
            pass


def _held(root: Path, number: int) -> int:
    """Return a descriptor that holds a snapshot's shared lock."""
    lock = os.open(manifest_path(root, number), os.O_RDONLY | os.O_CLOEXEC)
    fcntl.flock(lock, fcntl.LOCK_SH)
    return lock
