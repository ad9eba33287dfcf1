"""What happens to the account when something trades or ends: cash, shares, fills, orders; compiled.

`account` and `slot` are records of `pipeline.trading.state`. Arrays are handed on one by one, and only where they are
needed: at every call Numba counts the references of each, and a tuple of all of them takes longer than the work.
"""

import numpy as np

from pipeline.trading.compiled import compiled
from pipeline.trading.market import Costs
from pipeline.trading.sizing import affordable, commission, floor_lots
from pipeline.trading.state import CASH, NO_ORDER, PARTIAL, REJECTED, SIGNAL, VOLUME, Bars, Code, Records


@compiled
def row_of(starts: np.ndarray, session_of: np.ndarray, slot: Records, session: int) -> int:
    """Move the symbol's cursor to `session` and return the row of its bar there, -1 if it has none."""
    row, end = slot.cursor, starts[slot.symbol + 1]
    while row < end and session_of[row] < session:
        row += 1
    slot.cursor = row
    return row if row < end and session_of[row] == session else -1


@compiled
def meet(bars: Bars, slot: Records, row: int, now: int, volume_cap: float) -> None:
    """Note what the bar in `row` offers: its price for orders, and how many shares it still takes."""
    adjustment, scale = bars.factor[row], bars.scale[slot.symbol]
    slot.price = bars.price[row] * adjustment / scale
    if slot.room_session != now:
        slot.room_session = now
        slot.room = np.inf if volume_cap == np.inf else volume_cap * (bars.volume[row] * scale / adjustment)


@compiled
def free_money(account: Records) -> float:
    """Return what an entry may use: equity less gross exposure, which is the cash less twice what is short."""
    return account.cash - 2.0 * account.shorted


@compiled
def take(
    slot: Records,
    asked: float,
    before: float,
    reason: Code,
    now: int,
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
    quantity, obstacle = abs(asked), SIGNAL
    if slot.room < quantity:
        quantity, obstacle = floor_lots(slot.room, costs.lot), VOLUME
    if side > 0.0:
        covered = affordable(costs, account.cash, quantity, price)
        if covered < quantity:
            quantity, obstacle = covered, CASH
    paid = commission(costs, quantity * price)
    if side < 0.0 and account.cash + (quantity * price - paid) < 0.0:
        return 0.0, CASH
    if quantity == 0.0:
        return 0.0, obstacle
    record_fill(slot, now, side * quantity, price, before, paid, reason, account, fills)
    return side * quantity, obstacle


@compiled
def record_fill(
    slot: Records,
    now: int,
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
    move_shares(slot, now, quantity, price, account)
    fill = fills[account.fills]
    account.fills += 1
    fill.session, fill.symbol, fill.quantity, fill.price = now, slot.symbol, quantity, price
    fill.commission, fill.slippage, fill.reason = paid, abs(quantity) * abs(price - before), reason


@compiled
def move_shares(slot: Records, now: int, quantity: float, price: float, account: Records) -> None:
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
            slot.entry, slot.extreme, slot.bar_session = price, price, now
        else:
            slot.entry = (before * slot.entry + quantity * price) / after
    slot.held = after
    slot.room = max(slot.room - abs(quantity), 0.0)


@compiled
def wait(slot: Records, now: int, obstacle: Code, account: Records, orders: Records) -> None:
    """Keep an order open that could not trade; an entry in its last session ends."""
    if slot.signal_session >= 0 and now >= slot.last_session:
        give_up(slot, now, obstacle, account, orders)


@compiled
def give_up(slot: Records, now: int, reason: Code, account: Records, orders: Records) -> None:
    """End the symbol's open order with what it got so far."""
    end_order(slot, now, REJECTED if slot.filled == 0.0 else PARTIAL, reason, account, orders)


@compiled
def end_order(slot: Records, now: int, status: Code, reason: Code, account: Records, orders: Records) -> None:
    """Write down how the symbol's open order ended, and close it."""
    order = next_order(slot, slot.signal_session, now, account, orders)
    order.wanted, order.quantity, order.filled = slot.wanted, slot.asked, slot.filled
    order.status, order.reason = status, reason
    account.open_orders -= 1
    slot.signal_session = NO_ORDER


@compiled
def end_flip(slot: Records, now: int, status: Code, reason: Code, account: Records, orders: Records) -> None:
    """Write down how the order that closes the other side ended, and close it."""
    order = next_order(slot, slot.flip_session, now, account, orders)
    order.quantity, order.filled = slot.flip_asked, slot.flip_filled
    order.status, order.reason = status, reason
    account.open_orders -= 1
    slot.flip_session = NO_ORDER


@compiled
def end_all(slot: Records, now: int, reason: Code, account: Records, orders: Records) -> None:
    """End whatever is open for a symbol with what it got so far."""
    if slot.flip_session >= 0:
        end_flip(slot, now, REJECTED if slot.flip_filled == 0.0 else PARTIAL, reason, account, orders)
    if slot.signal_session >= 0:
        give_up(slot, now, reason, account, orders)


@compiled
def next_order(slot: Records, born: int, now: int, account: Records, orders: Records) -> Records:
    """Return the next record of an ended order, of exposure 0 so far."""
    order = orders[account.orders]
    account.orders += 1
    order.signal_session, order.session, order.symbol = born, now, slot.symbol
    return order
