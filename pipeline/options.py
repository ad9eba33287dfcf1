"""What can be chosen: one frozen class per stage, checked when it is made.

The defaults are not here but in ``conf/base.yaml``, which holds every key with its unit, so there is one place to
look. `pipeline.config` reads the files and makes these; stages receive them and never see YAML.
"""

from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(ge=0, le=1)]
Money = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]


class Source(StrEnum):
    """Where bars come from."""

    SAMPLE = "sample"
    CSV = "csv"
    PARQUET = "parquet"


class Prices(StrEnum):
    """Which prices orders fill at."""

    ADJUSTED = "adjusted"
    RAW = "raw"


class Kind(StrEnum):
    """Where signals are computed."""

    AUTO = "auto"
    SYNCHRONOUS = "synchronous"
    THREADS = "threads"
    PROCESSES = "processes"
    DISTRIBUTED = "distributed"


class MarketName(StrEnum):
    """Whose lots, costs and rules apply."""

    US = "us"
    FREE = "free"


class Fill(StrEnum):
    """Which price an order gets."""

    NEXT_OPEN = "next_open"
    CLOSE = "close"


class SizingMethod(StrEnum):
    """How many shares a wanted exposure of 1 means."""

    VALUE = "value"
    SHARES = "shares"
    FRACTION = "fraction"
    EQUAL = "equal"
    WEIGHT = "weight"
    ALL_IN = "all_in"


class CashShort(StrEnum):
    """What happens to a buy that the cash does not cover."""

    SHRINK = "shrink"
    REJECT = "reject"


class Section(BaseModel):
    """A group of keys: no unknown ones, no infinities, never changed after it is made."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DataOptions(Section):
    """Which bars, from where, kept where."""

    source: Source
    path: Path | None
    columns: dict[str, str]
    file_pattern: str
    store: Path
    symbols: Literal["all"] | tuple[str, ...]
    start: date | None
    end: date | None
    prices: Prices
    warn_above: Fraction
    fail_above: Fraction


class StrategyOptions(Section):
    """Which strategy, with which options."""

    name: str
    params: dict[str, Any]


class AutoOptions(Section):
    """The counts of symbols that `Kind.AUTO` starts from."""

    sequential_max: Annotated[int, Field(ge=0)]
    threads_max: Annotated[int, Field(ge=0)]


class SchedulerOptions(Section):
    """Where signals are computed, with how many workers."""

    kind: Kind
    workers: Count | None
    dashboard: bool
    address: str | None
    cluster: dict[str, Any] | None
    auto: AutoOptions


class SizingOptions(Section):
    """How many shares a wanted exposure of 1 means; the unit of `value` is the method's."""

    method: SizingMethod
    value: Annotated[float, Field(gt=0)] | None


class CommissionOptions(Section):
    """Cost of a fill: ``max(minimum, fixed + rate x value)``; None takes the market's own."""

    rate: Fraction | None
    minimum: Money | None
    fixed: Money | None


class SlippageOptions(Section):
    """How much worse than the bar's price a fill is, as a fraction of it."""

    rate: Annotated[float, Field(ge=0, lt=1)]


class StopOptions(Section):
    """Fractions of the entry price at which a position is closed."""

    loss: Fraction | None
    profit: Money | None
    trailing: Fraction | None


class OrderOptions(Section):
    """How long an entry waits, and what happens when cash is short."""

    valid_sessions: Count
    cash: CashShort


class TradingOptions(Section):
    """The account and its rules."""

    cash: Annotated[float, Field(gt=0)]
    market: MarketName
    lot: Annotated[int, Field(ge=0)] | None
    fill: Fill
    sizing: SizingOptions
    max_positions: Count | None
    short: bool
    commission: CommissionOptions
    slippage: SlippageOptions
    volume_cap: Fraction | None
    stops: StopOptions
    orders: OrderOptions
    delist_after: Count | None


class OutputOptions(Section):
    """What a run leaves behind, and where."""

    dir: Path
    report: bool
    performance: bool
    benchmark: str | None


class Options(Section):
    """Everything that can be chosen for one run."""

    name: str
    data: DataOptions
    strategy: StrategyOptions
    scheduler: SchedulerOptions
    trading: TradingOptions
    output: OutputOptions
