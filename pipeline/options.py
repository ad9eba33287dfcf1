"""What can be chosen: one frozen class per stage, checked when it is made.

The defaults are not here but in ``conf/base.yaml``, which holds every key with its unit, so there is one place to
look. `pipeline.config` reads the files and makes these; stages receive them and never see YAML.
"""

import re
from datetime import date
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationInfo, field_validator

from pipeline.account import TradingOptions
from pipeline.fields import Count, Day, FileName, Fraction, LocalPath, StrategyName, Symbols, Text, TimeZone
from pipeline.modes import (
    Adjustment,
    BarLabel,
    Encoding,
    Frequency,
    Kind,
    OnError,
    Prices,
    Revisions,
    Source,
    VolumeUnit,
)
from pipeline.network import Address, ClusterOptions, DashboardOptions, TlsOptions
from pipeline.section import MissingError, Section

__all__ = [
    "AutoOptions",
    "DataOptions",
    "FreshOptions",
    "LockOptions",
    "Options",
    "OutputOptions",
    "SchedulerOptions",
    "StrategyOptions",
    "TradingOptions",
]


class SyntheticOptions(Section):
    """The market that `Source.SYNTHETIC` makes up."""

    symbols: Annotated[int, Field(ge=1, le=100_000)]
    sessions: Count
    start: Day
    seed: Annotated[int, Field(ge=0)]


class DataOptions(Section):
    """Which bars, from where, kept where."""

    source: Source
    synthetic: SyntheticOptions
    path: LocalPath | None
    columns: dict[Text, Text]
    file_pattern: str
    encoding: Encoding
    frequency: Frequency
    time_zone: TimeZone | None
    bar_label: BarLabel | None
    bar_minutes: Annotated[int, Field(ge=1, le=1440)]
    adjustment: Adjustment | None
    volume_unit: VolumeUnit | None
    store: LocalPath
    symbols: Symbols
    start: Day | None
    end: Day | None
    prices: Prices
    revisions: Revisions
    warn_above: Fraction
    fail_above: Fraction

    @field_validator("path")
    @classmethod
    def _suits_source(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        source = info.data.get("source")
        if path is None and source in {Source.CSV, Source.PARQUET}:
            raise MissingError("data.source", "a folder, a glob or a file of bars", "path/to/folder")
        if path is not None and source in {Source.SAMPLE, Source.SYNTHETIC}:
            raise ValueError(
                f"data.source is {source}, which takes no path. Set data.source to csv or parquet, or path to null"
            )
        return path

    @field_validator("file_pattern")
    @classmethod
    def _holds_symbol(cls, pattern: str) -> str:
        if pattern.count("{symbol}") > 1 or not re.search(r"\{\w+\}", pattern):
            raise ValueError("{symbol} expected in it, once; or another name in braces, if names tell no symbol")
        return pattern

    @field_validator("frequency")
    @classmethod
    def _suits_sample(cls, frequency: Frequency, info: ValidationInfo) -> Frequency:
        if frequency is Frequency.MINUTE and info.data.get("source") is Source.SAMPLE:
            raise ValueError("data.source is sample, which has daily bars: daily expected")
        return frequency

    @field_validator("end")
    @classmethod
    def _follows_start(cls, end: date | None, info: ValidationInfo) -> date | None:
        start = info.data.get("start")
        if start and end and end < start:
            raise ValueError(f"data.start, {start}, or later expected")
        return end

    @field_validator("fail_above")
    @classmethod
    def _exceeds_warning(cls, fail_above: float, info: ValidationInfo) -> float:
        warn_above = info.data.get("warn_above", 0)
        if fail_above < warn_above:
            raise ValueError(f"data.warn_above, {warn_above}, or more expected")
        return fail_above


class StrategyOptions(Section):
    """Which strategy, with which options: text as it was written, converted by the strategy's type hints."""

    name: StrategyName
    params: dict[str, Any]


class AutoOptions(Section):
    """The counts of symbols that `Kind.AUTO` starts from."""

    sequential_max: Annotated[int, Field(ge=0)]
    threads_max: Annotated[int, Field(ge=0)]

    @field_validator("threads_max")
    @classmethod
    def _follows_sequential(cls, threads_max: int, info: ValidationInfo) -> int:
        sequential_max = info.data.get("sequential_max", 0)
        if threads_max < sequential_max:
            raise ValueError(f"scheduler.auto.sequential_max, {sequential_max}, or more expected")
        return threads_max


class ProcessOptions(Section):
    """Whether signals may be computed in processes, and in how many; None is `SchedulerOptions.workers`."""

    allowed: bool
    workers: Count | None


class ThreadOptions(Section):
    """In how many threads signals are computed and files are ingested; None is `SchedulerOptions.workers`."""

    workers: Count | None


class SchedulerOptions(Section):
    """Where signals are computed, with how many workers; None is one per core."""

    processes: ProcessOptions
    threads: ThreadOptions
    kind: Kind
    workers: Count | None
    dashboard: bool
    tls: TlsOptions
    address: Address | None
    cluster: ClusterOptions | None
    timeout: Annotated[float, Field(gt=0)]
    auto: AutoOptions

    @field_validator("kind")
    @classmethod
    def _is_allowed(cls, kind: Kind, info: ValidationInfo) -> Kind:
        processes = info.data.get("processes")
        if kind is Kind.PROCESSES and processes and not processes.allowed:
            raise ValueError("another kind expected, since scheduler.processes.allowed is false")
        return kind

    @field_validator("address")
    @classmethod
    def _can_be_reached(cls, address: str | None, info: ValidationInfo) -> str | None:
        if address is not None:
            _runs_distributed(info)
            tls = info.data.get("tls")
            if address.startswith("tls:") and tls and tls.ca is None:
                raise ValueError("scheduler.tls.ca, .certificate and .key expected with it: the files of this side")
        return address

    @field_validator("cluster", mode="before")
    @classmethod
    def _names_a_class(cls, cluster: object) -> object:
        if cluster is None or isinstance(cluster, ClusterOptions) or (isinstance(cluster, dict) and "class" in cluster):
            return cluster
        raise ValueError("{class: package.module.Class, ...} expected")

    @field_validator("cluster")
    @classmethod
    def _is_the_only_one(cls, cluster: ClusterOptions | None, info: ValidationInfo) -> ClusterOptions | None:
        if cluster is not None:
            _runs_distributed(info)
            if info.data.get("address") is not None:
                raise ValueError("null expected, since scheduler.address names a running one")
        return cluster

    @property
    def is_elsewhere(self) -> bool:
        """Whether a cluster is named, instead of a kind that this machine starts."""
        return self.address is not None or self.cluster is not None

    def workers_of(self, kind: Kind) -> int | None:
        """Return how many workers `kind` was given: its own number, else the common one, else None (cores)."""
        own = {Kind.PROCESSES: self.processes.workers, Kind.THREADS: self.threads.workers}
        return own.get(kind) or self.workers

    @property
    def readers(self) -> int | None:
        """How many files `ingest` reads at a time; None is one per core."""
        return self.workers_of(Kind.THREADS)


def _runs_distributed(info: ValidationInfo) -> None:
    kind = info.data.get("kind")
    if kind not in {None, Kind.AUTO, Kind.DISTRIBUTED}:
        raise ValueError(f"scheduler.kind is {kind}, which needs no cluster. Leave scheduler.kind auto or distributed")


class OutputOptions(Section):
    """What a run leaves behind, and where."""

    dir: LocalPath
    report: bool
    performance: bool
    benchmark: Text | None


class FreshOptions(Section):
    """How many sessions of an exchange the newest bar may be behind."""

    calendar: Text | None
    warn_after: Annotated[int, Field(ge=0)] | None
    error_after: Annotated[int, Field(ge=0)] | None

    @field_validator("error_after")
    @classmethod
    def _follows_warning(cls, error_after: int | None, info: ValidationInfo) -> int | None:
        warn_after = info.data.get("warn_after")
        if error_after is not None and warn_after is not None and error_after < warn_after:
            raise ValueError(f"fresh.warn_after, {warn_after}, or more expected")
        return error_after


class LockOptions(Section):
    """What the locks of stores and runs are trusted with."""

    allow_network_fs: bool


class Options(Section):
    """Everything that can be chosen for one run."""

    name: FileName
    as_of: Day | None
    deadline: Annotated[float, Field(gt=0)] | None
    on_error: OnError
    fresh: FreshOptions
    lock: LockOptions
    data: DataOptions
    strategy: StrategyOptions
    scheduler: SchedulerOptions
    dashboard: DashboardOptions
    trading: TradingOptions
    output: OutputOptions

    @property
    def last_session(self) -> date | None:
        """The last session that anything of a run sees; None is no limit."""
        return min((day for day in (self.data.end, self.as_of) if day is not None), default=None)
