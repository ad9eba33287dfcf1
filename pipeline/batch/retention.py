"""What a batch removes in the end: its own old records, and the runs that nothing refers to any more."""

from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from pathlib import Path

from pipeline.batch import record
from pipeline.batch.record import WELL, BatchRecord
from pipeline.results import attempts

PINNED = "pinned"  # a file of this name in a run directory keeps it


def tidy(output: Path, name: str, keep: int) -> Iterator[Path]:
    """Remove records older than the newest `keep` that ended well, with the runs that only they name; yield each.

    Those that failed do not count, so that bad nights never push out good ones; they go with the good ones around.
    A run stays if a record of any batch that is kept names it, if it is ``latest``, if it is the newest of its name,
    or if it is pinned. One that was made by hand is never touched, also where a batch found it complete: the run's own
    record says which batch made it, since the batch's may be gone long before the run. While another batch is under
    way, which may find such a run complete, nothing is removed.
    """
    if any(told.state == "running" for other in record.names(output) for _, told in record.history(output, other)):
        return
    old = _older(record.history(output, name), keep)
    candidates = {Path(run.run_dir) for _, told in old for run in told.runs if run.run_dir}
    kept = {path.resolve() for path in _kept(output, {folder for folder, _ in old})}
    there = {path for path in candidates if path.parent.parent == output and path.is_dir()}
    for path in _not_dear({path for path in there if path.resolve() not in kept}):
        attempts.discard(output, path)
        yield path
    for folder, _ in reversed(old):
        attempts.discard(output, folder)
        yield folder
    attempts.forget(output)


def _older(batches: Iterable[tuple[Path, BatchRecord]], keep: int) -> list[tuple[Path, BatchRecord]]:
    """Return those of some batches, newest first, that come after `keep` ones that ended well."""
    rest = iter(batches)
    good = (told for _, told in rest if told.state in WELL)
    taken = len(list(islice(good, keep)))
    return list(rest) if taken == keep else []


def _kept(output: Path, old: set[Path]) -> Iterator[Path]:
    for name in record.names(output):
        for folder, told in record.history(output, name):
            if folder not in old:
                yield from (Path(run.run_dir) for run in told.runs if run.run_dir)
    latest = output / "latest"
    if latest.exists():
        yield latest


def _not_dear(runs: Collection[Path]) -> Iterator[Path]:
    """Yield those of some runs that were made by a batch, are not pinned, and are not the newest of their name."""
    for name in sorted({path.parent for path in runs}):
        records = {path: attempts.read_record(path) for path in name.iterdir()}
        newest = max(each.get("started", "") for each in records.values())
        for path in sorted(records.keys() & runs):
            told = records[path]
            if told.get("batch") and told.get("started", "") != newest and not (path / PINNED).exists():
                yield path
