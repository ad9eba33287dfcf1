"""What a run takes of the machine: per stage, per partition, and what more cores would save.

A monitor is told what stages are told (`pipeline.events`); a thread of it looks at the memory ten times a second, and
`pipeline.compute.gil` at the GIL. What workers take comes with their answers, so it is known of any cluster.
"""

import os
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any, Self

from pipeline.compute import gil
from pipeline.compute.meter import memory_mb, read_bytes
from pipeline.compute.transfer import Traffic
from pipeline.events import Cost, Event, PartitionFinished, Stage, StageFinished, StageStarted

LOOK_EVERY = 0.1  # seconds between two looks at the memory
PROBED, MAPPED = Stage.CHOOSE, Stage.SIGNALS
"""The stages in which strategies are asked."""


@dataclass
class Taken:
    """What a stage took so far; before it ends, minus what had been taken before it."""

    cpu: float  # seconds, of this process
    read: int  # bytes, of files
    knocks: int
    taken: int  # knocks at a GIL that was taken
    memory: list[float]  # MB, resident, looked at now and then

    @classmethod
    def now(cls) -> Self:
        """Return the counters of this process."""
        return cls(time.process_time(), read_bytes(), *gil.seen(), [memory_mb()[0]])

    def since(self, before: "Taken") -> "Taken":
        """Return the difference; of the memory, all that was seen."""
        return Taken(
            self.cpu - before.cpu,
            self.read - before.read,
            self.knocks - before.knocks,
            self.taken - before.taken,
            [*before.memory, *self.memory],
        )


class Monitor:
    """A listener that keeps what stages and partitions cost; it looks around while it is entered."""

    def __init__(self) -> None:
        """Watch nothing yet."""
        self.stages: dict[Stage, Taken] = {}
        self.probed: list[PartitionFinished] = []
        self.mapped: list[PartitionFinished] = []
        self.workers = 1  # how many computed signals
        self.bars = 0  # how many were traded
        self.traffic = Traffic()
        self._running: dict[Stage, Taken] = {}
        self._over = threading.Event()
        self._life = ExitStack()

    def __enter__(self) -> Self:
        """Look around."""
        self._life.enter_context(gil.watched())
        looking = threading.Thread(target=self._look, name="monitor", daemon=True)
        looking.start()
        self._life.callback(looking.join)
        self._life.callback(self._over.set)
        return self

    def __exit__(self, *_: object) -> None:
        """Look no more."""
        self._life.close()

    def __call__(self, event: Event) -> None:
        """Take notice of a stage or partition."""
        match event:
            case StageStarted(stage=stage):
                self._running[stage] = Taken.now()
            case StageFinished(stage=stage) if stage in self._running:
                self.stages[stage] = Taken.now().since(self._running.pop(stage))
            case PartitionFinished():
                (self.probed if PROBED in self._running else self.mapped).append(event)

    def _look(self) -> None:
        while True:
            memory, _ = memory_mb()
            for running in list(self._running.values()):
                running.memory.append(memory)
            if self._over.wait(LOOK_EVERY):
                return

    @property
    def costs(self) -> list[Cost]:
        """What each partition cost, the probed one first."""
        return [partition.cost for partition in (*self.probed, *self.mapped)]

    def peak_memory_mb(self) -> float:
        """Return the peak memory of this process and of its workers together, in MB (2**20 bytes).

        Pages that forked workers share count once for each of them, and the peaks need not have been at the same
        moment: the figure is an upper bound.
        """
        return memory_mb()[1] + sum(_peaks(_elsewhere(self.costs)).values())

    def record(self, seconds: Mapping[str, float]) -> dict[str, Any]:
        """Return what run.json says, given the wall time of each stage."""
        used = {stage: taken for stage, taken in self.stages.items() if stage in seconds}
        return {
            "machine": {"host": os.uname().nodename, "cores": _cores()},
            "stages": {stage.value: self._stage(stage, taken, seconds[stage]) for stage, taken in used.items()},
            "signals": self._signals(),
            "partitions": self._partitions(),
            "amdahl": asdict(amdahl(seconds, self._parallel())),
        }

    def _stage(self, stage: Stage, taken: Taken, seconds: float) -> dict[str, Any]:
        elsewhere = _elsewhere(self.costs) if stage is MAPPED else []
        cpu = taken.cpu + sum(cost.cpu for cost in elsewhere)
        inside = [cost.memory_mb for cost in elsewhere]
        rows = {MAPPED: sum(each.cost.rows for each in self.mapped), Stage.TRADING: self.bars}.get(stage)
        return {
            "seconds": seconds,
            "cpu_seconds": round(cpu, 4),
            "cpu_utilisation": _ratio(cpu, seconds * _cores()),  # of all cores
            "gil_contention": _ratio(taken.taken, taken.knocks),  # of the moments asked, in this process
            "read_bytes": taken.read + sum(cost.read_bytes for cost in elsewhere),
            "memory_mb": round(sum(taken.memory) / len(taken.memory), 1),
            "peak_memory_mb": round(max(taken.memory), 1),
            "workers_memory_mb": round(sum(inside) / len(inside), 1) if inside else None,
            "workers_peak_memory_mb": round(max(_peaks(elsewhere).values()), 1) if elsewhere else None,
            "bars_per_second": round(rows / seconds) if rows and seconds else None,
        }

    def _parallel(self) -> float:
        """Return the seconds that signals would not have taken with any number of workers."""
        probed, mapped = (sum(each.cost.wall for each in parts) for parts in (self.probed, self.mapped))
        return probed + mapped / self.workers

    def _signals(self) -> dict[str, Any]:
        costs = self.costs
        rows, knocks = sum(cost.rows for cost in costs), sum(cost.knocks for cost in costs)
        return {
            "workers": self.workers,
            "bars": rows,
            "busy_seconds": round(sum(cost.wall for cost in costs), 4),
            "cpu_seconds": round(sum(cost.cpu for cost in costs), 4),
            "queued_seconds": round(sum(cost.queued for cost in costs), 4),
            "read_seconds": round(sum(cost.read for cost in costs), 4),
            "gil_held": _ratio(sum(cost.taken for cost in costs), knocks),
            "gil_answers": knocks,
            "bars_bytes": sum(cost.loaded for cost in costs),
            "sent_bytes": self.traffic.sent,
            "received_bytes": self.traffic.received,
            "idle": idle([partition.cost for partition in self.mapped]),
        }

    def _partitions(self) -> dict[str, list[Any]]:
        """Return a column for each figure, in the order in which the partitions came in."""
        first = min((cost.began for cost in self.costs), default=0.0)
        partitions = (*self.probed, *self.mapped)
        return {
            "symbols": [partition.symbols for partition in partitions],
            "count": [partition.count for partition in partitions],
            "worker": [cost.worker for cost in self.costs],
            "bars": [cost.rows for cost in self.costs],
            "began": [round(cost.began - first, 4) for cost in self.costs],
            "seconds": [round(cost.wall, 4) for cost in self.costs],
            "read_seconds": [round(cost.read, 4) for cost in self.costs],
            "cpu_seconds": [round(cost.cpu, 4) for cost in self.costs],
            "queued_seconds": [round(cost.queued, 4) for cost in self.costs],
            "gil_held": [_ratio(cost.taken, cost.knocks) for cost in self.costs],
            "peak_memory_mb": [round(cost.peak_mb, 1) for cost in self.costs],
        }


@dataclass(frozen=True)
class Amdahl:
    """What more cores would save, if signals were divided without loss: a bound, not a promise."""

    seconds: float  # of all stages
    parallel: float  # seconds of them in which signals are computed
    twice: float  # seconds that twice the workers would save
    most: float  # seconds that any number of them would save
    sentence: str


def amdahl(seconds: Mapping[str, float], parallel: float) -> Amdahl:
    """Return what more cores would save of the `seconds` of each stage, of which `parallel` go to signals."""
    total = sum(seconds.values())
    parallel = min(parallel, sum(seconds.get(stage, 0.0) for stage in (PROBED, MAPPED)))
    shares = ", ".join(
        f"{name} {part / total:.0%}"
        for name, part in sorted(seconds.items(), key=lambda pair: -pair[1])
        if total and part / total >= 0.01  # noqa: PLR2004 - what is less is no share
    )
    sentence = (
        f"{shares} of {total:.2f} s: twice the cores would save at most {parallel / 2:.2f} s, "
        f"any number of them {parallel:.2f} s"
    )
    return Amdahl(round(total, 4), round(parallel, 4), round(parallel / 2, 4), round(parallel, 4), sentence)


def idle(costs: Sequence[Cost]) -> float | None:
    """Return how long the worker that ends first has nothing to do, as a fraction of the time of all tasks."""
    if not costs:
        return None
    ends: dict[str, float] = {}
    for cost in costs:
        ends[cost.worker] = max(ends.get(cost.worker, 0.0), cost.began + cost.wall)
    last = max(ends.values())
    return _ratio(last - min(ends.values()), last - min(cost.began for cost in costs))


def _elsewhere(costs: Sequence[Cost]) -> list[Cost]:
    """Return the costs of other processes."""
    here = f"{os.uname().nodename}/{os.getpid()}/"
    return [cost for cost in costs if not cost.worker.startswith(here)]


def _peaks(costs: Sequence[Cost]) -> dict[str, float]:
    peaks: dict[str, float] = {}
    for cost in costs:
        peaks[cost.worker] = max(peaks.get(cost.worker, 0.0), cost.peak_mb)
    return peaks


def _cores() -> int:
    from dask.system import cpu_count

    return cpu_count()


def _ratio(part: float, whole: float) -> float | None:
    return round(part / whole, 4) if whole else None
