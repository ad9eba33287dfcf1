"""The runs of a cluster as their messages tell them; lives in the scheduler, shown by the page.

A message is a dict: ``run`` (its id), fields of `Run` to set, and ``marks`` ``{"at", "sessions", "equity"}``, the
account at some more closes, `at` of which were told before. Messages may come late or twice; unknown
fields are left alone.
"""

from dataclasses import dataclass, field, fields
from datetime import date
from typing import Any

KEPT = 30  # runs that are over
RUNNING = "running"
LOST = "lost"
SIGNALS = "signals"
COUNTED = (SIGNALS, "trading")  # stages that go through all bars


def days(session: str) -> int:
    """Return a session, ``2020-01-31``, as days since 1970; 0 if it is none."""
    try:
        return (date.fromisoformat(session) - date(1970, 1, 1)).days
    except ValueError:
        return 0


@dataclass
class Run:
    """One run; seconds are those of its own clock, which began with it."""

    run: str
    client: str = ""
    name: str = ""
    strategy: str = ""
    scheduler: str = ""
    began: str = ""  # UTC
    symbols: int = 0
    bars: int = 0
    first: str = ""  # session
    last: str = ""  # session
    cash: float = 0.0  # currency
    state: str = RUNNING  # running | committed | degraded | failed | interrupted | lost
    reason: str = ""
    path: str = ""  # of its files, once they are there
    stage: str = ""
    unit: str = ""
    partitions: int = 0
    failed: int = 0  # partitions in which the strategy failed; Dask does not know
    total: int = 0
    done: int = 0
    stage_bars: int = 0  # bars done in this stage
    stage_began: float = 0.0
    clock: float = 0.0  # when the last message was sent
    stages: dict[str, float] = field(default_factory=dict)  # those that are over, seconds each
    filled: int = 0
    refused: int = 0
    warnings: list[str] = field(default_factory=list)
    sessions: list[int] = field(default_factory=list)  # days since 1970
    equity: list[float] = field(default_factory=list)  # currency
    drawdown: list[float] = field(default_factory=list)  # fraction below the peak so far, <= 0
    peak: float = 0.0
    heard: float = 0.0  # the scheduler's clock at the last message

    def tell(self, message: dict[str, Any], now: float) -> None:
        """Take in a message."""
        for name in SET & message.keys():
            setattr(self, name, message[name])
        if marks := message.get("marks"):
            self._mark(marks["at"], marks["sessions"], marks["equity"])
        self.heard = now

    def _mark(self, at: int, sessions: list[int], equity: list[float]) -> None:
        known = len(self.sessions) - at  # told twice
        if known < 0:
            return
        self.peak = max(self.peak, self.cash)
        for value in equity[known:]:
            self.peak = max(self.peak, value)
            self.drawdown.append(value / self.peak - 1 if self.peak > 0 else 0.0)
        self.sessions += sessions[known:]
        self.equity += equity[known:]

    @property
    def span(self) -> tuple[int, int]:
        """First and last day of the chart, since 1970: of the sessions, before there are any of what is asked for."""
        if self.sessions:
            return self.sessions[0], self.sessions[-1]
        return days(self.first), days(self.last)

    @property
    def is_over(self) -> bool:
        """Whether no more will come."""
        return self.state != RUNNING

    @property
    def left_behind(self) -> dict[str, int]:
        """How many partitions of a run that is over were done, running, waiting and failed."""
        done = self.done if self.stage == SIGNALS else self.partitions
        waiting = max(0, self.partitions - done - self.failed)
        return {"done": done, "running": 0, "waiting": waiting, "failed": self.failed}

    @property
    def speed(self) -> float | None:
        """Bars per second of this stage so far; None where no bars are counted."""
        seconds = self.clock - self.stage_began
        return self.stage_bars / seconds if self.stage_bars and seconds > 0 else None

    @property
    def speeds(self) -> dict[str, float]:
        """Bars per second of the stages that are over and go through bars."""
        return {name: self.bars / self.stages[name] for name in COUNTED if self.stages.get(name) and self.bars}

    def elapsed(self, now: float) -> float:
        """Return the seconds since the run began; after its end, how long it took."""
        return self.clock if self.is_over else self.clock + max(0.0, now - self.heard)

    def left(self, now: float) -> float | None:
        """Return the seconds left in this stage at its speed so far; None if nobody knows."""
        if self.is_over or self.stage in self.stages or not self.total or not self.done:
            return None
        return (self.elapsed(now) - self.stage_began) * (self.total - self.done) / self.done

    def as_dict(self, now: float) -> dict[str, Any]:
        """Return everything there is to know."""
        known = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in {"client", "heard"}}
        return {**known, "bars_per_second": self.speed, "elapsed": self.elapsed(now), "left": self.left(now)}


SET = {each.name for each in fields(Run)} - {"run", "sessions", "equity", "drawdown", "peak", "heard"}


class Runs:
    """All runs that a scheduler heard of, the newest last."""

    def __init__(self) -> None:
        """Know of none."""
        self.by_id: dict[str, Run] = {}

    def tell(self, message: dict[str, Any], now: float) -> None:
        """Take in a message of any run."""
        run = self.by_id.setdefault(str(message["run"]), Run(str(message["run"])))
        run.tell(message, now)
        over = [name for name, each in self.by_id.items() if each.is_over]
        for name in over[: max(0, len(over) - KEPT)]:
            del self.by_id[name]

    def lose(self, client: str) -> None:
        """Note that a client is gone: what it still ran has ended without a word."""
        for run in self.by_id.values():
            if run.client == client and not run.is_over:
                run.state, run.reason = LOST, "the process that ran it is gone"

    def newest_first(self) -> list[Run]:
        """Return the runs, those that began last first."""
        return list(reversed(self.by_id.values()))
