"""What is new in an update and doubtful: one night's rows drown in the counts of all of history."""

from collections import Counter
from collections.abc import Sequence

import pyarrow as pa

from pipeline.bars.accounts import Accounts
from pipeline.bars.intake import Intake
from pipeline.bars.jumps import of_followers
from pipeline.bars.lately import without
from pipeline.bars.manifest import News
from pipeline.bars.parts import Built
from pipeline.bars.refusals import SENTENCES, csv_safe, read_quarantine
from pipeline.bars.store import Snapshot
from pipeline.words import counted, listed


def news(intake: Intake, built: Sequence[Built], books: Accounts) -> News:
    """Return what an update came to; of a first ingest all is history."""
    if not intake.previous:
        return News()
    before = intake.previous.manifest
    if intake.is_empty:
        return without(before.news, mended(intake, books))
    known = set(before.sources["path"])
    fresh = [file for file in books.files if file.path not in known]
    refused = _refused(intake.previous, books.quarantine)
    dropped = {symbol: change.dropped for block in built for symbol, change in block.revised.items()}
    stored = sum(entry.rows - _rows(intake, entry.symbol) + dropped.get(entry.symbol, 0) for entry in books.symbols)
    repeated = max(0, books.counts["duplicates"] - before.counts["duplicates"])
    rows = stored + repeated + refused.total()
    jumps = dict(of_followers(intake.followers, intake.previous.table(before.ends)))
    for block in built:
        jumps |= block.jumps
    return News(
        rows=rows,
        rows_refused=refused.total(),
        files=len(fresh),
        refused_files=tuple(csv_safe(file.path) for file in fresh if file.refused),
        refused=_sentence(refused, stored, intake.previous),
        rows_from=tuple(sorted({file for file, *_ in refused})),
        jumps=tuple(jump.sentence(symbol) for symbol, jump in sorted(jumps.items())),
        newcomers=tuple(entry.symbol for entry in books.symbols if entry.symbol not in intake.stored),
    )


def mended(intake: Intake, books: Accounts) -> set[str]:
    """Return the files that were refused, or rows of them, in the snapshot before, and of which nothing is now."""
    before = intake.previous.manifest.sources["path"] if intake.previous else []
    refused = {csv_safe(file) for file in books.quarantine["file"].unique().to_pylist()}
    return {path for path in before if csv_safe(path) not in refused}


def _rows(intake: Intake, symbol: str) -> int:
    return intake.stored[symbol].rows if symbol in intake.stored else 0


def _refused(before: Snapshot, now: pa.Table) -> Counter[tuple[str, ...]]:
    """Return the refused rows that were not refused before: file, symbol, rule and text; lines may have moved."""
    if not len(now):
        return Counter()
    return _keys(now) - (_keys(read_quarantine(before)) if before.manifest.quarantine.rows else Counter())


def _keys(table: pa.Table) -> Counter[tuple[str, ...]]:
    columns = (table[name].to_pylist() for name in ("line", "file", "symbol", "rule", "text"))
    return Counter(
        (csv_safe(file), csv_safe(symbol or ""), rule, csv_safe(text))
        for line, file, symbol, rule, text in zip(*columns, strict=True)
        if line
    )


def _sentence(refused: Counter[tuple[str, ...]], stored: int, before: Snapshot) -> str:
    """Return how many rows were refused beside the new bars, of whom, and by which rule; empty where none was."""
    if not refused:
        return ""
    rules: Counter[str] = Counter()
    for (_, _, rule, _), count in refused.items():
        rules[rule] += count
    whose = sorted({symbol or file for file, symbol, _, _ in refused})
    ((rule, _),) = rules.most_common(1)
    return (
        f"{counted(refused.total(), 'row')} newly refused, {counted(stored, 'new bar')} stored: "
        f"{listed(whose)}; most by rule {rule} ({SENTENCES[rule]}). See "
        f"{before.root / 'quarantine.csv'}, then correct the files"
    )
