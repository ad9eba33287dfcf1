"""What companies do to positions: splits and dividends at raw prices, and delisting; compiled."""

import numpy as np

from pipeline.trading.booking import end_all, next_order, record_fill, row_of
from pipeline.trading.compiled import compiled
from pipeline.trading.state import DELISTED, DIVIDEND, FILLED, SPLIT, Bars, Code, Events, Rules, State

ALREADY_PAID, PAID_LATER, PAYS = 0, 1, 2
"""An ex-date whose dividend is paid at once, one whose dividend is paid later, and the day it is paid."""
WHOLE = 1e-9  # relative; shares that are so near to a whole number are one


@compiled
def act(events: Events, time: int, state: State, rules: Rules) -> None:
    """Let the corporate actions of a time change positions, stops and cash before anything trades."""
    account = state.account[0]
    for k in range(events.starts[time], events.starts[time + 1]):
        symbol, action, split = events.symbol[k], events.action[k], events.split[k]
        slot = state.slots[symbol]
        if events.kind[k] == PAYS:
            if state.due[action] != 0.0:
                pay(symbol, action, state)
            continue
        amount = slot.held * split * events.dividend[k]
        if split != 1.0:
            slot.true_range /= split
            if slot.held != 0.0:
                divide(symbol, split, rules.costs.lot, state)
        if amount != 0.0:
            state.due[action] = amount
            account.receivable += amount
            account.unpaid += 1
            if events.kind[k] == ALREADY_PAID:
                pay(symbol, action, state)


@compiled
def divide(symbol: int, split: float, lot: float, state: State) -> None:
    """Multiply a position and divide its prices; a fraction of a share is paid at the mark."""
    account, slot = state.account[0], state.slots[symbol]
    before, after = slot.held, slot.held * split
    slot.mark /= split
    slot.entry /= split
    slot.extreme /= split
    kept = after
    if lot != 0.0:
        kept = np.round(after)
        if abs(kept - after) > WHOLE * abs(after):
            kept = np.trunc(after)
    cash = (after - kept) * slot.mark
    slot.held = kept
    account.cash += cash
    if kept == 0.0:
        account.positions -= 1
    if kept == 0.0 or slot.shorted != 0.0:
        account.shorted -= slot.shorted
        slot.shorted = max(-kept * slot.mark, 0.0)
        account.shorted += slot.shorted
    record_payment(symbol, kept - before, split, cash, SPLIT, state)


@compiled
def pay(symbol: int, action: int, state: State) -> None:
    """Turn a dividend that is due into cash; a short position pays it."""
    account, amount = state.account[0], state.due[action]
    state.due[action] = 0.0
    account.cash += amount
    account.unpaid -= 1
    account.receivable = account.receivable - amount if account.unpaid else 0.0
    record_payment(symbol, 0.0, 1.0, amount, DIVIDEND, state)


@compiled
def record_payment(symbol: int, shares: float, ratio: float, cash: float, reason: Code, state: State) -> None:
    """Write down what an action changed."""
    account = state.account[0]
    payment = state.payments[account.payments]
    account.payments += 1
    payment.time, payment.symbol, payment.shares = account.now, symbol, shares
    payment.ratio, payment.cash, payment.reason = ratio, cash, reason


@compiled
def delist(bars: Bars, time: int, state: State, rules: Rules) -> None:
    """Pay positions in what is listed no more at a part of their last mark, without costs.

    That is a symbol without a bar on a session after its last one, if the store knows that, or for too many sessions.
    """
    account, slots, orders, fills = state.account[0], state.slots, state.orders, state.fills
    for symbol in state.active[: account.active]:
        slot = slots[symbol]
        if slot.held == 0.0:
            continue
        if row_of(bars.starts, bars.time, slot, time) >= 0:
            slot.bar_session = account.day
        elif account.day >= slot.gone or account.day - slot.bar_session >= rules.delist_after:
            end_all(slot, DELISTED, account, orders)
            order = next_order(slot, account.now, account, orders)
            order.quantity = order.filled = -slot.held
            order.status, order.reason = FILLED, DELISTED
            account.filled += 1
            price = slot.mark * rules.recovery
            record_fill(slot, -slot.held, price, price, 0.0, DELISTED, account, fills)
