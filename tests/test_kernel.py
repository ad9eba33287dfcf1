"""The compiled parts one by one: sizes, what cash covers, where a bar is, and where machine code is kept."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import talib
from hypothesis import given
from hypothesis import strategies as st

from markets import options
from pipeline.bars.periods import PeriodBars
from pipeline.trading import compiled
from pipeline.trading.booking import rewind, row_of
from pipeline.trading.changes import row_at
from pipeline.trading.kernel import activate
from pipeline.trading.market import Costs
from pipeline.trading.ranges import TrueRanges
from pipeline.trading.sizing import DUST, affordable, commission, floor_lots, sizing, target
from pipeline.trading.state import NO_ORDER, opened

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    ("method", "value", "shares"),
    [
        ("value", 3_000, 75),  # 0.5 x 3000 / 20
        ("shares", 300, 150),  # 0.5 x 300
        ("fraction", 0.2, 50),  # 0.5 x 0.2 x 10000 / 20
        ("equal", None, 62),  # 0.5 x 10000 / 4 / 20 = 62.5
        ("weight", None, 250),  # 0.5 x 10000 / 20
        ("all_in", None, 130),  # 0.5 x (5000 + 10 x 20) / 20
        ("risk", 0.01, 25),  # 0.5 x 0.01 x 10000 / 2
    ],
)
def test_target_of_each_method(method, value, shares):
    """Exposure 0.5 at 20: equity 10,000, 5,000 free, 10 shares held, four symbols, lot 1, a true range of 2."""
    chosen = sizing(options(sizing={"method": method, "value": value}), 4)

    assert target(chosen, 1.0, *account_and_slot(0.5, 10.0), 20.0) == shares
    assert target(chosen, 1.0, *account_and_slot(-0.5, -10.0), 20.0) == -shares


def account_and_slot(wanted: float, held: float) -> tuple:
    """Return an account of 10,000 with 5,000 free, and a symbol whose average true range is 2."""
    state = opened(10_000.0, 1, 0)
    slot = state.slots[0]
    slot.wanted, slot.held, slot.true_range = wanted, held, 2.0
    return state.account[0], 5_000.0, slot


def test_equal_divides_by_max_positions():
    """With max_positions 2, `equal` takes half of the equity, however many symbols there are."""
    chosen = sizing(options(max_positions=2), 100)

    assert target(chosen, 1.0, *account_and_slot(1.0, 0.0), 20.0) == 250


def test_lots_are_floored_towards_zero():
    """A lot of 0 keeps fractions."""
    assert [floor_lots(x, 100.0) for x in (99.9, 100.0, 250.0, -250.0)] == [0, 100, 200, -200]
    assert floor_lots(0.25, 0.0) == 0.25


def test_commission_is_at_least_the_minimum():
    """max(5, 1 + 0.001 x value)."""
    costs = Costs(lot=1.0, rate=0.001, minimum=5.0, fixed=1.0, slippage=0.0)

    assert commission(costs, 2_000.0) == 5.0
    assert commission(costs, 10_000.0) == 11.0


@pytest.mark.parametrize(
    ("lot", "cash", "shares"),
    [
        (1.0, 1_006.0, 100),  # 100 x 10 + max(5, 1 + 1) = 1005; 101 would cost 1015
        (100.0, 1_999.0, 100),
        (1.0, 14.99, 0),  # one share and the minimum are 15
        (1.0, 15.0, 1),
        (0.0, 17.5, 1.25),
    ],
)
def test_cash_covers(lot, cash, shares):
    """The most that `cash` buys at 10, commission max(5, 1 + 0.001 x value) included."""
    costs = Costs(lot=lot, rate=0.001, minimum=5.0, fixed=1.0, slippage=0.0)

    assert affordable(costs, cash, 1_000.0, 10.0) == pytest.approx(shares, rel=1e-15)


def test_cash_covers_whole_lots_of_an_odd_number():
    """Of 250 shares in lots of 100, 2,049 buys two lots at 10, not one; 2,500 buys all of them."""
    costs = Costs(lot=100.0, rate=0.0, minimum=0.0, fixed=0.0, slippage=0.0)

    assert [affordable(costs, cash, 250.0, 10.0) for cash in (2_049.0, 2_500.0)] == [200, 250]


@given(
    lot=st.sampled_from([0.0, 1.0, 100.0]),
    cash=st.floats(0, 1e15),
    price=st.floats(1e-6, 1e9),
    wanted=st.integers(1, 10**9),
    rate=st.floats(0, 1),
    minimum=st.floats(0, 100),
)
def test_cash_covers_the_answer_and_no_more(lot, cash, price, wanted, rate, minimum):
    """The answer is whole lots and covered, and of fractions no dust; the next larger amount is not."""
    costs = Costs(lot, rate, minimum, 0.0, 0.0)
    asked = wanted * (lot or 1.0)
    answer = affordable(costs, cash, asked, price)

    def fits(quantity):
        return quantity * price + commission(costs, quantity * price) <= cash

    assert 0 <= answer <= asked
    assert answer == 0 or fits(answer)
    assert answer == asked or not fits(answer + lot if lot else np.nextafter(max(answer, DUST * asked), np.inf))
    assert lot or answer == 0 or answer > DUST * asked
    assert floor_lots(answer, lot) == answer


def test_row_at_a_time():
    """A bar is found by symbol and time; where there is none the row is -1."""
    starts, times = np.array([0, 3, 3, 5]), np.array([0, 2, 5, 1, 2], np.int32)
    asked = [(0, 0), (0, 1), (0, 5), (0, 6), (1, 0), (2, 0), (2, 1), (2, 2)]

    assert [row_at(starts, times, *one) for one in asked] == [0, -1, 2, -1, -1, -1, 3, 4]


@given(st.lists(st.sets(st.integers(0, 30)), min_size=1, max_size=3), st.sets(st.integers(0, 30)))
def test_rows_are_found_as_time_goes_on(symbols, visited):
    """Whichever times a symbol is looked at, in order, its row there is the one that a search finds."""
    starts = np.concatenate([[0], np.cumsum([len(times) for times in symbols])])
    times = np.array([time for own in symbols for time in sorted(own)], np.int32)
    state = opened(1.0, len(symbols), 0)
    rewind(starts, state.slots)
    for time in sorted(visited):
        for symbol, own in enumerate(symbols):
            row = starts[symbol] + sorted(own).index(time) if time in own else -1

            assert row_of(starts, times, state.slots[symbol], time) == row
            assert row_at(starts, times, symbol, time) == row


@given(st.sets(st.integers(0, 20)), st.sets(st.integers(0, 20)))
def test_active_symbols_stay_ascending(before, ordered):
    """Symbols with new orders are merged into the active ones, each once."""
    state = opened(1.0, 21, 0)
    state.active[: len(before)] = sorted(before)
    state.slots.active[sorted(before)] = 1
    state.account.active = len(before)
    state.slots.signal_time[sorted(ordered)] = 0
    activate(np.arange(21), state)

    assert state.active[: state.account[0].active].tolist() == sorted(before | ordered)
    assert state.slots.active.sum() == len(before | ordered)
    assert (state.slots.signal_time == NO_ORDER).sum() == 21 - len(ordered)


def test_true_range_is_wilders():
    """The average true range equals TA-Lib's at every bar, over two periods and a change of the factor."""
    rng = np.random.default_rng(1)
    close = 50 * np.exp(np.cumsum(rng.normal(0, 0.02, 60)))
    factor = np.where(np.arange(60) < 30, 1.0, 2.0)
    columns = {"high": close * 1.01, "low": close * 0.97, "close": close, "factor": factor}
    ranges, found = TrueRanges(np.array([2.0])), []
    for part in (slice(20), slice(20, None)):
        sessions = np.arange(60)[part].astype("datetime64[D]")
        place = np.arange(len(sessions), dtype=np.int32)
        period = PeriodBars.of_days(
            sessions, np.array([0, len(place)]), place, {name: v[part] for name, v in columns.items()}
        )
        found.append(ranges.follow(period))
    adjusted = [columns[name] * factor / 2 for name in ("high", "low", "close")]

    assert np.concatenate(found) == pytest.approx(talib.ATR(*adjusted, 14), nan_ok=True)


def test_machine_code_is_kept_in_the_users_cache(tmp_path, monkeypatch):
    """The folder stands under XDG_CACHE_HOME, is named after sources and versions, and is the user's alone."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = compiled.cache_folder()

    assert folder == tmp_path / "pipeline" / f"trading-{compiled.fingerprint()}"
    assert folder.stat().st_mode & 0o777 == 0o700


def test_machine_code_of_others_is_not_run(tmp_path, monkeypatch):
    """A cache folder that others can write to is passed over for one in the temporary directory, or for none."""
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "pipeline").chmod(0o777)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(compiled.tempfile, "gettempdir", lambda: str(tmp_path / "temporary"))

    assert compiled.cache_folder().parent == tmp_path / "temporary" / f"pipeline-{os.getuid()}"

    monkeypatch.setattr(compiled.tempfile, "gettempdir", lambda: "/dev/null")

    assert compiled.cache_folder() is None


def test_cache_of_other_numba_users_is_left_alone(tmp_path):
    """Importing the loop changes neither the environment nor Numba's setting, also without a usable HOME."""
    program = (
        "import os; before = dict(os.environ)\n"
        "from numba.core import config; setting = config.CACHE_DIR\n"
        "import pipeline.trading.loop\n"
        "assert dict(os.environ) == before and setting == config.CACHE_DIR"
    )
    environment = {"HOME": "/dev/null", "TMPDIR": str(tmp_path), "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == [f"pipeline-{os.getuid()}"]
