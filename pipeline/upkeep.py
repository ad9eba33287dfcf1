"""The store kept up to its source, and the files of store and runs compared with their checksums."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

from dask.system import cpu_count

from pipeline.bars import store
from pipeline.bars.damage import REBUILD
from pipeline.bars.degraded import lasting, refused_at_ingest
from pipeline.bars.doubts import doubts
from pipeline.bars.evenness import evenness
from pipeline.bars.freshness import check_calendar
from pipeline.bars.ingest import Ingested, current_snapshot
from pipeline.bars.ingest import ingest as ingest_bars
from pipeline.bars.inventory import Found, SourceGoneError
from pipeline.bars.lately import acknowledge
from pipeline.bars.store import Snapshot
from pipeline.disks import check_local
from pipeline.errors import ExitCode, PipelineError
from pipeline.events import Event, Listener, Stage, Warned, ignore, stage
from pipeline.files import readable
from pipeline.modes import Frequency
from pipeline.options import DataOptions, Options
from pipeline.results import rundir
from pipeline.words import counted


@dataclass(frozen=True)
class Kept:
    """What `ingest` or `verify` found."""

    state: str
    exit_code: ExitCode
    reason: str  # why it is degraded or damaged; else empty
    store: str
    snapshot: int
    counts: dict[str, int]
    problems: list[str]
    warnings: list[str]
    summary: list[tuple[str, str]]  # label, value with its unit


def opened_store(options: Options, listener: Listener) -> tuple[Snapshot, str]:
    """Return the newest snapshot, after an ingest where the store is missing or older than its source.

    The text says why that ingest ended degraded, or for what the store as it is counts as degraded; empty for nothing.
    """
    check_local("store", options.data.store, allowed=options.lock.allow_network_fs)
    with stage(listener, Stage.OPEN):
        try:
            current = current_snapshot(options.data, today(), listener)
        except SourceGoneError as error:
            if not store.exists(options.data.store):
                raise
            return _without_source(options.data, error, listener)
    if current is not None:
        snapshot, found = current
        return snapshot, lasting(snapshot, found.nameless, options.data.warn_above)
    done = _ingested(options, listener)
    return done.snapshot, done.why


def _without_source(options: DataOptions, gone: SourceGoneError, listener: Listener) -> tuple[Snapshot, str]:
    """Return the store as it is, which counts as degraded: where there is no file, there is no new bar."""
    snapshot = store.open_snapshot(options.store)
    for text in doubts(snapshot, Found({})):
        listener(Warned(text))
    still = lasting(snapshot, (), options.warn_above)
    return snapshot, "; ".join(filter(None, (f"{gone} The store is used as it is", still)))


def ingest(options: Options, listener: Listener = ignore, *, rebuild: bool = False) -> Kept:
    """Bring the store of `options` up to its source files; errors as of `pipeline.bars.ingest.ingest`."""
    warned: list[str] = []

    def hear(event: Event) -> None:
        if isinstance(event, Warned):
            warned.append(event.text)
        listener(event)

    done = _ingested(options, hear, rebuild=rebuild)
    counts = done.counts
    manifest = done.snapshot.manifest
    is_minute = manifest.frequency == Frequency.MINUTE
    newest = date.fromisoformat(max(entry.last for entry in manifest.symbols))
    even = evenness(manifest.symbols, newest, options.fresh, options.trading.market, has_times=is_minute)
    why, refused = done.why, refused_at_ingest(done.snapshot)
    for event in [*([Warned(refused)] if refused else []), *even.events]:
        hear(event)
    acknowledge(done.snapshot)
    return Kept(
        state="degraded" if why else "committed",
        exit_code=ExitCode.DEGRADED if why else ExitCode.OK,
        reason=why,
        store=str(options.data.store),
        snapshot=done.snapshot.manifest.number,
        counts=counts,
        problems=[*(f"refused: {path}" for path in (*done.refused, *done.nameless)), *filter(None, [refused])],
        warnings=warned,
        summary=[
            (
                "symbols",
                f"{counts['symbols']:,} from {counted(counts['files'], 'file')}, {counts['files_refused']:,} refused",
            ),
            ("rows in", f"{counts['rows_in']:,} = {_sum(counts, 'stored', 'duplicates', 'quarantined')}"),
            ("quarantine", str(options.data.store / "quarantine.csv")),
            ("snapshot", f"{done.snapshot.manifest.number} ({'new' if done.changed else 'unchanged'})"),
            *([("degraded", why)] if why else []),
            ("took", f"{done.seconds:.2f} seconds"),
            ("store", str(options.data.store)),
        ],
    )


def verify(runs: Sequence[Options]) -> Kept:
    """Compare the stores of `runs`, and the runs under their names, with their checksums; all that differs is told."""
    stores = {root: _store_checked(root) for root in dict.fromkeys(options.data.store for options in runs)}
    folders = {folder: _runs_checked(folder) for folder in {each.output.dir / each.name: None for each in runs}}
    problems = [problem for checked in stores.values() for problem in checked.problems]
    problems += [problem for _, found in folders.values() for problem in found]
    return Kept(
        state="damaged" if problems else "whole",
        exit_code=ExitCode.DATA if problems else ExitCode.OK,
        reason="; ".join(problems),
        store=", ".join(map(str, stores)),
        snapshot=max(checked.number for checked in stores.values()),
        counts={
            "store_files": sum(checked.files for checked in stores.values()),
            "runs": sum(count for count, _ in folders.values()),
            "problems": len(problems),
        },
        problems=problems,
        warnings=[],
        summary=[
            *(("store", f"{root}: {checked.words}") for root, checked in stores.items()),
            *(
                ("runs", f"{folder}: {counted(count, 'run')}, {counted(len(found), 'problem')}")
                for folder, (count, found) in folders.items()
            ),
            *(("problem", problem) for problem in problems),
        ],
    )


@dataclass
class _Checked:
    """A store compared with its checksums."""

    number: int = 0  # of the newest snapshot, 0 where it cannot be opened
    files: int = 0
    problems: list[str] = field(default_factory=list)
    has_damaged_parts: bool = False  # else the problems themselves say what to do

    @property
    def words(self) -> str:
        """What came of it."""
        if not self.problems:
            return f"{counted(self.files, 'file')}, as their sha256 says"
        remedy = f" {REBUILD}" if self.has_damaged_parts else ""
        return f"{counted(len(self.problems), 'problem')} in {counted(self.files, 'file')}.{remedy}"


def _store_checked(root: Path) -> _Checked:
    checked = _Checked()
    try:
        with readable():
            snapshot = store.open_snapshot(root, as_it_is=True)
            checked.problems.extend(filter(None, [snapshot.loss]))
            checked.number, checked.files = snapshot.manifest.number, len(snapshot.manifest.files)
            for problem in store.problems(snapshot):
                checked.problems.append(f"store {root}: {problem}")
                checked.has_damaged_parts = True
    except PipelineError as error:
        checked.problems.append(str(error))
    return checked


def _runs_checked(folder: Path) -> tuple[int, list[str]]:
    """Return how many runs a folder holds, and what is wrong with them."""
    try:
        with readable():
            runs = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    except PipelineError as error:
        return 0, [str(error)]
    return len(runs), [problem for run in runs for problem in _run_problems(run)]


def _run_problems(run: Path) -> list[str]:
    try:
        with readable():
            return rundir.verify(run)
    except PipelineError as error:
        return [str(error)]


def _sum(counts: dict[str, int], *names: str) -> str:
    return " + ".join(f"{counts[name]:,} {name}" for name in names)


def _ingested(options: Options, listener: Listener, *, rebuild: bool = False) -> Ingested:
    check_local("store", options.data.store, allowed=options.lock.allow_network_fs)
    check_calendar(options.fresh, options.trading.market)  # an ingest may take minutes
    readers = options.scheduler.readers or cpu_count()
    return ingest_bars(options.data, readers=readers, as_of=today(), rebuild=rebuild, listener=listener)


def today() -> date:
    """Return the date in UTC: bars after it are of the future, whatever `as_of` a run looks from."""
    return datetime.now(UTC).date()
