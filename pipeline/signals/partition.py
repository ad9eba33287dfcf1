"""What a worker does: ask a strategy about the symbols of one partition, keep the changes of its opinion.

Workers import this module and no more of ours than it needs, so that they start soon: no Dask DataFrame, no pydantic.
"""

from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from pipeline.errors import PipelineError, StrategyError
from pipeline.modes import OnError
from pipeline.schema import NAMES
from pipeline.signals.contract import Contract, quiet
from pipeline.signals.staying import staying
from pipeline.signals.strategy import Strategy

Span = tuple[date | None, date | None]
"""First session on which an opinion counts, and the last one whose bars are seen at all; None is no limit."""
NOT_SEEN = ("symbol", "session", "time")
"""Columns of a partition that are no column of a strategy's bars."""
FAILURES = "failures"  # a name in the attrs of an answer, which travel with it


def signals_of_block(
    frame: pd.DataFrame,
    *,
    strategy: Strategy,
    known: Sequence[str],
    span: Span,
    on_error: OnError = OnError.FAIL,
) -> pd.DataFrame | PipelineError:
    """Return the changes of opinion in one partition; runs in a worker.

    Parameters
    ----------
    frame : DataFrame, (bars, 2 + columns)
        ``symbol`` (categorical), ``session``, of minute bars ``time``, then what the strategy reads; sorted by symbol
        and time.
    strategy : Strategy
        Asked symbol by symbol.
    known : sequence of str
        Columns the bars could have had, for a better error.
    span : (date or None, date or None)
        First session on which an opinion counts, last one that is seen.
    on_error : OnError
        Whether a symbol on which the strategy fails is an error, or is left out; then `failures_of` the answer tells.
    """
    contract = Contract(strategy, known)
    failures: dict[str, str] | None = {} if on_error is OnError.SKIP else None
    try:
        with quiet, staying():
            rows, signals = _changes(frame, contract, span, failures)
    except PipelineError as failure:
        bare = type(failure)(str(failure))  # without its causes, which may not survive the journey
        bare.trace = failure.trace
        return bare
    columns = {name: series.array[rows] for name, series in frame.items() if name in NOT_SEEN}
    changes = pd.DataFrame({**columns, "signal": signals}, copy=False)
    if failures:
        changes.attrs[FAILURES] = failures
    return changes


def failures_of(answer: pd.DataFrame) -> dict[str, str]:
    """Return the symbols on which the strategy failed, and why, of a partition that was to leave them out."""
    failures: dict[str, str] = answer.attrs.get(FAILURES, {})
    return failures


def _changes(
    frame: pd.DataFrame, contract: Contract, span: Span, failures: dict[str, str] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows on which opinions change, and the new opinions; symbols are slices, since rows are sorted.

    Where there are `failures`, symbols on which the strategy fails go there.
    """
    arrays: dict[Any, Any] = {name: series.array for name, series in frame.items()}
    symbols, codes = arrays["symbol"].categories.tolist(), arrays["symbol"].codes
    bounds = np.searchsorted(codes, np.arange(len(symbols) + 1, dtype=codes.dtype)).tolist()
    sessions = np.asarray(arrays["session"])
    columns = {name: np.asarray(array) for name, array in arrays.items() if name not in NOT_SEEN}
    index = pd.DatetimeIndex(arrays["session"], name="session")
    if "time" in arrays:
        columns, index = {"session": sessions, **columns}, pd.DatetimeIndex(arrays["time"], name="time")
    bars = pd.DataFrame(columns, index=index, copy=False)
    bars.columns = pd.Index(list(columns), dtype=NAMES)
    opinions = np.full(len(frame), np.nan)  # of all symbols at once, so that NumPy is called once and not for each
    for symbol, first, last in zip(symbols, bounds, bounds[1:], strict=False):
        seen = _within(sessions[first:last], span)
        if not seen.stop:
            continue
        try:
            answer = contract.opinions(symbol, bars.iloc[first : first + seen.stop])
        except StrategyError as failure:
            if failures is None:
                raise
            failures[symbol] = str(failure)
            continue
        opinions[first + seen.start : first + seen.stop] = answer[seen]
    rows = _changed(opinions, codes, np.asarray(bounds[:-1]))
    return rows, opinions[rows] + 0.0  # -0.0 is 0.0


def _within(sessions: np.ndarray, span: Span) -> slice:
    """Return which of a symbol's bars count; those behind it are not seen."""
    start, end = span
    first = sessions.searchsorted(np.datetime64(start)) if start else 0
    last = sessions.searchsorted(np.datetime64(end), side="right") if end else len(sessions)
    return slice(int(first), int(last))


def _changed(opinions: np.ndarray, codes: np.ndarray, firsts: np.ndarray) -> np.ndarray:
    """Return where an opinion differs from the last one of its symbol, the first from 0; NaN is none.

    Parameters
    ----------
    opinions : float64 (bars,)
        Of symbols one after the other.
    codes : int (bars,)
        The number of each bar's symbol.
    firsts : int (symbols,)
        Where each symbol begins; one without bars where the next one does.
    """
    begins = np.empty(len(opinions), bool)  # whether a run of equal values begins; NaN is alike to nothing
    np.not_equal(opinions[1:], opinions[:-1], out=begins[1:])
    begins[firsts[firsts < len(begins)]] = True
    runs = begins.nonzero()[0]
    runs = runs[~np.isnan(opinions[runs])]
    values, whose = opinions[runs], codes[runs]
    differs = values != 0.0
    np.not_equal(values[1:], values[:-1], out=differs[1:], where=whose[1:] == whose[:-1])
    return runs[differs]
