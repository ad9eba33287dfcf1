"""The few lines at the end of a run."""

from pathlib import Path

import pytest

from pipeline.results.metrics import METRICS
from pipeline.schema import Reason
from pipeline.summary import CURES, summary_of, why_idle
from report_cases import run_record


def lines(figures, **changes):
    values = dict.fromkeys((metric.name for metric in METRICS), None) | figures
    return dict(summary_of(Path("/runs/sample/1f-1"), run_record(**changes), values))


def test_orders_name_the_most_frequent_reasons():
    """Whoever has orders rejected or cut reads why, without opening a table."""
    endings = {"filled": {"signal": 3}, "partial": {"cash": 1}, "rejected": {"lot": 40, "cash": 3}}
    figures = {"orders_filled": 3, "orders_held": 0, "orders_partial": 1, "orders_rejected": 43}

    assert lines(figures, orders=endings)["orders"] == "3 filled, 1 partial (cash), 43 rejected (lot 40, cash 3)"
    endings["rejected"] = {"lot": 20, "cash": 3, "volume": 15, "no_bar": 5}
    assert lines(figures, orders=endings)["orders"].endswith("43 rejected (lot 20, volume 15, others 8)")
    assert lines({"orders_held": 2}, orders={})["orders"] == "0 filled, 2 held already, 0 partial, 0 rejected"


def test_bars_are_of_the_symbols_of_the_run():
    """A run of one symbol says so, however many the store holds."""
    assert lines({}, symbols=1)["bars"] == "12,590 of 1 symbol"
    assert lines({}, symbols=1_200)["bars"] == "12,590 of 1,200 symbols"
    assert lines({}, symbols=9, skipped={"A": "why", "B": "why"})["bars"] == "12,590 of 9 symbols, 2 of them left out"


def test_turnover_has_the_unit_of_the_report():
    """A part of equity in percent, as in charts and tables, and as metrics.json has it: a fraction per year."""
    assert lines({"turnover": 26.8097})["turnover"] == "2,681% of equity per year"


def test_a_short_run_says_why_it_has_no_annual_figures():
    """Not just n/a: figures of less than a year are not annualised."""
    short = lines({"total_return": 0.05})

    assert short["annual return"] == short["Sharpe ratio"] == "n/a (shorter than a year: not annualised)"
    assert short["max drawdown"] == "n/a"
    assert lines({"total_return": 0.05, "annual_return": 0.05})["Sharpe ratio"] == "n/a"


@pytest.mark.parametrize(
    ("endings", "told"),
    [
        ({"filled": {"signal": 1}, "rejected": {"lot": 40}}, ""),
        ({"partial": {"cash": 1}}, ""),
        (
            {"filled": {"held": 2}, "rejected": {"lot": 40, "no_bar": 3}},
            "no order filled, so nothing was traded: 43 orders, 40 rejected for lot. A position is worth less than one",
        ),
        ({"rejected": {"superseded": 1}}, "1 order, 1 rejected for superseded. See orders.parquet."),
        ({}, "no order arose, so nothing was traded: on no session of the run did the strategy want to hold anything."),
    ],
)
def test_a_run_that_traded_nothing_says_why(endings, told):
    """The commonest reason, and what to do about it."""
    assert (told in why_idle(endings)) if told else why_idle(endings) == ""
    assert set(CURES) <= {reason.value for reason in Reason}
