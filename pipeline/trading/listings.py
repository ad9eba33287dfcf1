"""Until when each symbol is listed, where the store knows it."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from pipeline.bars.parquet import read_parquet
from pipeline.bars.store import Snapshot


def read_listings(snapshot: Snapshot, symbols: Sequence[str]) -> np.ndarray:
    """Return the last session of each of `symbols`, datetime64[D] (symbols,); NaT where it is listed, or unknown."""
    last = np.full(len(symbols), np.datetime64("NaT", "D"))
    if snapshot.manifest.instruments.rows:
        table = read_parquet(snapshot.path(snapshot.manifest.instruments), ["symbol", "delisted"]).to_pandas()
        table = table.dropna(subset="delisted").drop_duplicates("symbol", keep="last")
        place = pd.Index(list(symbols)).get_indexer(pd.Index(table["symbol"]))
        last[place[place >= 0]] = table["delisted"].to_numpy("datetime64[D]")[place >= 0]
    return last
