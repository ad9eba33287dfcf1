"""The files bars come from: which there are, and which of them changed since a snapshot was made."""

import glob
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pipeline.bars.content import load
from pipeline.bars.manifest import SourceFile
from pipeline.bars.quality import RefusedError
from pipeline.bars.store import Snapshot
from pipeline.errors import ConfigError, DataError
from pipeline.fields import is_text
from pipeline.modes import Frequency, Source
from pipeline.options import DataOptions
from pipeline.words import counted, listed


class SourceGoneError(DataError):
    """There is no source file; the store, if there is one, may be as good as ever."""


@dataclass(frozen=True)
class Found:
    """The source files, ascending by path, with bytes and mtime [ns], and the names of others beside them."""

    files: Mapping[Path, tuple[int, int]]
    ignored: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()  # beside them, and not looked into
    nameless: tuple[str, ...] = ()  # files whose names are not UTF-8: no record could name them, so they are not read


@dataclass(frozen=True)
class Survey:
    """The source files against those of a snapshot."""

    changed: tuple[Path, ...]  # new ones included
    same: tuple[SourceFile, ...]
    gone: tuple[SourceFile, ...]

    @property
    def is_as_recorded(self) -> bool:
        """Whether an update would change nothing: bars of files that are gone stay, what was refused of them goes."""
        return not self.changed and not any(record.gave_none for record in self.gone)


def find_sources(options: DataOptions) -> Found:
    """Return the files `options` name; none for a made-up market.

    Raises
    ------
    SourceGoneError
        The path does not exist, or nothing in it is a source file.
    PermissionError
        Nobody may look: the files may be there.
    """
    if options.source is Source.SAMPLE:
        return Found({_sample(): size_and_mtime(_sample())})
    if options.source is Source.SYNTHETIC:
        return Found({})
    if options.path is None:
        raise SourceGoneError(f"data.path: null; source {options.source} reads files. Name a folder, a glob or a file.")
    _check_open(options.path)
    if options.path.is_dir():
        found = _in_folder(options.path, name_pattern(options))
    else:
        names = glob.glob(str(options.path), recursive=True)  # noqa: PTH207 - Path.glob takes no absolute pattern
        found = _told_apart(sorted(map(Path, names)))
    if not found.files:
        others = len(found.ignored) + len(found.nameless)
        came = "no such folder or file"
        if options.path.is_dir():
            came = f"{counted(others, 'file')}, none like {name_pattern(options)!r}"
            if found.folders:
                came += (
                    f", and {counted(len(found.folders), 'folder')}, which only a glob like {_deep(options)} looks into"
                )
        raise SourceGoneError(
            f"data.path: {options.path}: {came}; it names a folder, a glob or a file of bars. "
            f"Correct data.path or data.file_pattern."
        )
    return found


def passed_over(options: DataOptions, found: Found) -> Iterator[str]:
    """Say what lies in the folder beside the files that are read."""
    if found.ignored:
        others = f"ignored for their suffix: {listed(found.ignored)}"
        yield f"{options.path}: {others}; data.file_pattern is {name_pattern(options)!r}"
    if found.folders:
        folders = f"folders are not looked into: {listed(found.folders)}"
        yield f"{options.path}: {folders}; data.path: {options.path}/{_deep(options)} does that"


def _deep(options: DataOptions) -> str:
    """Return a glob for source files in folders below another."""
    return f"**/*{Path(name_pattern(options)).suffix}"


def name_pattern(options: DataOptions) -> str:
    """Return ``data.file_pattern``; its ``.csv`` means ``.parquet`` where Parquet is read."""
    if options.source is Source.PARQUET and options.file_pattern.endswith(".csv"):
        return options.file_pattern.removesuffix(".csv") + ".parquet"
    return options.file_pattern


def made_from(options: DataOptions) -> dict[str, object]:
    """Return the options that decide what an ingest makes, as a manifest keeps them."""
    times = {"frequency": str(options.frequency)}
    if options.source is Source.SYNTHETIC:
        return {"source": str(options.source), **times, **options.synthetic.model_dump(mode="json")}
    if options.frequency is Frequency.MINUTE:
        times["clock"] = f"{options.time_zone} {options.bar_label} {options.bar_minutes}"
    return {
        "source": str(options.source),
        **times,
        "path": None if options.path is None else str(options.path),
        "columns": dict(options.columns),
        "file_pattern": options.file_pattern,
        "declared": [str(options.encoding), options.adjustment, options.volume_unit],
    }


def is_made_from(snapshot: Snapshot, options: DataOptions) -> bool:
    """Tell whether `options` made the snapshot."""
    made = made_from(options)
    return {name: snapshot.manifest.ingest.get(name) for name in made} == made


def check_source(snapshot: Snapshot, options: DataOptions) -> None:
    """See that a store is of the data set that `options` name; ConfigError where it is of another."""
    made, asked = snapshot.manifest.ingest, made_from(options)
    if (made.get("source"), made.get("path")) != (asked["source"], asked.get("path")):
        raise ConfigError(
            f"store {snapshot.root}: made from {_words(made)}, not {_words(asked)}; one store per data set. Give "
            f"data.store another folder, or run `ingest --rebuild` to replace it."
        )


def survey(files: Mapping[Path, tuple[int, int]], records: Mapping[str, SourceFile], as_of: date) -> Survey:
    """Compare files with what is recorded of them: name, size and mtime; the CRC-32 decides where only mtime differs.

    A file with sessions that lay in the future counts as changed once they have come.
    """
    paths = {str(path): path for path in files}
    same = {
        name
        for name, path in paths.items()
        if name in records and not records[name].is_awaited(as_of) and _is_same(path, files[path], records[name])
    }
    return Survey(
        changed=tuple(path for name, path in paths.items() if name not in same),
        same=tuple(record for name, record in records.items() if name in same),
        gone=tuple(record for name, record in records.items() if name not in paths),
    )


def size_and_mtime(path: Path) -> tuple[int, int]:
    """Return a file's bytes and mtime [ns]; zeros where even that cannot be told."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns


def _words(made: Mapping[str, Any]) -> str:
    return f"{made.get('source')} {made.get('path') or ''}".rstrip()


def _sample() -> Path:
    package = find_spec("bokeh_sampledata")  # finds it without importing it
    if package is None or package.origin is None:
        raise SourceGoneError("data.source: sample; the package bokeh_sampledata is not installed. Run `make setup`.")
    return Path(package.origin).parent / "_data" / "stocks.csv.gz"


def _check_open(path: Path) -> None:
    """See that a folder, or that of a glob, can be listed, and a file be looked for; else the system's own error."""
    fixed = next(each for each in (path, *path.parents) if not glob.has_magic(str(each)))
    try:
        os.scandir(fixed).close()
    except (FileNotFoundError, NotADirectoryError):
        return


def _in_folder(folder: Path, pattern: str) -> Found:
    suffix = Path(pattern).suffix.lower()
    with os.scandir(folder) as entries:
        seen = sorted((entry.name, _is_folder(entry)) for entry in entries if not entry.name.startswith("."))
    names = [name for name, is_folder in seen if not is_folder]
    folders = tuple(_written(name) for name, is_folder in seen if is_folder)
    chosen = [name for name in names if name.lower().removesuffix(".gz").endswith(suffix)]
    others = sorted(map(_written, set(names).difference(chosen)))
    return replace(_told_apart([folder / name for name in chosen]), ignored=tuple(others), folders=folders)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in a ring of links
        return False


def _told_apart(paths: Iterable[Path]) -> Found:
    """Return source files, and apart from them those whose names are no text, such bytes of them as escapes."""
    files, nameless = {}, []
    for path in paths:
        if is_text(str(path)):
            files[path] = size_and_mtime(path)
        else:
            nameless.append(_written(path))
    return Found(files, nameless=tuple(nameless))


def _written(path: str | Path) -> str:
    """Return a path as text, bytes of it that are none as escapes."""
    return os.fsencode(path).decode(errors="backslashreplace")


def _is_same(path: Path, facts: tuple[int, int], record: SourceFile) -> bool:
    size, mtime = facts
    if size != record.bytes or mtime == record.mtime_ns:
        return size == record.bytes
    try:
        return load(path).crc32 == record.crc32
    except RefusedError:
        return False
