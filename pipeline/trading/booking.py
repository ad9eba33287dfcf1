"""What happens to the account when something trades or ends: cash, shares, fills, orders; compiled.

`account` and `slot` are records of `pipeline.trading.state`. Arrays are handed on one by one, and only where they are
needed: at every call Numba counts the references of each, and a tuple of all of them takes longer than the work.
"""

import numpy as np

from pipeline.trading.compiled import compiled, inlined
from pipeline.trading.market import Costs
from pipeline.trading.sizing import affordable, commission, served
from pipeline.trading.state import (
    CASH,
    FILLED,
    NEVER,
    NO_ORDER,
    PARTIAL,
    REJECTED,
    SIGNAL,
    VOLUME,
    Code,
    Records,
    State,
)


@inlined
def row_of(starts: np.ndarray, time_of: np.ndarray, slot: Records, time: int) -> int:
    """Return the row of the symbol's bar at `time`, -1 if it has none; times must not go back within a period.

    Within a run of bars without a gap that is a subtraction, so most bars are found without looking at their times.
    """
    row = time - slot.shift
    if row < slot.run_stop:
        return row if row >= slot.run_first else -1
    return seek(starts, time_of, slot, time)


@compiled
def seek(starts: np.ndarray, time_of: np.ndarray, slot: Records, time: int) -> int:
    """Move on to the run of bars that ends after `time`, and return the row of the bar there, -1 if there is none."""
    first, end = slot.run_stop, starts[slot.symbol + 1]
    while first < end and time_of[first] < time:
        first += 1
    stop = first
    if first < end:
        slot.shift = time_of[first] - first
        while stop < end and time_of[stop] - stop == slot.shift:
            stop += 1
    slot.run_first, slot.run_stop = first, stop
    return first if first < end and time_of[first] == time else -1


@compiled
def rewind(starts: np.ndarray, slots: Records) -> None:
    """Begin a period: no run of bars is known yet."""
    for symbol in range(len(slots)):
        slots[symbol].run_first = slots[symbol].run_stop = starts[symbol]
        slots[symbol].shift = -NEVER


@inlined
def meet(
    price: np.ndarray,
    volume: np.ndarray,
    factor: np.ndarray,
    scales: np.ndarray,
    slot: Records,
    row: int,
    account: Records,
    volume_cap: float,
) -> None:
    """Note what the bar in `row` offers: its price for orders, and how many shares it still takes."""
    adjustment, scale = factor[row], scales[slot.symbol]
    slot.price = price[row] * adjustment / scale
    if slot.room_time != account.now:
        slot.room_time = account.now
        slot.room = np.inf if volume_cap == np.inf else volume_cap * (volume[row] * scale / adjustment)


@compiled
def free_money(account: Records) -> float:
    """Return what an entry may use: equity less gross exposure, which is the cash less twice what is short."""
    return account.cash - 2.0 * account.shorted


@inlined
def take(
    slot: Records,
    asked: float,
    before: float,
    reason: Code,
    costs: Costs,
    account: Records,
    fills: Records,
) -> tuple[float, Code]:
    """Reduce a position by `asked` signed shares at the price `before`, slippage aside, as far as that goes.

    Returns
    -------
    float, Code
        Signed shares, and what was in the way of the rest.
    """
    side = np.sign(asked)
    price = before * (1.0 + side * costs.slippage)
    quantity = served(abs(asked), slot.room, costs.lot)
    obstacle = VOLUME if quantity < abs(asked) else SIGNAL
    if side > 0.0:
        covered = affordable(costs, account.cash, quantity, price)
        if covered < quantity:
            quantity, obstacle = covered, CASH
    paid = commission(costs, quantity * price)
    if side < 0.0 and account.cash + (quantity * price - paid) < 0.0:
        return 0.0, CASH
    if quantity == 0.0:
        return 0.0, obstacle
    record_fill(slot, side * quantity, price, before, paid, reason, account, fills)
    return side * quantity, obstacle


@inlined
def record_fill(
    slot: Records,
    quantity: float,
    price: float,
    before: float,
    paid: float,
    reason: Code,
    account: Records,
    fills: Records,
) -> None:
    """Move the money and the shares, and write the fill down; `before` is the price without slippage."""
    if quantity < 0.0:
        account.cash += -quantity * price - paid
    else:
        account.cash -= quantity * price + paid
    move_shares(slot, quantity, price, account)
    fill = fills[account.fills]
    account.fills += 1
    fill.time, fill.symbol, fill.quantity, fill.price = account.now, slot.symbol, quantity, price
    fill.commission, fill.slippage, fill.reason = paid, abs(quantity) * abs(price - before), reason


@compiled
def move_shares(slot: Records, quantity: float, price: float, account: Records) -> None:
    """Change a position: its average entry as it grows, what is short of it, and whether it is one."""
    before, after = slot.held, slot.held + quantity
    if before * quantity < 0.0:
        if before < 0.0:
            released = slot.shorted if after == 0.0 else slot.shorted * (quantity / -before)
            slot.shorted -= released
            account.shorted -= released
        if after == 0.0:
            account.positions -= 1
    else:
        if quantity < 0.0:
            slot.shorted += -quantity * price
            account.shorted += -quantity * price
        if before == 0.0:
            account.positions += 1
            slot.entry, slot.extreme, slot.bar_session = price, price, account.day
        else:
            slot.entry = (before * slot.entry + quantity * price) / after
    slot.held = after
    slot.room = max(slot.room - abs(quantity), 0.0)


@inlined
def wait(slot: Records, obstacle: Code, account: Records, orders: Records) -> None:
    """Keep an order open that could not trade; an entry ends with its last session."""
    last = slot.last_session
    if slot.signal_time >= 0 and (account.day > last or (account.day == last and account.closing)):
        give_up(slot, obstacle, account, orders)


@inlined
def give_up(slot: Records, reason: Code, account: Records, orders: Records) -> None:
    """End the symbol's open order with what it got so far."""
    end_order(slot, REJECTED if slot.filled == 0.0 else PARTIAL, reason, account, orders)


@inlined
def end_order(slot: Records, status: Code, reason: Code, account: Records, orders: Records) -> None:
    """Write down how the symbol's open order ended, and close it."""
    order = next_order(slot, slot.signal_time, account, orders)
    order.wanted, order.quantity, order.filled = slot.wanted, slot.asked, slot.filled
    order.status, order.reason = status, reason
    account.filled += status == FILLED
    account.open_orders -= 1
    slot.signal_time = NO_ORDER


@compiled
def begin_exit(slot: Records, why: Code, account: Records) -> None:
    """Open the order that closes all that is held of a symbol, and stands until that is done."""
    slot.exit_time, slot.exit_asked, slot.exit_filled, slot.exit_why = account.now, 0.0, 0.0, why
    account.open_orders += 1


@compiled
def end_exit(slot: Records, status: Code, reason: Code, account: Records, orders: Records) -> None:
    """Write down how the order that closes all ended, and close it."""
    order = next_order(slot, slot.exit_time, account, orders)
    order.quantity, order.filled = slot.exit_asked, slot.exit_filled
    order.status, order.reason = status, reason
    account.filled += status == FILLED
    account.open_orders -= 1
    slot.exit_time = NO_ORDER


@compiled
def end_all(slot: Records, reason: Code, account: Records, orders: Records) -> None:
    """End whatever is open for a symbol with what it got so far."""
    if slot.exit_time >= 0:
        end_exit(slot, REJECTED if slot.exit_filled == 0.0 else PARTIAL, reason, account, orders)
    if slot.signal_time >= 0:
        give_up(slot, reason, account, orders)


@compiled
def end_open_orders(state: State, reason: Code) -> None:
    """End whatever is open for any symbol, in symbol order."""
    for symbol in state.active[: state.account[0].active]:
        end_all(state.slots[symbol], reason, state.account[0], state.orders)


@inlined
def next_order(slot: Records, born: int, account: Records, orders: Records) -> Records:
    """Return the next record of an ended order, of exposure 0 so far."""
    order = orders[account.orders]
    account.orders += 1
    order.signal_time, order.time, order.symbol = born, account.now, slot.symbol
    return order
