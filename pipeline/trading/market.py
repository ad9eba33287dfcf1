"""What a market demands, as dated data with its source; whatever the config leaves null is the market's own.

Rates are fractions of a fill's value, money is the account's currency, lots are shares.
"""

from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

from pipeline.modes import MarketName
from pipeline.options import TradingOptions


@dataclass(frozen=True)
class Market:
    """The rules of a market from `since` on."""

    since: date
    lot: int  # shares; 0 is fractions of a share
    commission_rate: float  # fraction of value
    commission_minimum: float  # currency per order
    commission_fixed: float  # currency per order
    source: str


class Costs(NamedTuple):
    """What the compiled loop needs to know: the lot, and what a fill costs."""

    lot: float  # shares; 0 is fractions of a share
    rate: float  # commission = max(minimum, fixed + rate x value)
    minimum: float
    fixed: float
    slippage: float  # fraction of the bar's price


MARKETS = {
    MarketName.US: Market(
        since=date(1975, 5, 1),
        lot=1,
        commission_rate=0.0,
        commission_minimum=0.0,
        commission_fixed=0.0,
        source="SEC Rule 19b-3 (1 May 1975): exchanges fix no commissions, they are the broker's, so the market's own "
        "is none; odd lots (17 CFR 242.600) make one share tradable",
    ),
    MarketName.FREE: Market(
        since=date.min,
        lot=0,
        commission_rate=0.0,
        commission_minimum=0.0,
        commission_fixed=0.0,
        source="No market: an account without rules or costs, to compare with",
    ),
}


def costs(options: TradingOptions) -> Costs:
    """Return the lot and the costs of `options`, with the market's own where an option is null."""
    market, commission = MARKETS[options.market], options.commission
    return Costs(
        lot=float(_chosen(options.lot, market.lot)),
        rate=float(_chosen(commission.rate, market.commission_rate)),
        minimum=float(_chosen(commission.minimum, market.commission_minimum)),
        fixed=float(_chosen(commission.fixed, market.commission_fixed)),
        slippage=float(options.slippage.rate),
    )


def _chosen(option: float | None, markets_own: float) -> float:
    return markets_own if option is None else option
