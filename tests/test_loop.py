"""The trading stage on markets of a few bars, every number calculated by hand."""

import numba
import numpy as np
import pandas as pd
import pytest

from markets import bars, changes, day, equity_of, fills_of, options, orders_of, periods, run
from pipeline.errors import DataError, InvariantError, StrategyError
from pipeline.events import Stage, StageProgress
from pipeline.modes import Fill
from pipeline.schema import EQUITY_COLUMNS, FILL_COLUMNS, ORDER_COLUMNS
from pipeline.trading import loop
from pipeline.trading.kernel import walk
from pipeline.trading.loop import trade, trade_periods
from pipeline.trading.rehearsal import rehearse
from stores import make_store

TEN_SHARES = options(cash=1_000, sizing={"method": "shares", "value": 10})


def endings(ledger) -> list[tuple]:
    """Return (symbol, ended in session, filled, status, reason) of every order."""
    return [(symbol, ended, filled, *why) for _, ended, symbol, _, _, filled, *why in orders_of(ledger)]


def test_fills_at_the_next_open():
    """A signal after the first close buys at the second open; equity is marked at closes."""
    ledger = run(bars(A=[10, (11, 12), (13, 14)]), changes(("A", 0, 1), ("A", 1, 0)), TEN_SHARES)

    assert fills_of(ledger) == [(1, "A", 10, 11, 0, 0), (2, "A", -10, 13, 0, 0)]
    assert equity_of(ledger) == [(1000, 0, 1000, 0), (890, 120, 1010, 1), (1020, 0, 1020, 0)]
    assert orders_of(ledger) == [
        (0, 1, "A", 1, 10, 10, "filled", "signal"),
        (1, 2, "A", 0, -10, -10, "filled", "signal"),
    ]


def test_fills_at_the_same_close():
    """With fill `close` the signal of a close trades at that close."""
    chosen = options(cash=1_000, sizing={"method": "shares", "value": 10}, fill="close")
    ledger = run(bars(A=[(9, 10), (11, 12)]), changes(("A", 0, 1), ("A", 1, 0)), chosen)

    assert fills_of(ledger) == [(0, "A", 10, 10, 0, 0), (1, "A", -10, 12, 0, 0)]
    assert [row[2] for row in equity_of(ledger)] == [1000, 1020]


def test_sizes_by_the_last_close():
    """Equity for sizing is that of the last mark: 1,100 buys 11 shares at 50, not 10 or 12."""
    chosen = options(cash=1_000, sizing={"method": "fraction", "value": 0.5}, market="us")
    frame = bars(A=[10, 10, 12, 12], B=[50, 50, 50, 50])
    ledger = run(frame, changes(("A", 0, 1), ("B", 2, 1)), chosen)

    assert fills_of(ledger) == [(1, "A", 50, 10, 0, 0), (3, "B", 10, 50, 0, 0)]
    assert orders_of(ledger)[1] == (2, 3, "B", 1, 11, 10, "partial", "cash")  # 500 of cash


def test_close_fills_size_by_the_previous_close():
    """With fill `close` the equity of the previous close counts: 100 % of 1,000, not of the 1,200 of this close."""
    chosen = options(cash=1_000, sizing={"method": "weight"}, fill="close")
    ledger = run(bars(A=[10, 12]), changes(("A", 0, 0.5), ("A", 1, 1)), chosen)

    assert [fill[2] for fill in fills_of(ledger)] == [50, 33]  # 1000 / 12 = 83.3


def test_costs_and_slippage():
    """Buy at 10 x 1.01, sell at 20 x 0.99, commission max(5, 1 + 1 %) each time."""
    chosen = options(
        cash=1_000,
        sizing={"method": "shares", "value": 10},
        commission={"rate": 0.01, "minimum": 5, "fixed": 1},
        slippage={"rate": 0.01},
    )
    ledger = run(bars(A=[10, 10, 20, 20]), changes(("A", 0, 1), ("A", 1, 0)), chosen)

    assert [fill[3:] for fill in fills_of(ledger)] == [
        (10.1, 5, pytest.approx(1)),
        (19.8, 5, pytest.approx(2)),
    ]
    assert ledger.equity["cash"].tolist() == pytest.approx([1000, 894, 1087, 1087])


def test_sells_before_buys():
    """A is bought with the money of B, although A stands first: sales fill before buys."""
    frame = bars(A=[10, 10, 10, 10], B=[10, 10, 10, 10])
    ledger = run(
        frame, changes(("B", 0, 1), ("B", 2, 0), ("A", 2, 1)), options(cash=1_000, sizing={"method": "all_in"})
    )

    assert fills_of(ledger) == [(1, "B", 100, 10, 0, 0), (3, "B", -100, 10, 0, 0), (3, "A", 100, 10, 0, 0)]


def test_stronger_signals_buy_first():
    """Cash goes to the largest exposure, then in symbol order; `all_in` takes the cash of that moment."""
    frame = bars(A=[10, 10], B=[10, 10], C=[10, 10])
    ledger = run(
        frame, changes(("A", 0, 0.5), ("B", 0, 0.8), ("C", 0, 0.5)), options(cash=1_000, sizing={"method": "all_in"})
    )

    assert [(fill[1], fill[2]) for fill in fills_of(ledger)] == [("B", 80), ("A", 10), ("C", 5)]


def test_all_in_closes_at_most_where_no_money_is_free():
    """What is short has risen, so cash less twice of it is below 0: targets of others are 0, not the other side."""
    frame = bars(A=[100] * 4 + [150] * 2, B=[50] * 6, C=[50] * 6)
    opinions = changes(("B", 0, -0.05), ("C", 0, 0.05), ("A", 1, -1), ("B", 4, -0.06), ("C", 4, 0.06))
    ledger = run(frame, opinions, options(cash=100_000, short=True, sizing={"method": "all_in"}))

    assert [fill[:3] for fill in fills_of(ledger)] == [
        (1, "B", -100),
        (1, "C", 95),
        (2, "A", -902),
        (5, "B", 100),
        (5, "C", -95),
    ]


@pytest.mark.parametrize(
    ("cash", "ending"),
    [
        ("shrink", ("A", 1, 66, "partial", "cash")),  # 66 x 15 + 5 = 995
        ("reject", ("A", 1, 0, "rejected", "cash")),
    ],
)
def test_cash_short(cash, ending):
    """100 shares at 15 and 5 of commission are more than 1,000."""
    chosen = options(
        cash=1_000,
        sizing={"method": "shares", "value": 100},
        commission={"minimum": 5},
        orders={"cash": cash},
    )
    ledger = run(bars(A=[10, 15]), changes(("A", 0, 1)), chosen)

    assert endings(ledger) == [ending]


def test_less_than_a_lot():
    """An exposure of less than a lot is rejected, also one that would add less than a lot."""
    chosen = options(cash=1_000, lot=100, sizing={"method": "value", "value": 1_000})
    frame = bars(A=[10, 10, 10], B=[11, 11, 11])
    ledger = run(frame, changes(("A", 0, 0.999), ("B", 0, 1)), chosen)

    assert endings(ledger) == [("B", 1, 0, "rejected", "lot"), ("A", 1, 0, "rejected", "lot")]
    assert orders_of(ledger)[0][4] == 0


def test_fractions_of_a_share():
    """The free market trades any fraction and costs nothing."""
    chosen = options(cash=1_000, market="free", sizing={"method": "weight"})
    ledger = run(bars(A=[8, 8, 16]), changes(("A", 0, 0.3)), chosen)

    assert fills_of(ledger) == [(1, "A", 37.5, 8, 0, 0)]
    assert ledger.equity["equity"].iloc[-1] == 1_300


def test_same_shares_again_are_held():
    """A change of exposure that means no other number of shares is filled with nothing to do: 9.5 and 9.9 are 9."""
    chosen = options(sizing={"method": "weight"}, cash=100)
    ledger = run(bars(A=[10, 10, 10]), changes(("A", 0, 0.95), ("A", 1, 0.99)), chosen)

    assert endings(ledger) == [("A", 1, 9, "filled", "signal"), ("A", 2, 0, "filled", "held")]


def test_entry_expires_without_a_bar():
    """An entry waits `valid_sessions` sessions of the account, and says what was in its way last."""
    frame = bars(A=[10, None, (10, 10, 0), 10], B=[1, 1, 1, 1])

    assert endings(run(frame, changes(("A", 0, 1)), TEN_SHARES)) == [("A", 1, 0, "rejected", "no_bar")]

    two = TEN_SHARES.model_copy(update={"orders": options(orders={"valid_sessions": 2}).orders})

    assert endings(run(frame, changes(("A", 0, 1)), two)) == [("A", 2, 0, "rejected", "volume")]

    three = TEN_SHARES.model_copy(update={"orders": options(orders={"valid_sessions": 3}).orders})

    assert endings(run(frame, changes(("A", 0, 1)), three)) == [("A", 3, 10, "filled", "signal")]


def test_entry_at_the_close_lives_from_its_own_session():
    """With fill `close` the first of the `valid_sessions` is the signal's own."""
    chosen = TEN_SHARES.model_copy(update={"fill": Fill.CLOSE})
    frame = bars(A=[(10, 10, 0), 10], B=[1, 1])

    assert endings(run(frame, changes(("A", 0, 1)), chosen)) == [("A", 0, 0, "rejected", "volume")]


def test_lower_exposure_of_nothing_is_an_entry():
    """A smaller exposure stands only if something is held; else it expires like any entry."""
    frame = bars(A=[10, (10, 10, 0), (10, 10, 0), 10], B=[1, 1, 1, 1])
    ledger = run(frame, changes(("A", 0, 1), ("A", 1, 0.5)), TEN_SHARES)

    assert endings(ledger) == [("A", 1, 0, "rejected", "volume"), ("A", 2, 0, "rejected", "volume")]


def test_exit_stands_until_it_is_filled():
    """An exit outlives sessions without a bar and without volume; the position keeps its last mark meanwhile."""
    frame = bars(A=[10, 10, None, (7, 7, 0), 6], B=[1, 1, 1, 1, 1])
    ledger = run(frame, changes(("A", 0, 1), ("A", 1, 0)), TEN_SHARES)

    assert endings(ledger)[1] == ("A", 4, -10, "filled", "signal")
    assert [row[1] for row in equity_of(ledger)] == [0, 100, 100, 70, 0]


def test_reduction_stands_too():
    """An order that lowers the exposure of something held stands like an exit; one that raises it is an entry."""
    frame = bars(A=[10, 10, None, None, 10], B=[1, 1, 1, 1, 1])
    lower = run(frame, changes(("A", 0, 1), ("A", 1, 0.5)), TEN_SHARES)
    higher = run(frame, changes(("A", 0, 0.5), ("A", 1, 1)), TEN_SHARES)

    assert endings(lower)[1] == ("A", 4, -5, "filled", "signal")
    assert endings(higher)[1] == ("A", 2, 0, "rejected", "no_bar")


def test_new_opinion_supersedes_an_open_order():
    """A standing exit whose opinion changes is superseded; the new order trades target minus held."""
    frame = bars(A=[10, 10, (10, 10, 0), 10], B=[1, 1, 1, 1])
    ledger = run(frame, changes(("A", 0, 1), ("A", 1, 0), ("A", 2, 1)), TEN_SHARES)

    assert endings(ledger)[1:] == [("A", 2, 0, "rejected", "superseded"), ("A", 3, 0, "filled", "held")]


def test_exit_of_nothing_needs_no_bar():
    """Exposure 0 with nothing held is done in the next session, and a pending entry is superseded by it."""
    frame = bars(A=[10, (10, 10, 0), None, 10], B=[1, 1, 1, 1])
    patient = TEN_SHARES.model_copy(update={"orders": options(orders={"valid_sessions": 9}).orders})
    ledger = run(frame, changes(("A", 0, 1), ("A", 1, 0)), patient)

    assert endings(ledger) == [("A", 1, 0, "rejected", "superseded"), ("A", 2, 0, "filled", "held")]


def test_open_orders_end_with_the_data():
    """What is open after the last session is rejected there; positions are only marked."""
    ledger = run(bars(A=[10, 10, 12]), changes(("A", 0, 1), ("A", 2, 0)), TEN_SHARES)

    assert endings(ledger)[1] == ("A", 2, 0, "rejected", "end_of_data")
    assert ledger.equity["positions"].iloc[-1] == 1


def test_sale_that_cannot_pay_its_commission_waits():
    """10 shares at 0.1 do not pay a commission of 5, and no cash is left; at 2 they do."""
    chosen = options(cash=105, sizing={"method": "shares", "value": 10}, commission={"minimum": 5})
    ledger = run(bars(A=[10, 10, 0.1, 2]), changes(("A", 0, 1), ("A", 1, 0)), chosen)

    assert endings(ledger)[1] == ("A", 3, -10, "filled", "signal")
    assert ledger.equity["cash"].tolist() == [105, 0, 0, 15]


def test_negative_signals_are_clipped_and_counted():
    """Without short selling -1 means 0; the same exposure after clipping is no change."""
    ledger = run(bars(A=[10] * 5), changes(("A", 0, 1), ("A", 1, -1), ("A", 2, 0), ("A", 3, -0.5)), TEN_SHARES)

    assert ledger.clipped == 2
    assert endings(ledger) == [("A", 1, 10, "filled", "signal"), ("A", 2, -10, "filled", "signal")]


def test_prices_are_adjusted_by_factor_and_scale():
    """A price is price x factor / scale: 10 x 3 / 2."""
    frame = bars(A=[10, 10]).assign(factor=3.0)
    ledger = run(frame, changes(("A", 0, 1)), TEN_SHARES, scales=np.array([2.0]))

    assert fills_of(ledger) == [(1, "A", 10, 15, 0, 0)]
    assert ledger.benchmark.tolist() == pytest.approx([1000, 1000])


def test_benchmark_is_an_equal_part_of_every_symbol():
    """Half in A from its first close, half in B from its later first close, which is cash until then."""
    frame = bars(A=[10, 20, 20, None], B=[None, None, 5, 10])

    assert run(frame, changes(), TEN_SHARES).benchmark.tolist() == [1000, 1500, 1500, 2000]


def test_ledger_has_the_columns_of_the_schema():
    """Columns, their order and dtypes; exposures are fractions of equity."""
    ledger = run(bars(A=[10, 10, 10]), changes(("A", 0, 1)), TEN_SHARES)

    assert tuple(ledger.equity.columns) == EQUITY_COLUMNS
    assert tuple(ledger.orders.columns) == ORDER_COLUMNS
    assert tuple(ledger.fills.columns) == FILL_COLUMNS
    assert str(ledger.fills["session"].dtype) == "datetime64[ms]"
    assert ledger.orders["symbol"].cat.categories.tolist() == ["A"]
    assert ledger.equity[["gross_exposure", "net_exposure"]].iloc[-1].tolist() == [0.1, 0.1]
    assert ledger.bars.tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("signals", "message"),
    [
        (changes(("X", 0, 1)), "signals for 'X'"),
        (changes(("A", 1, 1)), "A on 2020-01-02"),
        (changes(("A", 9, 1)), "A on 2020-01-10"),
        (changes(("A", 0, np.inf)), "signal inf for A on 2020-01-01"),
        (changes(("A", 0, 1), ("A", 0, 0)), "two signals for A on 2020-01-01"),
    ],
)
def test_signals_must_stand_on_bars(signals, message):
    """An unknown symbol, a session without a bar, a signal that is no number, and two at once are named."""
    with pytest.raises(StrategyError, match=message):
        run(bars(A=[10, None, 10], B=[1, 1, 1]), signals, TEN_SHARES)


def test_equity_of_zero_stops_the_run():
    """Commissions that eat the whole account are named with session and fill."""
    chosen = options(cash=10, sizing={"method": "shares", "value": 1}, commission={"fixed": 5})

    with pytest.raises(InvariantError, match=r"equity is 0 on 2020-01-03 after fill #2 \(-1 A at 5\)"):
        run(bars(A=[5, 5, 5]), changes(("A", 0, 1), ("A", 1, 0)), chosen)


def test_no_bars_is_an_error():
    """An empty window has no equity to report."""
    with pytest.raises(DataError, match="no bars"):
        trade_periods([], ["A"], np.ones(1), changes(), TEN_SHARES)


@pytest.mark.parametrize(
    "own",
    [
        {},
        {"sizing": {"method": "risk", "value": 0.01}, "stops": {"loss": 0.1, "profit": 0.2, "trailing": 0.1}},
        {"volume_cap": 0.1, "rebalance": "monthly", "short": True, "fill": "next_ohlc4", "cash": 1},
    ],
    ids=["plain", "stops", "capped"],
)
def test_a_rehearsal_has_no_result(own):
    """Whatever the rules of the account: it trades nothing, and says nothing."""
    assert rehearse(options(**own)) is None


def test_a_rehearsal_loads_what_the_trading_needs(monkeypatch):
    """The kernel is called with the very types of any market: nothing is loaded or compiled after it."""
    seen = []

    def walked(*arguments):
        seen.append([numba.typeof(each) for each in arguments])
        return walk(*arguments)

    monkeypatch.setattr(loop, "walk", walked)
    rehearse(TEN_SHARES)
    run(bars(A=[10, (11, 12), (13, 14)]), changes(("A", 0, 1), ("A", 1, 0)), TEN_SHARES)

    assert seen[0] == seen[-1]


def told_while_trading(frame, signals, cuts) -> list:
    """Return what the listener hears of an account that trades A and B."""
    told = []
    parts = periods(frame, ["A", "B"], cuts)
    trade_periods(parts, ["A", "B"], np.ones(2), signals, TEN_SHARES, listener=told.append)
    return told


def test_progress_is_told_in_bars():
    """The listener hears how many bars are done after every period."""
    told = told_while_trading(bars(A=[1, 1, 1], B=[1, 1, 1]), changes(), [1])

    assert told[::2] == [StageProgress(Stage.TRADING, 2), StageProgress(Stage.TRADING, 6)]


@pytest.mark.parametrize(("often", "expected"), [(250_000, [2, 4]), (1, [1, 2, 3, 4]), (4, [2, 4])])
def test_the_account_is_told_as_it_grows(often, expected, monkeypatch):
    """Every session's equity is told once, with the orders that ended so far, filled or not."""
    monkeypatch.setattr(loop, "TOLD_AFTER", often)
    frame = bars(A=[10, 10, 11, 12], B=[500] * 4)
    marked = told_while_trading(frame, changes(("A", 0, 1), ("B", 1, 1), ("A", 2, 0)), [2])[1::2]

    assert [str(day) for event in marked for day in event.sessions] == [f"2020-01-0{n}" for n in (1, 2, 3, 4)]
    assert [value for event in marked for value in event.equity] == [1000, 1000, 1010, 1020]
    assert np.cumsum([len(event.sessions) for event in marked]).tolist() == expected
    assert (marked[-1].filled, marked[-1].refused) == (2, 1)


def test_books_are_checked_against_the_fills(monkeypatch):
    """A loop that loses money between fills is caught by the sums of its own fills."""

    def leaky(*arguments):
        arguments[-2].cash = arguments[-2].equity = 999.0
        return arguments[3][1]

    monkeypatch.setattr(loop, "walk", leaky)

    with pytest.raises(InvariantError, match="cash is 999 on 2020-01-01, the fills until then leave 1000"):
        run(bars(A=[1, 1]), changes(), TEN_SHARES)


@pytest.fixture
def snapshot(tmp_path):
    """Make a store of three symbols in two periods."""
    frame = bars(A=[10, 11, 12, 13], B=[None, 20, 21, 22], C=[5, 6, None, 10])
    return make_store(tmp_path / "store", frame, tail=str(day(2).astype("datetime64[D]")))


def test_trades_a_snapshot(snapshot):
    """From the store, the loop sees the chosen symbols and window only."""
    window = {"start": day(1).item().date(), "end": day(3).item().date()}
    ledger = trade(snapshot, ["A", "B"], changes(("A", 1, 1)), TEN_SHARES, **window, benchmark=None)

    assert ledger.equity["session"].tolist() == [pd.Timestamp(day(n)) for n in (1, 2, 3)]
    assert ledger.fills["price"].tolist() == [12]
    assert ledger.bars.tolist() == [2, 2, 2]


def test_benchmark_of_one_symbol(snapshot):
    """A symbol that is not traded can be the benchmark: cash before its first close, the last mark after it."""
    ledger = trade(snapshot, ["A"], changes(), TEN_SHARES, start=None, end=None, benchmark="C")

    assert ledger.benchmark.tolist() == [1000, 1200, 1200, 2000]

    later = trade(snapshot, ["A"], changes(), TEN_SHARES, start=None, end=None, benchmark="B")

    assert later.benchmark.tolist() == [1000, 1000, 1050, 1100]
