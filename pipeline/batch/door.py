"""What the commands `batch` and `schedule` do with their arguments."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, TextIO

from pipeline.batch.file import DEFAULTS, Backfill, BatchFile, read_batch
from pipeline.batch.nightly import BatchOutcome, batch
from pipeline.batch.planning import planned
from pipeline.batch.progress import Progress
from pipeline.batch.units import Units, units
from pipeline.config import load
from pipeline.errors import ConfigError
from pipeline.options import Options
from pipeline.yamltree import read_tree


def made(conf: Path, overrides: Sequence[str], asked: Mapping[str, Any], stream: TextIO | None) -> BatchOutcome:
    """Make the runs of a batch file; `asked` of the command line goes before what the file says."""
    file = read_batch(conf)
    stated = {name: asked[name] for name in ("catch_up", "backfill") if asked.get(name) is not None}
    if "backfill" in stated:
        stated["backfill"] = Backfill(stated["backfill"])
    options = file.options.model_copy(update=stated)
    return batch(options, conf, planned(file, overrides), as_of=_evening(asked.get("as_of")), progress=Progress(stream))


def scheduled(conf: Path, overrides: Sequence[str], *, user: bool) -> Units:
    """Return the units of a batch file, or of the settings of one run."""
    if "runs" in read_tree(conf, str(conf)).nodes:
        file = read_batch(conf)
        runs, name, command = [run.options for run in planned(file, overrides)], file.options.name, "batch"
    else:
        file = read_batch(DEFAULTS)
        runs, command = [load(conf, overrides)], "run"
        name = runs[0].name
    words = [command, str(conf.absolute()), *overrides]
    return units(name, words, file.options.schedule, _written(runs, file), user=user)


def _written(runs: Sequence[Options], file: BatchFile) -> list[Path]:
    """Return the folders that runs write into."""
    folders = [folder for options in runs for folder in (options.output.dir, options.data.store)]
    metrics = file.options.metrics
    return list(dict.fromkeys([*folders, *([metrics.parent] if metrics else [])]))


def _evening(as_of: str | None) -> date:
    today = datetime.now(UTC).date()
    if as_of is None:
        return today
    try:
        day = date.fromisoformat(as_of)
    except ValueError:
        raise ConfigError(f"--as-of: {as_of!r}; a date like 2020-12-31 expected.") from None
    if day > today:
        raise ConfigError(f"--as-of: {day} lies in the future; {today} or before expected.")
    return day
