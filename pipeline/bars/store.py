"""The bar store: immutable snapshots of Parquet parts, committed atomically.

::

    CURRENT               number of the newest snapshot
    snapshots/<n>.json    manifest: periods, symbols, parts with offsets and sha256, sources, counts
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
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline.errors import DataError, StoreCorruptError
from pipeline.files import locked, replace_file, sha256_of, sync, sync_folder, writable

FORMAT = 1
KEPT_SNAPSHOTS = 2  # the newest and the one before it, for a reader that has just opened it


@dataclass(frozen=True)
class Symbol:
    """One symbol: where its bars are, and the scale that makes its adjusted prices."""

    symbol: str
    block: int
    rows: int
    first: str  # session, ISO
    last: str  # session, ISO
    scale: float  # adjusted price = price x factor / scale


@dataclass(frozen=True)
class Period:
    """Consecutive sessions, both ends included; an open one is the tail."""

    first: str
    last: str
    open: bool


@dataclass(frozen=True)
class Part:
    """One Parquet file: the bars of a block's symbols in a period, sorted by (symbol, session).

    Rows ``offsets[i]:offsets[i + 1]`` belong to ``symbols[i]``.
    """

    file: str
    block: int
    period: int
    bytes: int
    sha256: str
    symbols: tuple[str, ...]
    offsets: tuple[int, ...]

    @property
    def rows(self) -> int:
        """How many bars the part holds."""
        return self.offsets[-1]


@dataclass(frozen=True)
class Table:
    """A file beside the parts (actions, quarantine)."""

    file: str
    bytes: int
    sha256: str
    rows: int


@dataclass(frozen=True)
class Manifest:
    """Everything a snapshot is; written as JSON."""

    number: int
    columns: tuple[str, ...]  # numeric columns of the parts: STORED and the source's extras
    periods: tuple[Period, ...]
    symbols: tuple[Symbol, ...]  # ascending by symbol
    parts: tuple[Part, ...]
    actions: Table
    quarantine: Table
    sources: tuple[dict[str, Any], ...]  # one per source file, as `ingest` records them
    ingest: dict[str, Any]  # the options that made it, and what its prices are
    counts: dict[str, int]  # rows_in = stored + duplicates + quarantined, and files
    format: int = FORMAT


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
        }
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def exists(root: Path) -> bool:
    """Tell whether a snapshot was ever committed at `root`."""
    return (root / "CURRENT").is_file()


def open_snapshot(root: Path) -> Snapshot:
    """Open the newest snapshot and check that its files are there with their sizes.

    Raises
    ------
    DataError
        No store at `root`, or one of another format version.
    StoreCorruptError
        The pointer, the manifest or a part is missing or has the wrong size.
    """
    if not exists(root):
        raise DataError(f"store {root}: not found; bars are ingested before they are read. Run `ingest` first.")
    while True:
        number = _current(root)
        try:
            lock = os.open(_manifest_path(root, number), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            if _current(root) != number:  # a commit and its sweep came between
                continue
            raise _corrupt(root, f"snapshots/{number}.json is missing") from None
        fcntl.flock(lock, fcntl.LOCK_SH)
        snapshot = Snapshot(root, _read_manifest(root, number), lock)
        if os.fstat(lock).st_nlink:
            _check_sizes(snapshot)
            return snapshot


def verify(snapshot: Snapshot) -> int:
    """Read every file of a snapshot and compare it with the manifest; return how many were compared.

    Raises
    ------
    StoreCorruptError
        Naming the first file whose sha256 differs.
    """
    files = (*snapshot.manifest.parts, snapshot.manifest.actions, snapshot.manifest.quarantine)
    for entry in files:
        if sha256_of(snapshot.path(entry)) != entry.sha256:
            raise _corrupt(snapshot.root, f"parts/{entry.file} differs from its sha256")
    return len(files)


class Writer:
    """The one writer of a store, between `writing` and its end."""

    def __init__(self, root: Path) -> None:
        """Sweep what a dead writer left; nothing is visible to readers before `commit`."""
        self.root = root
        self.staging = root / "staging"
        self.previous = open_snapshot(root) if exists(root) else None
        self.number = self.previous.manifest.number + 1 if self.previous else 1
        shutil.rmtree(self.staging, ignore_errors=True)
        for folder in (self.staging, root / "parts", root / "snapshots"):
            folder.mkdir(parents=True, exist_ok=True)
        _sweep(root, self.number - 1)

    def adopt(self, staged: Path, stem: str) -> tuple[str, int, str]:
        """Flush a staged file, move it among the parts; return its new name, bytes and sha256."""
        digest = sha256_of(staged)
        name = f"{stem}-{digest[:8]}{staged.suffix}"
        sync(staged)
        os.replace(staged, self.root / "parts" / name)
        return name, (self.root / "parts" / name).stat().st_size, digest

    def commit(self, manifest: Manifest) -> Snapshot:
        """Make `manifest` the newest snapshot and sweep what nothing refers to any more."""
        sync_folder(self.root / "parts")
        document = json.dumps(asdict(manifest), allow_nan=False, ensure_ascii=False, indent=1)
        replace_file(_manifest_path(self.root, manifest.number), document.encode())
        replace_file(self.root / "CURRENT", f"{manifest.number}\n".encode())
        snapshot = open_snapshot(self.root)
        _sweep(self.root, manifest.number)
        return snapshot


@contextmanager
def writing(root: Path) -> Iterator[Writer]:
    """Lock `root`, repair what a crash left, and yield its writer.

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
            writer = Writer(root)
            try:
                yield writer
            finally:
                shutil.rmtree(writer.staging, ignore_errors=True)


def _manifest_path(root: Path, number: int) -> Path:
    return root / "snapshots" / f"{number}.json"


def _current(root: Path) -> int:
    text = (root / "CURRENT").read_text(errors="replace").strip()
    if not text.isdecimal():
        raise _corrupt(root, f"CURRENT holds {text!r}, not a snapshot's number")
    return int(text)


def _read_manifest(root: Path, number: int) -> Manifest:
    try:
        document = json.loads(_manifest_path(root, number).read_bytes())
        if document["format"] != FORMAT:
            raise DataError(
                f"store {root}: format {document['format']}; this version reads {FORMAT}. Run `ingest` into a new store."
            )
        return Manifest(
            number=document["number"],
            columns=tuple(document["columns"]),
            periods=tuple(Period(**period) for period in document["periods"]),
            symbols=tuple(Symbol(**symbol) for symbol in document["symbols"]),
            parts=tuple(
                Part(**{**part, "symbols": tuple(part["symbols"]), "offsets": tuple(part["offsets"])})
                for part in document["parts"]
            ),
            actions=Table(**document["actions"]),
            quarantine=Table(**document["quarantine"]),
            sources=tuple(document["sources"]),
            ingest=document["ingest"],
            counts=document["counts"],
        )
    except (ValueError, KeyError, TypeError) as error:
        raise _corrupt(root, f"snapshots/{number}.json cannot be read ({error!r})") from None


def _check_sizes(snapshot: Snapshot) -> None:
    manifest = snapshot.manifest
    for entry in (*manifest.parts, manifest.actions, manifest.quarantine):
        path = snapshot.path(entry)
        size = path.stat().st_size if path.is_file() else None
        if size is None:
            raise _corrupt(snapshot.root, f"parts/{entry.file} is missing")
        if size != entry.bytes:
            raise _corrupt(snapshot.root, f"parts/{entry.file} has {size} bytes, not {entry.bytes}")


def _corrupt(root: Path, what: str) -> StoreCorruptError:
    return StoreCorruptError(
        f"store {root}: corrupt, {what}; parts never change after their commit. Rebuild with `ingest --rebuild`."
    )


def _sweep(root: Path, newest: int) -> None:
    """Remove manifests that are neither among the newest ones nor being read, and parts none of the rest names."""
    kept: set[str] = set()
    for path in (root / "snapshots").iterdir():
        number = int(path.stem) if path.suffix == ".json" and path.stem.isdecimal() else None
        if number is not None and (newest - KEPT_SNAPSHOTS < number <= newest or _is_read(path)):
            manifest = _read_manifest(root, number)
            kept.update(entry.file for entry in (*manifest.parts, manifest.actions, manifest.quarantine))
        else:
            path.unlink()
    for path in (root / "parts").iterdir():
        if path.name not in kept:
            path.unlink()


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
