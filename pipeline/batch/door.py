"""What the commands `batch` and `schedule` do with their arguments."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, TextIO

from pipeline.batch import notice
from pipeline.batch.file import DEFAULTS, Backfill, BatchFile, read_batch, survey
from pipeline.batch.nightly import BatchOutcome, batch
from pipeline.batch.planning import read
from pipeline.batch.progress import Progress
from pipeline.batch.record import BatchRecord
from pipeline.batch.units import Units, units
from pipeline.config import load
from pipeline.errors import ConfigError, PipelineError, TemporaryError
from pipeline.interrupts import Stopped
from pipeline.options import Options
from pipeline.words import listed
from pipeline.yamltree import read_tree


def made(conf: Path, overrides: Sequence[str], asked: Mapping[str, Any], stream: TextIO | None) -> BatchOutcome:
    """Make the runs of a batch file; `asked` of the command line goes before what the file says."""
    file, runs = read(conf, overrides)
    stated = {name: asked[name] for name in ("catch_up", "backfill") if asked.get(name) is not None}
    if "backfill" in stated:
        stated["backfill"] = Backfill(stated["backfill"])
    options = file.options.model_copy(update=stated)
    return batch(options, conf, runs, as_of=_evening(asked.get("as_of")), progress=Progress(stream))


def tell_failure(conf: Path, error: PipelineError | Stopped, as_of: str | None, stream: TextIO | None) -> None:
    """Have `on_failure` hear of a batch that came to no record: its settings are wrong, it is locked, or stopped."""
    try:
        file, complaints = survey(conf)
    except PipelineError:
        return  # nobody knows whom to tell
    if file.options.on_failure is None or any("on_failure" in complaint for complaint in complaints):
        return
    now, is_stopped = datetime.now(UTC), isinstance(error, Stopped)
    told = BatchRecord(
        batch=file.options.name,
        id="",
        file=str(conf.absolute()),
        as_of=as_of or str(now.date()),
        started=now.isoformat(timespec="seconds"),
        runs=[],
        state="interrupted" if is_stopped else "failed",
        exit_code=int(error.exit_code),
        reason=str(error),
    )
    try:
        notice.tell(file.options.on_failure, told)
    except TemporaryError as failed:
        Progress(stream).say(f"warning: on_failure: {failed}")


def settings_of(conf: Path, overrides: Sequence[str]) -> list[Options]:
    """Return the settings of one run, or of all runs of a batch file."""
    if _is_batch(conf):
        return [run.options for run in read(conf, overrides)[1]]
    return [load(conf, overrides)]


def scheduled(conf: Path, overrides: Sequence[str], *, user: bool, stream: TextIO | None = None) -> Units:
    """Return the units of a batch file, or of the settings of one run; warn of files that they will not find."""
    runs = settings_of(conf, overrides)
    is_batch = _is_batch(conf)
    file = read_batch(conf if is_batch else DEFAULTS)
    name, command = (file.options.name, "batch") if is_batch else (runs[0].name, "run")
    words = [command, str(conf.absolute()), *overrides]
    reads = [path for options in runs for path in (options.data.path, _strategy_file(options)) if path]
    if lost := [str(path) for path in dict.fromkeys(reads) if not path.exists()]:
        Progress(stream).say(
            f"warning: schedule: {listed(lost)}: not there; relative paths start from the folder of the call, "
            f"{Path.cwd()}, in which the units run, too. Call `schedule` from the folder that they start from."
        )
    return units(name, words, file.options.schedule, _written(runs, file), reads=reads, user=user)


def _strategy_file(options: Options) -> Path | None:
    return Path(options.strategy.name).absolute() if options.strategy.name.endswith(".py") else None


def _is_batch(conf: Path) -> bool:
    return "runs" in read_tree(conf, str(conf)).nodes


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
