"""What a worker does: ask a strategy about the symbols of one partition, keep the changes of its opinion.

Workers import this module and no more of ours than it needs, so that they start soon: no Dask DataFrame, no pydantic.
"""

from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from pipeline.errors import PipelineError
from pipeline.signals.contract import Contract, quiet
from pipeline.signals.strategy import Strategy


def signals_of_block(
    frame: pd.DataFrame,
    *,
    strategy: Strategy,
    known: Sequence[str],
    span: tuple[date | None, date | None],
    partition_info: dict[str, Any] | None = None,
) -> pd.DataFrame | PipelineError:
    """Return the changes of opinion in one partition; runs in a worker.

    Parameters
    ----------
    frame : DataFrame, (bars, 2 + columns)
        ``symbol`` (categorical), ``session``, then what the strategy reads; sorted by (symbol, session).
    strategy : Strategy
        Asked symbol by symbol.
    known : sequence of str
        Columns the bars could have had, for a better error.
    span : (date or None, date or None)
        First and last session on which an opinion counts.
    partition_info : dict
        Filled in by Dask: the partition's number.
    """
    contract = Contract(strategy, partition_info["number"] if partition_info else 0, known)
    try:
        with quiet:
            opinions = _opinions(frame, contract)
    except PipelineError as failure:
        return type(failure)(str(failure))  # without its causes, which may not survive the journey
    kept = _changed(frame, opinions, span)
    return pd.DataFrame(
        {
            "symbol": frame["symbol"].iloc[kept].array,
            "session": frame["session"].to_numpy()[kept],
            "signal": opinions[kept],
        }
    )


def _opinions(frame: pd.DataFrame, contract: Contract) -> np.ndarray:
    """Ask for the opinion of every bar; symbols are slices, since the rows are sorted."""
    codes = frame["symbol"].cat.codes.to_numpy()
    symbols = frame["symbol"].cat.categories
    starts = np.flatnonzero(np.diff(codes, prepend=-1))
    bars = frame.drop(columns="symbol").set_index("session")
    opinions = np.empty(len(frame))
    for first, last in zip(starts.tolist(), [*starts[1:].tolist(), len(frame)], strict=False):
        opinions[first:last] = contract.opinions(symbols[codes[first]], bars.iloc[first:last])
    return opinions + 0.0  # -0.0 is 0.0


def _changed(frame: pd.DataFrame, opinions: np.ndarray, span: tuple[date | None, date | None]) -> np.ndarray:
    """Return the rows on which a symbol's opinion differs from its last one, or from 0 if it is the first."""
    told = ~np.isnan(opinions)
    sessions = frame["session"].to_numpy()
    start, end = span
    if start is not None:
        told &= sessions >= np.datetime64(start)
    if end is not None:
        told &= sessions <= np.datetime64(end)
    rows = np.flatnonzero(told)
    codes = frame["symbol"].cat.codes.to_numpy()[rows]
    before = np.concatenate([[0.0], opinions[rows]])[:-1]
    before[np.diff(codes, prepend=-1) != 0] = 0.0
    return rows[opinions[rows] != before]
