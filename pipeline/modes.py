"""The modes that a setting can name, each checked where it comes in."""

from enum import StrEnum


class Source(StrEnum):
    """Where bars come from."""

    SAMPLE = "sample"
    CSV = "csv"
    PARQUET = "parquet"
    SYNTHETIC = "synthetic"


class Frequency(StrEnum):
    """How often there is a bar."""

    DAILY = "daily"
    MINUTE = "minute"


class BarLabel(StrEnum):
    """Which end of a minute bar its time is."""

    START = "start"
    END = "end"


class Adjustment(StrEnum):
    """What the prices of files are adjusted for."""

    NONE = "none"
    SPLITS = "splits"
    ALL = "all"


class VolumeUnit(StrEnum):
    """What the volume of files counts; a lot is 100 shares."""

    SHARES = "shares"
    LOTS = "lots"


class Encoding(StrEnum):
    """How text files are encoded."""

    UTF_8 = "utf-8"
    GB18030 = "gb18030"


class OnError(StrEnum):
    """What a strategy that fails on a symbol costs: the run, or that symbol."""

    FAIL = "fail"
    SKIP = "skip"


class Revisions(StrEnum):
    """What becomes of stored bars that files change."""

    ACCEPT = "accept"
    REFUSE = "refuse"


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


class Complexity(StrEnum):
    """What a strategy may say of itself: how much it computes for every bar."""

    LIGHT = "light"
    HEAVY = "heavy"


class MarketName(StrEnum):
    """Whose lots, costs and rules apply."""

    US = "us"
    FREE = "free"


class Fill(StrEnum):
    """Which price an order gets."""

    NEXT_OPEN = "next_open"
    NEXT_CLOSE = "next_close"
    NEXT_OHLC4 = "next_ohlc4"
    CLOSE = "close"


class SizingMethod(StrEnum):
    """How many shares a wanted exposure of 1 means."""

    VALUE = "value"
    SHARES = "shares"
    FRACTION = "fraction"
    EQUAL = "equal"
    WEIGHT = "weight"
    ALL_IN = "all_in"
    RISK = "risk"


class Rebalance(StrEnum):
    """In which session what is held is brought back to its target: the first of every week or month."""

    WEEKLY = "weekly"
    MONTHLY = "monthly"


class CashShort(StrEnum):
    """What happens to a buy that the cash does not cover."""

    SHRINK = "shrink"
    REJECT = "reject"
