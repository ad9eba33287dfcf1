"""Numbers of returns and drawdowns against quoted cases, empyrical and backtesting.py."""

import json
import math
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from made_tables import CASH, equity_of, frame, run_of, varies
from pipeline.results import returns as of
from pipeline.results.metrics import longest_drawdown_days, summary
from pipeline.results.trades import trades_of
from pipeline.schema import FILL_COLUMNS

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import empyrical

CASES = json.loads((Path(__file__).parent / "answers" / "returns.json").read_text())
one_return = st.integers(-3000, 3000).map(lambda basis: basis / 10_000)


@pytest.mark.parametrize("case", CASES, ids=[case["source"] for case in CASES])
def test_metrics_equal_quoted_cases(case):
    """What other projects' tests expect of a series, we answer."""
    r = np.array(case["returns"], float)
    drawdown = of.drawdown_of(equity_of(r), CASH)
    found = {
        "total_return": of.total_return(r),
        "annual_return": of.annual_return(r, 252),
        "volatility": of.volatility(r, 252),
        "sharpe": of.sharpe(r, 252),
        "sortino": of.sortino(r, 252),
        "downside_risk": of.downside_risk(r, 252),
        "max_drawdown": of.max_drawdown(drawdown),
        "calmar": of.calmar(r, drawdown, 252),
        "value_at_risk_95": of.value_at_risk(r),
        "conditional_var_95": of.conditional_value_at_risk(r),
    }

    assert {name: found[name] for name in case["expected"]} == pytest.approx(case["expected"], rel=1e-8)


@pytest.mark.parametrize(
    ("returns", "cutoff", "expected"),
    [
        ([1, 81, 82, 83, 84, 85], 0.1, 41.0),
        ([1, 81, 82, 83, 84, 85], 0.2, 81.0),
        ([1, 81, 82, 83, 84, 85], 0.3, 81.5),
        ([1, 2], 0.3, 1.3),
    ],
)
def test_value_at_risk_is_the_historical_percentile(returns, cutoff, expected):
    """Cases of empyrical's tests/test_stats.py."""
    assert of.value_at_risk(np.array(returns, float), cutoff) == pytest.approx(expected)


@given(st.lists(one_return, min_size=2, max_size=60))
def test_returns_metrics_agree_with_empyrical(drawn):
    """Every metric of one series is empyrical's."""
    r = np.array(drawn)
    assume(varies(r))
    drawdown = of.drawdown_of(equity_of(r), CASH)

    assert of.total_return(r) == pytest.approx(empyrical.cum_returns_final(r), rel=1e-9, abs=1e-12)
    assert of.annual_return(r, 252) == pytest.approx(empyrical.annual_return(r), rel=1e-9, abs=1e-12)
    assert of.volatility(r, 252) == pytest.approx(empyrical.annual_volatility(r), rel=1e-9)
    assert of.sharpe(r, 252) == pytest.approx(empyrical.sharpe_ratio(r), rel=1e-9, abs=1e-12)
    assert of.downside_risk(r, 252) == pytest.approx(empyrical.downside_risk(r), rel=1e-9)
    assert of.max_drawdown(drawdown) == pytest.approx(empyrical.max_drawdown(r), rel=1e-9, abs=1e-12)
    assert of.value_at_risk(r) == pytest.approx(empyrical.value_at_risk(r), rel=1e-9, abs=1e-15)
    assert of.conditional_value_at_risk(r) == pytest.approx(empyrical.conditional_value_at_risk(r), rel=1e-9)
    if min(drawn) < 0:
        assert of.sortino(r, 252) == pytest.approx(empyrical.sortino_ratio(r), rel=1e-9, abs=1e-12)
        assert of.calmar(r, drawdown, 252) == pytest.approx(empyrical.calmar_ratio(r), rel=1e-9, abs=1e-12)


@given(st.lists(st.tuples(one_return, one_return), min_size=2, max_size=60))
def test_benchmark_metrics_agree_with_empyrical(drawn):
    """Alpha, beta and information ratio are empyrical's."""
    r, b = np.array(drawn).T
    assume(varies(b) and varies(r - b))
    with np.errstate(over="ignore"):
        wanted = empyrical.alpha(r, b)

    assert of.beta(r, b) == pytest.approx(empyrical.beta(r, b), rel=1e-8, abs=1e-10)
    assert of.information_ratio(r, b) == pytest.approx(empyrical.excess_sharpe(r, b), rel=1e-9, abs=1e-12)
    if math.isfinite(wanted):
        assert of.alpha(r, b, 252) == pytest.approx(wanted, rel=1e-7, abs=1e-9)


def test_drawdown_lengths_equal_backtesting_py():
    """Falls of [0 1 7 0 4 0 0] last 3 and 2 sessions and reach 7 and 4 (backtesting.py, test_compute_drawdown)."""
    episodes = of.episodes_of(-np.array([0, 1, 7, 0, 4, 0, 0]) / 10)

    assert [(e.end - e.peak, e.end, e.depth) for e in episodes] == [(3, 3, -0.7), (2, 5, -0.4)]


@pytest.fixture(scope="module")
def goog():
    """Return backtesting.py's statistics, equity and trades of the SMA 10/30 of its own tests, long or short."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from backtesting import Backtest, Strategy
        from backtesting.lib import crossover
        from backtesting.test import GOOG, SMA

        class SmaCross(Strategy):
            def init(self):
                self.fast, self.slow = self.I(SMA, self.data.Close, 10), self.I(SMA, self.data.Close, 30)

            def next(self):
                if crossover(self.fast, self.slow):
                    self.position.close()
                    self.buy()
                elif crossover(self.slow, self.fast):
                    self.position.close()
                    self.sell()

        return Backtest(GOOG, SmaCross, cash=10_000, finalize_trades=True).run()


def test_drawdowns_of_goog_equal_backtesting_py(goog):
    """Depth, mean depth and calendar days of the drawdowns of 2,148 sessions are those of another engine."""
    curve = goog["_equity_curve"]["Equity"]
    drawdown = of.drawdown_of(curve.to_numpy(), 10_000.0)
    episodes = of.episodes_of(drawdown)

    assert 100 * of.max_drawdown(drawdown) == pytest.approx(-47.98012705007589)
    assert 100 * np.mean([episode.depth for episode in episodes]) == pytest.approx(-5.925851581948801)
    assert longest_drawdown_days(episodes, curve.index.to_numpy()) == 584


def test_ratios_of_goog_equal_empyrical_as_recorded(goog):
    """Sharpe, Sortino and volatility of the same curve under empyrical's convention, recorded from empyrical."""
    r = goog["_equity_curve"]["Equity"].pct_change().to_numpy()[1:]

    assert of.sharpe(r, 252) == pytest.approx(0.79835, abs=5e-6)
    assert of.sortino(r, 252) == pytest.approx(1.20579, abs=5e-6)
    assert of.volatility(r, 252) == pytest.approx(0.294892, abs=5e-7)


def test_trades_of_goog_equal_backtesting_py(goog):
    """66 trades, long and short, paired from 132 fills, make the profits and statistics of another engine."""
    theirs = goog["_trades"]
    sides = [("EntryTime", "EntryPrice", 1, 1), ("ExitTime", "ExitPrice", -1, 0)]
    rows = [
        (getattr(trade, when), order, "GOOG", sign * trade.Size, getattr(trade, price), 0.0, 0.0, 0.0, "signal")
        for trade in theirs.itertuples()
        for when, price, sign, order in sides
    ]
    fills = frame(FILL_COLUMNS, [(row[0], *row[2:]) for row in sorted(rows, key=lambda row: row[:2])])
    trades = trades_of(fills, goog["_equity_curve"].index.to_numpy())
    figures = summary(run_of([10_000.0], fills=fills.itertuples(index=False)), 10_000.0)

    assert len(trades) == 66
    assert trades["pnl"].to_numpy() == pytest.approx(theirs["PnL"].to_numpy())
    assert trades["return"].to_numpy() == pytest.approx(theirs["ReturnPct"].to_numpy())
    assert trades["sessions_held"].tolist() == (theirs["ExitBar"] - theirs["EntryBar"]).tolist()
    assert 100 * figures["win_rate"] == pytest.approx(46.96969696969697)
    assert 100 * figures["mean_trade_return"] == pytest.approx(3.2748078066748834)
    assert figures["expectancy"] == pytest.approx((51422.99 - 10_000) / 66)
