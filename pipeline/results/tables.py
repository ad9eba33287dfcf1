"""The tables a run leaves behind, in memory and as Parquet files."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq


@dataclass(frozen=True)
class Tables:
    """Everything that happened in a run; the columns of each table stand in `pipeline.schema`."""

    equity: pd.DataFrame  # (sessions, EQUITY_COLUMNS), sessions ascending
    orders: pd.DataFrame  # (orders, ORDER_COLUMNS)
    fills: pd.DataFrame  # (fills, FILL_COLUMNS), in the order they happened
    trades: pd.DataFrame  # (trades, TRADE_COLUMNS), as `trades_of` gives them
    payments: pd.DataFrame  # (payments, PAYMENT_COLUMNS), in the order they happened; none at adjusted prices
    signals: pd.DataFrame  # (changes of opinion, symbol session signal)
    benchmark: pd.DataFrame  # (sessions, session value), currency; the sessions of `equity`

    def write(self, folder: Path) -> None:
        """Write each table to ``<folder>/<name>.parquet``, without an index."""
        for field in fields(self):
            table = pa.Table.from_pandas(getattr(self, field.name), preserve_index=False)
            pq.write_table(table, folder / f"{field.name}.parquet", compression="lz4")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read back what `write` left in `folder`."""
        return cls(**{field.name: read_table(folder, field.name) for field in fields(cls)})


def read_table(folder: Path, name: str) -> pd.DataFrame:
    """Read back one table of a run directory."""
    return pq.read_table(folder / f"{name}.parquet").to_pandas()
