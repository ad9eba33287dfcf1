"""The summary of a run: a hand calculation, identities, and runs where little is defined."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from made_tables import CASH, FRIDAY, equity_of, run_of, sessions_from, varies
from pipeline.results import returns as of
from pipeline.results.metrics import ANNUALISED, METRICS, document, is_year, longest_drawdown, summary, why_none

drawn_returns = st.lists(st.integers(-3000, 3000).map(lambda basis: basis / 10_000), min_size=2, max_size=60)


HOLIDAYS_2023 = [
    "2023-01-16",
    "2023-02-20",
    "2023-04-07",
    "2023-05-29",
    "2023-06-19",
    "2023-09-04",
    "2023-11-23",
    "2023-12-25",
]  # nyse.com/markets/hours-calendars, with 4 July


def test_a_trade_wins_by_any_gain_and_not_by_none():
    """Half a cent is a win, nothing is neither a win nor a loss."""
    day = sessions_from(FRIDAY, 2)
    fills = [
        (day[place], symbol, sign * 1.0, price, 0.0, 0.0, 0.0, "signal")
        for symbol, left in (("AAA", 10.005), ("BBB", 10.0), ("CCC", 9.0), ("DDD", 10.5))
        for place, (sign, price) in enumerate(((1, 10.0), (-1, left)))
    ]
    found = summary(run_of([1000, 1000], fills=sorted(fills)), CASH, 252)

    assert found["win_rate"] == 0.5
    assert found["profit_factor"] == pytest.approx(0.505)


def test_summary_equals_the_hand_calculation():
    """1000 -> 1100, 990, 1210, 1100 from a Friday on, with a benchmark, a won and a lost trade, and every cost."""
    day = sessions_from(FRIDAY, 4)
    fills = [
        (day[0], "AAA", 10.0, 20.0, 1.0, 0.0, 0.5, "signal"),
        (day[1], "AAA", -10.0, 24.0, 1.0, 2.0, 0.5, "signal"),
        (day[1], "BBB", 10.0, 10.0, 1.0, 0.0, 0.5, "signal"),
        (day[2], "BBB", -10.0, 9.0, 1.0, 0.0, 0.5, "signal"),
        (day[3], "AAA", 5.0, 22.0, 1.0, 0.0, 0.5, "signal"),
    ]
    orders = [(day[0], day[1], "AAA", 1.0, 10.0, 10.0, status, "signal") for status in ("filled", "filled", "partial")]
    run = run_of(
        [1100, 990, 1210, 1100],
        benchmark=[1000, 900, 1080, 1100],
        fills=fills,
        orders=[
            *orders,
            (day[0], day[1], "AAA", 1.0, 10.0, 0.0, "rejected", "cash"),
            (day[0], day[1], "AAA", 0.0, 0.0, 0.0, "filled", "held"),
        ],
        positions_value=[0, 0, 605, 110],
    )

    found = summary(run, CASH, 4)

    expected = {
        "total_return": 0.1,
        "annual_return": 0.1,  # four sessions are a year of four
        "max_drawdown": -0.1,
        "average_drawdown": (-0.1 - 1 / 11) / 2,
        "longest_drawdown": 2,
        "longest_drawdown_days": 4,  # Friday to Tuesday
        "calmar": 1.0,
        "best_session": 1210 / 990 - 1,
        "worst_session": -0.1,
        "final_equity": 1100.0,
        "peak_equity": 1210.0,
        "sessions": 4,
        "benchmark_total_return": 0.1,
        "benchmark_annual_return": 0.1,
        "benchmark_max_drawdown": -0.1,
        "trades_closed": 2,
        "trades_open": 1,
        "win_rate": 0.5,
        "profit_factor": 36 / 12,  # 40 - 1 - 3 and -10 - 1 - 1
        "expectancy": 12.0,
        "mean_trade_return": (36 / 200 - 12 / 100) / 2,
        "mean_trade_sessions": 1.0,
        "mean_exposure": (0.5 + 0.1) / 4,
        "time_exposed": 0.5,
        "turnover": (200 + 240 + 100 + 90 + 110) / 2 / 1100,
        "commission": 5.0,
        "slippage": 2.5,
        "tax": 2.0,
        "orders_filled": 2,
        "orders_held": 1,
        "orders_partial": 1,
        "orders_rejected": 1,
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)


BUY = (FRIDAY, "AAA", 10.0, 20.0, 1.0, 0.0, 0.0, "signal")
SELL_AT_A_LOSS = (FRIDAY + 3, "AAA", -10.0, 10.0, 1.0, 0.0, 0.0, "signal")
THIN_RUNS = {
    "zero trades": run_of([1000.0, 1000.0, 1000.0], benchmark=[1000.0, 1000.0, 1000.0]),
    "one session": run_of([1010.0], benchmark=[990.0]),
    "one session that doubles": run_of([1e9], benchmark=[1e9]),
    "flat equity": run_of([1000.0] * 300, fills=[BUY], positions_value=200.0),
    "constant growth": run_of(equity_of(np.full(50, 0.01)), benchmark=equity_of(np.full(50, 0.01))),
    "all loss": run_of([900.0, 500.0, 100.0], fills=[BUY, SELL_AT_A_LOSS]),
    "nothing left": run_of([500.0, 0.0, 0.0, 0.0], benchmark=[1000.0, 0.0, 0.0, 0.0]),
    "no benchmark": run_of([1010.0, 1000.0, 1020.0]),
    "no session": run_of([]),
}


@pytest.mark.parametrize("run", THIN_RUNS.values(), ids=THIN_RUNS.keys())
def test_metrics_of_a_thin_run_are_defined_or_none(run):
    """Where there is little to measure, every metric is there, finite or None, and JSON takes it."""
    found = summary(run, CASH)

    assert list(found) == [metric.name for metric in METRICS]
    assert all(value is None or math.isfinite(value) for value in found.values())
    assert json.loads(json.dumps(document(found), allow_nan=False))["metrics"] == found


def test_document_says_the_unit_of_every_number():
    """metrics.json can be read without this code."""
    said = document(summary(THIN_RUNS["no session"], CASH))

    assert said["units"].keys() == said["metrics"].keys()
    assert [said["units"][name] for name in ("sharpe", "final_equity", "turnover")] == [
        *("ratio", "currency", "fraction per year"),
    ]


def test_undefined_metrics_are_none():
    """No variation, no loss, no drawdown, no trade and no benchmark leave None, not a number that looks like one."""
    found = summary(run_of(equity_of(np.full(50, 0.01))), CASH, 50)

    assert {name for name, value in found.items() if value is None} == {
        *("sharpe", "sortino", "calmar", "average_drawdown", "alpha", "beta", "information_ratio"),
        *("benchmark_total_return", "benchmark_annual_return", "benchmark_sharpe", "benchmark_max_drawdown"),
        *("win_rate", "profit_factor", "expectancy", "mean_trade_return", "mean_trade_sessions"),
    }


@pytest.mark.parametrize("sessions", [1, 5, 126, 251])
def test_less_than_a_year_is_not_annualised(sessions):
    """Five sessions of 1 % are no 1100 % a year; what is not annualised is there, and metrics.json says why."""
    growth = np.tile([0.02, -0.01], 126)[:sessions]
    run = run_of(equity_of(growth), benchmark=equity_of(growth))
    found = summary(run, CASH)

    assert {name for name in ANNUALISED if found[name] is not None} == set()
    assert {metric.name for metric in METRICS if metric.unit.endswith("per year")} < ANNUALISED
    assert found["total_return"] == pytest.approx(np.prod(1 + growth) - 1)
    assert found["max_drawdown"] is not None
    assert document(found)["not_annualised"] == "shorter than a year: not annualised"
    assert [why_none(name, found) != "" for name in ("sharpe", "win_rate")] == [True, False]


def test_a_year_is_annualised():
    """252 sessions, and a calendar year of 250 such as 2023, have every figure."""
    days = np.busday_offset("2023-01-03", np.arange(250), roll="forward", holidays=["2023-07-04", *HOLIDAYS_2023])
    growth = np.tile([0.02, -0.01], 126)
    full = summary(run_of(equity_of(growth), benchmark=equity_of(growth)), CASH)

    assert str(days[-1]) == "2023-12-29"
    assert is_year(days, 252)
    assert not is_year(days[:-3], 252)
    assert full["annual_return"] == pytest.approx(full["total_return"])
    assert document(full)["not_annualised"] is None
    assert [name for name in ANNUALISED if full[name] is None] == []


def test_all_lost_is_minus_one():
    """Equity that falls to nothing is a total return, an annual return and a drawdown of -1."""
    found = summary(THIN_RUNS["nothing left"], CASH, 4)

    assert [found[name] for name in ("total_return", "annual_return", "max_drawdown")] == [-1.0, -1.0, -1.0]


@given(st.lists(st.floats(1.0, 1e6), min_size=1, max_size=60), st.floats(1.0, 1e6))
def test_metrics_identities(equity, cash):
    """Drawdown lies in -1 ... 0, total return is prod(1 + r) - 1, and no drawdown outlasts the run (I12)."""
    values = np.array(equity)
    drawdown = of.drawdown_of(values, cash)
    found = summary(run_of(equity), cash)

    assert ((drawdown >= -1) & (drawdown <= 0)).all()
    assert -1 <= found["max_drawdown"] <= 0
    assert found["total_return"] == pytest.approx(equity[-1] / cash - 1, rel=1e-9, abs=1e-9)
    assert 0 <= longest_drawdown(of.episodes_of(drawdown)) <= len(equity)


@given(drawn_returns)
def test_benchmark_against_itself_has_no_alpha_and_beta_one(drawn):
    """A run that is its benchmark explains all of itself (I12)."""
    assume(varies(drawn))
    equity = equity_of(drawn)

    found = summary(run_of(equity, benchmark=equity), CASH, 2)

    assert found["alpha"] == pytest.approx(0, abs=1e-9)
    assert found["beta"] == pytest.approx(1, abs=1e-12)
    assert found["information_ratio"] is None
    assert found["benchmark_sharpe"] == found["sharpe"]


def test_metrics_have_distinct_names_and_known_units():
    """The catalogue can be looked up by name, and says what each number is."""
    units = {"fraction", "fraction per year", "ratio", "sessions", "calendar days", "currency", "count"}

    assert len({metric.name for metric in METRICS}) == len(METRICS)
    assert {metric.unit for metric in METRICS} == units
    assert all(metric.label and metric.meaning for metric in METRICS)
    assert pd.Series([metric.label + metric.unit for metric in METRICS]).is_unique
