"""What a user must see of a store before believing its bars: files refused, gone or cut short, symbols that came."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice

from pipeline.bars.inventory import Found
from pipeline.bars.lately import revised_by, updates
from pipeline.bars.manifest import SourceFile
from pipeline.bars.quality import CUT
from pipeline.bars.refusals import SENTENCES, csv_safe, read_quarantine
from pipeline.bars.store import Snapshot
from pipeline.words import counted, listed

NAMED = 20  # of each kind; a cut file of a whole market would fill the screen


def doubts(snapshot: Snapshot, found: Found) -> Iterator[str]:
    """Yield a sentence for each thing that is wrong or new in what the store was made of; `found` are the files now."""
    if loss := snapshot.loss:
        yield loss
    present = {str(path) for path in found.files}
    report = snapshot.root / "quarantine.csv"
    for name in found.nameless:
        yield f"{name}: not read, its name is not UTF-8. Rename it"
    refused = set(snapshot.manifest.refused)
    reasons = _reasons(snapshot) if refused else {}
    for path in snapshot.manifest.sources["path"] if found.files else ():  # no file of a made-up market can be gone
        if path not in present:
            yield f"{path}: gone; the bars it gave stay. `ingest --rebuild` drops them"
        elif path in refused:
            stay = "" if snapshot.manifest.source_files[path].gave_none else " The bars it gave stay."
            yield f"{path}: refused: {reasons[csv_safe(path)]}{stay} See {report}"
    yield from first_of(snapshot.manifest.held.values(), "symbol", "whose stored bars stay against the files")
    several = updates(snapshot)
    yield from first_of(revised_by(several).values(), "symbol", "revised")
    yield from first_of(chain.from_iterable(each.news.jumps for each in several), "symbol", "whose prices jump")
    yield from _cut(snapshot)
    yield from _newcomers(sorted({name for each in several for name in each.news.newcomers}))
    yield from (each.news.refused for each in several if each.news.refused)
    if snapshot.manifest.counts["quarantined"]:
        records = snapshot.manifest.source_files if found.files else {}
        yield from first_of(_mostly_refused(snapshot, records), "file", "with more than half of the rows refused")


def _reasons(snapshot: Snapshot) -> dict[str, str]:
    """Return why files were refused as a whole, by their paths as the quarantine has them."""
    refused = read_quarantine(snapshot)
    rows = zip(*(refused[name].to_pylist() for name in ("file", "line", "text")), strict=True)
    return {file: text if text.endswith(".") else f"{text}." for file, line, text in rows if line == 0}


def _cut(snapshot: Snapshot) -> Iterator[str]:
    """Say which files end in the middle of a line: what stands there may be the first digits of a number."""
    remarks = snapshot.manifest.remarks.items()
    if cut := sorted(name for name, texts in remarks if any(text.endswith(CUT) for text in texts)):
        yield (
            f"no newline at the end of {counted(len(cut), 'file')}: {listed(cut)}; the last bar of each may be cut "
            f"short. Compare it with the vendor's, or end the file with a newline"
        )


def _newcomers(symbols: Sequence[str]) -> Iterator[str]:
    """Say which symbols are new, since a run of all symbols trades them unasked."""
    if symbols:
        new = f"{counted(len(symbols), 'new symbol')}: {listed(symbols)}"
        yield f"{new}; runs of `data.symbols: all` trade more than before"


def first_of(sentences: Iterable[str], noun: str, what: str) -> Iterator[str]:
    """Yield the first of many sentences, and how many more there are."""
    rest = iter(sentences)
    yield from islice(rest, NAMED)
    more = sum(1 for _ in rest)
    if more:
        yield f"{counted(more, f'more {noun}')} {what}"


def _mostly_refused(snapshot: Snapshot, records: dict[str, SourceFile]) -> Iterator[str]:
    refused = read_quarantine(snapshot)
    rules: dict[str, Counter[str]] = defaultdict(Counter)
    firsts: dict[tuple[str, str], str] = {}
    columns = (refused[name].to_pylist() for name in ("file", "line", "rule", "text"))
    for file, line, rule, text in zip(*columns, strict=True):
        if line:
            rules[file][rule] += 1
            firsts.setdefault((file, rule), f"line {line}: {text}")
    for path, record in records.items():
        broken = rules[csv_safe(path)]
        if 2 * broken.total() > record.rows_in:
            ((rule, _),) = broken.most_common(1)
            yield (
                f"{path}: {broken.total():,} of {counted(record.rows_in, 'row')} refused, most by rule {rule} "
                f"({SENTENCES[rule]}), first {firsts[csv_safe(path), rule]}"
            )
