"""What one more session costs, beside a full ingest: ``python benchmarks/update.py [SYMBOLS [SESSIONS [FOLDER]]]``.

The seeded market is written out as a vendor's files, but for its last session, in three forms:

* ``files``: a file per symbol, with prices as traded, dividends and splits; a night appends a line to each;
* ``vendor``: the same with an adjusted close, so a night rewrites the files whose symbols have an ex-date;
* ``days``: a file per session, with all symbols; a night adds a file.

Each form is ingested whole, then brought up to the last session, in the same run. What counts are the ratios. FOLDER
keeps the files (about 2.5 GB for 5,000 x 2,520) for the next time.
"""

import os
import shutil
import sys
import tempfile
from datetime import date, datetime
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from pipeline import config
from pipeline.bars.ingest import ingest
from pipeline.bars.simulator import Market, listing_of
from pipeline.bars.synthetic import rows_of

COLUMNS = ("session", "open", "high", "low", "close", "volume", "dividend", "split")
FORMS = ("files", "vendor", "days")
ROUNDS = 3
PLAIN = pa_csv.WriteOptions(include_header=False, quoting_style="none")


def main() -> None:
    symbols, sessions = (int(text) for text in (*sys.argv[1:3], "5000", "2520")[:2])
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(sys.argv[3]) if len(sys.argv) > 3 else Path(scratch)
        written = home / f"{symbols}x{sessions}"
        if not written.exists():
            write_market(written, symbols, sessions)
        print(f"{'form':<8}{'full, s':>9}{'update, s':>11}{'ratio':>8}")
        for form in FORMS:
            full, update = measure(form, written, Path(scratch) / form)
            print(f"{form:<8}{full:>9.1f}{update:>11.2f}{update / full:>8.1%}", flush=True)


def measure(form: str, written: Path, place: Path) -> tuple[float, float]:
    """Return the seconds of a full ingest and of the update after it, the medians of ROUNDS, taken in turn."""
    shutil.copytree(written / form, place / "bars")
    shutil.copytree(written / f"{form}-night", place / "night")
    columns = "{" + ", ".join(f"{name}: {name}" for name in COLUMNS) + "}"
    own = [f"data.path={place / 'bars'}", "data.source=csv", f"data.store={place / 'store'}"]
    own += [] if form == "vendor" else [f"data.columns={columns}", "data.adjustment=none", "data.volume_unit=shares"]
    options = config.load(None, own, {}).data
    seconds = []
    for _ in range(ROUNDS):
        full = ingest(options, readers=2, as_of=date.today(), rebuild=True)  # noqa: DTZ011
        fall(place)
        update = ingest(options, readers=2, as_of=date.today())  # noqa: DTZ011
        assert update.counts["stored"] > full.counts["stored"]
        seconds.append((full.seconds, update.seconds))
        rise(written / form, place)
    shutil.rmtree(place)
    return tuple(median(column) for column in zip(*seconds, strict=True))


def fall(place: Path) -> None:
    """Let the night's files come."""
    for path in (place / "night").iterdir():
        target = place / "bars" / path.name.removesuffix(".more")
        if path.suffix == ".more":
            with target.open("ab") as file:
                file.write(path.read_bytes())
        else:
            shutil.copy(path, target)


def rise(before: Path, place: Path) -> None:
    """Take them away again."""
    for path in (place / "night").iterdir():
        target = place / "bars" / path.name.removesuffix(".more")
        if not (before / target.name).exists():
            target.unlink()
        elif path.suffix == ".more":
            os.truncate(target, (before / target.name).stat().st_size)
        else:
            shutil.copy(before / target.name, target)


def write_market(home: Path, symbols: int, sessions: int) -> None:
    """Write the market in all forms, of symbols that are listed to the end."""
    market = Market(
        symbols=2 * symbols, sessions=sessions, seed=7, start=date(2014, 10, 1)
    )  # ends in October: the tail is as long as it gets
    numbers = [n for n in range(2 * symbols) if listing_of(market, n).delisted >= sessions][:symbols]
    staged = home.with_suffix(".part")
    shutil.rmtree(staged, ignore_errors=True)
    for form in FORMS:
        (staged / form).mkdir(parents=True)
        (staged / f"{form}-night").mkdir()
    tables = [rows_of(market, number).select(["symbol", *COLUMNS]) for number in numbers]
    last = max(pc.max(table["session"]).as_py() for table in tables)
    for table in tables:
        symbol = table["symbol"][0].as_py()
        is_last = pc.equal(table["session"], pa.scalar(last, table.schema.field("session").type))
        before, night = table.filter(pc.invert(is_last)), table.filter(is_last)
        write(staged / "files" / f"{symbol}.csv", before.drop_columns("symbol"), ",".join(COLUMNS))
        write(staged / "files-night" / f"{symbol}.csv.more", night.drop_columns("symbol"))
        write_vendor(staged, symbol, table, len(before))
    write_days(staged, pa.concat_tables(tables), last)
    staged.rename(home)


VENDOR = "timestamp,open,high,low,close,adjusted_close,volume,dividend_amount,split_coefficient"


def write_vendor(home: Path, symbol: str, table: pa.Table, before: int) -> None:
    """Write a file as Alpha Vantage does, of which an ex-date changes every adjusted close."""
    old = vendor_lines(table.slice(0, before))
    new = vendor_lines(table)
    write(home / "vendor" / f"{symbol}.csv", old, VENDOR)
    if new.slice(0, before).equals(old):
        write(home / "vendor-night" / f"{symbol}.csv.more", new.slice(before))
    else:
        write(home / "vendor-night" / f"{symbol}.csv", new, VENDOR)


def vendor_lines(table: pa.Table) -> pa.Table:
    close, dividend, split = (table[name].to_numpy() for name in ("close", "dividend", "split"))
    factor = np.cumprod(split * (1 + dividend / close))
    adjusted = pa.array(np.round(close * factor / factor[-1], 4))
    names = ["session", "open", "high", "low", "close", "adjusted", "volume", "dividend", "split"]
    return table.append_column("adjusted", adjusted).select(names)


def write_days(home: Path, rows: pa.Table, last: datetime) -> None:
    rows = rows.sort_by([("session", "ascending"), ("symbol", "ascending")]).combine_chunks()
    days = rows["session"].to_numpy()
    starts = np.flatnonzero(np.concatenate([[True], days[1:] != days[:-1]]))
    for first, stop in zip(starts, [*starts[1:], len(days)], strict=True):
        folder = "days-night" if days[first] == np.datetime64(last) else "days"
        day = str(days[first].astype("datetime64[D]"))
        write(home / folder / f"{day}.csv", rows.slice(first, stop - first), ",".join(("symbol", *COLUMNS)))


def write(path: Path, rows: pa.Table, header: str = "") -> None:
    """Write rows as CSV, sessions as dates."""
    place = rows.schema.get_field_index("session")
    rows = rows.set_column(place, "session", rows["session"].cast(pa.date32()))
    with path.open("wb") as file:
        if header:
            file.write(f"{header}\n".encode())
        pa_csv.write_csv(rows, file, PLAIN)


if __name__ == "__main__":
    main()
