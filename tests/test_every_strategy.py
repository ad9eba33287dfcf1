"""The contract, held against every file of strategies/: shape, range, no look-ahead."""

import doctest

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.signals.contract import Contract
from pipeline.signals.source import load
from pipeline.signals.strategy import load_strategy, strategies
from signal_cases import bars_of

NAMES = [listed.name for listed in strategies()]
closes = st.lists(st.floats(1.0, 1e4), min_size=1, max_size=120)


def opinions(name: str, bars: pd.DataFrame) -> np.ndarray:
    """Return what a strategy thinks of bars, held to the contract."""
    strategy = load_strategy(name, {})
    return Contract(strategy, ()).opinions("AAA", bars[list(strategy.columns or bars.columns)])


def prices(close) -> pd.DataFrame:
    return bars_of("AAA", close).drop(columns="symbol").set_index("session")


@pytest.mark.parametrize("name", NAMES)
@given(close=closes)
def test_it_answers_every_bar(name, close):
    """One opinion for each bar, NaN or between -1 and 1, for as few bars as one."""
    found = opinions(name, prices(close))

    assert found.shape == (len(close),)
    assert (np.isnan(found) | (np.abs(found) <= 1)).all()


@pytest.mark.parametrize("name", NAMES)
@given(close=closes, share=st.floats(0, 1))
def test_it_never_looks_ahead(name, close, share):
    """Dropping the later bars leaves the earlier opinions as they were, bit for bit."""
    bars = prices(close)
    known = bars.iloc[: max(1, int(share * len(bars)))]

    np.testing.assert_array_equal(opinions(name, bars)[: len(known)], opinions(name, known))


def test_the_test_sees_a_look_ahead(tmp_path):
    """A z-score over the whole history, the usual slip, fails the test above."""
    file = tmp_path / "peeks.py"
    file.write_text("def signal(bars): return (bars['close'] > bars['close'].mean()).astype(float)")
    bars = prices([1.0, 2.0, 3.0, 9.0, 9.0, 9.0])

    with pytest.raises(AssertionError):
        np.testing.assert_array_equal(opinions(str(file), bars)[:3], opinions(str(file), bars.iloc[:3]))


@pytest.mark.parametrize("name", NAMES)
def test_its_file_is_documented(name):
    """A docstring with the source of the rule, and an example that is true."""
    module = load(load_strategy(name, {}).code)
    parser = doctest.DocTestParser()
    examples = parser.get_doctest(module.signal.__doc__, vars(module).copy(), name, module.__file__, 0)
    outcome = doctest.DocTestRunner().run(examples)

    assert "Source:" in module.__doc__
    assert outcome.attempted > 0
    assert outcome.failed == 0


def test_sma_cross_by_hand():
    """Averages over 2 and 3 closes: 1, 2, 3, 2, 1, 1 gives NaN NaN, then up, up, down, down."""
    close = [1.0, 2.0, 3.0, 2.0, 1.0, 1.0]  # fast: 1.5 2.5 2.5 1.5 1; slow: 2 2.33 2 1.33
    found = load_strategy("sma_cross", {"fast": 2, "slow": 3})(prices(close))

    np.testing.assert_array_equal(found, [np.nan, np.nan, 1.0, 1.0, 0.0, 0.0])


@given(st.integers(1, 10**9).map(lambda cents: cents / 100), st.integers(31, 200))
def test_sma_cross_stays_flat_where_prices_do(price, length):
    """Equal averages are not above each other, however their running sums are rounded."""
    found = load_strategy("sma_cross", {})(prices([price] * length))

    np.testing.assert_array_equal(found[29:], 0.0)


@given(st.lists(st.integers(100, 10_000), min_size=31, max_size=80))
def test_sma_cross_decides_as_exact_averages_do(cents):
    """With prices in cents, the sums of whole cents decide, ties included."""
    fast = [3 * sum(cents[i - 9 : i + 1]) for i in range(29, len(cents))]  # thirtieths of the average
    slow = [sum(cents[i - 29 : i + 1]) for i in range(29, len(cents))]
    found = load_strategy("sma_cross", {})(prices([cent / 100 for cent in cents]))

    np.testing.assert_array_equal(found[29:], [float(f > s) for f, s in zip(fast, slow, strict=True)])


def wilder(close: list[float], period: int) -> list[float]:
    """RSI as in Wilder (1978): the mean of the first `period` changes, then smoothed by 1 / period."""
    changes = np.diff(close)
    gain = np.clip(changes, 0, None)[:period].mean()
    loss = np.clip(-changes, 0, None)[:period].mean()
    index = [np.nan] * period + [100 * gain / (gain + loss) if gain + loss else 0.0]
    for change in changes[period:]:
        gain = (gain * (period - 1) + max(change, 0)) / period
        loss = (loss * (period - 1) + max(-change, 0)) / period
        index.append(100 * gain / (gain + loss) if gain + loss else 0.0)
    return index


def test_rsi_crosses_back():
    """Long where Wilder's index rises through 30, flat where it falls through 70, no opinion elsewhere."""
    close = (100 + np.cumsum(np.random.default_rng(5).normal(0, 1, 400))).tolist()
    index = wilder(close, 14)
    pairs = list(zip([np.nan, *index], index, strict=False))
    expected = [1.0 if b <= 30 < a else 0.0 if a < 70 <= b else np.nan for b, a in pairs]
    found = load_strategy("rsi", {})(prices(close))

    assert {0.0, 1.0} <= set(found[~np.isnan(found)])
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("name", "params"), [("sma_cross", {"fast": 30}), ("rsi", {"lower": 80}), ("rsi", {"period": 1})]
)
def test_options_that_make_no_sense_are_refused(name, params):
    """The strategy says which options go together."""
    with pytest.raises(ValueError, match=f"{name} needs"):
        load_strategy(name, params)(prices([1.0, 2.0]))
