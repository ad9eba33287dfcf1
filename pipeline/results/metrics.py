"""A run in numbers: which there are, what each means, and how each is made.

Returns follow empyrical's conventions (`pipeline.results.returns`); the first is ``equity[0] / cash - 1``. All are
fractions, not percent. Win rate, profit factor and expectancy count closed trades only, net of costs. A number that is
undefined (no trade, one session, no loss, no benchmark) is None, never NaN or infinite. So is every annualised figure
of a run that is shorter than a year: the CFA Institute's GIPS standards forbid to annualise such returns (2010 edition,
I.5.A.4), and what else is scaled up from as few sessions means as little.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.results import returns as of
from pipeline.results.tables import Tables
from pipeline.schema import Reason, Status


@dataclass(frozen=True)
class Metric:
    """One number of a run; `meaning` goes on from its label."""

    name: str
    label: str
    unit: str
    meaning: str


NOT_ANNUALISED = "shorter than a year: not annualised"
A_YEAR = 360  # calendar days from the first session of a year to its last, at least
CONVENTION = "empyrical: simple returns by session, risk-free rate 0, ddof 1; fractions, the start's cash included"
YEARLY = "fraction per year"
METRICS = (
    Metric("total_return", "Total return", "fraction", "final equity over the cash at the start, minus 1"),
    Metric("annual_return", "Annual return", YEARLY, "yearly rate that compounds to the total"),
    Metric("volatility", "Volatility", YEARLY, "standard deviation (ddof 1) of returns, annualised"),
    Metric("sharpe", "Sharpe ratio", "ratio", "mean over standard deviation (ddof 1), annualised; risk-free 0"),
    Metric("sortino", "Sortino ratio", "ratio", "mean return over downside risk, annualised"),
    Metric("downside_risk", "Downside risk", YEARLY, "root mean square of losses, gains as 0, annualised"),
    Metric("max_drawdown", "Max drawdown", "fraction", "deepest fall below the peak so far, the start's cash included"),
    Metric("longest_drawdown", "Longest drawdown", "sessions", "peak to recovery; an open one counts to the end"),
    Metric("longest_drawdown_days", "Longest drawdown", "calendar days", "peak to recovery, on the calendar"),
    Metric("average_drawdown", "Average drawdown", "fraction", "mean over all drawdowns, each at its deepest"),
    Metric("calmar", "Calmar ratio", "ratio", "annual return over the depth of the max drawdown"),
    Metric("value_at_risk_95", "Value at risk 95 %", "fraction", "5th percentile of returns, historical"),
    Metric("conditional_var_95", "Conditional VaR 95 %", "fraction", "mean of the lowest 5 % of returns"),
    Metric("best_session", "Best session", "fraction", "highest return"),
    Metric("worst_session", "Worst session", "fraction", "lowest return"),
    Metric("final_equity", "Final equity", "currency", "cash, receivables and positions at the last close"),
    Metric("peak_equity", "Peak equity", "currency", "highest at any close, the start's cash included"),
    Metric("sessions", "Sessions", "count", "trading days of the run"),
    Metric("alpha", "Alpha", YEARLY, "mean return that beta does not explain, compounded"),
    Metric("beta", "Beta", "ratio", "covariance with the benchmark over its variance"),
    Metric("information_ratio", "Information ratio", "ratio", "mean over deviation of excess returns, not annualised"),
    Metric("benchmark_total_return", "Benchmark total return", "fraction", "the same cash in the benchmark"),
    Metric("benchmark_annual_return", "Benchmark annual return", YEARLY, "yearly rate of the benchmark"),
    Metric("benchmark_sharpe", "Benchmark Sharpe ratio", "ratio", "Sharpe ratio of the benchmark, annualised"),
    Metric("benchmark_max_drawdown", "Benchmark max drawdown", "fraction", "deepest fall of the benchmark"),
    Metric("trades_closed", "Trades closed", "count", "each reduction of a position closes one"),
    Metric("trades_open", "Trades open", "count", "positions still held at the end"),
    Metric("win_rate", "Win rate", "fraction", "share of closed trades with a net profit"),
    Metric("profit_factor", "Profit factor", "ratio", "currency won over currency lost by closed trades, net"),
    Metric("expectancy", "Expectancy", "currency", "mean net profit of a closed trade"),
    Metric("mean_trade_return", "Mean trade return", "fraction", "mean net return of a closed trade"),
    Metric("mean_trade_sessions", "Mean trade length", "sessions", "mean of the sessions a closed trade was held"),
    Metric("mean_exposure", "Mean exposure", "fraction", "mean of gross exposure over equity"),
    Metric("time_exposed", "Time exposed", "fraction", "share of sessions that end with a position"),
    Metric("turnover", "Turnover", YEARLY, "half of the value traded over mean equity, per year"),
    Metric("commission", "Commission", "currency", "paid over all fills"),
    Metric("slippage", "Slippage", "currency", "paid over all fills, inside their prices"),
    Metric("tax", "Tax", "currency", "paid over all fills"),
    Metric("dividends", "Dividends", "currency", "got in cash at raw prices, less what short positions paid"),
    Metric("orders_filled", "Orders filled", "count", "got all they asked for"),
    Metric("orders_held", "Orders held", "count", "had nothing to do: what they wanted was held already"),
    Metric("orders_partial", "Orders partial", "count", "got some of what they asked for"),
    Metric("orders_rejected", "Orders rejected", "count", "got nothing; orders.parquet says why"),
)

ANNUALISED = frozenset(
    {metric.name for metric in METRICS if metric.unit == YEARLY} | {"sharpe", "sortino", "calmar", "benchmark_sharpe"}
)
"""Numbers that a run has only if it is a year long."""


def summary(tables: Tables, cash: float, periods_per_year: int = 252) -> dict[str, float | None]:
    """Return every one of `METRICS` by name, None where it is undefined.

    Parameters
    ----------
    tables : Tables
        What the run left.
    cash : float
        Money at the start [currency]; the benchmark starts with the same.
    periods_per_year : int
        Sessions a year has: 252 in the US.
    """
    equity = _numbers(tables.equity, "equity")
    values = {
        **_growth(equity, cash, periods_per_year),
        **_drawdowns(equity, cash, tables.equity["session"].to_numpy("datetime64[D]")),
        **_against(_numbers(tables.benchmark, "value"), equity, cash, periods_per_year),
        **_trades(tables.trades),
        **_activity(tables, periods_per_year),
    }
    if not is_year(tables.equity["session"].to_numpy("datetime64[D]"), periods_per_year):
        values |= dict.fromkeys(ANNUALISED, np.nan)
    return {metric.name: values[metric.name] if math.isfinite(values[metric.name]) else None for metric in METRICS}


def is_year(sessions: np.ndarray, periods: int) -> bool:
    """Tell whether sessions make up a year: as many as a year has, or those of a calendar year with more holidays."""
    return len(sessions) >= periods or (len(sessions) > 1 and int((sessions[-1] - sessions[0]).astype(int)) >= A_YEAR)


def why_none(name: str, values: Mapping[str, float | None]) -> str:
    """Return why a number of a run is None, "" where there is no more to say than that it is undefined.

    A year or more with a total return has an annual return, so its absence tells a shorter run.
    """
    is_short = values.get("total_return") is not None and values.get("annual_return") is None
    return NOT_ANNUALISED if is_short and name in ANNUALISED else ""


def document(values: Mapping[str, float | None], periods_per_year: int = 252) -> dict[str, Any]:
    """Return what ``metrics.json`` says: `values` as `summary` gave them, convention and units beside them."""
    return {
        "convention": CONVENTION,
        "periods_per_year": periods_per_year,
        "not_annualised": why_none("annual_return", values) or None,
        "metrics": dict(values),
        "units": {metric.name: metric.unit for metric in METRICS},
    }


def endings(orders: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Return how often orders ended how and why: status -> reason -> count, most frequent first."""
    (status, statuses), (reason, reasons) = (pd.factorize(orders[name], sort=True) for name in ("status", "reason"))
    pairs, counts = np.unique(status * len(reasons) + reason, return_counts=True)
    found: dict[str, dict[str, int]] = {}
    for place in np.argsort(-counts, kind="stable"):
        how, why = divmod(int(pairs[place]), len(reasons))
        found.setdefault(str(statuses[how]), {})[str(reasons[why])] = int(counts[place])
    return found


def longest_drawdown(episodes: list[of.Episode]) -> int:
    """Return the most sessions from a peak to its recovery, or to the end; 0 without a drawdown."""
    return max((episode.end - episode.peak for episode in episodes), default=0)


def longest_drawdown_days(episodes: list[of.Episode], sessions: np.ndarray) -> int:
    """Return the most calendar days from a peak to its recovery; the start's cash stands at the first session."""
    days = sessions.astype("datetime64[D]").astype(np.int64)
    return max((int(days[episode.end] - days[max(episode.peak, 0)]) for episode in episodes), default=0)


def profit_factor(pnl: np.ndarray) -> float:
    """Return what the winners made over what the losers lost, from net profits; NaN without a loser."""
    return _over(float(pnl[pnl > 0].sum()), -float(pnl[pnl < 0].sum()))


def turnover(traded: np.ndarray, equity: np.ndarray, periods: int) -> float:
    """Return half of the value traded over the mean equity, a year; `traded` is signed value by fill [currency]."""
    return _over(float(np.abs(traded).sum()) / 2 * periods, float(equity.sum()))


def _growth(equity: np.ndarray, cash: float, periods: int) -> dict[str, float]:
    returns = of.returns_of(equity, cash)
    return {
        "total_return": of.total_return(returns),
        "annual_return": of.annual_return(returns, periods),
        "volatility": of.volatility(returns, periods),
        "sharpe": of.sharpe(returns, periods),
        "sortino": of.sortino(returns, periods),
        "downside_risk": of.downside_risk(returns, periods),
        "calmar": of.calmar(returns, of.drawdown_of(equity, cash), periods),
        "value_at_risk_95": of.value_at_risk(returns),
        "conditional_var_95": of.conditional_value_at_risk(returns),
        "best_session": float(np.fmax.reduce(returns, initial=-np.inf)),
        "worst_session": float(np.fmin.reduce(returns, initial=np.inf)),
        "final_equity": float(equity[-1]) if len(equity) else cash,
        "peak_equity": float(equity.max(initial=cash)),
        "sessions": len(equity),
    }


def _drawdowns(equity: np.ndarray, cash: float, sessions: np.ndarray) -> dict[str, float]:
    drawdown = of.drawdown_of(equity, cash)
    episodes = of.episodes_of(drawdown)
    return {
        "max_drawdown": of.max_drawdown(drawdown),
        "longest_drawdown": longest_drawdown(episodes),
        "longest_drawdown_days": longest_drawdown_days(episodes, sessions),
        "average_drawdown": _mean(np.array([episode.depth for episode in episodes])),
    }


def _against(benchmark: np.ndarray, equity: np.ndarray, cash: float, periods: int) -> dict[str, float]:
    values = benchmark if len(benchmark) else np.full(len(equity), np.nan)
    returns, reference = of.returns_of(equity, cash), of.returns_of(values, cash)
    return {
        "alpha": of.alpha(returns, reference, periods),
        "beta": of.beta(returns, reference),
        "information_ratio": of.information_ratio(returns, reference),
        "benchmark_total_return": of.total_return(reference),
        "benchmark_annual_return": of.annual_return(reference, periods),
        "benchmark_sharpe": of.sharpe(reference, periods),
        "benchmark_max_drawdown": of.max_drawdown(of.drawdown_of(values, cash)),
    }


def _trades(trades: pd.DataFrame) -> dict[str, float]:
    closed = trades[trades["exit_session"].notna()]
    pnl = _numbers(closed, "pnl")
    return {
        "trades_closed": len(closed),
        "trades_open": len(trades) - len(closed),
        "win_rate": _mean(pnl > 0),
        "profit_factor": profit_factor(pnl),
        "expectancy": _mean(pnl),
        "mean_trade_return": _mean(_numbers(closed, "return")),
        "mean_trade_sessions": _mean(_numbers(closed, "sessions_held")),
    }


def _activity(tables: Tables, periods: int) -> dict[str, float]:
    fills, ended = tables.fills, endings(tables.orders)
    orders = {status: sum(ended.get(status, {}).values()) for status in Status}
    held = ended.get(Status.FILLED, {}).get(Reason.HELD, 0)
    traded = _numbers(fills, "quantity") * _numbers(fills, "price")
    dividend = (tables.payments["reason"] == Reason.DIVIDEND.value).to_numpy(bool)
    return {
        "mean_exposure": _mean(_numbers(tables.equity, "gross_exposure")),
        "time_exposed": _mean(_numbers(tables.equity, "positions") > 0),
        "turnover": turnover(traded, _numbers(tables.equity, "equity"), periods),
        **{cost: float(_numbers(fills, cost).sum()) for cost in ("commission", "slippage", "tax")},
        "dividends": float(_numbers(tables.payments, "cash")[dividend].sum()),
        **{f"orders_{status}": count for status, count in orders.items()},
        "orders_filled": orders[Status.FILLED] - held,
        "orders_held": held,
    }


def _numbers(table: pd.DataFrame, column: str) -> np.ndarray:
    return table[column].to_numpy(np.float64)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else np.nan


def _over(part: float, whole: float) -> float:
    return part / whole if whole > 0 else np.nan
