"""Shorts, stops, limits, corporate actions and delisting on markets of a few bars, every number calculated by hand."""

import os
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from markets import actions, bars, changes, day, equity_of, fills_of, options, orders_of, payments_of, reasons_of, run
from pipeline.bars.parquet import parquet_bytes
from pipeline.errors import ConfigError, InvariantError
from pipeline.results.splits import trades_through_splits
from pipeline.results.trades import trades_of
from pipeline.schema import ACTIONS, INSTRUMENTS
from pipeline.trading.actions import read_actions
from pipeline.trading.listings import read_listings
from pipeline.trading.loop import trade
from stores import make_store


def ten(**rules):
    """Return an account of 1,000 that trades 10 shares, long or short."""
    return options(**{"cash": 1_000, "short": True, "sizing": {"method": "shares", "value": 10}, **rules})


def endings(ledger) -> list[tuple]:
    """Return (ended in session, wanted, asked, filled, status, reason) of every order."""
    return [(ended, *rest) for _, ended, _, *rest in orders_of(ledger)]


def fills(ledger) -> list[tuple]:
    """Return (session, quantity, price, reason) of every fill."""
    return [(fill[0], *fill[2:4], why) for fill, why in zip(fills_of(ledger), reasons_of(ledger), strict=True)]


# short positions


def test_short_sale_and_cover():
    """Sold at 10, covered at 8: 20 of profit; the proceeds are cash, the position is worth less than nothing."""
    ledger = run(bars(A=[10, 10, 9, 8]), changes(("A", 0, -1), ("A", 2, 0)), ten())

    assert fills_of(ledger) == [(1, "A", -10, 10, 0, 0), (3, "A", 10, 8, 0, 0)]
    assert equity_of(ledger) == [(1000, 0, 1000, 0), (1100, -100, 1000, 1), (1100, -90, 1010, 1), (1020, 0, 1020, 0)]
    assert ledger.equity[["gross_exposure", "net_exposure"]].iloc[1].tolist() == [0.1, -0.1]


def test_flip_is_a_close_and_an_open():
    """From 10 long to 10 short in one session: two orders, two fills, two trades."""
    ledger = run(bars(A=[10, 10, 12, 12]), changes(("A", 0, 1), ("A", 1, -1)), ten())
    trades = trades_of(ledger.fills, ledger.equity["session"].to_numpy())

    assert fills(ledger)[1:] == [(2, -10, 12, "signal"), (2, -10, 12, "signal")]
    assert endings(ledger)[1:] == [(2, 0, -10, -10, "filled", "signal"), (2, -1, -10, -10, "filled", "signal")]
    assert trades["quantity"].tolist() == [10, -10]


def test_the_close_of_a_flip_stands_and_its_open_expires():
    """Without a bar the open is an entry and expires; the close fills when there is one."""
    ledger = run(bars(A=[10, 10, None, 12], B=[1, 1, 1, 1]), changes(("A", 0, 1), ("A", 1, -1)), ten())

    assert endings(ledger)[1:] == [(2, -1, 0, 0, "rejected", "no_bar"), (3, 0, -10, -10, "filled", "signal")]


def test_an_opinion_supersedes_both_halves_of_a_flip():
    """Neither half had a bar, then the old opinion returns: nothing to do."""
    frame = bars(A=[10, 10, (10, 10, 0), 12], B=[1, 1, 1, 1])
    ledger = run(frame, changes(("A", 0, 1), ("A", 1, -1), ("A", 2, 1)), ten(orders={"valid_sessions": 3}))

    assert endings(ledger)[1:] == [
        (2, 0, 0, 0, "rejected", "superseded"),
        (2, -1, 0, 0, "rejected", "superseded"),
        (3, 1, 0, 0, "filled", "held"),
    ]


def test_gross_exposure_is_at_most_the_equity():
    """Proceeds of a short sale buy nothing: 700 short leave 300 of 1,000 for B, not 1,700."""
    frame = bars(A=[10, 10], B=[10, 10])
    chosen = options(cash=1_000, short=True, sizing={"method": "weight"})
    ledger = run(frame, changes(("A", 0, -0.7), ("B", 0, 0.6)), chosen)

    assert [fill[1:3] for fill in fills_of(ledger)] == [("A", -70), ("B", 30)]
    assert orders_of(ledger)[1][-2:] == ("partial", "cash")
    assert ledger.equity["gross_exposure"].iloc[-1] == 1.0


def test_short_sale_shrinks_to_the_equity():
    """A short sale of twice the equity is shrunk, commission included: 99 x 10 + 5 of 1,000."""
    ledger = run(bars(A=[10, 10]), changes(("A", 0, -2)), ten(sizing={"method": "weight"}, commission={"minimum": 5}))

    assert endings(ledger) == [(1, -2, -200, -99, "partial", "cash")]


def test_cover_that_cash_cannot_pay_is_partial_and_stands():
    """Short 50 at 10 and long 50 of B: at 25 the cash covers 40 of 50, the rest waits until B is sold."""
    frame = bars(A=[10, 10, 25, 25, 25], B=[10, 10, 40, 40, 40])
    chosen = options(cash=1_000, short=True, sizing={"method": "shares", "value": 50})
    signals = changes(("A", 0, -1), ("B", 0, 1), ("A", 1, 0), ("B", 2, 0))
    ledger = run(frame, signals, chosen)

    assert [fill[:3] for fill in fills_of(ledger)[2:]] == [(2, "A", 40), (3, "B", -50), (4, "A", 10)]
    assert orders_of(ledger)[-1] == (1, 4, "A", 0, 50, 50, "filled", "signal")


def test_short_that_loses_everything_stops_the_run():
    """A short position can cost more than there is; the run says so."""
    with pytest.raises(InvariantError, match="equity is -1000 on 2020-01-03"):
        run(bars(A=[10, 10, 30]), changes(("A", 0, -1)), ten(sizing={"method": "weight"}))


# stops


@pytest.mark.parametrize(
    ("exposure", "bar", "expected"),
    [
        (1, (10, 10.5, 8.9, 10, 99), (9.0, "stop_loss")),
        (1, (8.5, 10, 8, 10, 99), (8.5, "stop_loss")),  # a gap beyond the level fills at the open
        (1, (10, 12.5, 9.5, 10, 99), (12.0, "take_profit")),
        (1, (12.5, 13, 12, 12, 99), (12.5, "take_profit")),
        (1, (10, 13, 8, 10, 99), (9.0, "stop_loss")),  # both inside: the stop wins
        (1, (12.5, 13, 8, 10, 99), (12.5, "take_profit")),  # the open came before the low
        (1, (10, 11.9, 9.1, 10, 99), None),
        (1, (10, 13, 8, 10, 0), None),  # no volume, no trade
        (-1, (10, 11.1, 9.5, 10, 99), (11.0, "stop_loss")),
        (-1, (11.5, 12, 11, 11, 99), (11.5, "stop_loss")),
        (-1, (10, 10.5, 7.9, 10, 99), (8.0, "take_profit")),
        (-1, (7.5, 8, 7, 8, 99), (7.5, "take_profit")),
        (-1, (10, 11.1, 7.9, 10, 99), (11.0, "stop_loss")),
    ],
)
def test_stop_loss_and_take_profit(exposure, bar, expected):
    """Entered at 10 with a stop of 10 % and a profit of 20 %: what the next bar does."""
    ledger = run(bars(A=[10, 10, bar, 10]), changes(("A", 0, exposure)), ten(stops={"loss": 0.1, "profit": 0.2}))
    found = [(price, why) for session, _, price, why in fills(ledger)[1:] if session == 2]

    assert found == ([expected] if expected else [])


@pytest.mark.parametrize(
    ("fill", "stopped"),
    [("next_open", (1, 9.0)), ("next_close", (2, 8.0)), ("next_ohlc4", (2, 8.0)), ("close", (1, 9.0))],
)
def test_which_bar_stops_an_entry(fill, stopped):
    """An entry at the open is exposed in its own bar; one at the mean or the close from the next bar on."""
    frame = bars(A=[10, (10, 12, 8, 10, 99), (8, 8, 8, 8, 99)])
    ledger = run(frame, changes(("A", 0, 1)), ten(fill=fill, stops={"loss": 0.1}))

    assert fills(ledger)[0][2] == 10
    assert fills(ledger)[1][0::2] == stopped[0:2]


def test_trailing_stop_follows_previous_bars_only():
    """Bought at 10: the high of 20 counts from the next bar on, and 10 % below it is 18."""
    frame = bars(A=[10, 10, (10, 20, 10, 19, 99), (19, 19.5, 17, 18, 99)])
    ledger = run(frame, changes(("A", 0, 1)), ten(stops={"trailing": 0.1}))
    short = run(
        bars(A=[10, 10, (10, 10, 5, 6, 99), (5.2, 7, 5, 6, 99)]), changes(("A", 0, -1)), ten(stops={"trailing": 0.1})
    )

    assert fills(ledger)[1:] == [(3, -10, 18, "trailing_stop")]
    assert fills(short)[1:] == [(3, 10, 5.5, "trailing_stop")]


def test_the_high_before_an_entry_at_the_close_does_not_count():
    """The bar's high of 20 came before its close of 10 was bought."""
    frame = bars(A=[10, (10, 20, 10, 10, 99), (10, 10, 9.5, 10, 99)])

    assert len(run(frame, changes(("A", 0, 1)), ten(fill="next_close", stops={"trailing": 0.1})).fills) == 1


def test_the_nearest_stop_gives_the_reason():
    """Stop loss 10 % of 10 is 9; the trailing stop of 20 % is 8 until the price has risen."""
    frame = bars(A=[10, 10, (9, 9, 7, 8, 99)])

    assert fills(run(frame, changes(("A", 0, 1)), ten(stops={"loss": 0.05, "trailing": 0.2})))[1][3] == "stop_loss"


def test_stops_are_taken_from_the_average_entry():
    """5 shares at 10 and 5 at 20 make 15: 10 % below it is 13.5."""
    frame = bars(A=[10, 10, 20, (20, 20, 13, 14, 99)])
    ledger = run(frame, changes(("A", 0, 0.5), ("A", 1, 1)), ten(stops={"loss": 0.1}))

    assert fills(ledger)[-1] == (3, -10, 13.5, "stop_loss")


def test_stopped_positions_do_not_come_back():
    """The opinion is still 1 after the stop: only another one makes an order. Costs apply to stops as to orders."""
    frame = bars(A=[10, 10, 8, 10, 10, 10])
    chosen = ten(stops={"loss": 0.1}, slippage={"rate": 0.01}, commission={"minimum": 1})
    ledger = run(frame, changes(("A", 0, 1), ("A", 4, 0.5)), chosen)

    assert fills(ledger)[1:] == [(2, -10, 7.92, "stop_loss"), (5, 5, 10.1, "signal")]
    assert endings(ledger)[1] == (2, 0, -10, -10, "filled", "stop_loss")
    assert ledger.fills["commission"].tolist() == [1, 1, 1]


FALL = (10, 10, 8, 9.5, 8)  # opens at 10, touches 8, and its volume of 8 lets 4 shares go


def test_the_rest_of_a_stop_stands_until_it_is_done():
    """4 of 10 shares go at the stop; the rest at the next opens, though no level is reached there, as one order.

    A rebalance meanwhile, at the close of session 5, a Monday, buys nothing.
    """
    frame = bars(A=[10, 10, FALL, *[(9.5, 9.6, 9.4, 9.5, 3)] * 10])
    chosen = ten(stops={"loss": 0.1, "trailing": 0.2}, volume_cap=0.5, rebalance="weekly")
    ledger = run(frame, changes(("A", 0, 1)), chosen)

    assert fills(ledger) == [
        (1, 10, 10, "signal"),
        (2, -4, 9, "stop_loss"),
        *((session, -1, 9.5, "stop_loss") for session in range(3, 9)),
    ]
    assert endings(ledger)[1:] == [(8, 0, -10, -10, "filled", "stop_loss")]


def test_the_rest_of_a_profit_keeps_its_level():
    """A profit is a limit: 4 of 10 shares go at 12, and the rest when 12 is reached again, not for less."""
    rise = (10, 12.5, 10, 11, 8)
    frame = bars(A=[10, 10, rise, 11, rise, 11])
    ledger = run(frame, changes(("A", 0, 1)), ten(stops={"profit": 0.2}, volume_cap=0.5))

    assert fills(ledger)[1:] == [(2, -4, 12, "take_profit"), (4, -4, 12, "take_profit")]
    assert endings(ledger)[1:] == [
        (2, 0, -10, -4, "partial", "volume"),
        (4, 0, -6, -4, "partial", "volume"),
    ]


@pytest.mark.parametrize(
    ("wanted", "rest"),
    [
        (0.5, [(3, 0.5, -1, -1, "filled", "signal")]),
        (0.0, [(3, 0, -6, -6, "filled", "signal")]),
        (-1.0, [(3, 0, -6, -6, "filled", "signal"), (3, -1, -10, -10, "filled", "signal")]),
    ],
)
def test_another_opinion_ends_the_rest_of_a_stop(wanted, rest):
    """What is held then is what the new order begins with."""
    frame = bars(A=[10, 10, FALL, 9.5, 9.5])
    ledger = run(frame, changes(("A", 0, 1), ("A", 2, wanted)), ten(stops={"loss": 0.1}, volume_cap=0.5))

    assert endings(ledger)[1:] == [(2, 0, -10, -4, "partial", "superseded"), *rest]


def test_a_rebalance_does_not_buy_back_what_a_profit_sold():
    """4 of 10 go at the profit; the opinion is 1 still, but that is no reason to buy them again on a Monday."""
    frame = bars(A=[10, 10, (10, 12.5, 10, 11, 8), *[11] * 8])
    chosen = ten(stops={"profit": 0.2}, volume_cap=0.5, rebalance="weekly")
    ledger = run(frame, changes(("A", 0, 1)), chosen)
    again = run(frame, changes(("A", 0, 1), ("A", 7, 0.9)), chosen)

    assert fills(ledger)[1:] == [(2, -4, 12, "take_profit")]
    assert fills(again)[2:] == [(8, 3, 11, "signal")]


def test_the_rest_of_an_entry_sells_nothing():
    """10 shares of 1,000 money at 100, of which the bar gives 4; at 400 the money is 2 shares, and 4 are kept."""
    frame = bars(A=[100, (100, 100, 8), 400, 400])
    chosen = options(cash=10_000, sizing={"method": "value", "value": 1_000}, volume_cap=0.5)
    chosen = chosen.model_copy(update={"orders": chosen.orders.model_copy(update={"valid_sessions": 3})})
    ledger = run(frame, changes(("A", 0, 1)), chosen)

    assert fills(ledger) == [(1, 4, 100, "signal")]
    assert endings(ledger) == [(2, 1, 4, 4, "filled", "signal")]


def test_an_order_that_was_to_reduce_adds_in_one_session_only():
    """Of 10 shares 2 came; half as much is 5 now, so the order buys, and has no longer than an entry has."""
    thin = (10, 10, 4)
    frame = bars(A=[10, thin, thin, thin, thin])
    ledger = run(frame, changes(("A", 0, 1), ("A", 1, 0.5)), ten(volume_cap=0.5))

    assert fills(ledger) == [(1, 2, 10, "signal"), (2, 2, 10, "signal")]
    assert endings(ledger) == [(1, 1, 10, 2, "partial", "volume"), (2, 0.5, 3, 2, "partial", "volume")]


def test_the_rest_of_a_rebalancing_sale_stands():
    """The price doubled, so half is sold, as fast as the volume lets it, beyond the session of an entry."""
    thin = (20, 20, 4)
    frame = bars(A=[10, 10, 20, 20, 20, 20, *[thin] * 4])
    chosen = options(sizing={"method": "value", "value": 100}, volume_cap=0.5, rebalance="weekly")
    ledger = run(frame, changes(("A", 0, 1)), chosen)

    assert fills(ledger) == [(1, 10, 10, "signal"), (6, -2, 20, "signal"), (7, -2, 20, "signal"), (8, -1, 20, "signal")]
    assert endings(ledger)[1:] == [(8, 1, -5, -5, "filled", "signal")]


def test_the_rest_of_a_reduction_buys_nothing():
    """2 of the 5 shares that are too many are sold, then the price falls to where 8 are too few: they are kept."""
    frame = bars(A=[10, 10, 20, 20, 20, 20, (20, 20, 4), 5, 5])
    chosen = options(sizing={"method": "value", "value": 100}, volume_cap=0.5, rebalance="weekly")
    ledger = run(frame, changes(("A", 0, 1)), chosen)

    assert fills(ledger)[1:] == [(6, -2, 20, "signal")]
    assert endings(ledger)[1:] == [(7, 1, -2, -2, "filled", "signal")]


def test_fractions_leave_no_dust():
    """1.2 shares go as 0.7 and 0.5, which leaves nothing, not even 1.1e-16 that would take a place of max_positions."""
    frame = bars(A=[10, 10, (10, 10, 1.4), (10, 10, 1.0), 10, 10], B=[10] * 6)
    chosen = options(sizing={"method": "shares", "value": 1.2}, lot=0, volume_cap=0.5, max_positions=1)
    ledger = run(frame, changes(("A", 0, 1), ("A", 1, 0), ("B", 3, 1)), chosen)

    assert ledger.equity["positions"].tolist() == [0, 1, 1, 0, 1, 1]
    assert [ending[-2:] for ending in endings(ledger)] == [("filled", "signal")] * 3


def test_an_exit_that_a_stop_completes_got_what_it_asks():
    """2 of 10 are sold by the order, 8 by a stop in the same bar: nothing is left to ask for."""
    frame = bars(A=[10, 10, (10, 10, 10, 10, 4), (10, 10, 8, 9, 99), 9])
    ledger = run(frame, changes(("A", 0, 1), ("A", 1, 0)), ten(stops={"loss": 0.1}, volume_cap=0.5, fill="next_close"))

    assert [ending[1:] for ending in endings(ledger)[1:]] == [
        (0, -8, -8, "filled", "stop_loss"),
        (0, -2, -2, "filled", "signal"),
    ]


def test_a_stop_that_the_bar_does_not_serve_at_all_stands():
    """A volume of 1 lets no share go; the order arose all the same, and the next open fills it."""
    frame = bars(A=[10, 10, (10, 10, 8, 9.5, 1), 9.5, 9.5])
    ledger = run(frame, changes(("A", 0, 1)), ten(stops={"trailing": 0.1}, volume_cap=0.5))

    assert fills(ledger)[1:] == [(3, -10, 9.5, "trailing_stop")]
    assert orders_of(ledger)[1][:2] == (2, 3)


def test_a_stop_ends_an_open_order_of_its_side():
    """A stop in the bar whose close would have added: the addition is superseded; the turn to short is not."""
    frame = bars(A=[10, 10, (10, 10, 8, 9, 99), 9])
    chosen = ten(fill="next_close", stops={"loss": 0.1})
    more = run(frame, changes(("A", 0, 0.5), ("A", 1, 1)), chosen)
    turned = run(frame, changes(("A", 0, 0.5), ("A", 1, -1)), chosen)

    assert endings(more)[1:] == [(2, 0, -5, -5, "filled", "stop_loss"), (2, 1, 0, 0, "rejected", "superseded")]
    assert endings(turned)[1:] == [
        (2, 0, -5, -5, "filled", "stop_loss"),
        (2, 0, 0, 0, "filled", "held"),
        (2, -1, -10, -10, "filled", "signal"),
    ]


# prices of fills


@pytest.mark.parametrize(
    ("fill", "price"), [("next_open", 11), ("next_close", 13), ("next_ohlc4", 12.25), ("close", 10)]
)
def test_fill_prices(fill, price):
    """The open, the close and the mean of the next bar, and the close of the signal."""
    ledger = run(bars(A=[10, (11, 15, 10, 13, 99)]), changes(("A", 0, 1)), ten(fill=fill))

    assert ledger.fills["price"].tolist() == [price]


# limits


def test_max_positions():
    """Two are held: a third is rejected, unless a sale in the session makes room; more of one needs none."""
    frame = bars(A=[10] * 6, B=[10] * 6, C=[10] * 6)
    signals = changes(("A", 0, 0.5), ("B", 0, 0.4), ("C", 0, 0.3), ("A", 2, 0), ("C", 2, 0.5), ("B", 3, 1))
    ledger = run(frame, signals, ten(max_positions=2))

    assert [row[2:] for row in orders_of(ledger)] == [
        ("A", 0.5, 5, 5, "filled", "signal"),
        ("B", 0.4, 4, 4, "filled", "signal"),
        ("C", 0.3, 3, 0, "rejected", "max_positions"),
        ("A", 0, -5, -5, "filled", "signal"),
        ("C", 0.5, 5, 5, "filled", "signal"),
        ("B", 1, 6, 6, "filled", "signal"),
    ]


def test_volume_cap():
    """A tenth of 40 shares: an entry tries on for two sessions, an exit until it is done."""
    frame = bars(A=[(10, 10, 40)] * 7)
    signals = changes(("A", 0, 1), ("A", 3, 0))
    ledger = run(frame, signals, ten(volume_cap=0.1, orders={"valid_sessions": 2}))

    assert [fill[:2] for fill in fills(ledger)] == [(1, 4), (2, 4), (4, -4), (5, -4)]
    assert endings(ledger) == [(2, 1, 10, 8, "partial", "volume"), (5, 0, -8, -8, "filled", "signal")]


def test_volume_cap_is_shared_by_a_bar():
    """A flip closes 3 shares and sells 1 of the 4 that the bar takes; nothing of a bar of 9 shares is a whole lot."""
    frame = bars(A=[10, (10, 10, 30), (10, 10, 40), (10, 10, 9)])
    ledger = run(frame, changes(("A", 0, 1), ("A", 1, -1)), ten(volume_cap=0.1, orders={"valid_sessions": 2}))

    assert [fill[:2] for fill in fills(ledger)] == [(1, 3), (2, -3), (2, -1)]
    assert endings(ledger)[-1] == (3, -1, -10, -1, "partial", "volume")


def test_volume_is_counted_in_adjusted_shares():
    """Adjusted prices of a half mean twice the shares: a tenth of 20 shares is 4 of the account's."""
    frame = bars(A=[10, (10, 10, 20)]).assign(factor=1.0)
    ledger = run(frame, changes(("A", 0, 1)), ten(volume_cap=0.1), scales=np.array([2.0]))

    assert ledger.fills["quantity"].tolist() == [4]


def test_risk_needs_a_true_range():
    """Of the first 14 bars nobody knows it; then 1 % of 1,000 over a range of 2 is 5 shares."""
    frame = bars(A=[(10, 11, 9, 10, 99)] * 17)
    ledger = run(frame, changes(("A", 0, 1), ("A", 5, 0), ("A", 14, 1)), ten(sizing={"method": "risk", "value": 0.01}))

    assert endings(ledger) == [
        (1, 1, 0, 0, "rejected", "risk"),
        (6, 0, 0, 0, "filled", "held"),
        (15, 1, 5, 5, "filled", "signal"),
    ]


def test_bars_before_the_start_tell_the_true_range(tmp_path):
    """With data.start at the 15th bar the range is known at its close."""
    snapshot = make_store(tmp_path / "store", bars(A=[(10, 11, 9, 10, 99)] * 17))
    chosen = ten(sizing={"method": "risk", "value": 0.01})
    ledger = trade(
        snapshot, ["A"], changes(("A", 14, 1)), chosen, start=day(14).item().date(), end=None, benchmark=None
    )

    assert ledger.fills["quantity"].tolist() == [5]


@pytest.mark.parametrize(("span", "sessions"), [("monthly", [31, 60]), ("weekly", [5, 12, 19, 26, 33, 40, 47, 54, 61])])
def test_rebalance(span, sessions):
    """At the close of the first session of a month or a week (Monday) half of the equity is wanted again."""
    frame = bars(A=[10 + n % 2 for n in range(64)])
    ledger = run(frame, changes(("A", 0, 0.5)), options(cash=1_000, sizing={"method": "weight"}, rebalance=span))

    assert [row[0] for row in orders_of(ledger)[1:]] == sessions


def test_there_is_room_for_orders_that_fill_nothing():
    """One signal, and an order every week of a year with nothing to add: far more orders than signals or fills."""
    frame = bars(A=[10] * 400)
    ledger = run(frame, changes(("A", 0, 1)), ten(rebalance="weekly"))

    assert len(ledger.fills) == 1
    assert [why[-2:] for why in orders_of(ledger)] == [("filled", "signal"), *[("filled", "held")] * 57]


def test_rebalance_leaves_stopped_positions_alone():
    """What was stopped out does not come back with the month."""
    frame = bars(A=[10, 10, 8, *[10] * 40])
    ledger = run(frame, changes(("A", 0, 1)), ten(rebalance="monthly", stops={"loss": 0.1}))

    assert len(ledger.orders) == 2


# raw prices


def test_split():
    """A split 1 : 3 of 10 shares: 3 and a third, which is paid at the new price; stops divide alike."""
    frame = bars(A=[9, 9, 27, (27, 27, 24, 25, 99)])
    ledger = run(frame, changes(("A", 0, 1)), ten(stops={"loss": 0.1}), actions=actions(("A", 2, 0, 1 / 3, None)))

    assert payments_of(ledger) == [(2, "A", -7, 1 / 3, pytest.approx(9), "split")]
    assert ledger.equity["equity"].iloc[:3].tolist() == pytest.approx([1000, 1000, 1000])
    assert fills(ledger)[1:] == [(3, -3, pytest.approx(24.3), "stop_loss")]


def test_reverse_split_of_a_hundred_shares():
    """Ratio 3 on 100 shares: 33 and cash for a third, as zipline has it."""
    chosen = options(cash=1_000, sizing={"method": "shares", "value": 100})
    ledger = run(bars(A=[10, 10, 30]), changes(("A", 0, 1)), chosen, actions=actions(("A", 2, 0, 1 / 3, None)))

    assert ledger.equity["cash"].iloc[-1] == pytest.approx(10)
    assert ledger.equity["positions_value"].iloc[-1] == 990


def test_split_changes_the_trade():
    """10 at 9 become 20 at 4.5 and are sold at 5: one trade of 20 shares that gained 10."""
    frame = bars(A=[9, 9, 4.5, 5])
    ledger = run(frame, changes(("A", 0, 1), ("A", 2, 0)), ten(), actions=actions(("A", 2, 0, 2.0, None)))
    trades = trades_through_splits(ledger.fills, ledger.payments, ledger.equity["session"].to_numpy())

    assert trades[["quantity", "entry_price", "exit_price", "pnl"]].to_numpy().tolist() == [[20, 4.5, 5, 10]]


def test_fraction_of_a_split_closes_a_trade():
    """Of 10 at 9 a third of a share at 27 goes, the other 3 stay open; no profit yet."""
    ledger = run(bars(A=[9, 9, 27]), changes(("A", 0, 1)), ten(), actions=actions(("A", 2, 0, 1 / 3, None)))
    trades = trades_through_splits(ledger.fills, ledger.payments, ledger.equity["session"].to_numpy())

    assert trades["quantity"].tolist() == pytest.approx([1 / 3, 3])
    assert trades["exit_reason"].tolist()[0] == "split"
    assert trades["pnl"][0] == pytest.approx(0, abs=1e-9)


def test_trades_through_splits_add_up():
    """Bought before two splits, added to between them, sold in two parts: what the trades gained is what there is."""
    frame = bars(A=[9, 9, 27, 27, 13.5, 15, 16], B=[10, 10, 11, 12, 12, 12, 13])
    signals = changes(("A", 0, 0.5), ("B", 0, 1), ("A", 2, 1), ("A", 4, -0.5), ("A", 5, 0), ("B", 5, 0))
    acts = actions(("A", 2, 0, 1 / 3, None), ("A", 4, 0, 2.0, None))
    ledger = run(frame, signals, ten(commission={"fixed": 1}), actions=acts)
    trades = trades_through_splits(ledger.fills, ledger.payments, ledger.equity["session"].to_numpy())

    assert trades["exit_session"].notna().all()
    assert trades["pnl"].sum() == pytest.approx(ledger.equity["equity"].iloc[-1] - 1_000)
    assert trades["symbol"].tolist() == ["A", "A", "A", "B"]
    assert trades["quantity"].tolist() == pytest.approx([2 / 3, 20, -5, 10])


def test_dividend_is_cash_on_the_ex_date():
    """Half a unit for each of 10 shares held at the previous close; what is bought on the ex-date gets none."""
    frame = bars(A=[10, 10, 9.5, 9.5])
    held = run(frame, changes(("A", 0, 1), ("A", 1, 0)), ten(), actions=actions(("A", 2, 0.5, 1, None)))
    late = run(frame, changes(("A", 1, 1)), ten(), actions=actions(("A", 2, 0.5, 1, None)))

    assert held.equity["cash"].iloc[-1] == 1_000
    assert payments_of(held) == [(2, "A", 0, 1, 5, "dividend")]
    assert payments_of(late) == []


def test_dividend_is_receivable_until_it_is_paid():
    """Due in session 2, paid in session 4: part of the equity, but no cash. After the end it stays due."""
    frame = bars(A=[10, 10, 9.5, 9.5, 9.5])
    ledger = run(frame, changes(("A", 0, 1)), ten(), actions=actions(("A", 2, 0.5, 1, 4)))
    never = run(frame, changes(("A", 0, 1)), ten(), actions=actions(("A", 2, 0.5, 1, 9)))

    assert ledger.equity["receivable"].tolist() == [0, 0, 5, 5, 0]
    assert ledger.equity["cash"].tolist() == [1000, 900, 900, 900, 905]
    assert ledger.equity["equity"].tolist() == [1000] * 5
    assert never.equity["receivable"].iloc[-1] == 5


def test_short_position_pays_the_dividend():
    """10 short owe 5."""
    ledger = run(bars(A=[10, 10, 9.5]), changes(("A", 0, -1)), ten(), actions=actions(("A", 2, 0.5, 1, None)))

    assert payments_of(ledger) == [(2, "A", 0, 1, -5, "dividend")]
    assert ledger.equity["equity"].tolist() == [1000, 1000, 1000]


def test_dividend_of_a_split_is_per_new_share():
    """Split 2 : 1 and 0.5 a new share on one day, as the store's factor has it: 20 x 0.5."""
    ledger = run(bars(A=[10, 10, 4.5]), changes(("A", 0, 1)), ten(), actions=actions(("A", 2, 0.5, 2.0, None)))

    assert ledger.equity["equity"].tolist() == [1000, 1000, 1000]


def test_raw_prices_ignore_the_factor():
    """The account fills and marks at prices as traded; the benchmark stays adjusted."""
    frame = bars(A=[10, 10, 5]).assign(factor=[1.0, 1.0, 2.0])
    ledger = run(frame, changes(("A", 0, 1)), ten(), actions=actions(("A", 2, 0, 2.0, None)), scales=np.array([2.0]))

    assert ledger.fills["price"].tolist() == [10]
    assert ledger.equity["equity"].tolist() == [1000, 1000, 1000]


@pytest.fixture
def snapshot(tmp_path):
    """Make a store whose factor knows of a split."""
    return make_store(tmp_path / "store", bars(A=[10, 10, 5, 5]).assign(factor=[1.0, 1.0, 2.0, 2.0]))


def test_raw_needs_actions_and_prices_as_traded(snapshot):
    """A store without actions, or with prices that are adjusted already, is refused by name."""
    split = replace(snapshot.manifest, ingest={"adjustment": "splits"})

    with pytest.raises(ConfigError, match="knows no splits and dividends of 'A'"):
        read_actions(snapshot, ["A"])
    with pytest.raises(ConfigError, match="are adjusted for splits"):
        read_actions(replace(snapshot, manifest=split, _lock=os.dup(snapshot._lock)), ["A"])


def put(snapshot, name: str, table: pa.Table) -> None:
    """Put a table in the place of the one that a store has under that name."""
    (snapshot.root / "parts" / getattr(snapshot.manifest, name).file).write_bytes(parquet_bytes(table))


def test_raw_run_from_a_store(snapshot):
    """The store's own actions split the position."""
    table = actions(("A", 2, 0, 2.0, None), ("B", 1, 0, 3.0, None))
    put(snapshot, "actions", pa.Table.from_pandas(table, ACTIONS, preserve_index=False))
    acts = read_actions(snapshot, ["A"])
    ledger = trade(snapshot, ["A"], changes(("A", 0, 1)), ten(), start=None, end=None, benchmark=None, actions=acts)

    assert payments_of(ledger) == [(2, "A", 10, 2, 0, "split")]
    assert ledger.equity["equity"].tolist() == [1000] * 4


# the end


def test_delisting():
    """Two sessions without a bar: paid at half of the last mark; an open order ends with it."""
    frame = bars(A=[10, 10, None, None, None], B=[1] * 5)
    ledger = run(frame, changes(("A", 0, 1), ("A", 1, 0)), ten(delist_after=2, recovery=0.5))

    assert fills(ledger)[1:] == [(3, -10, 5, "delisted")]
    assert endings(ledger)[1:] == [(3, 0, 0, 0, "rejected", "delisted"), (3, 0, -10, -10, "filled", "delisted")]
    assert ledger.equity["equity"].tolist() == [1000, 1000, 1000, 950, 950]


def test_suspension_is_no_delisting():
    """One session without a bar, then another one: never two in a row; null is never at all."""
    frame = bars(A=[10, 10, None, 10, None, 10], B=[1] * 6)

    assert len(run(frame, changes(("A", 0, 1)), ten(delist_after=2)).fills) == 1
    assert len(run(bars(A=[10, 10, None, None], B=[1] * 4), changes(("A", 0, 1)), ten()).fills) == 1


def test_a_symbol_is_paid_after_its_last_session():
    """Listed until session 1, no bar on session 2: paid then; one that trades on is not, whatever is said of it."""
    frame = bars(A=[10, 10, None, None], B=[20, 20, 20, 20], C=[1] * 4)
    last = np.array([day(1), day(1), "NaT"], "datetime64[D]")
    signals = changes(("A", 0, 1), ("B", 0, 1))
    for cuts in ((), (1,), (2,), (3,)):
        ledger = run(frame, signals, ten(recovery=0.5), listed_until=last, cuts=cuts)

        assert [(fill[0], fill[1]) for fill in fills_of(ledger)] == [(1, "A"), (1, "B"), (2, "A")]
        assert reasons_of(ledger)[2] == "delisted"
        assert ledger.equity["equity"].tolist() == [1000, 1000, 950, 950]


def test_listings_of_a_store(tmp_path):
    """The last session of each symbol is that of its instruments row; what the store does not tell is not known."""
    snapshot = make_store(tmp_path / "store", bars(A=[10], B=[10], C=[10]))
    assert np.isnat(read_listings(snapshot, ["A", "B"])).all()

    rows = {"symbol": ["B", "C", "X"], "from": [day(0)] * 3, "to": [None] * 3, "listed": [None] * 3}
    table = pa.table({**rows, "delisted": [day(7), None, day(3)]}, schema=INSTRUMENTS)
    put(snapshot, "instruments", table)
    known = replace(snapshot.manifest, instruments=replace(snapshot.manifest.instruments, rows=3))
    snapshot = replace(snapshot, manifest=known, _lock=os.dup(snapshot._lock))

    assert read_listings(snapshot, ["A", "B", "C"]).astype(str).tolist() == ["NaT", "2020-01-08", "NaT"]
