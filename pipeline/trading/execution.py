"""How orders become fills: who reduces, who enters, and for how much; the rules are told in `kernel`."""

import numpy as np

from pipeline.trading.booking import end_exit, end_order, free_money, give_up, meet, record_fill, row_of, take, wait
from pipeline.trading.compiled import compiled, inlined
from pipeline.trading.sizing import RISK_BASED, affordable, commission, served, step, target
from pipeline.trading.state import (
    CASH,
    FILLED,
    HELD,
    LOT,
    MAX_POSITIONS,
    NEVER,
    NO_BAR,
    REJECTED,
    RISK,
    SIGNAL,
    VOLUME,
    Bars,
    Code,
    Records,
    Rules,
    State,
)


@compiled
def execute(bars: Bars, time: int, state: State, rules: Rules) -> None:
    """Let the open orders trade at the prices of a time: first what reduces positions, then the entries."""
    account, slots, orders, fills = state.account[0], state.slots, state.orders, state.fills
    reducing, entering = state.reducing, state.entering
    starts, time_of = bars.starts, bars.time
    price, volume, factor, scales = bars.price, bars.volume, bars.factor, bars.scale
    reductions, entries = 0, 0
    for symbol in state.active[: account.active]:
        slot = slots[symbol]
        if slot.signal_time < 0 and slot.exit_time < 0:
            continue
        if slot.held == 0.0 and closes_nothing(slot, account, orders):
            continue
        row = row_of(starts, time_of, slot, time)
        if row < 0 or volume[row] == 0.0:
            wait(slot, NO_BAR if row < 0 else VOLUME, account, orders)
            continue
        meet(price, volume, factor, scales, slot, row, account, rules.volume_cap)
        if unknown_risk(slot, rules, account, orders):
            continue
        slot.change = excess(slot, account, rules)
        if slot.change != 0.0:
            reducing[reductions] = symbol
            reductions += 1
        if slot.signal_time >= 0 and (slot.change == 0.0 or slot.exit_time >= 0):
            entering[entries] = symbol
            entries += 1
    for symbol in reducing[:reductions]:
        reduce(slots[symbol], rules, account, orders, fills)
    for symbol in by_strength(slots, entering[:entries]):
        enter(slots[symbol], rules, account, orders, fills)


@compiled
def by_strength(slots: Records, symbols: np.ndarray) -> np.ndarray:
    """Return `symbols`, ascending, by what is wanted of them, strongest first; ties stay in symbol order."""
    for k in range(1, len(symbols)):
        if abs(slots[symbols[k]].wanted) > abs(slots[symbols[k - 1]].wanted):
            break
    else:
        return symbols  # as strong as each other, mostly
    strength = np.empty(len(symbols))
    for k in range(len(symbols)):
        strength[k] = abs(slots[symbols[k]].wanted)
    return symbols[np.argsort(-strength, kind="mergesort")]


@inlined
def closes_nothing(slot: Records, account: Records, orders: Records) -> bool:
    """End what would close a position that is not there; tell whether the symbol has no order left."""
    if slot.exit_time >= 0:
        slot.exit_asked = slot.exit_filled
        end_exit(slot, FILLED, HELD if slot.exit_filled == 0.0 else Code(slot.exit_why), account, orders)
    if slot.signal_time >= 0 and slot.wanted == 0.0:
        slot.asked = slot.filled
        end_order(slot, FILLED, HELD if slot.filled == 0.0 else SIGNAL, account, orders)
    return slot.signal_time < 0


@compiled
def unknown_risk(slot: Records, rules: Rules, account: Records, orders: Records) -> bool:
    """Reject an order that is sized by a true range nobody knows yet; tell whether it was."""
    if rules.sizing.method != RISK_BASED or slot.wanted == 0.0 or slot.true_range > 0.0 or slot.exit_time >= 0:
        return False
    give_up(slot, RISK, account, orders)
    return True


@compiled
def excess(slot: Records, account: Records, rules: Rules) -> float:
    """Return the signed shares that the open orders of a symbol give up; 0 if they reduce nothing."""
    if slot.held == 0.0:
        return 0.0
    if slot.exit_time >= 0 or slot.wanted == 0.0:
        return -slot.held
    if slot.filled * slot.held > 0.0:
        return 0.0  # an entry that got something gives nothing of it up
    side, lot = np.sign(slot.held), rules.costs.lot
    price = slot.price * (1.0 - side * rules.costs.slippage)
    shares = target(rules.sizing, lot, account, free_money(account), slot, price)
    return min(side * step(shares, slot.held, lot), 0.0) * side


@inlined
def reduce(slot: Records, rules: Rules, account: Records, orders: Records, fills: Records) -> None:
    """Give up what the order, or the one that closes all before it, asks; what the bar does not take stands."""
    why = Code(slot.exit_why) if slot.exit_time >= 0 else SIGNAL
    got, obstacle = take(slot, slot.change, slot.price, why, rules.costs, account, fills)
    if slot.exit_time >= 0:
        slot.exit_asked = slot.exit_filled + slot.change
        slot.exit_filled += got
        if got == slot.change:
            end_exit(slot, FILLED, why, account, orders)
            return
    else:
        slot.asked = slot.filled + slot.change
        slot.filled += got
        if got == slot.change:
            end_order(slot, FILLED, SIGNAL, account, orders)
            return
        slot.last_session = NEVER  # a rebalancing order is an entry until it gives something up
    wait(slot, obstacle, account, orders)


@inlined
def enter(slot: Records, rules: Rules, account: Records, orders: Records, fills: Records) -> None:
    """Buy, or sell short, what is missing to the target, as far as the bar and the free money go."""
    if slot.signal_time < 0 or slot.exit_time >= 0 or unknown_risk(slot, rules, account, orders):
        return
    if gave_enough(slot, account, orders):
        return
    if slot.last_session == NEVER:  # it was to reduce, but the target is above what is held
        slot.last_session = account.day
    side, lot, free = np.sign(slot.wanted), rules.costs.lot, free_money(account)
    price = slot.price * (1.0 + side * rules.costs.slippage)
    shares = target(rules.sizing, lot, account, free, slot, price)
    missing = max(side * step(shares, slot.held, lot), 0.0)
    slot.asked = slot.filled + side * missing
    if missing == 0.0:
        add_nothing(slot, side * shares <= side * slot.held, account, orders)
        return
    if slot.held == 0.0 and account.positions >= rules.max_positions:
        give_up(slot, MAX_POSITIONS, account, orders)
        return
    possible = served(missing, slot.room, lot)
    if possible == 0.0:
        wait(slot, VOLUME, account, orders)
        return
    quantity = affordable(rules.costs, free, possible, price)
    if quantity == 0.0 or (quantity < possible and not rules.shrink):
        give_up(slot, CASH, account, orders)
        return
    paid = commission(rules.costs, quantity * price)
    record_fill(slot, side * quantity, price, slot.price, paid, SIGNAL, account, fills)
    slot.filled += side * quantity
    if quantity < possible:
        give_up(slot, CASH, account, orders)
    elif possible < missing:
        wait(slot, VOLUME, account, orders)
    else:
        end_order(slot, FILLED, SIGNAL, account, orders)


@inlined
def gave_enough(slot: Records, account: Records, orders: Records) -> bool:
    """End a reduction that gave something up, and would now take some of it back; tell whether it did."""
    if slot.filled * slot.held >= 0.0:
        return False
    slot.asked = slot.filled
    end_order(slot, FILLED, SIGNAL, account, orders)
    return True


@inlined
def add_nothing(slot: Records, reached: bool, account: Records, orders: Records) -> None:  # noqa: FBT001
    """End an entry that has nothing, or less than a lot, to add; `reached` says that the target is held."""
    if slot.filled != 0.0:
        end_order(slot, FILLED, SIGNAL, account, orders)
    elif slot.held != 0.0 and reached:
        end_order(slot, FILLED, HELD, account, orders)
    else:
        end_order(slot, REJECTED, LOT, account, orders)
