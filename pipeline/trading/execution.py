"""How orders become fills: who sells, who buys, and for how much; the rules are told in `kernel`."""

import numpy as np

from pipeline.trading.compiled import compiled
from pipeline.trading.sizing import affordable, commission, floor_lots, target
from pipeline.trading.state import (
    CASH,
    FILLED,
    HELD,
    LOT,
    NO_BAR,
    NO_ORDER,
    PARTIAL,
    REJECTED,
    SIGNAL,
    VOLUME,
    Bars,
    Code,
    Records,
    Rules,
    State,
)


@compiled
def execute(bars: Bars, session: int, now: int, state: State, rules: Rules) -> None:
    """Let the open orders trade at the prices of a session: sales, then buys."""
    account = state.account[0]
    sellers, buyers = np.empty(account.open_orders, np.int64), np.empty(account.open_orders, np.int64)
    sales, buys = 0, 0
    for k in range(account.active):
        symbol = state.active[k]
        slot = state.slots[symbol]
        if slot.signal_session < 0:
            continue
        if slot.wanted == 0.0 and slot.held == 0.0:
            end_order(symbol, now, 0.0, FILLED, HELD, state)
            continue
        row = row_of(bars.starts, bars.session, slot, symbol, session)
        if row < 0 or bars.volume[row] == 0.0:
            wait(symbol, now, NO_BAR if row < 0 else VOLUME, state)
            continue
        slot.asked = to_sell(bars, symbol, state, rules)
        if slot.asked < 0.0:
            sellers[sales] = symbol
            sales += 1
        else:
            buyers[buys] = symbol
            buys += 1
    for symbol in sellers[:sales]:
        sell(bars, symbol, now, state, rules)
    strength = np.empty(buys)
    for k in range(buys):
        strength[k] = abs(state.slots[buyers[k]].wanted)
    for k in np.argsort(-strength, kind="mergesort"):  # stable: ties stay in symbol order
        buy(bars, buyers[k], now, state, rules)


@compiled
def to_sell(bars: Bars, symbol: int, state: State, rules: Rules) -> float:
    """Return the shares to sell as a negative number; 0 if the order does not sell."""
    account, slot, lot = state.account[0], state.slots[symbol], rules.costs.lot
    if slot.wanted == 0.0:
        return -slot.held
    price = bar_price(bars, symbol, slot.cursor) * (1.0 - rules.costs.slippage)
    shares = target(rules.sizing, lot, slot.wanted, account.equity, account.cash, slot.held, price)
    return min(floor_lots(shares - slot.held, lot), 0.0)


@compiled
def sell(bars: Bars, symbol: int, now: int, state: State, rules: Rules) -> None:
    """Sell what the order asks, unless its commission cannot be paid."""
    account, slot = state.account[0], state.slots[symbol]
    before = bar_price(bars, symbol, slot.cursor)
    price = before * (1.0 - rules.costs.slippage)
    value = -slot.asked * price
    paid = commission(rules.costs, value)
    if account.cash + (value - paid) < 0.0:
        wait(symbol, now, CASH, state)
        return
    account.cash += value - paid
    record_fill(symbol, now, slot.asked, price, before, paid, state)
    end_order(symbol, now, slot.asked, FILLED, SIGNAL, state)


@compiled
def buy(bars: Bars, symbol: int, now: int, state: State, rules: Rules) -> None:
    """Buy what is missing to the target, as far as the cash goes."""
    account, slot, lot = state.account[0], state.slots[symbol], rules.costs.lot
    before = bar_price(bars, symbol, slot.cursor)
    price = before * (1.0 + rules.costs.slippage)
    shares = target(rules.sizing, lot, slot.wanted, account.equity, account.cash, slot.held, price)
    slot.asked = max(floor_lots(shares - slot.held, lot), 0.0)
    if slot.asked == 0.0:
        if slot.held != 0.0 and shares <= slot.held:
            end_order(symbol, now, 0.0, FILLED, HELD, state)
        else:
            end_order(symbol, now, 0.0, REJECTED, LOT, state)
        return
    quantity = affordable(rules.costs, account.cash, slot.asked, price)
    if quantity == 0.0 or (quantity < slot.asked and not rules.shrink):
        end_order(symbol, now, 0.0, REJECTED, CASH, state)
        return
    value = quantity * price
    paid = commission(rules.costs, value)
    account.cash -= value + paid
    record_fill(symbol, now, quantity, price, before, paid, state)
    if quantity < slot.asked:
        end_order(symbol, now, quantity, PARTIAL, CASH, state)
    else:
        end_order(symbol, now, quantity, FILLED, SIGNAL, state)


@compiled
def bar_price(bars: Bars, symbol: int, row: int) -> float:
    """Return the adjusted price at which orders fill in a bar, before slippage."""
    return bars.price[row] * bars.factor[row] / bars.scale[symbol]


@compiled
def row_of(starts: np.ndarray, session_of: np.ndarray, slot: Records, symbol: int, session: int) -> int:
    """Move the symbol's cursor to `session` and return the row of its bar there, -1 if it has none."""
    row, end = slot.cursor, starts[symbol + 1]
    while row < end and session_of[row] < session:
        row += 1
    slot.cursor = row
    return row if row < end and session_of[row] == session else -1


@compiled
def wait(symbol: int, now: int, obstacle: Code, state: State) -> None:
    """Keep an order open that could not trade; an entry in its last session ends."""
    if now >= state.slots[symbol].last_session:
        end_order(symbol, now, 0.0, REJECTED, obstacle, state)


@compiled
def record_fill(symbol: int, now: int, quantity: float, price: float, before: float, paid: float, state: State) -> None:
    """Book the shares and write the fill down; `before` is the price without slippage."""
    state.slots[symbol].held += quantity
    fill = state.fills[state.account[0].fills]
    state.account[0].fills += 1
    fill.session, fill.symbol, fill.quantity, fill.price = now, symbol, quantity, price
    fill.commission, fill.slippage, fill.reason = paid, abs(quantity) * abs(price - before), SIGNAL


@compiled
def end_order(symbol: int, now: int, filled: float, status: Code, reason: Code, state: State) -> None:
    """Write down how the symbol's open order ended, and close it."""
    slot, order = state.slots[symbol], state.orders[state.account[0].orders]
    state.account[0].orders += 1
    state.account[0].open_orders -= 1
    order.signal_session, order.session, order.symbol = slot.signal_session, now, symbol
    order.wanted, order.quantity, order.filled = slot.wanted, slot.asked, filled
    order.status, order.reason = status, reason
    slot.signal_session = NO_ORDER
