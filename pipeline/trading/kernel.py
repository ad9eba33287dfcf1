"""The day loop, compiled: what happens in a session, and in which order.

A session goes through these steps; which of the two fills is used is the config's choice::

    next_open   orders fill at the open -> positions are marked, equity recorded -> signals become orders
    close       signals become orders -> orders fill at this close -> positions are marked, equity recorded

**Orders.** An order arises only when the wanted exposure of a symbol changes; the first opinion is compared with 0.
It supersedes an order of that symbol that is still open. It *reduces* if something is held and the exposure wanted is
smaller than before, and then stands until it is filled or superseded; any other order is an *entry* and lives for
`valid_sessions` sessions of the account, the first being the first in which it can fill. An order for exposure 0 with
nothing held is done (`filled`, quantity 0, `held`) in that first session, bar or no bar. A symbol without a bar in a
session (`no_bar`), or whose volume is 0 (`volume`), does not trade; an entry whose last session passes so is `rejected`
with that reason. What is open after the last session is `rejected`, `end_of_data`.

**Direction.** A buy pays ``bar price x (1 + slippage)``, a sale gets ``bar price x (1 - slippage)``, and shares are
computed at that price (`sizing`), from the equity of the last close. An order whose target at the price of sales is
below what is held, as the session opens, sells; exposure 0 sells all of it, odd lots too. All others may buy.

**Execution.** First the sales, in symbol order, then the buys, by |exposure| descending, then symbol ascending. A
buy's target is computed when its turn comes, with the cash of that moment. It trades target minus held in whole lots:
nothing to add is `filled`, 0, `held`; less than a lot to add, or a target of less than a lot with nothing held, is
`rejected`, `lot`. A buy that the cash does not cover, commission included, shrinks to the most lots that it covers
(`partial`, `cash`; no lot: `rejected`, `cash`), or is rejected as a whole, as the config says. A sale whose proceeds
and cash do not cover its commission is not made, and waits like one without a bar (`cash`). So cash is never negative.

**Marks.** A position is worth its last close; without a bar the last mark stays. Adjusted price = price x factor /
scale, from left to right. Sums go in symbol order, so nothing depends on how the bars were stored or cut into periods.

Rows of a symbol are visited only while it has an open order or a position.
"""

import numpy as np

from pipeline.trading.compiled import compiled
from pipeline.trading.execution import end_order, execute, row_of
from pipeline.trading.state import NEVER, REJECTED, SUPERSEDED, Bars, Records, Rules, Signals, State


@compiled
def walk(bars: Bars, signals: Signals, first: int, state: State, closes: Records, rules: Rules) -> int:
    """Go through the sessions of a period, of which `first` came before; `closes` is CLOSE (sessions,), filled in.

    Returns
    -------
    int
        How many sessions were walked; fewer than the period has means that in the one after them the equity became
        infinite, not a number, zero or negative.
    """
    account = state.account[0]
    for k in range(account.active):
        state.slots[state.active[k]].cursor = bars.starts[state.active[k]]
    for session in range(len(closes)):
        now = first + session
        since, until = signals.starts[session], signals.starts[session + 1]
        if rules.at_close and until > since:
            take_signals(signals, since, until, now, state, rules)
        if account.open_orders > 0:
            execute(bars, session, now, state, rules)
        mark(bars, session, state, closes)
        if not 0.0 < account.equity < np.inf:
            return session
        if until > since and not rules.at_close:
            take_signals(signals, since, until, now, state, rules)
    return len(closes)


@compiled
def take_signals(signals: Signals, since: int, until: int, now: int, state: State, rules: Rules) -> None:
    """Turn the signals ``since:until`` of session `now` into orders."""
    account = state.account[0]
    for k in range(since, until):
        symbol, wanted = signals.symbol[k], signals.wanted[k]
        slot = state.slots[symbol]
        if wanted == slot.wanted:
            continue
        if slot.signal_session >= 0:
            end_order(symbol, now, 0.0, REJECTED, SUPERSEDED, state)
        reduces = slot.held != 0.0 and abs(wanted) < abs(slot.wanted)
        slot.wanted = wanted
        slot.asked = 0.0
        slot.signal_session = now
        slot.last_session = NEVER if reduces else now + rules.valid_sessions - rules.at_close
        slot.cursor = signals.row[k]
        account.open_orders += 1
    activate(signals.symbol[since:until], state)


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
    net, gross, positions, kept = 0.0, 0.0, 0, 0
    for k in range(account.active):
        symbol = active[k]
        slot = slots[symbol]
        if slot.held != 0.0:
            row = row_of(starts, session_of, slot, symbol, session)
            if row >= 0:
                slot.mark = close[row] * factor[row] / scale[symbol]
            value = slot.held * slot.mark
            net += value
            gross += abs(value)
            positions += 1
        elif slot.signal_session < 0:
            slot.active = 0
            continue
        active[kept] = symbol
        kept += 1
    account.active = kept
    account.equity = account.cash + net
    now = closes[session]
    now.cash, now.positions_value, now.gross = account.cash, net, gross
    now.equity, now.positions = account.equity, positions
