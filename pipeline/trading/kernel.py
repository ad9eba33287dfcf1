"""The day loop, compiled: what happens in a session, and in which order.

A session goes through these steps; where orders fill is the config's choice::

    next_open               companies act -> orders fill -> stops -> marks, equity -> signals become orders
    next_close, next_ohlc4  companies act -> stops -> orders fill -> marks, equity -> signals become orders
    close                   companies act -> stops -> signals become orders -> orders fill -> marks, equity

**Orders.** An order arises only when the wanted exposure of a symbol changes; the first opinion is compared with 0.
It supersedes what is still open for that symbol. It *reduces* if something is held and the exposure wanted is smaller
than before, on the same side, and then stands until it is filled or superseded; any other order is an *entry* and
lives for `valid_sessions` sessions of the account, the first being the first in which it can fill. If the other side is
held it is a *flip*: an order for exposure 0 that stands, and an entry that waits for it, with its own life. A rebalance
makes an entry of every position that has no order and is wanted on its side. An order for exposure 0 with nothing held
is done (`filled`, quantity 0, `held`) in its first session, bar or no bar. A symbol without a bar in a session
(`no_bar`), or whose volume is 0 (`volume`), does not trade; an entry whose last session passes so is `rejected` with
that reason, or `partial` if it got something before. So ends what is open after the last session, `end_of_data`.

**Direction.** A buy pays ``bar price x (1 + slippage)``, a sale gets ``bar price x (1 - slippage)``, and shares are
computed at that price (`sizing`), from the equity of the last close. An order whose target, at the price of giving
shares up, is less than is held as the orders' turn comes, gives them up; exposure 0 gives up all, odd lots too. All
others may enter.

**Execution.** First what gives shares up, sales and covers, in symbol order; then the entries, bought or sold short, by
|exposure| descending, then symbol ascending. An entry's target is computed when its turn comes, with the money of that
moment. It trades target minus held in whole lots: nothing to add is `filled`, 0, `held`; less than a lot to add, or a
target of less than a lot with nothing held, is `rejected`, `lot`. A symbol of which nothing is held needs a place among
`max_positions` (else `rejected`, `max_positions`). An entry may use ``cash - 2 x value of short positions``, which is
equity less gross exposure, at the last marks: proceeds of short sales buy nothing. An entry that this does not cover,
commission included, shrinks to the most lots that it covers (`partial`, `cash`; no lot: `rejected`, `cash`), or is
rejected as a whole, as the config says. A sale whose proceeds and cash do not cover its commission is not made, and
waits like one without a bar (`cash`); a cover takes the lots that the cash covers. So trading never makes cash
negative. In a bar, all that is traded of a symbol is at most `volume_cap` of its volume, in whole lots: what is left of
an order waits (`volume`).

**Stops** (`stops`) close a position inside a bar with volume, as orders of their own, after that bar's open. The levels
are fractions of the average entry, and of the highest high (shorts: lowest low) of the bars before since the entry. An
open beyond a level fills at the open; else the nearer of the two stops, if reached, at its level; else the profit. An
open order for more or less of the same side is superseded. What the bar or the cash does not take keeps its stop.

**Companies** (`corporate`, raw prices only). A split multiplies shares and divides prices; a dividend is due for what
was held at the close before, and paid at once or on its day.

**Marks.** A position is worth its last close; without a bar the last mark stays, and after `delist_after` sessions of
that the position is paid at the mark times `recovery`. Adjusted price = price x factor / scale, from left to right.
Sums go in symbol order, so nothing depends on how the bars were stored or cut into periods.

Rows of a symbol are visited only while it has an open order or a position.
"""

import numpy as np

from pipeline.trading.booking import end_all, row_of
from pipeline.trading.compiled import compiled
from pipeline.trading.corporate import act, delist
from pipeline.trading.execution import execute
from pipeline.trading.sizing import RISK_BASED
from pipeline.trading.state import (
    NEVER,
    SUPERSEDED,
    Bars,
    Events,
    Records,
    Rules,
    Signals,
    State,
)
from pipeline.trading.stops import check_stops


@compiled
def walk(
    bars: Bars, signals: Signals, events: Events, since: int, first: int, state: State, closes: Records, rules: Rules
) -> int:
    """Go through the sessions of a period from `since` on.

    Parameters
    ----------
    since : int
        Where in the period to begin.
    first : int
        How many sessions came before the period.
    closes : records of CLOSE, (sessions,)
        Filled in.

    Returns
    -------
    int
        The session before which the walk ended: the period's end; or the one in which the equity became infinite, not
        a number, zero or negative; or one for which `room_for` finds too little room in the records.
    """
    account = state.account[0]
    if since == 0:
        for k in range(account.active):
            state.slots[state.active[k]].cursor = bars.starts[state.active[k]]
    for session in range(since, len(closes)):
        now = first + session
        room = room_for(signals, session, state)
        if account.orders + room > len(state.orders) or account.fills + room > len(state.fills):
            return session
        trade_session(bars, signals, events, session, now, state, rules)
        mark(bars, session, state, closes)
        if not 0.0 < account.equity < np.inf:
            return session
        if not rules.at_signal:
            listen(bars, signals, session, now, state, rules)
    return len(closes)


@compiled
def trade_session(
    bars: Bars, signals: Signals, events: Events, session: int, now: int, state: State, rules: Rules
) -> None:
    """Let everything happen that changes cash or shares in a session, in its order."""
    account = state.account[0]
    if events.starts[session + 1] > events.starts[session]:
        act(events, session, now, state, rules)
    if account.open_orders > 0 and not rules.in_bar:
        execute(bars, session, now, state, rules)
    if rules.has_stops:
        check_stops(bars, session, now, state, rules)
    if rules.at_signal:
        listen(bars, signals, session, now, state, rules)
    if account.open_orders > 0 and rules.in_bar:
        execute(bars, session, now, state, rules)
    if rules.delist_after < NEVER:
        delist(bars, session, now, state, rules)


@compiled
def room_for(signals: Signals, session: int, state: State) -> int:
    """Return how many orders can end, or fill, in a session at most."""
    changes = signals.starts[session + 1] - signals.starts[session]
    return 6 * (state.account[0].active + changes)


@compiled
def listen(bars: Bars, signals: Signals, session: int, now: int, state: State, rules: Rules) -> None:
    """Turn the opinions of a close into orders, and on some sessions every position into one."""
    begin, end = signals.starts[session], signals.starts[session + 1]
    if end > begin:
        take_signals(bars, signals, begin, end, now, state, rules)
    if signals.rebalance[session]:
        rebalance(bars, session, now, state, rules)


@compiled
def take_signals(bars: Bars, signals: Signals, begin: int, end: int, now: int, state: State, rules: Rules) -> None:
    """Turn the signals ``begin:end`` of session `now` into orders."""
    account, orders = state.account[0], state.orders
    for k in range(begin, end):
        symbol, wanted = signals.symbol[k], signals.wanted[k]
        slot = state.slots[symbol]
        if wanted == slot.wanted:
            continue
        end_all(slot, now, SUPERSEDED, account, orders)
        flips = slot.held * wanted < 0.0
        reduces = slot.held != 0.0 and not flips and abs(wanted) < abs(slot.wanted)
        if flips:
            slot.flip_session, slot.flip_asked, slot.flip_filled = now, 0.0, 0.0
            account.open_orders += 1
        slot.wanted = wanted
        slot.cursor = signals.row[k]
        begin_order(slot, now, NEVER if reduces else now + rules.valid_sessions - rules.at_signal, account)
        if rules.sizing.method == RISK_BASED:
            slot.true_range = bars.true_range[slot.cursor]
    activate(signals.symbol[begin:end], state)


@compiled
def begin_order(slot: Records, now: int, last: int, account: Records) -> None:
    """Open an order for what is wanted of a symbol, which may fill until the session `last`."""
    slot.asked, slot.filled, slot.signal_session, slot.last_session = 0.0, 0.0, now, last
    account.open_orders += 1


@compiled
def rebalance(bars: Bars, session: int, now: int, state: State, rules: Rules) -> None:
    """Open an order for every position that has none and whose exposure is wanted still."""
    account = state.account[0]
    for symbol in state.active[: account.active]:
        slot = state.slots[symbol]
        if slot.signal_session >= 0 or slot.held * slot.wanted <= 0.0:
            continue
        begin_order(slot, now, now + rules.valid_sessions - rules.at_signal, account)
        if rules.sizing.method == RISK_BASED:
            row = row_of(bars.starts, bars.session, slot, session)
            if row >= 0:
                slot.true_range = bars.true_range[row]


@compiled
def activate(symbols: np.ndarray, state: State) -> None:
    """Merge those of `symbols` that got an order into the active ones, from the back, both ascending."""
    account, slots, active = state.account[0], state.slots, state.active
    old = account.active - 1
    for symbol in symbols:
        account.active += slots[symbol].signal_session >= 0 and slots[symbol].active == 0
    place = account.active - 1
    for symbol in symbols[::-1]:
        if slots[symbol].signal_session < 0 or slots[symbol].active == 1:
            continue
        while old >= 0 and active[old] > symbol:
            active[place] = active[old]
            old -= 1
            place -= 1
        active[place] = symbol
        slots[symbol].active = 1
        place -= 1


@compiled
def mark(bars: Bars, session: int, state: State, closes: Records) -> None:
    """Mark every position, record the account, and let go of symbols with neither position nor open order."""
    account, slots, active = state.account[0], state.slots, state.active
    starts, session_of, close, factor, scale = bars.starts, bars.session, bars.close, bars.factor, bars.scale
    net, gross, shorted, positions, kept = 0.0, 0.0, 0.0, 0, 0
    for k in range(account.active):
        symbol = active[k]
        slot = slots[symbol]
        if slot.held != 0.0:
            row = row_of(starts, session_of, slot, session)
            if row >= 0:
                slot.mark = close[row] * factor[row] / scale[symbol]
            value = slot.held * slot.mark
            net += value
            gross += abs(value)
            positions += 1
            if value < 0.0:
                slot.shorted = -value
                shorted -= value
        elif slot.signal_session < 0 and slot.flip_session < 0:
            slot.active = 0
            continue
        active[kept] = symbol
        kept += 1
    account.active, account.shorted = kept, shorted
    account.equity = account.cash + account.receivable + net
    at = closes[session]
    at.cash, at.receivable, at.positions_value, at.gross = account.cash, account.receivable, net, gross
    at.equity, at.positions = account.equity, positions
