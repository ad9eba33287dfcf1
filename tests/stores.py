"""Small stores for tests, written straight through the store's writer."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.bars.ends import ENDS
from pipeline.bars.parquet import parquet_bytes
from pipeline.bars.plan import block_count, lay_blocks, lay_periods, period_of
from pipeline.bars.store import Manifest, Part, Period, Snapshot, Symbol, Table, Writer, writing
from pipeline.schema import ACTIONS, BARS, INSTRUMENTS, QUARANTINE, REVISIONS, STORED


def make_store(root: Path, frame: pd.DataFrame, *, blocks: int | None = None, tail: str | None = None) -> Snapshot:
    """Commit the bars of `frame` as a new snapshot of the store `root`.

    Parameters
    ----------
    root : Path
        The store's folder; need not exist.
    frame : DataFrame
        ``symbol session open high low close volume``, optionally ``factor`` (else 1) and further numeric columns.
    blocks : int or None
        How many blocks; None is what `ingest` would choose.
    tail : str or None
        First session of the open tail; None is what `ingest` would choose.
    """
    bars = frame.assign(factor=frame.get("factor", 1.0)).sort_values(["symbol", "session"], ignore_index=True)
    extras = [name for name in bars.columns if name not in BARS.names]
    rows = bars["symbol"].value_counts(sort=False).to_dict()
    block_of = lay_blocks(rows, blocks or block_count(len(bars), len(rows)))
    periods = _periods(bars, tail)
    number = bars["symbol"].map(block_of).to_numpy()
    period = period_of(periods, bars["session"].to_numpy("datetime64[D]"))
    with writing(root) as writer:
        parts = [
            _part(writer, bars[(number == b) & (period == p)], extras, b, p)
            for b, p in sorted(set(zip(number.tolist(), period.tolist(), strict=True)))
        ]
        manifest = Manifest(
            number=writer.number,
            columns=(*STORED, *extras),
            periods=periods,
            symbols=tuple(
                Symbol(
                    symbol=str(name),
                    block=block_of[name],
                    rows=len(group),
                    first=str(group["session"].iloc[0].date()),
                    last=str(group["session"].iloc[-1].date()),
                    scale=float(group["factor"].iloc[-1]),
                )
                for name, group in bars.groupby("symbol", sort=True)
            ),
            parts=tuple(parts),
            actions=_table(writer, "actions.parquet", ACTIONS.empty_table()),
            instruments=_table(writer, "instruments.parquet", INSTRUMENTS.empty_table()),
            quarantine=_table(writer, "quarantine.parquet", QUARANTINE.empty_table()),
            revisions=_table(writer, "revisions.parquet", REVISIONS.empty_table()),
            ends=_table(writer, "ends.parquet", ENDS.empty_table()),
            sources={name: [] for name in ("path", "symbols", "shape")},
            shapes=[],
            ingest={"source": "test", "adjustment": "none", "frequency": "daily"},
            counts={"files": 0, "rows_in": len(bars), "stored": len(bars), "duplicates": 0, "quarantined": 0},
        )
        return writer.commit(manifest)


def _periods(bars: pd.DataFrame, tail: str | None) -> tuple[Period, ...]:
    days, rows = np.unique(bars["session"].to_numpy("datetime64[D]"), return_counts=True)
    if tail is None:
        return lay_periods(days, rows)
    cut = int(np.searchsorted(days, np.datetime64(tail)))
    closed = (Period(str(days[0]), str(days[cut - 1]), open=False),) if cut else ()
    return (*closed, Period(str(days[cut]), str(days[-1]), open=True))


def _part(writer: Writer, bars: pd.DataFrame, extras: list[str], block: int, period: int) -> Part:
    schema = pa.schema([*BARS, *((name, pa.float64()) for name in extras)])
    staged = writer.staging / f"{block}-{period}.parquet"
    staged.write_bytes(parquet_bytes(pa.Table.from_pandas(bars, schema, preserve_index=False)))
    symbols, counts = np.unique(bars["symbol"].to_numpy(str), return_counts=True)
    offsets = (0, *np.cumsum(counts).tolist())
    file, size, digest = writer.adopt(staged, f"b{block:04d}-p{period:04d}")
    return Part(file, block, period, size, digest, tuple(symbols.tolist()), offsets)


def _table(writer: Writer, name: str, table: pa.Table) -> Table:
    staged = writer.staging / name
    staged.write_bytes(parquet_bytes(table))
    return Table(*writer.adopt(staged, staged.stem), rows=len(table))
