"""What a batch removes in the end: its own old records, and the runs that nothing refers to any more."""

from collections.abc import Iterator
from pathlib import Path

from pipeline.batch import record
from pipeline.results import attempts

PINNED = "pinned"  # a file of this name in a run directory keeps it


def tidy(output: Path, name: str, keep: int) -> list[Path]:
    """Remove all but the newest `keep` records of a batch, with the runs that only they name; return what went.

    A run stays if a record of any batch that is kept names it, if it is ``latest``, if it is the newest of its name,
    or if it is pinned; one that no batch made is never touched. While another batch is under way, which may find such
    a run complete, nothing is removed.
    """
    if any(told.state == "running" for other in record.names(output) for _, told in record.history(output, other)):
        return []
    old = list(record.history(output, name))[keep:]
    candidates = {Path(run.run_dir) for _, told in old for run in told.runs if run.run_dir}
    kept = {path.resolve() for path in _kept(output, {folder for folder, _ in old})}
    gone = []
    for path in sorted(candidates):
        if path.parent.parent == output and path.is_dir() and path.resolve() not in kept and not _is_dear(path):
            attempts.discard(output, path)
            gone.append(path)
    for folder, _ in reversed(old):
        attempts.discard(output, folder)
        gone.append(folder)
    attempts.forget(output)
    return gone


def _kept(output: Path, old: set[Path]) -> Iterator[Path]:
    for name in record.names(output):
        for folder, told in record.history(output, name):
            if folder not in old:
                yield from (Path(run.run_dir) for run in told.runs if run.run_dir)
    latest = output / "latest"
    if latest.exists():
        yield latest


def _is_dear(path: Path) -> bool:
    """Tell whether a run is pinned, or the newest of its name."""
    if (path / PINNED).exists():
        return True
    began = {other: attempts.read_record(other).get("started", "") for other in path.parent.iterdir()}
    return began[path] == max(began.values())
