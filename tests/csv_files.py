"""Folders of CSV files, and what an ingest makes of them."""

import os
from collections.abc import Iterable
from datetime import date
from pathlib import Path

import pandas as pd

from pipeline.bars import lately
from pipeline.bars.blocks import blocks_of, load_block
from pipeline.bars.ingest import Ingested, ingest
from pipeline.bars.store import Snapshot
from pipeline.events import Warned
from pipeline.options import DataOptions

YAHOO = "Date,Open,High,Low,Close,Adj Close,Volume"
VANTAGE = "timestamp,open,high,low,close,adjusted_close,volume,dividend_amount,split_coefficient"
DAYS = [str(day.date()) for day in pd.bdate_range("2020-12-28", "2021-01-08")]  # 4 in 2020, 6 in 2021
AS_OF = date(2021, 12, 31)


def bars(days: Iterable[str] = DAYS, close: float = 10.0) -> list[str]:
    return [f"{day},{close},{close + 1},{close - 1},{close},{close},100" for day in days]


def write(path: Path, rows: Iterable[str], header: str = YAHOO) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def run(options: DataOptions, **given) -> Ingested:
    return ingest(options, **{"readers": 2, "as_of": AS_OF, **given})


def warned(options: DataOptions, **given) -> tuple[Ingested, list[str]]:
    """Ingest; return what it did, and its warnings."""
    events = []
    result = run(options, listener=events.append, **given)
    return result, [event.text for event in events if isinstance(event, Warned)]


def append(path: Path, *rows: str) -> None:
    with path.open("a") as file:
        file.write("".join(f"{row}\n" for row in rows))


def closes(snapshot: Snapshot) -> dict[str, list[tuple[str, float]]]:
    bars_of: dict[str, list[tuple[str, float]]] = {}
    for block in blocks_of(snapshot, list(snapshot.by_symbol)):
        for symbol, session, close in load_block(block, ["raw_close"]).itertuples(index=False):
            bars_of.setdefault(symbol, []).append((str(session.date()), close))
    return bars_of


def files_of(snapshot: Snapshot) -> set[str]:
    return {part.file for part in snapshot.manifest.parts}


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


def three_files(folder: Path) -> Path:
    """Write AAA, BBB and CCC, closing at 10, 20 and 30, into `folder`; return it."""
    for close, symbol in ((10.0, "AAA"), (20.0, "BBB"), (30.0, "CCC")):
        write(folder / f"{symbol}.csv", bars(close=close))
    return folder


def one_run(folder: Path, more: str = "") -> Path:
    """Write `three_files`, and ``one.yaml``, a run over them with `more` settings of data; return the files' folder."""
    files = three_files(folder / "bars")
    (folder / "one.yaml").write_text(
        f"strategy: {{name: buy_and_hold}}\nscheduler: {{kind: synchronous}}\n"
        f"output: {{dir: {folder}/runs, report: false}}\n"
        f"data: {{source: csv, path: {files}, store: {folder}/store{more}}}\n"
    )
    return files


def unseal(manifest: Path, old: str = "", new: str = "") -> None:
    """Make a manifest one of format 4, which had no checksum, with a text in it replaced."""
    text = manifest.read_text()
    assert old in text
    rest = text[len('{"sha256":"",') + 64 :].replace('"format":6', '"format":4').replace(old, new, 1)
    manifest.write_text(f"{{{rest}")


def night_is_over(store: Path, *, told: bool = True) -> None:
    """Let half a day pass for a store, at whose end what was new in it was told, unless all who tell were killed."""
    if told:
        (store / lately.HEARD).write_text("99")
    for manifest in (store / "snapshots").glob("*.json"):
        before = manifest.stat().st_mtime - 12 * 60 * 60
        os.utime(manifest, (before, before))
