"""What happens inside a bar: stop loss, take profit and trailing stop; compiled."""

import numpy as np

from pipeline.trading.booking import begin_exit, give_up, meet, next_order, row_of, take
from pipeline.trading.compiled import compiled
from pipeline.trading.state import (
    FILLED,
    PARTIAL,
    SIGNAL,
    STOP_LOSS,
    SUPERSEDED,
    TAKE_PROFIT,
    TRAILING_STOP,
    Bars,
    Code,
    Records,
    Rules,
    State,
    Stops,
)


@compiled
def check_stops(bars: Bars, time: int, state: State, rules: Rules) -> None:
    """Close every position whose stop lies in its bar, in symbol order; then let the others' extremes move on."""
    account, slots, orders, fills = state.account[0], state.slots, state.orders, state.fills
    for symbol in state.active[: account.active]:
        slot = slots[symbol]
        if slot.held == 0.0:
            continue
        row = row_of(bars.starts, bars.time, slot, time)
        if row < 0 or bars.volume[row] == 0.0:
            continue
        factor, scale = bars.factor[row], bars.scale[symbol]
        low, high = bars.low[row] * factor / scale, bars.high[row] * factor / scale
        if slot.exit_time < 0 or slot.exit_why == SIGNAL:  # else the rest of a stop stands already
            price, reason = stop_of(slot, bars.open[row] * factor / scale, low, high, rules.stops)
            if price > 0.0:
                meet(bars.price, bars.volume, bars.factor, bars.scale, slot, row, account, rules.volume_cap)
                stop_out(slot, price, reason, rules, account, orders, fills)
        if slot.held > 0.0:
            slot.extreme = max(slot.extreme, high)
        else:
            slot.extreme = min(slot.extreme, low)


@compiled
def stop_of(slot: Records, open_: float, low: float, high: float, stops: Stops) -> tuple[float, Code]:
    """Return at which price, slippage aside, a position is closed in a bar, and why; price 0 if it is not."""
    side = np.sign(slot.held)
    worst, best = (low, high) if side > 0.0 else (high, low)
    stop, why = slot.entry * (1.0 - side * stops.loss), STOP_LOSS
    trailing = slot.extreme * (1.0 - side * stops.trailing)
    if side * trailing > side * stop:
        stop, why = trailing, TRAILING_STOP
    profit = slot.entry * (1.0 + side * stops.profit)
    if side * open_ <= side * stop:
        return open_, why
    if side * open_ >= side * profit:
        return open_, TAKE_PROFIT
    if side * worst <= side * stop:
        return stop, why
    if side * best >= side * profit:
        return profit, TAKE_PROFIT
    return 0.0, SIGNAL


@compiled
def stop_out(
    slot: Records, price: float, why: Code, rules: Rules, account: Records, orders: Records, fills: Records
) -> None:
    """Close a position at a stop, as an order of its own; an open order for more or less of it has lost its ground.

    The rest of a stop stands, unless an order that closes all does so already; that of a profit keeps its level.
    """
    asked = -slot.held
    got, obstacle = take(slot, asked, price, why, rules.costs, account, fills)
    loses = slot.signal_time >= 0 and slot.wanted * asked < 0.0
    stands = got != asked and why != TAKE_PROFIT and slot.exit_time < 0 and (loses or slot.signal_time < 0)
    if stands:
        begin_exit(slot, why, account)
        slot.exit_asked, slot.exit_filled = asked, got
    elif got != 0.0:
        order = next_order(slot, account.now, account, orders)
        order.quantity, order.filled = asked, got
        order.status, order.reason = (FILLED, why) if got == asked else (PARTIAL, obstacle)
        account.filled += got == asked
    if stands or got != 0.0:
        slot.stopped = 1
        if loses:
            give_up(slot, SUPERSEDED, account, orders)
