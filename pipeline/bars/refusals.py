"""The quarantine as a CSV file, and how much refused input a store may stand."""

import csv
from collections.abc import Collection, Iterator, Mapping
from io import StringIO

import pyarrow as pa

from pipeline.bars.parquet import checked_bytes
from pipeline.bars.quality import Rule
from pipeline.bars.store import Snapshot
from pipeline.schema import QUARANTINE
from pipeline.words import counted

SENTENCES = {str(rule): rule.sentence for rule in Rule}
REFUSED = (("files_refused", "files", "file"), ("quarantined", "rows_in", "row"))  # of counts: of what, its name
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would run what begins so


def quarantine_csv(table: pa.Table) -> bytes:
    """Return a quarantine table as CSV, ascending by file and line, each with its rule's sentence.

    What a spreadsheet would run gets a '.
    """
    sink = StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow([*QUARANTINE.names, "sentence"])
    order = [(name, "ascending") for name in ("file", "line", "symbol", "rule", "text")]
    for row in table.sort_by(order).to_pylist():
        values = [csv_safe(value) if isinstance(value, str) else value for value in row.values()]
        writer.writerow([*values, SENTENCES[row["rule"]]])
    return sink.getvalue().encode()


def read_quarantine(snapshot: Snapshot) -> pa.Table:
    """Return what a snapshot's files were refused; StoreCorruptError where it is not as it was written."""
    entry = snapshot.manifest.quarantine
    content = checked_bytes(snapshot.path(entry), entry.sha256).decode()
    rows = list(csv.DictReader(StringIO(content, newline="")))
    columns = {name: [row[name] for row in rows] for name in QUARANTINE.names}
    columns["line"] = [int(line) for line in columns["line"]]
    columns["symbol"] = [symbol or None for symbol in columns["symbol"]]
    return pa.table(columns, schema=QUARANTINE)


def carried_over(
    table: pa.Table, unread: Collection[str], again: Collection[str], refused: Collection[str], anew: Collection[str]
) -> pa.Table:
    """Return the entries of a stored quarantine that hold as they are.

    Parameters
    ----------
    table : Table
        schema.QUARANTINE.
    unread, again, refused : collections of str
        Files that were not read whole, whose entries hold; that were read again and have new entries, but for the
        rows that conflict with others; and those of the first that are refused as a whole once more.
    anew : collection of str
        Symbols assembled anew, whose conflicts are known anew, or held, of which the stored bars alone count.
    """
    unread, again, refused = ({csv_safe(file) for file in files} for files in (unread, again, refused))
    columns = (table[name].to_pylist() for name in ("file", "line", "symbol", "rule"))
    stay = []
    for file, line, symbol, rule in zip(*columns, strict=True):
        conflicts = rule == Rule.CONFLICT
        holds = (file in unread and not (line == 0 and file in refused)) or (file in again and conflicts)
        stay.append(holds and not (conflicts and symbol in anew))
    return table.filter(pa.array(stay, pa.bool_()))


def refused_shares(counts: Mapping[str, int]) -> Iterator[tuple[float, str]]:
    """Yield the share of files and of rows that were refused, each with its words."""
    for refused, total, what in REFUSED:
        share = counts[refused] / counts[total] if counts[total] else 0.0
        yield share, f"{counts[refused]:,} of {counted(counts[total], what)} refused"


def csv_safe(text: str) -> str:
    """Return `text` as it stands in a quarantine's CSV."""
    return f"'{text}" if text.startswith(FORMULA) else text
