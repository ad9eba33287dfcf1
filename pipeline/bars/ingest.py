"""Files -> a new snapshot of the store; only what changed is read, only what differs is written.

Two rounds of Dask tasks on a pool of threads: a task per file reads it and spills its rows; then, the layout being
known exactly, a task per block assembles its symbols and stages its parts. The parent adopts and commits.
"""

from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import date
from itertools import chain
from time import perf_counter
from typing import Any

import numpy as np

from pipeline.bars.accounts import Accounts, accounts, check_whole
from pipeline.bars.degraded import at_ingest
from pipeline.bars.doubts import doubts, first_of
from pipeline.bars.holding import disputed, hold, shortened
from pipeline.bars.intake import Intake, check_adjustment, make_up
from pipeline.bars.inventory import (
    Found,
    check_source,
    find_sources,
    is_made_from,
    made_from,
    passed_over,
    survey,
)
from pipeline.bars.parts import Built, Extent, build_block
from pipeline.bars.publish import file_remarks, going_on_remarks, plain_remark, publish
from pipeline.bars.rebuilding import compared_with, replaced_by
from pipeline.bars.refusals import SENTENCES, quarantine_csv, refused_shares
from pipeline.bars.revisions import Revised
from pipeline.bars.room import needed
from pipeline.bars.rounds import Notes, Round
from pipeline.bars.simulator import Market, factors
from pipeline.bars.store import Period, Snapshot, Writer, exists, open_snapshot, sweep, writing
from pipeline.bars.taking import Reader, read_options
from pipeline.bars.tasks import block_tasks, plan_periods
from pipeline.bars.updates import take_in
from pipeline.disks import check_room
from pipeline.errors import ConfigError, DataError
from pipeline.events import Listener, Note, Stage, Warned, ignore, stage
from pipeline.files import replace_file
from pipeline.garbage import seldom_collected
from pipeline.modes import Revisions, Source
from pipeline.options import DataOptions
from pipeline.words import counted


@dataclass(frozen=True)
class Ingested:
    """What an ingest did."""

    snapshot: Snapshot
    changed: bool  # whether there is a new snapshot
    why: str  # it is degraded: much refused, files not read, bars changed or kept against their files; else empty
    counts: dict[str, int]  # rows_in = stored + duplicates + quarantined
    notes: tuple[str, ...]
    refused: tuple[str, ...]  # files
    nameless: tuple[str, ...]  # files that were not read, since their names are not UTF-8
    seconds: float

    @property
    def degraded(self) -> bool:
        """Whether there is a reason to end with 3."""
        return bool(self.why)


def ingest(
    options: DataOptions, *, readers: int, as_of: date, rebuild: bool = False, listener: Listener = ignore
) -> Ingested:
    """Bring the store up to its source files, or to the market that `options` make up.

    Parameters
    ----------
    options : DataOptions
        Which files, how to read them, which store.
    readers : int
        How many threads read and build; the snapshot does not depend on it.
    as_of : date
        Bars after it are refused.
    rebuild : bool
        Start from nothing: forget bars whose files are gone, repair a corrupt store.
    listener : Listener
        Told of every file read and every block built.

    Raises
    ------
    DataError
        No source file (`SourceGoneError`), no usable symbol, more refused than `data.fail_above`, or prices of two
        kinds in one store. The store is as it was.
    ConfigError
        The store is another data set's, or would lose bars by other options; the made-up market lasts longer than
        `as_of`.
    LockedError, TemporaryError
        Another ingest is running; the disk is full, or will be, or is read-only.
    """
    with seldom_collected():
        return _ingested(options, readers, as_of, rebuild=rebuild, listener=listener)


def _ingested(options: DataOptions, readers: int, as_of: date, *, rebuild: bool, listener: Listener) -> Ingested:
    began = perf_counter()
    stored = None if rebuild else _stored(options)
    notes = Notes(listener)
    replaced = replaced_by(options, notes) if rebuild else None
    found = find_sources(options)
    if stored and (loss := stored.loss):
        notes.tell(loss, Warned)
    for sentence in passed_over(options, found):
        notes.tell(sentence)
    with stage(listener, Stage.INGEST):
        changed = stored is None or not _is_up_to_date(stored, options, found, as_of)
        if stored is None or changed:
            check_room("store", options.store, needed(options, found, stored))
            with writing(options.store, rebuild=rebuild, known=stored) as writer, ThreadPoolExecutor(readers) as pool:
                snapshot = _update(writer, options, found, as_of, Round(pool, listener, notes), replaced)
        else:
            snapshot = stored
            sweep(options.store)
            notes.tell(f"store {options.store}: the source files are unchanged; nothing was read or written")
    _tell_doubts(snapshot, found, notes)
    return Ingested(
        snapshot=snapshot,
        changed=changed,
        why=at_ingest(snapshot, found.nameless, options.warn_above),
        counts=snapshot.manifest.counts,
        notes=tuple(notes.texts),
        refused=snapshot.manifest.refused,
        nameless=found.nameless,
        seconds=perf_counter() - began,
    )


def current_snapshot(options: DataOptions, as_of: date, listener: Listener = ignore) -> tuple[Snapshot, Found] | None:
    """Return the store's snapshot and its source if an `ingest` as of the same day would leave it as it is.

    If so, `listener` is warned of what `ingest` would warn of: files that are refused or gone, rows quarantined.

    Raises
    ------
    SourceGoneError
        There is no source file (`pipeline.bars.inventory`); any other error is not about the source.
    StoreCorruptError
        The store is damaged.
    ConfigError
        The store is another data set's.
    """
    stored = _stored(options)
    if stored is None:
        return None
    found = find_sources(options)
    if not _is_up_to_date(stored, options, found, as_of):
        return None
    for text in doubts(stored, found):
        listener(Warned(text))
    return stored, found


def _stored(options: DataOptions) -> Snapshot | None:
    """Open the store if there is one, and see whose it is: a wrong path is worse than one that is not there."""
    if not exists(options.store):
        return None
    snapshot = open_snapshot(options.store)
    check_source(snapshot, options)
    return snapshot


def _is_up_to_date(snapshot: Snapshot, options: DataOptions, found: Found, as_of: date) -> bool:
    if _reopened(snapshot, options) or not is_made_from(snapshot, options):
        return False
    return survey(found.files, snapshot.manifest.source_files, as_of).is_as_recorded


def _update(
    writer: Writer, options: DataOptions, found: Found, as_of: date, tasks: Round, replaced: Snapshot | None
) -> Snapshot:
    previous = before = writer.previous
    if previous and not is_made_from(previous, options):
        check_source(previous, options)
        previous = None
    if options.source is Source.SYNTHETIC:
        intake = make_up(_market(options, as_of))
    else:
        reader = Reader(read_options(options, as_of), writer.staging, tasks, found.files)
        intake = take_in(found.files, previous, reader, reopened=_reopened(previous, options))
    intake = replace(intake, replaces=replaced)
    adjustment = check_adjustment(intake)
    if not intake.rows_of and not intake.stored:
        _fail(options, accounts(intake, []), "no usable symbol")
    intake, periods, built = _build(intake, writer, tasks, adjustment, options.revisions)
    if replaced:
        built = compared_with(replaced, built, adjustment, tasks.notes)
    books = accounts(intake, built)
    _check_shares(options, books)
    if before and not previous:
        if not intake.market:
            check_whole(before, books)
        tasks.notes.tell(f"store {options.store}: made with other options of data; built afresh")
    for reading, _ in intake.readings:
        tasks.notes.tell_all(file_remarks(reading))
    if not previous:
        tasks.notes.tell_all(plain_remark(intake, options.adjustment))
    for block in built:
        tasks.notes.tell_all(chain.from_iterable(block.notes.values()))
    tasks.notes.tell_all(chain.from_iterable(going_on_remarks(intake).values()))
    _tell_revised(built, options, tasks.notes)
    replace_file(options.store / "quarantine.csv", quarantine_csv(books.quarantine))
    return publish(writer, intake, periods, built, books, {**made_from(options), "adjustment": adjustment})


def _reopened(previous: Snapshot | None, options: DataOptions) -> tuple[str, ...]:
    """Return the symbols whose files would change stored bars, if that is accepted now."""
    return previous.manifest.disputed if previous and options.revisions is Revisions.ACCEPT else ()


def _build(
    intake: Intake, writer: Writer, tasks: Round, adjustment: str, revisions: Revisions
) -> tuple[Intake, tuple[Period, ...], list[Built]]:
    """Build the blocks; where stored bars of symbols are to stay, once more without them."""
    while True:
        periods = plan_periods(intake)
        built = tasks.run(build_block, block_tasks(intake, periods, writer.staging, adjustment), "block")
        stay: dict[str, Extent | Revised | None] = dict(shortened(intake, built))
        if revisions is Revisions.REFUSE:
            stay = {**disputed(built), **stay}
        if not stay:
            return intake, periods, built
        intake = hold(intake, stay, built)
        for part in chain.from_iterable(block.parts for block in built):
            if part.file:
                part.file.unlink()


def _tell_revised(built: Sequence[Built], options: DataOptions, notes: Notes) -> None:
    """Tell which stored bars are changed, and how many in all."""
    revised = [change for _, change in sorted(pair for block in built for pair in block.revised.items())]
    for is_expected, kind, what in ((True, Note, "rescaled, as vendors do"), (False, Warned, "revised")):
        found = [change for change in revised if change.is_expected is is_expected]
        if found:
            notes.tell_all(first_of((each.sentence for each in found), "symbol", what), kind)
            bars = sum(each.bars for each in found)
            amount = f"{counted(bars, 'stored bar')} of {counted(len(found), 'symbol')}"
            notes.tell(f"{amount} {what}; see {options.store / 'revisions.csv'}", kind)


def _market(options: DataOptions, as_of: date) -> Market:
    """Return the market to make up; ConfigError where it goes on after `as_of`."""
    market = Market(**options.synthetic.model_dump(), frequency=options.frequency)
    last = factors(market).days[-1]
    if last > np.datetime64(as_of, "D"):
        raise ConfigError(
            f"data.synthetic: {counted(market.sessions, 'session')} from {market.start} on go to {last}; bars after "
            f"{as_of} are of the future. Lower data.synthetic.sessions or data.synthetic.start."
        )
    return market


def _check_shares(options: DataOptions, books: Accounts) -> None:
    if not books.symbols:
        _fail(options, books, "no usable symbol")
    for share, words in refused_shares(books.counts):
        if share > options.fail_above:
            _fail(options, books, f"{words}, more than data.fail_above = {options.fail_above:g}")


def _fail(options: DataOptions, books: Accounts, what: str) -> None:
    report = options.store / "quarantine.csv"
    replace_file(report, quarantine_csv(books.quarantine))
    rows = books.quarantine.sort_by([("file", "ascending"), ("line", "ascending")]).to_pylist()
    first = next((row for row in rows if row["line"] == 0), rows[0] if rows else None)
    shown = f" First {_shown(first)}" if first else ""
    raise DataError(
        f"{options.path or options.source}: {what}; the store is as it was.{shown} See {report}, then correct the "
        f"files or the settings of data."
    )


def _shown(refused: dict[str, Any]) -> str:
    """Return an entry of the quarantine as a message names it: a file and its reason, or a row and its rule."""
    if refused["line"]:
        return f"{refused['file']}, line {refused['line']}: {refused['text']}; {SENTENCES[refused['rule']]}"
    return f"{refused['file']}: {refused['text']}{'' if refused['text'].endswith('.') else '.'}"


def _tell_doubts(snapshot: Snapshot, found: Found, notes: Notes) -> None:
    """Tell what is doubtful, as far as it is not told yet: what this update changed in stored bars is."""
    notes.tell_all((text for text in doubts(snapshot, found) if text not in notes.texts), Warned)
    twins = defaultdict(list)
    for symbol in snapshot.by_symbol:
        twins[symbol.casefold()].append(symbol)
    for names in twins.values():
        if len(names) > 1:
            notes.tell(f"symbols {', '.join(names)} differ in case only; they are kept apart")
