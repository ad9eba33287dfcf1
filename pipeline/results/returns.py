"""Numbers of a return series, under the conventions of empyrical's ``stats.py``.

Returns are simple and per session, as fractions; a NaN is a session without a return and is skipped. The risk-free
rate is 0 and the minimum acceptable return is 0. What is undefined is NaN, never infinite. `periods` is the number of
sessions a year has.

Source: `empyrical-reloaded <https://github.com/stefan-jansen/empyrical-reloaded>`_, where no other is named.
"""

from typing import NamedTuple

import numpy as np

ROUNDING = 1e-14
"""A standard deviation of returns below it, or a drawdown above its negative, is float64 rounding and means none."""


class Episode(NamedTuple):
    """One drawdown: from the session of its peak to that of its recovery, or to the last one."""

    peak: int  # index of the session, -1 for the money at the start
    end: int  # index of the session
    depth: float  # fraction, < 0


def returns_of(values: np.ndarray, start: float) -> np.ndarray:
    """Return the simple returns of `values` [currency], the first against `start`; NaN once nothing is left."""
    before = np.concatenate([[start], values[:-1]])
    return np.divide(values, before, out=np.full(len(values), np.nan), where=before > 0) - 1.0


def total_return(returns: np.ndarray) -> float:
    """Return what all sessions made together: ``prod(1 + r) - 1``."""
    known = returns[~np.isnan(returns)]
    return float(np.prod(1.0 + known) - 1.0) if len(known) else np.nan


@np.errstate(over="ignore", invalid="ignore")
def annual_return(returns: np.ndarray, periods: int) -> float:
    """Return the yearly rate that compounds to the total: ``(1 + total) ** (periods / n) - 1``; n counts NaN."""
    if not len(returns):
        return np.nan
    return float(np.float_power(1.0 + total_return(returns), periods / len(returns)) - 1.0)


def volatility(returns: np.ndarray, periods: int) -> float:
    """Return the yearly standard deviation: ``std(ddof=1) * sqrt(periods)``."""
    return _deviation(returns) * float(np.sqrt(periods))


def sharpe(returns: np.ndarray, periods: int) -> float:
    """Return mean over standard deviation (ddof=1), times ``sqrt(periods)``; NaN if returns never vary."""
    return _per_deviation(returns) * float(np.sqrt(periods))


def downside_risk(returns: np.ndarray, periods: int) -> float:
    """Return the yearly root mean square of the losses, gains counting as 0."""
    return float(np.sqrt(_mean(np.minimum(returns, 0.0) ** 2) * periods))


def sortino(returns: np.ndarray, periods: int) -> float:
    """Return the arithmetic yearly mean over `downside_risk`; NaN without a loss or with fewer than 2 sessions."""
    risk = downside_risk(returns, periods)
    return _mean(returns) * periods / risk if len(returns) > 1 and risk > ROUNDING else np.nan


def value_at_risk(returns: np.ndarray, cutoff: float = 0.05) -> float:
    """Return the return that a share of `cutoff` of the sessions stayed below: the historical percentile."""
    known = returns[~np.isnan(returns)]
    return float(np.percentile(known, 100.0 * cutoff)) if len(known) else np.nan


def conditional_value_at_risk(returns: np.ndarray, cutoff: float = 0.05) -> float:
    """Return the mean of the ``int((n - 1) * cutoff) + 1`` lowest returns."""
    known = np.sort(returns[~np.isnan(returns)])
    return _mean(known[: int((len(known) - 1) * cutoff) + 1])


def beta(returns: np.ndarray, benchmark: np.ndarray) -> float:
    """Return ``cov(r, b) / var(b)`` over the sessions on which both are known; NaN if the benchmark never varies."""
    both = ~(np.isnan(returns) | np.isnan(benchmark))
    r, b = returns[both], benchmark[both]
    if _deviation(b) > ROUNDING:
        apart = b - b.mean()
        return float(np.sum(apart * r) / np.sum(apart**2))
    return np.nan


@np.errstate(over="ignore", invalid="ignore")
def alpha(returns: np.ndarray, benchmark: np.ndarray, periods: int) -> float:
    """Return what beta does not explain, compounded to a year: ``(1 + mean(r - beta * b)) ** periods - 1``."""
    unexplained = returns - beta(returns, benchmark) * benchmark
    return float(np.float_power(1.0 + _mean(unexplained), periods) - 1.0)


def information_ratio(returns: np.ndarray, benchmark: np.ndarray) -> float:
    """Return mean over standard deviation (ddof=1) of ``r - b``, **not** annualised (`empyrical.excess_sharpe`)."""
    return _per_deviation(returns - benchmark)


def drawdown_of(values: np.ndarray, start: float) -> np.ndarray:
    """Return how far below their peak so far `values` stand, `start` being the first peak: fractions <= 0."""
    peaks = np.maximum.accumulate(np.concatenate([[start], values]))[1:]
    fallen = values / peaks - 1.0
    return np.where(fallen > -ROUNDING, 0.0, fallen)


def max_drawdown(drawdown: np.ndarray) -> float:
    """Return the deepest of `drawdown`, 0 if there is none."""
    return float(drawdown.min()) if len(drawdown) else np.nan


def episodes_of(drawdown: np.ndarray) -> list[Episode]:
    """Return every drawdown, oldest first; one that has not recovered ends with the last session."""
    below = np.concatenate([[False], drawdown < 0.0, [False]])
    edges = np.flatnonzero(below[1:] != below[:-1]).tolist()
    return [
        Episode(first - 1, min(end, len(drawdown) - 1), float(drawdown[first:end].min()))
        for first, end in zip(edges[::2], edges[1::2], strict=True)
    ]


def calmar(returns: np.ndarray, drawdown: np.ndarray, periods: int) -> float:
    """Return the annual return over the depth of the deepest drawdown; NaN without one."""
    deepest = max_drawdown(drawdown)
    return annual_return(returns, periods) / -deepest if deepest < 0.0 else np.nan


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else np.nan


def _deviation(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.std(ddof=1)) if len(known) > 1 else np.nan


def _per_deviation(values: np.ndarray) -> float:
    deviation = _deviation(values)
    return _mean(values) / deviation if deviation > ROUNDING else np.nan
