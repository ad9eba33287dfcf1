"""The settings of the account: cash, sizes of positions, what trades cost, what stops them, how orders end."""

from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator

from pipeline.fields import Count, Fraction, Money
from pipeline.modes import (
    CashShort,
    Fill,
    MarketName,
    Rebalance,
    SizingMethod,
)
from pipeline.section import MissingError, Section

_OF_EQUITY = (SizingMethod.FRACTION, SizingMethod.RISK)
_SIZES = {
    SizingMethod.VALUE: ("the currency that a position is worth", "10_000"),
    SizingMethod.SHARES: ("the shares of a position", "100"),
    SizingMethod.FRACTION: ("the fraction of equity that a position is worth", "0.1"),
    SizingMethod.RISK: ("the fraction of equity that one average true range may lose", "0.01"),
}
"""What `SizingOptions.value` is by the methods that need it, and an example."""


class SizingOptions(Section):
    """How many shares a wanted exposure of 1 means; the unit of `value` is the method's."""

    method: SizingMethod
    value: Annotated[float, Field(gt=0, le=1e15)] | None

    @field_validator("value")
    @classmethod
    def _suits_method(cls, value: float | None, info: ValidationInfo) -> float | None:
        method = info.data.get("method")
        if method is None:
            return value
        takes_value = method in _SIZES
        if takes_value and value is None:
            raise MissingError("trading.sizing.method", *_SIZES[method])
        if not takes_value and value is not None:
            raise ValueError(f"sizing by {method} takes none. Leave it null")
        if method in _OF_EQUITY and value is not None and value > 1:
            raise ValueError("a fraction of equity, at most 1, expected")
        return value


class CommissionOptions(Section):
    """Cost of a fill: ``max(minimum, fixed + rate x value)``; None takes the market's own."""

    rate: Fraction | None
    minimum: Money | None
    fixed: Money | None


class SlippageOptions(Section):
    """How much worse than the bar's price a fill is, as a fraction of it."""

    rate: Annotated[float, Field(ge=0, lt=1)]


class StopOptions(Section):
    """Fractions of the average entry, or of the best price since then, at which a position is closed."""

    loss: Annotated[float, Field(gt=0, le=1)] | None
    profit: Annotated[float, Field(gt=0)] | None
    trailing: Annotated[float, Field(gt=0, le=1)] | None


class OrderOptions(Section):
    """How long an entry waits, and what happens when cash is short."""

    valid_sessions: Count
    cash: CashShort


class TradingOptions(Section):
    """The account and its rules."""

    cash: Annotated[float, Field(gt=0, le=1e15)]
    market: MarketName
    lot: Annotated[int, Field(ge=0, le=1_000_000_000)] | None
    fill: Fill
    sizing: SizingOptions
    max_positions: Count | None
    short: bool
    commission: CommissionOptions
    slippage: SlippageOptions
    volume_cap: Annotated[float, Field(gt=0, le=1)] | None
    stops: StopOptions
    orders: OrderOptions
    rebalance: Rebalance | None
    delist_after: Count | None
    recovery: Fraction
