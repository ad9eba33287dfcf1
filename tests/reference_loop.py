"""The trading rules once more, slowly: dicts, Python floats, one session after the other.

Written from the rules (docstring of `pipeline.trading.kernel`), not from the compiled code, and without importing it.
The tests compare both, order by order and fill by fill.
"""

import math
import struct
from dataclasses import dataclass, field

from pipeline.options import CashShort, Fill, MarketName, SizingMethod, TradingOptions

MARKET_LOT = {MarketName.US: 1, MarketName.FREE: 0}


class BrokenEquityError(Exception):
    """The equity is not a positive number."""


@dataclass
class Order:
    """An open order."""

    born: int
    wanted: float
    last: float  # last session in which it may fill, inf if it stands
    asked: float = 0.0


@dataclass
class Reference:
    """An account and what happened to it.

    `bars` is symbol -> {session number: (open, close, volume)}, adjusted; `opinions` is session number ->
    {symbol: exposure}.
    """

    symbols: list
    sessions: int
    bars: dict
    opinions: dict
    options: TradingOptions
    orders: list = field(default_factory=list)  # born, ended, symbol, wanted, asked, filled, status, reason
    fills: list = field(default_factory=list)  # session, symbol, quantity, price, commission, slippage
    equity: list = field(default_factory=list)  # cash, positions value, equity, positions

    def __post_init__(self):
        """Open the account."""
        o = self.options
        self.cash = self.last_equity = o.cash
        self.held, self.marks, self.wanted, self.open = {}, {}, {}, {}
        self.lot = float(MARKET_LOT[o.market] if o.lot is None else o.lot)
        self.rate, self.minimum, self.fixed = (
            x or 0.0 for x in (o.commission.rate, o.commission.minimum, o.commission.fixed)
        )
        self.at_close = o.fill is Fill.CLOSE

    def run(self):
        """Walk all sessions."""
        for now in range(self.sessions):
            if self.at_close:
                self.listen(now)
            self.trade(now)
            self.mark(now)
            if not self.at_close:
                self.listen(now)
        for symbol in sorted(self.open):
            self.end(symbol, self.sessions - 1, 0.0, "rejected", "end_of_data")
        return self

    def listen(self, now):
        """Signals become orders."""
        for symbol, signal in sorted(self.opinions.get(now, {}).items()):
            wanted, before = max(signal, 0.0), self.wanted.get(symbol, 0.0)
            if wanted == before:
                continue
            if symbol in self.open:
                self.end(symbol, now, 0.0, "rejected", "superseded")
            self.wanted[symbol] = wanted
            stands = symbol in self.held and wanted < before
            first = now if self.at_close else now + 1
            self.open[symbol] = Order(
                now, wanted, math.inf if stands else first + self.options.orders.valid_sessions - 1
            )

    def trade(self, now):
        """Orders meet the prices of the session."""
        sellers, buyers = {}, []
        for symbol in sorted(self.open):
            order = self.open[symbol]
            if order.wanted == 0 and symbol not in self.held:
                self.end(symbol, now, 0.0, "filled", "held")
                continue
            bar = self.bars[symbol].get(now)
            if bar is None:
                self.wait(symbol, now, "no_bar")
            elif bar[2] == 0:
                self.wait(symbol, now, "volume")
            else:
                less = self.held.get(symbol, 0.0) - self.target(symbol, order.wanted, self.price(symbol, now, -1))
                quantity = self.held[symbol] if order.wanted == 0 else self.whole(less)
                if quantity > 0:
                    sellers[symbol] = quantity
                else:
                    buyers.append(symbol)
        for symbol, quantity in sellers.items():
            self.sell(symbol, quantity, now)
        for symbol in sorted(buyers, key=lambda symbol: (-self.open[symbol].wanted, symbol)):
            self.buy(symbol, now)

    def sell(self, symbol, quantity, now):
        self.open[symbol].asked = -quantity
        price = self.price(symbol, now, -1)
        paid = self.commission(quantity * price)
        if self.cash + (quantity * price - paid) < 0:
            self.wait(symbol, now, "cash")
            return
        self.cash += quantity * price - paid
        self.book(symbol, now, -quantity, price, paid)
        self.end(symbol, now, -quantity, "filled", "signal")

    def buy(self, symbol, now):
        order, price, held = self.open[symbol], self.price(symbol, now, +1), self.held.get(symbol, 0.0)
        target = self.target(symbol, order.wanted, price)
        asked = self.whole(target - held)
        order.asked = max(asked, 0.0)
        if target <= held and held > 0:
            self.end(symbol, now, 0.0, "filled", "held")
        elif asked <= 0:
            self.end(symbol, now, 0.0, "rejected", "lot")
        else:
            quantity = self.covered(asked, price)
            if quantity == 0 or (quantity < asked and self.options.orders.cash is CashShort.REJECT):
                self.end(symbol, now, 0.0, "rejected", "cash")
                return
            paid = self.commission(quantity * price)
            self.cash -= quantity * price + paid
            self.book(symbol, now, quantity, price, paid)
            status = ("partial", "cash") if quantity < asked else ("filled", "signal")
            self.end(symbol, now, quantity, *status)

    def covered(self, asked, price):
        """Largest quantity up to `asked` that the cash covers: bisection over lots, or over the floats there are."""

        def fits(quantity):
            return quantity * price + self.commission(quantity * price) <= self.cash

        if fits(asked):
            return asked
        if self.lot:
            low, high = 0, math.trunc(asked / self.lot)
            amount = lambda k: float(k) * self.lot  # noqa: E731
        else:
            low, high = 0, struct.unpack("<q", struct.pack("<d", asked))[0]
            amount = lambda k: struct.unpack("<d", struct.pack("<q", k))[0]  # noqa: E731
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if fits(amount(middle)) else (low, middle)
        return amount(low)

    def price(self, symbol, now, side):
        bar = self.bars[symbol][now]
        return bar[1 if self.at_close else 0] * (1.0 + side * self.options.slippage.rate)

    def commission(self, value):
        return max(self.minimum, self.fixed + self.rate * value)

    def whole(self, shares):
        return math.trunc(shares / self.lot) * self.lot if self.lot else shares

    def target(self, symbol, wanted, price):
        value, equity, n = self.options.sizing.value, self.last_equity, self.options.max_positions or len(self.symbols)
        method = self.options.sizing.method
        if method is SizingMethod.VALUE:
            return self.whole(wanted * value / price)
        if method is SizingMethod.SHARES:
            return self.whole(wanted * value)
        if method is SizingMethod.FRACTION:
            return self.whole(wanted * value * equity / price)
        if method is SizingMethod.EQUAL:
            return self.whole(wanted * equity / n / price)
        if method is SizingMethod.WEIGHT:
            return self.whole(wanted * equity / price)
        return self.whole(wanted * (self.cash + self.held.get(symbol, 0.0) * price) / price)

    def book(self, symbol, now, quantity, price, paid):
        held = self.held.pop(symbol, 0.0) + quantity
        if held:
            self.held[symbol] = held
        undisturbed = self.bars[symbol][now][1 if self.at_close else 0]
        self.fills.append((now, symbol, quantity, price, paid, abs(quantity) * abs(price - undisturbed)))

    def wait(self, symbol, now, reason):
        if now >= self.open[symbol].last:
            self.end(symbol, now, 0.0, "rejected", reason)

    def end(self, symbol, now, filled, status, reason):
        order = self.open.pop(symbol)
        self.orders.append((order.born, now, symbol, order.wanted, order.asked, filled, status, reason))

    def mark(self, now):
        total = 0.0
        for symbol in sorted(self.held):
            if now in self.bars[symbol]:
                self.marks[symbol] = self.bars[symbol][now][1]
            total += self.held[symbol] * self.marks[symbol]
        self.last_equity = self.cash + total
        if not 0 < self.last_equity < math.inf:
            raise BrokenEquityError(now)
        self.equity.append((self.cash, total, self.last_equity, len(self.held)))
