"""Which scheduler, with how many workers, and why."""

import math
from dataclasses import dataclass, field

from pipeline.modes import Kind
from pipeline.options import Options, SchedulerOptions


@dataclass(frozen=True)
class Choice:
    """The scheduler a run gets; never `Kind.AUTO`."""

    kind: Kind
    workers: int
    reason: str
    predicted: dict[str, float] = field(default_factory=dict)  # kind -> seconds; empty where nothing was measured

    def __str__(self) -> str:
        """Say what was chosen, and why."""
        return f"{self.kind} with {self.workers} worker{'s' if self.workers > 1 else ''} ({self.reason})"


def choose(options: SchedulerOptions, symbols: int, blocks: int) -> Choice:
    """Return where the signals of `symbols` in `blocks` partitions are computed.

    Parameters
    ----------
    options : SchedulerOptions
        ``kind: auto`` goes by the counts in ``options.auto``; any other kind is taken as it is.
    symbols, blocks : int
        How many; there are never more workers than blocks.

    Returns
    -------
    Choice
        With as many workers as asked for, or as this process may use cores (affinity and cgroup respected). A cluster
        of other machines has its own number, known when it is started.
    """
    if options.is_elsewhere:
        key = "address" if options.address is not None else "cluster"
        return Choice(Kind.DISTRIBUTED, options.workers or 1, f"scheduler.{key} says where")
    kind, reason = _kind(options, symbols, blocks)
    return Choice(kind, 1 if kind is Kind.SYNCHRONOUS else _workers(options, kind, blocks), reason)


def may_take_processes(options: SchedulerOptions, symbols: float) -> bool:
    """Tell whether so many symbols may need worker processes: `choose` takes them, or would with enough blocks."""
    if options.is_elsewhere:
        return False
    if options.kind is Kind.AUTO:
        return options.processes.allowed and symbols > options.auto.threads_max
    return options.kind in {Kind.PROCESSES, Kind.DISTRIBUTED}


def foresees_processes(options: Options) -> bool:
    """Tell whether a run may need worker processes, as far as its settings show."""
    data = options.data
    known = {"sample": 5, "synthetic": data.synthetic.symbols}
    symbols = known.get(data.source, math.inf) if data.symbols == "all" else len(data.symbols)
    return may_take_processes(options.scheduler, symbols)


def _workers(options: SchedulerOptions, kind: Kind, blocks: int) -> int:
    from dask.system import cpu_count

    return max(1, min(options.workers_of(kind) or cpu_count(), blocks))


def _kind(options: SchedulerOptions, symbols: int, blocks: int) -> tuple[Kind, str]:
    counts = options.auto
    if options.kind is not Kind.AUTO:
        return options.kind, "scheduler.kind says so"
    if symbols <= counts.sequential_max:
        return Kind.SYNCHRONOUS, f"{symbols} symbols, at most scheduler.auto.sequential_max = {counts.sequential_max}"
    kind = Kind.PROCESSES if may_take_processes(options, symbols) else Kind.THREADS
    if _workers(options, kind, blocks) == 1:
        return Kind.SYNCHRONOUS, f"{symbols} symbols, but only one worker or one block"
    if symbols <= counts.threads_max:
        return kind, f"{symbols} symbols, at most scheduler.auto.threads_max = {counts.threads_max}"
    reason = f"{symbols} symbols, more than scheduler.auto.threads_max = {counts.threads_max}"
    return kind, reason if kind is Kind.PROCESSES else f"{reason}, but scheduler.processes.allowed is false"
