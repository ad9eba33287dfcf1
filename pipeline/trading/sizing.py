"""How many shares a wanted exposure is, at a price, and what that many shares cost.

======== ==================================== ==========================
method   target shares for exposure w         `value` is
======== ==================================== ==========================
value    w x value / price                    currency
shares   w x value                            shares
fraction w x value x equity / price           fraction of equity
equal    w x equity / n / price               unused; n below
weight   w x equity / price                   unused
all_in   w x (free + |held| x price) / price  unused; the money is 0 at least
risk     w x value x equity / true range      fraction of equity
======== ==================================== ==========================

Products and quotients are taken from left to right. ``n`` is `max_positions`, or the number of symbols traded where
that is null. `equity` is the account's at the last close, `free` the money of the moment that an entry may use: the
cash, less twice what is short. `true range` is the average one, known at the close of the signal: a move by it costs
`value` of the equity. Targets are floored to whole lots, towards zero; a lot of 0 is no floor.
"""

from typing import Any, NamedTuple

import numpy as np

from pipeline.modes import SizingMethod
from pipeline.options import TradingOptions
from pipeline.trading.compiled import compiled
from pipeline.trading.market import Costs

DUST = 1e-9  # of the shares that were asked for
VALUE, SHARES, FRACTION, EQUAL, WEIGHT, ALL_IN, RISK_BASED = range(7)
CODES = {
    SizingMethod.VALUE: VALUE,
    SizingMethod.SHARES: SHARES,
    SizingMethod.FRACTION: FRACTION,
    SizingMethod.EQUAL: EQUAL,
    SizingMethod.WEIGHT: WEIGHT,
    SizingMethod.ALL_IN: ALL_IN,
    SizingMethod.RISK: RISK_BASED,
}


class Sizing(NamedTuple):
    """A method and its numbers, as the compiled loop takes them."""

    method: int
    value: float
    n: float


def sizing(options: TradingOptions, symbols: int) -> Sizing:
    """Return the sizing of `options` for an account that trades so many `symbols`."""
    method, value = options.sizing.method, options.sizing.value
    return Sizing(CODES[method], float(value or 0), float(options.max_positions or symbols))


@compiled
def floor_lots(shares: float, lot: float) -> float:
    """Return `shares` floored to whole lots, towards zero."""
    return shares if lot == 0.0 else np.trunc(shares / lot) * lot


@compiled
def step(shares: float, held: float, lot: float) -> float:
    """Return the signed shares from what is held to a target, in whole lots; of fractions, `DUST` of either is none."""
    change = floor_lots(shares - held, lot)
    return 0.0 if lot == 0.0 and abs(change) <= DUST * max(abs(shares), abs(held)) else change


@compiled
def served(asked: float, room: float, lot: float) -> float:
    """Return how many of `asked` shares a bar with `room` for so many takes, in whole lots; all but `DUST` is all."""
    if room >= asked or (lot == 0.0 and asked - room <= DUST * asked):
        return asked
    return floor_lots(room, lot)


@compiled
def target(sizing: Sizing, lot: float, account: Any, free: float, slot: Any, price: float) -> float:
    """Return the shares that what is wanted of a symbol means at a price, in whole lots; records of `state`."""
    wanted = slot.wanted
    if sizing.method == VALUE:
        shares = wanted * sizing.value / price
    elif sizing.method == SHARES:
        shares = wanted * sizing.value
    elif sizing.method == FRACTION:
        shares = wanted * sizing.value * account.equity / price
    elif sizing.method == EQUAL:
        shares = wanted * account.equity / sizing.n / price
    elif sizing.method == WEIGHT:
        shares = wanted * account.equity / price
    elif sizing.method == ALL_IN:
        shares = wanted * max(free + abs(slot.held) * price, 0.0) / price
    else:
        shares = wanted * sizing.value * account.equity / slot.true_range
    return floor_lots(shares, lot)


@compiled
def commission(costs: Costs, value: float) -> float:
    """Return what a fill of `value` (unsigned) costs."""
    return max(costs.minimum, costs.fixed + costs.rate * value)


@compiled
def affordable(costs: Costs, cash: float, wanted: float, price: float) -> float:
    """Return the most shares up to `wanted` whose value and commission `cash` covers, in whole lots.

    Found by bisection: what a purchase costs never falls as it grows, also after rounding, so the answer is exact.
    Fractions of shares below `DUST` are none: cash that is spent leaves some rounding, which is no money.
    """
    if wanted * price + commission(costs, wanted * price) <= cash:
        return wanted
    unit = 1.0 if costs.lot == 0.0 else costs.lot
    fits, too_many = 0.0, wanted / unit if costs.lot == 0.0 else np.ceil(wanted / unit)
    while True:
        middle = fits + (too_many - fits) / 2.0
        if costs.lot != 0.0:
            middle = np.floor(middle)
        if middle <= fits or middle >= too_many:
            return fits * unit if costs.lot != 0.0 or fits > DUST * wanted else 0.0
        value = middle * unit * price
        if value + commission(costs, value) <= cash:
            fits = middle
        else:
            too_many = middle
