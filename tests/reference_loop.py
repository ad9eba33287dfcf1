"""The trading rules once more, slowly: dicts, Python floats, one session after the other.

Written from the rules (docstring of `pipeline.trading.kernel`), not from the compiled code, and without importing it.
The tests compare both, order by order and fill by fill.
"""

import math
import struct
from dataclasses import dataclass, field

from pipeline.modes import CashShort, Fill, MarketName, Rebalance, SizingMethod
from pipeline.options import TradingOptions

MARKET_LOT = {MarketName.US: 1, MarketName.FREE: 0}


class BrokenEquityError(Exception):
    """The equity is not a positive number."""


@dataclass
class Bar:
    """What a session showed of a symbol, in the account's prices; `price` is what orders fill at."""

    open: float
    high: float
    low: float
    close: float
    price: float
    volume: float  # in the account's shares
    true_range: float | None


@dataclass
class Order:
    """An open order."""

    born: int
    wanted: float
    last: float  # last session in which it may fill, inf if it stands
    closes: bool = False  # all that is held: the first half of a flip, or the rest of a stop
    why: str = "signal"
    asked: float = 0.0
    filled: float = 0.0


@dataclass
class Position:
    """What is held of a symbol."""

    shares: float
    entry: float
    best: float  # highest high, or lowest low, of the bars before
    seen: int  # session of the last bar
    short: float  # what it counts as short
    mark: float = math.nan


@dataclass
class Reference:
    """An account and what happened to it.

    Everything goes by the number of a time; `days` are the date of each, several times of a day having the same.
    `bars` is symbol -> {number: Bar}; `opinions` is number -> {symbol: exposure}; `actions` is number -> [(symbol,
    split, dividend, number at which it is paid, None for the same, inf for never)].
    """

    symbols: list
    days: list
    bars: dict
    opinions: dict
    options: TradingOptions
    actions: dict = field(default_factory=dict)
    orders: list = field(default_factory=list)  # born, ended, symbol, wanted, asked, filled, status, reason
    fills: list = field(default_factory=list)  # session, symbol, quantity, price, commission, slippage, reason
    equity: list = field(default_factory=list)  # cash, positions value, equity, positions, receivable
    payments: list = field(default_factory=list)  # session, symbol, shares, ratio, cash, reason

    def __post_init__(self):
        """Open the account."""
        o = self.options
        self.cash = self.last_equity = o.cash
        self.short = self.receivable = 0.0
        self.positions, self.wanted, self.open, self.flips, self.ranges = {}, {}, {}, {}, {}
        self.due, self.rooms, self.stopped_out = {}, {}, set()
        self.lot = float(MARKET_LOT[o.market] if o.lot is None else o.lot)
        self.rate, self.minimum, self.fixed = (
            x or 0.0 for x in (o.commission.rate, o.commission.minimum, o.commission.fixed)
        )
        self.at_signal = o.fill is Fill.CLOSE
        dates = sorted(set(self.days))
        number = {day: place for place, day in enumerate(dates)}
        self.session = [number[day] for day in self.days]
        self.last_of_day = [a != b for a, b in zip(self.session, [*self.session[1:], None], strict=True)]
        self.day_before = [dates[place - 1] if place else None for place in self.session]

    def run(self):
        """Walk all sessions."""
        for now in range(len(self.days)):
            self.rooms = {}
            self.act(now)
            if self.options.fill is Fill.NEXT_OPEN:
                self.trade(now)
            self.stop(now)
            if self.at_signal:
                self.listen(now)
            if self.options.fill is not Fill.NEXT_OPEN:
                self.trade(now)
            self.mark(now)
            if not self.at_signal:
                self.listen(now)
        for symbol in sorted({*self.open, *self.flips}):
            self.end_all(symbol, len(self.days) - 1, "end_of_data")
        return self

    # signals

    def listen(self, now):
        """Signals become orders; on some sessions positions too."""
        for symbol, signal in sorted(self.opinions.get(now, {}).items()):
            wanted, before = signal if self.options.short else max(signal, 0.0), self.wanted.get(symbol, 0.0)
            if wanted == before:
                continue
            self.end_all(symbol, now, "superseded")
            self.wanted[symbol] = wanted
            self.stopped_out.discard(symbol)
            held = self.held(symbol)
            other_side = (held > 0 > wanted) or (held < 0 < wanted)
            if other_side:
                self.flips[symbol] = Order(now, 0.0, math.inf, closes=True)
            stands = held != 0 and not other_side and abs(wanted) < abs(before)
            self.open[symbol] = Order(now, wanted, math.inf if stands else self.expiry(now))
            self.ranges[symbol] = self.bars[symbol][now].true_range
        if self.rebalances(now):
            for symbol, position in sorted(self.positions.items()):
                wanted = self.wanted[symbol]
                same_side = wanted != 0 and (wanted > 0) == (position.shares > 0)
                if symbol not in self.open and symbol not in self.stopped_out and same_side:
                    self.open[symbol] = Order(now, wanted, self.expiry(now))
                    if now in self.bars[symbol]:
                        self.ranges[symbol] = self.bars[symbol][now].true_range

    def expiry(self, now):
        """Return the last session in which an entry may fill."""
        waits = 0 if self.at_signal or not self.last_of_day[now] else 1
        return self.session[now] + waits + self.options.orders.valid_sessions - 1

    def rebalances(self, now):
        before, today = self.day_before[now], self.days[now]
        if self.options.rebalance is None or before is None or not self.last_of_day[now]:
            return False
        if self.options.rebalance is Rebalance.MONTHLY:
            return (before.year, before.month) != (today.year, today.month)
        return before.isocalendar()[:2] != today.isocalendar()[:2]

    # trading

    def trade(self, now):
        """Orders meet the prices of the session."""
        reducers, entries = [], []
        for symbol in sorted({*self.open, *self.flips}):
            if not self.held(symbol):
                self.close_nothing(symbol, now)
            bar = self.bars[symbol].get(now)
            if symbol not in self.open and symbol not in self.flips:
                continue
            if bar is None or bar.volume == 0:
                self.wait(symbol, now, "no_bar" if bar is None else "volume")
                continue
            if symbol in self.flips:
                reducers.append((symbol, self.flips[symbol], -self.held(symbol)))
                entries += [symbol] if symbol in self.open else []
            elif not self.rangeless(symbol, now):
                less = self.surplus(symbol, now)
                reducers += [(symbol, self.open[symbol], less)] if less else []
                entries += [] if less else [symbol]
        for symbol, order, less in reducers:
            self.give_up_shares(symbol, order, less, now)
        for symbol in sorted(entries, key=lambda symbol: (-abs(self.wanted[symbol]), symbol)):
            if symbol in self.open and symbol not in self.flips and not self.rangeless(symbol, now):
                self.turn(symbol, now)

    def turn(self, symbol, now):
        """Let an order enter; one that reduced takes nothing back."""
        order = self.open[symbol]
        if order.filled * self.held(symbol) < 0:
            order.asked = order.filled
            self.end(order, symbol, now, "filled", "signal")
        else:
            self.enter(symbol, now)

    def close_nothing(self, symbol, now):
        """End orders that would close a position that is not there."""
        for order in (self.flips.get(symbol), self.open.get(symbol)):
            if order and order.wanted == 0:
                order.asked = order.filled
                self.end(order, symbol, now, "filled", order.why if order.filled else "held")

    def give_up_shares(self, symbol, order, less, now):
        order.asked = order.filled + less
        got, obstacle = self.reduce(symbol, less, self.bars[symbol][now].price, now, order.why)
        order.filled += got
        if got == less:
            self.end(order, symbol, now, "filled", order.why)
            return
        order.last = math.inf
        self.wait(symbol, now, obstacle)

    def rangeless(self, symbol, now):
        """Reject an order that nobody can size."""
        order = self.open[symbol]
        if self.options.sizing.method is not SizingMethod.RISK or order.wanted == 0 or self.ranges[symbol]:
            return False
        self.stop_trying(order, symbol, now, "risk")
        return True

    def surplus(self, symbol, now):
        """Signed shares that the order of a symbol gives up."""
        order, held = self.open[symbol], self.held(symbol)
        if order.wanted == 0:
            return -held
        if held == 0 or order.filled * held > 0:
            return 0.0
        selling = -1 if held > 0 else 1
        target = self.target(symbol, order.wanted, self.bars[symbol][now].price * (1 + selling * self.slippage))
        change = self.step(target, held)
        return change if (change < 0 < held) or (held < 0 < change) else 0.0

    def reduce(self, symbol, asked, price, now, reason):
        """Sell or cover as much of a position as the bar, or the cash, allows."""
        side = 1 if asked > 0 else -1
        price_got, quantity, obstacle = price * (1 + side * self.slippage), abs(asked), None
        room = self.room(symbol, now)
        if self.served(quantity, room) < quantity:
            quantity, obstacle = self.served(quantity, room), "volume"
        if side > 0:
            covered = self.covered(quantity, price_got, self.cash)
            if covered < quantity:
                quantity, obstacle = covered, "cash"
        value = quantity * price_got
        paid = self.commission(value)
        if side < 0 and self.cash + (value - paid) < 0:
            return 0.0, "cash"
        if quantity:
            self.book(symbol, now, side * quantity, price_got, price, paid, reason)
        return side * quantity, obstacle

    def enter(self, symbol, now):
        order, held = self.open[symbol], self.held(symbol)
        order.last = self.session[now] if order.last == math.inf else order.last
        side = 1 if order.wanted > 0 else -1
        undisturbed = self.bars[symbol][now].price
        price = undisturbed * (1 + side * self.slippage)
        target = self.target(symbol, order.wanted, price)
        missing = max(side * self.step(target, held), 0.0)
        order.asked = order.filled + side * missing
        if not missing:
            reached = held and side * target <= side * held
            why = "signal" if order.filled else "held" if reached else "lot"
            self.end(order, symbol, now, "rejected" if why == "lot" else "filled", why)
            return
        if not held and len(self.positions) >= (self.options.max_positions or math.inf):
            self.stop_trying(order, symbol, now, "max_positions")
            return
        room = self.room(symbol, now)
        possible = self.served(missing, room)
        if not possible:
            self.wait(symbol, now, "volume")
            return
        quantity = self.covered(possible, price, self.free())
        if quantity == 0 or (quantity < possible and self.options.orders.cash is CashShort.REJECT):
            self.stop_trying(order, symbol, now, "cash")
            return
        self.book(symbol, now, side * quantity, price, undisturbed, self.commission(quantity * price), "signal")
        order.filled += side * quantity
        if quantity < possible:
            self.stop_trying(order, symbol, now, "cash")
        elif possible < missing:
            self.wait(symbol, now, "volume")
        else:
            self.end(order, symbol, now, "filled", "signal")

    def stop(self, now):
        """Let stops act inside the bar."""
        rules = self.options.stops
        if (rules.loss, rules.profit, rules.trailing) == (None, None, None):
            return
        for symbol, position in sorted(self.positions.items()):
            bar = self.bars[symbol].get(now)
            if bar is None or bar.volume == 0:
                continue
            leaving = symbol in self.flips and self.flips[symbol].why != "signal"
            hit = None if leaving else self.hit(position, bar)
            if hit:
                self.stopped(symbol, now, *hit)
            best = max(position.best, bar.high) if position.shares > 0 else min(position.best, bar.low)
            position.best = best

    def hit(self, position, bar):
        """Price and reason at which a position is stopped."""
        rules, long = self.options.stops, position.shares > 0
        away, back = (1, -1) if long else (-1, 1)
        stops = []
        if rules.loss is not None:
            stops.append((position.entry * (1 + back * rules.loss), "stop_loss"))
        if rules.trailing is not None:
            stops.append((position.best * (1 + back * rules.trailing), "trailing_stop"))
        nearest = (max if long else min)(stops, key=lambda stop: stop[0]) if stops else None
        profit = position.entry * (1 + away * rules.profit) if rules.profit is not None else None

        def lost(price):
            return nearest is not None and (price <= nearest[0] if long else price >= nearest[0])

        def won(price):
            return profit is not None and (price >= profit if long else price <= profit)

        if lost(bar.open):
            return bar.open, nearest[1]
        if won(bar.open):
            return bar.open, "take_profit"
        if lost(bar.low if long else bar.high):
            return nearest
        if won(bar.high if long else bar.low):
            return profit, "take_profit"
        return None

    def stopped(self, symbol, now, price, reason):
        held = self.held(symbol)
        got, obstacle = self.reduce(symbol, -held, price, now, reason)
        order = self.open.get(symbol)
        useless = order if order and order.wanted and (order.wanted > 0) == (held > 0) else None
        if got != -held and reason != "take_profit" and symbol not in self.flips and order is useless:
            self.flips[symbol] = Order(now, 0.0, math.inf, closes=True, why=reason, asked=-held, filled=got)
        elif got:
            ending = ("filled", reason) if got == -held else ("partial", obstacle)
            self.orders.append((now, now, symbol, 0.0, -held, got, *ending))
        else:
            return
        self.stopped_out.add(symbol)
        if useless:
            self.stop_trying(useless, symbol, now, "superseded")

    # sizes and money

    def held(self, symbol):
        return self.positions[symbol].shares if symbol in self.positions else 0.0

    @property
    def slippage(self):
        return self.options.slippage.rate

    def free(self):
        return self.cash - 2 * self.short

    def room(self, symbol, now):
        """How many shares the bar still takes."""
        if self.options.volume_cap is None:
            return math.inf
        if symbol not in self.rooms:
            self.rooms[symbol] = self.options.volume_cap * self.bars[symbol][now].volume
        return self.rooms[symbol]

    def covered(self, asked, price, money):
        """Largest quantity up to `asked` that the money covers: bisection over lots, or over the floats there are.

        Of fractions, what is less than a billionth of `asked` is what rounding left of the money, and nothing.
        """

        def fits(quantity):
            return quantity * price + self.commission(quantity * price) <= money

        if fits(asked):
            return asked
        if self.lot:
            low, high = 0, math.ceil(asked / self.lot)
            amount = lambda k: float(k) * self.lot  # noqa: E731
        else:
            low, high = 0, struct.unpack("<q", struct.pack("<d", asked))[0]
            amount = lambda k: struct.unpack("<d", struct.pack("<q", k))[0]  # noqa: E731
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if fits(amount(middle)) else (low, middle)
        return amount(low) if self.lot or amount(low) > 1e-9 * asked else 0.0

    def commission(self, value):
        return max(self.minimum, self.fixed + self.rate * value)

    def whole(self, shares):
        return math.trunc(shares / self.lot) * self.lot if self.lot else shares

    def step(self, target, held):
        """Whole lots from what is held to the target; a billionth of either is nothing."""
        change = self.whole(target - held)
        return 0.0 if not self.lot and abs(change) <= 1e-9 * max(abs(target), abs(held)) else change

    def served(self, asked, room):
        """Return what a bar takes of `asked`; all but a billionth is all."""
        if room >= asked or (not self.lot and asked - room <= 1e-9 * asked):
            return asked
        return self.whole(room)

    def target(self, symbol, wanted, price):
        value, equity, n = self.options.sizing.value, self.last_equity, self.options.max_positions or len(self.symbols)
        shares = {
            SizingMethod.VALUE: lambda: wanted * value / price,
            SizingMethod.SHARES: lambda: wanted * value,
            SizingMethod.FRACTION: lambda: wanted * value * equity / price,
            SizingMethod.EQUAL: lambda: wanted * equity / n / price,
            SizingMethod.WEIGHT: lambda: wanted * equity / price,
            SizingMethod.RISK: lambda: wanted * value * equity / self.ranges[symbol],
            SizingMethod.ALL_IN: lambda: wanted * max(self.free() + abs(self.held(symbol)) * price, 0.0) / price,
        }
        return self.whole(shares[self.options.sizing.method]())

    def book(self, symbol, now, quantity, price, undisturbed, paid, reason):  # noqa: PLR0917
        if quantity > 0:
            self.cash -= quantity * price + paid
        else:
            self.cash += -quantity * price - paid
        position = self.positions.get(symbol)
        if position is None:
            self.positions[symbol] = Position(quantity, price, price, self.session[now], 0.0)
            self.lend(self.positions[symbol], quantity, price)
        elif (position.shares > 0) == (quantity > 0):
            total = position.shares + quantity
            position.entry = (position.shares * position.entry + quantity * price) / total
            position.shares = total
            self.lend(position, quantity, price)
        else:
            rest = position.shares + quantity
            if position.shares < 0:
                returned = position.short * (quantity / -position.shares) if rest else position.short
                position.short -= returned
                self.short -= returned
            position.shares = rest
            if not rest:
                del self.positions[symbol]
        if symbol in self.rooms:
            self.rooms[symbol] = max(self.rooms[symbol] - abs(quantity), 0.0)
        self.fills.append(
            (now, symbol, quantity, price, paid, abs(quantity) * abs(price - undisturbed), reason),
        )

    def lend(self, position, quantity, price):
        if quantity < 0:
            position.short += -quantity * price
            self.short += -quantity * price

    # ends

    def wait(self, symbol, now, reason):
        order = self.open.get(symbol)
        session = self.session[now]
        if order and (session > order.last or (session == order.last and self.last_of_day[now])):
            self.stop_trying(order, symbol, now, reason)

    def stop_trying(self, order, symbol, now, reason):
        self.end(order, symbol, now, "partial" if order.filled else "rejected", reason)

    def end_all(self, symbol, now, reason):
        for book in (self.flips, self.open):
            if symbol in book:
                self.stop_trying(book[symbol], symbol, now, reason)

    def end(self, order, symbol, now, status, reason):
        del (self.flips if order.closes else self.open)[symbol]
        self.orders.append((order.born, now, symbol, order.wanted, order.asked, order.filled, status, reason))

    # companies

    def act(self, now):
        """Let companies act, by symbol; of one symbol what is due before what is paid."""
        todo = [(symbol, 0, what) for symbol, *what in self.actions.get(now, [])]
        todo += [(symbol, 1, [key]) for key, (symbol, paid_in, _) in self.due.items() if paid_in == now]
        for symbol, paid, what in sorted(todo, key=lambda item: item[:2]):
            if paid:
                self.pay(what[0], now)
                continue
            split, dividend, later = what
            amount = self.held(symbol) * split * dividend
            if split != 1:
                self.split(symbol, split, now)
            if amount:
                key = object()
                self.due[key] = (symbol, now if later is None else later, amount)
                self.receivable += amount
                if later is None:
                    self.pay(key, now)

    def pay(self, key, now):
        symbol, _, amount = self.due.pop(key)
        self.cash += amount
        self.receivable = self.receivable - amount if self.due else 0.0
        self.payments.append((now, symbol, 0.0, 1.0, amount, "dividend"))

    def split(self, symbol, ratio, now):
        if self.ranges.get(symbol):
            self.ranges[symbol] /= ratio
        if symbol not in self.positions:
            return
        position = self.positions[symbol]
        before, exact = position.shares, position.shares * ratio
        position.mark, position.entry, position.best = (
            position.mark / ratio,
            position.entry / ratio,
            position.best / ratio,
        )
        kept = exact
        if self.lot:
            near = float(round(exact))
            kept = near if abs(near - exact) <= 1e-9 * abs(exact) else float(math.trunc(exact))
        cash = (exact - kept) * position.mark
        self.cash += cash
        position.shares = kept
        if position.short or not kept:
            self.short -= position.short
            position.short = max(-kept * position.mark, 0.0)
            self.short += position.short
        if not kept:
            del self.positions[symbol]
        self.payments.append((now, symbol, kept - before, ratio, cash, "split"))

    def mark(self, now):
        total, self.short = 0.0, 0.0
        short = 0.0
        for symbol, position in sorted(self.positions.items()):
            if now in self.bars[symbol]:
                position.mark, position.seen = self.bars[symbol][now].close, self.session[now]
            elif self.options.delist_after and self.session[now] - position.seen >= self.options.delist_after:
                self.delist(symbol, now)
                continue
            value = position.shares * position.mark
            total += value
            position.short = max(-value, 0.0)
            short += position.short
        self.short = short
        self.last_equity = self.cash + self.receivable + total
        if not 0 < self.last_equity < math.inf:
            raise BrokenEquityError(now)
        row = (self.cash, total, self.last_equity, len(self.positions), self.receivable)
        del self.equity[self.session[now] :]
        self.equity.append(row)

    def delist(self, symbol, now):
        position = self.positions[symbol]
        price, quantity = position.mark * self.options.recovery, -position.shares
        self.end_all(symbol, now, "delisted")
        self.orders.append((now, now, symbol, 0.0, quantity, quantity, "filled", "delisted"))
        self.book(symbol, now, quantity, price, price, 0.0, "delisted")
