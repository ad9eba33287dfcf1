"""Source files read on the pool: whole, in batches, or only what was appended to them since they were recorded."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import count
from pathlib import Path

from pipeline.bars.inventory import name_pattern
from pipeline.bars.manifest import SourceFile
from pipeline.bars.reading import Tail, load_file, read_tails
from pipeline.bars.rounds import Round
from pipeline.bars.rows import Batch, ReadOptions, joined
from pipeline.bars.spills import Spill, spill_files, spill_rows
from pipeline.options import DataOptions

BATCH_BYTES = 8 << 20  # of text read as one: enough that files of few rows cost little more than their rows
BATCH_FILES = 512


@dataclass(frozen=True)
class Taken:
    """What the changed files gave."""

    spills: tuple[Spill, ...]  # of files read whole
    tails: Batch  # the new lines of the others


def read_options(options: DataOptions, as_of: date) -> ReadOptions:
    """Return how the files that `options` name are read."""
    return ReadOptions(
        columns=options.columns,
        file_pattern=name_pattern(options),
        as_of=as_of,
        adjustment=options.adjustment,
        volume_unit=options.volume_unit,
        encoding=options.encoding,
        frequency=options.frequency,
        time_zone=options.time_zone,
        bar_label=options.bar_label,
        bar_minutes=options.bar_minutes,
    )


@dataclass(frozen=True)
class Reader:
    """Reads files, several at a time."""

    options: ReadOptions
    staging: Path
    tasks: Round
    files: Mapping[Path, tuple[int, int]]  # all there are, with bytes and mtime [ns]
    _numbers: Iterator[int] = field(default_factory=count)

    def take(self, paths: Sequence[Path], records: Mapping[str, SourceFile]) -> Taken:
        """Read files that changed; of those that only grew since they were recorded, the new lines."""

        def load(batch: Sequence[Path]) -> tuple[Spill | None, list[Tail]]:
            whole, tails = [], []
            for path in batch:
                record = records.get(str(path))
                shape = record.shape if record else None
                file = load_file(path, (record.bytes, record.crc32) if record and shape else (0, ""))
                if record and shape and file.content.has_grown:
                    tails.append(Tail(path, file.content, record.lines, shape))
                else:
                    whole.append(file)
            return (spill_files(whole, self.options, self._new_file()) if whole else None), tails

        loaded = self.tasks.run(load, list(self._batches(paths)), "file", len)
        shapes = defaultdict(list)
        for _, tails in loaded:
            for tail in tails:
                shapes[tail.shape].append(tail)
        read = [read_tails(tails, self.options) for tails in shapes.values()]
        unread = [path for _, paths_unread in read for path in paths_unread]
        spills = [spill for spill, _ in loaded if spill]
        return Taken((*spills, *self.whole(unread)), joined([batch for batch, _ in read]))

    def whole(self, paths: Iterable[Path]) -> list[Spill]:
        """Read files whole, whatever is known of them."""

        def spill(batch: Sequence[Path]) -> Spill:
            return spill_files([load_file(path) for path in batch], self.options, self._new_file())

        batches = list(self._batches(sorted(paths)))
        return self.tasks.run(spill, batches, "file", len) if batches else []

    def spill(self, batch: Batch) -> Spill:
        """Put the rows of a batch aside, as those of files read whole are."""
        return spill_rows(batch, self._new_file())

    def _new_file(self) -> Path:
        return self.staging / f"{next(self._numbers)}.arrow"

    def _batches(self, paths: Iterable[Path]) -> Iterator[list[Path]]:
        """Yield files, in the order given, so many together that they have about BATCH_BYTES."""
        batch: list[Path] = []
        size = 0
        for path in paths:
            batch.append(path)
            size += self.files[path][0]
            if size >= BATCH_BYTES or len(batch) == BATCH_FILES:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch
