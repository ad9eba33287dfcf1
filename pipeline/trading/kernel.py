"""The loop over time, compiled: what happens at a bar, and in which order.

The account goes from one *time* to the next at which any symbol has a bar: with daily bars that is a session, with
minute bars a session has many. Each goes through these steps; where orders fill is the config's choice::

    next_open               companies act -> orders fill -> stops -> marks, equity -> signals become orders
    next_close, next_ohlc4  companies act -> stops -> orders fill -> marks, equity -> signals become orders
    close                   companies act -> stops -> signals become orders -> orders fill -> marks, equity

**Orders.** An order arises only when the wanted exposure of a symbol changes; the first opinion is compared with 0. It
supersedes what is still open for that symbol. It *reduces* if something is held and the exposure wanted is smaller
than before, on the same side, and then stands until it is filled or superseded; any other order is an *entry* and
lives for `valid_sessions` sessions of the account, the first being the one of the first time at which it can fill. If
the other side is held it is a *flip*: an order for exposure 0 that stands, and an entry that waits for it, with its
own life. A rebalance makes, at the last close of a session, an entry of every position that has no order and is wanted
on its side, unless a stop or a profit sold of it since. Such an order stands, too, once it gave something up; one that
was to reduce, but whose target is above what is held, adds in that session only; and an entry that got something gives
nothing of it up, nor does a reduction take back. An order for exposure 0 with nothing held is done at its first time,
bar or no bar (`filled`, `held` if it got nothing itself). A symbol without a bar at a time (`no_bar`), or whose volume
is 0 (`volume`), does not trade; an entry that this still keeps back at the end of its last session is `rejected` with
that reason, or `partial` if it got something before. So ends what is open after the last time, `end_of_data`.

**Direction.** A buy pays ``bar price x (1 + slippage)``, a sale gets ``bar price x (1 - slippage)``, and shares are
computed at that price (`sizing`), from the equity of the last close. An order whose target, at the price of giving
shares up, is less than is held as the orders' turn comes, gives them up; exposure 0 gives up all, odd lots too. All
others may enter.

**Execution.** First what gives shares up, sales and covers, in symbol order; then the entries, bought or sold short,
by |exposure| descending, then symbol ascending. An entry's target is computed when its turn comes, with the money of
that moment. It trades target minus held in whole lots: nothing to add is `filled`, 0, `held`; less than a lot to add,
or a target of less than a lot with nothing held, is `rejected`, `lot`. A symbol of which nothing is held needs a place
among `max_positions` (else `rejected`, `max_positions`). An entry may use ``cash - 2 x value of short positions``,
which is equity less gross exposure, at the last marks: proceeds of short sales buy nothing. An entry that this does
not cover, commission included, shrinks to the most lots that it covers (`partial`, `cash`; no lot, or of fractions of
shares less than a billionth of what was asked: `rejected`, `cash`), or is rejected as a whole, as the config says. A
sale whose proceeds and cash do not cover its commission is not made, and waits like one without a bar (`cash`); a
cover takes the lots that the cash covers. So trading never makes cash negative. In a bar, all that is traded of a
symbol is at most `volume_cap` of its volume, in whole lots: what is left of an order waits (`volume`).

**Stops** (`stops`) close a position inside a bar with volume, as orders of their own, after that bar's open. The levels
are fractions of the average entry, and of the highest high (shorts: lowest low) of the bars before since the entry. An
open beyond a level fills at the open; else the nearer of the two stops, if reached, at its level; else the profit. An
open order for more or less of the same side is superseded. What the bar or the cash does not take of a stop stands as
an order that reduces, and no stop is looked at until it ended; of a profit it keeps its level, as a limit order does.

**Companies** (`corporate`). With raw prices, at the first time of the ex-date's session, a split multiplies shares and
divides prices; a dividend is due for what was held at the close before, and paid at once or on its day. A position in
a symbol that is listed no more, or had no bar for `delist_after` sessions, is paid at its mark times `recovery`.

**Marks.** A position is worth its last close; without a bar the last mark stays. Adjusted price = price x factor /
scale, from left to right. Sums go in symbol order, so nothing depends on how the bars were stored or cut into periods.

Rows of a symbol are visited only while it has an open order or a position.
"""

import numpy as np

from pipeline.trading.booking import begin_exit, end_all, rewind, row_of, seek
from pipeline.trading.compiled import compiled, inlined, prefetch
from pipeline.trading.corporate import act, delist
from pipeline.trading.execution import execute
from pipeline.trading.sizing import RISK_BASED
from pipeline.trading.state import (
    NEVER,
    SIGNAL,
    SUPERSEDED,
    Bars,
    Events,
    Records,
    Rules,
    Signals,
    State,
)
from pipeline.trading.stops import check_stops

LINE = 8  # float64 in a line of the processor's cache
RECORDS = 6  # orders, or fills, of a symbol at one time, at most


@compiled
def walk(  # noqa: C901 - the order of things stands in one place, where it can be read
    bars: Bars,
    signals: Signals,
    events: Events,
    span: tuple[int, int],
    first: int,
    state: State,
    closes: Records,
    rules: Rules,
) -> int:
    """Go through some times of a period.

    Parameters
    ----------
    span : (int, int)
        Where in the period to begin, and before which time to end.
    first : int
        How many times came before the period.
    closes : records of CLOSE, (sessions,)
        Of the period; filled in.

    Returns
    -------
    int
        The time before which the walk ended: that of `span`; or the one at which the equity became infinite, not a
        number, zero or negative; or one for which `state` may have too little room for records.
    """
    account, slots, active = state.account[0], state.slots, state.active
    starts, time_of, close, day, closing = bars.starts, bars.time, bars.close, bars.day, bars.closing
    opinions, actions, hears = signals.starts, events.starts, signals.hears
    since, until = span
    if since == 0:
        rewind(starts, slots)
    for time in range(since, until):
        room = RECORDS * (account.active + opinions[time + 1] - opinions[time])
        if account.orders + room > len(state.orders) or account.fills + room > len(state.fills):
            return time
        account.now, account.day, account.closing = first + time, day[time], closing[time]
        if actions[time + 1] > actions[time]:
            act(events, time, state, rules)
        if account.open_orders > 0 and not rules.in_bar:
            execute(bars, time, state, rules)
        if rules.has_stops:
            check_stops(bars, time, state, rules)
        if rules.at_signal and hears[time]:
            listen(bars, signals, time, state, rules)
        if account.open_orders > 0 and rules.in_bar:
            execute(bars, time, state, rules)
        if rules.delists:
            delist(bars, time, state, rules)
        mark(time, slots, active, starts, time_of, close, account, closes[day[time] - day[0]])
        if not 0.0 < account.equity < np.inf:
            return time
        if hears[time] and not rules.at_signal:
            listen(bars, signals, time, state, rules)
    return until


@inlined
def listen(bars: Bars, signals: Signals, time: int, state: State, rules: Rules) -> None:
    """Turn the opinions of a close into orders, and at some times every position into one."""
    begin, end = signals.starts[time], signals.starts[time + 1]
    if end > begin:
        take_signals(bars, signals, begin, end, state, rules)
    if signals.rebalance[time]:
        rebalance(bars, time, state, rules)


@inlined
def take_signals(bars: Bars, signals: Signals, begin: int, end: int, state: State, rules: Rules) -> None:
    """Turn the signals ``begin:end``, those of now, into orders."""
    account, orders = state.account[0], state.orders
    price, volume, factor, rows = bars.price, bars.volume, bars.factor, signals.row
    for k in range(begin, end):
        next_row = rows[k] + 1  # of the bar at which the order fills, mostly
        prefetch(price, next_row)
        prefetch(volume, next_row)
        prefetch(factor, next_row)
    for k in range(begin, end):
        symbol, wanted = signals.symbol[k], signals.wanted[k]
        slot = state.slots[symbol]
        if wanted == slot.wanted:
            continue
        end_all(slot, SUPERSEDED, account, orders)
        flips = slot.held * wanted < 0.0
        reduces = slot.held != 0.0 and not flips and abs(wanted) < abs(slot.wanted)
        if flips:
            begin_exit(slot, SIGNAL, account)
        slot.wanted, slot.stopped = wanted, 0
        begin_order(slot, NEVER if reduces else expiry(account, rules), account)
        if rules.sizing.method == RISK_BASED:
            slot.true_range = bars.true_range[signals.row[k]]
    activate(signals.symbol[begin:end], state)


@compiled
def begin_order(slot: Records, last: int, account: Records) -> None:
    """Open an order for what is wanted of a symbol, which may fill until the session `last` ends."""
    slot.asked, slot.filled, slot.signal_time, slot.last_session = 0.0, 0.0, account.now, last
    account.open_orders += 1


@compiled
def expiry(account: Records, rules: Rules) -> int:
    """Return the last session of an entry that arises now; its first is that of the first time it can fill."""
    waits = account.closing == 1 and not rules.at_signal
    return account.day + waits + rules.valid_sessions - 1


@compiled
def rebalance(bars: Bars, time: int, state: State, rules: Rules) -> None:
    """Open an order for every position that has none and whose exposure is wanted still."""
    account = state.account[0]
    for symbol in state.active[: account.active]:
        slot = state.slots[symbol]
        if slot.signal_time >= 0 or slot.stopped == 1 or slot.held * slot.wanted <= 0.0:
            continue
        begin_order(slot, expiry(account, rules), account)
        if rules.sizing.method == RISK_BASED:
            row = row_of(bars.starts, bars.time, slot, time)
            if row >= 0:
                slot.true_range = bars.true_range[row]


@compiled
def activate(symbols: np.ndarray, state: State) -> None:
    """Merge those of `symbols` that got an order into the active ones, from the back, both ascending."""
    account, slots, active = state.account[0], state.slots, state.active
    old = account.active - 1
    for symbol in symbols:
        account.active += slots[symbol].signal_time >= 0 and slots[symbol].active == 0
    place = account.active - 1
    for symbol in symbols[::-1]:
        if slots[symbol].signal_time < 0 or slots[symbol].active == 1:
            continue
        while old >= 0 and active[old] > symbol:
            active[place] = active[old]
            old -= 1
            place -= 1
        active[place] = symbol
        slots[symbol].active = 1
        place -= 1


@compiled
def mark(
    time: int,
    slots: Records,
    active: np.ndarray,
    starts: np.ndarray,
    time_of: np.ndarray,
    close: np.ndarray,
    account: Records,
    at: Records,
) -> None:
    """Mark every position, record the account `at` its session, and let go of symbols with neither position nor order.

    This is most of the loop, so it is handed a few arrays and no tuple of all of them, and finds most bars by itself.
    """
    net, gross, shorted, positions, kept = 0.0, 0.0, 0.0, 0, 0
    for k in range(account.active):
        symbol = active[k]
        slot = slots[symbol]
        if slot.held != 0.0:
            row = time - slot.shift  # as in `row_of`
            if row >= slot.run_stop:
                row = seek(starts, time_of, slot, time)
            if row >= slot.run_first:
                slot.mark = close[row]
                prefetch(close, row + LINE)
            value = slot.held * slot.mark
            net += value
            gross += abs(value)
            positions += 1
            if value < 0.0:
                slot.shorted = -value
                shorted -= value
        elif slot.signal_time < 0 and slot.exit_time < 0:
            slot.active = 0
            continue
        active[kept] = symbol
        kept += 1
    account.active, account.shorted = kept, shorted
    account.equity = account.cash + account.receivable + net
    at.cash, at.receivable, at.positions_value, at.gross = account.cash, account.receivable, net, gross
    at.equity, at.positions = account.equity, positions
