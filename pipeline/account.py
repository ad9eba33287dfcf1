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
from pipeline.section import Section

_OF_EQUITY = (SizingMethod.FRACTION, SizingMethod.RISK)


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
        takes_value = method in {SizingMethod.VALUE, SizingMethod.SHARES, *_OF_EQUITY}
        if takes_value and value is None:
            raise ValueError(f"sizing by {method}: a number expected")
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
