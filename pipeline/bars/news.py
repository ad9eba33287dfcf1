"""What is new in an update and doubtful: one night's rows drown in the counts of all of history."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace

import pyarrow as pa

from pipeline.bars.accounts import Accounts
from pipeline.bars.intake import Intake
from pipeline.bars.jumps import of_followers
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
    known = set(before.sources["path"])
    if intake.is_empty:
        return _without(before.news, known.difference(file.path for file in books.files))
    fresh = [file for file in books.files if file.path not in known]
    refused = _refused(intake.previous, books.quarantine)
    stored = sum(max(0, entry.rows - _rows(intake, entry.symbol)) for entry in books.symbols)
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
        symbols=_newcomers([entry.symbol for entry in books.symbols if entry.symbol not in intake.stored]),
    )


def _without(news: News, gone: Collection[str]) -> News:
    """Return the news of before where nothing came, without what was refused of files that have disappeared."""
    paths = {csv_safe(path) for path in gone}
    files = tuple(file for file in news.refused_files if file not in paths)
    left = replace(news, files=news.files - len(news.refused_files) + len(files), refused_files=files)
    if not paths.issuperset(news.rows_from):
        return left
    return replace(left, rows=news.rows - news.rows_refused, rows_refused=0, refused="", rows_from=())


def _rows(intake: Intake, symbol: str) -> int:
    return intake.stored[symbol].rows if symbol in intake.stored else 0


def _newcomers(symbols: Sequence[str]) -> str:
    """Return which symbols are new, since a run of all symbols trades them unasked; empty where none is."""
    if not symbols:
        return ""
    return (
        f"{counted(len(symbols), 'new symbol')}: {listed(symbols)}; runs of `data.symbols: all` trade more than before"
    )


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
