"""The quarantine as a CSV file, and how much refused input a store may stand."""

import csv
from collections.abc import Collection, Iterator, Mapping
from io import StringIO
from pathlib import Path

import pyarrow as pa

from pipeline.bars.quality import Rule
from pipeline.schema import QUARANTINE

SENTENCES = {str(rule): rule.sentence for rule in Rule}
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


def read_quarantine(path: Path) -> pa.Table:
    """Read back what `quarantine_csv` made."""
    with path.open(encoding="utf-8", newline="") as source:
        rows = list(csv.DictReader(source))
    columns = {name: [row[name] for row in rows] for name in QUARANTINE.names}
    columns["line"] = [int(line) for line in columns["line"]]
    columns["symbol"] = [symbol or None for symbol in columns["symbol"]]
    return pa.table(columns, schema=QUARANTINE)


def carried_over(table: pa.Table, files: Collection[str], refused: Collection[str]) -> pa.Table:
    """Return the entries that a stored quarantine has of `files`, without the whole-file ones of `refused`."""
    files, refused = {csv_safe(file) for file in files}, {csv_safe(file) for file in refused}
    entries = zip(table["file"].to_pylist(), table["line"].to_pylist(), strict=True)
    stay = [file in files and not (line == 0 and file in refused) for file, line in entries]
    return table.filter(pa.array(stay, pa.bool_()))


def refused_shares(counts: Mapping[str, int]) -> Iterator[tuple[float, str]]:
    """Yield the share of files and of rows that were refused, each with its words."""
    for refused, total, what in (("files_refused", "files", "files"), ("quarantined", "rows_in", "rows")):
        share = counts[refused] / counts[total] if counts[total] else 0.0
        yield share, f"{counts[refused]} of {counts[total]} {what} refused"


def csv_safe(text: str) -> str:
    """Return `text` as it stands in a quarantine's CSV."""
    return f"'{text}" if text.startswith(FORMULA) else text
