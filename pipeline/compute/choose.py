"""Which scheduler, with how many workers, and why: the kind whose predicted seconds are least.

The model knows the work (seconds on one core, and how much of that holds Python's lock) and what each kind costs
before the first result. Its constants were measured (docs/parallelization.md); a probe, earlier runs or the strategy's
own word say what the work is.
"""

import math
from dataclasses import dataclass, field

from pipeline.modes import Kind
from pipeline.options import AutoOptions, Options, SchedulerOptions
from pipeline.words import counted

LOCAL = (Kind.SYNCHRONOUS, Kind.THREADS, Kind.PROCESSES)  # what is chosen from, the simpler first
KINDS = (*LOCAL, Kind.DISTRIBUTED)
SCALES = 0.93  # of a core that each further process adds: memory and caches are shared
THREADS_SCALE = 0.85  # of a core that each further thread adds while it does not hold the lock
CONVOY = 2.5  # threads wait for the lock so many times as long as one alone holds it ...
HANDOVER = 1.1  # ... and where it is held all the time, two of them are slower than one
START_POOL, START_WORKER = 0.07, 0.01  # seconds: a pool, what its workers do first, its end; each worker, forked
TRAVEL = 0.01  # seconds: tasks to processes that wait already, and answers from them
START_THREADS = 0.005  # seconds: threads, and handing tasks to them
START_CLUSTER = {Kind.SYNCHRONOUS: 0.3, Kind.THREADS: 0.3, Kind.PROCESSES: 1.3, Kind.DISTRIBUTED: 1.3}  # seconds
CLOSE_CALL = 1.05  # predictions within this ratio are alike: the number of symbols decides, else simplicity


@dataclass(frozen=True)
class Choice:
    """The scheduler a run gets; never `Kind.AUTO`."""

    kind: Kind
    workers: int
    reason: str
    predicted: dict[str, float] = field(default_factory=dict)  # kind -> seconds; empty where nothing was measured

    def __str__(self) -> str:
        """Say what was chosen, and why."""
        return f"{self.kind} with {counted(self.workers, 'worker')} ({self.reason})"


@dataclass(frozen=True)
class Work:
    """What is to be computed, as far as it is known."""

    seconds: float  # on one core
    held: float | None  # fraction of them that holds Python's lock; None is unknown
    parts: int  # into how many tasks it can be divided
    source: str  # who says so, for the reason: "a probe of 12 ms"


@dataclass(frozen=True)
class Ready:
    """What runs already, so that it need not be started."""

    server_in: float  # seconds until the fork server is ready
    warm: frozenset[Kind] = frozenset()  # kinds whose workers wait for work
    clustered: bool = False  # everything runs on a cluster on this machine, for its dashboard or report


def named(options: SchedulerOptions, parts: int) -> Choice | None:
    """Return the choice that the config makes itself; None if it is left to measurement.

    Parameters
    ----------
    options : SchedulerOptions
        Any kind but `auto` is taken as it is, and so is a cluster that runs elsewhere: it has its own number of
        workers, known when it is started.
    parts : int
        There are never more workers than parts of the work.
    """
    if options.is_elsewhere:
        key = "address" if options.address is not None else "cluster"
        return Choice(Kind.DISTRIBUTED, _expected(options), f"scheduler.{key} says where")
    if options.kind is Kind.AUTO:
        return None
    return Choice(options.kind, workers_of(options, options.kind, parts), "scheduler.kind says so")


def _expected(options: SchedulerOptions) -> int:
    """Return how many workers a cluster elsewhere is to have, as far as the config tells; at least 1."""
    cluster = options.cluster
    most = cluster and (cluster.scale or (cluster.adapt and cluster.adapt.maximum))
    return options.workers or most or 1


def choose(options: SchedulerOptions, work: Work, ready: Ready) -> Choice:
    """Return where `work` takes least, and what it would take elsewhere.

    Parameters
    ----------
    options : SchedulerOptions
        Which kinds may be taken, with how many workers: as many as asked for, or as this process may use cores
        (affinity and cgroup respected).
    work : Work
        What is left to do.
    ready : Ready
        What need not be started.
    """
    counts = {kind: workers_of(options, kind, work.parts) for kind in LOCAL}
    predicted = {kind: predict(kind, workers_of(options, kind, work.parts), work, ready) for kind in KINDS}
    possible = {
        kind: predicted[kind]
        for kind in LOCAL
        if kind is Kind.SYNCHRONOUS or (counts[kind] > 1 and (kind is Kind.THREADS or options.processes.allowed))
    }
    alike = [kind for kind, seconds in possible.items() if seconds <= CLOSE_CALL * min(possible.values())]
    prior = by_counts(options.auto, work.parts)
    kind = prior if prior in alike else alike[0]
    shown = {each.value: round(seconds, 4) for each, seconds in predicted.items()}
    return Choice(kind, counts[kind], _reason(work, predicted, options), shown)


def predict(kind: Kind, workers: int, work: Work, ready: Ready) -> float:
    """Return how many seconds a kind would take for some work, its start included."""
    start = _start(kind, workers, ready)
    if kind is Kind.SYNCHRONOUS or workers == 1:
        return start + work.seconds
    if kind is Kind.THREADS:
        locked = min(1.0, CONVOY * work.held) if work.held is not None else 1.0
        return start + work.seconds * (locked * HANDOVER + (1 - locked) / (1 + THREADS_SCALE * (workers - 1)))
    return start + work.seconds / (1 + SCALES * (workers - 1))


def _start(kind: Kind, workers: int, ready: Ready) -> float:
    if kind in ready.warm:
        return TRAVEL if kind is Kind.PROCESSES else 0.0
    if ready.clustered or kind is Kind.DISTRIBUTED:
        return START_CLUSTER[kind]
    if kind is Kind.PROCESSES:
        return ready.server_in + START_POOL + START_WORKER * workers
    return START_THREADS if kind is Kind.THREADS else 0.0


def workers_of(options: SchedulerOptions, kind: Kind, parts: int) -> int:
    """Return how many workers a kind gets for so many parts of work."""
    from dask.system import cpu_count

    return 1 if kind is Kind.SYNCHRONOUS else max(1, min(options.workers_of(kind) or cpu_count(), parts))


def by_counts(counts: AutoOptions, symbols: float) -> Kind:
    """Return what the number of symbols suggests, where nothing else decides."""
    if symbols <= counts.sequential_max:
        return Kind.SYNCHRONOUS
    return Kind.THREADS if symbols <= counts.threads_max else Kind.PROCESSES


def may_take_processes(options: SchedulerOptions, symbols: float) -> bool:
    """Tell whether so many symbols may need worker processes, as far as can be told before anything is read."""
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


def _reason(work: Work, predicted: dict[Kind, float], options: SchedulerOptions) -> str:
    guesses = ", ".join(f"{kind} {seconds:.2f} s" for kind, seconds in predicted.items())
    held = "" if work.held is None else f", the GIL held for {work.held:.0%} of it"
    allowed = "" if options.processes.allowed else "; scheduler.processes.allowed is false"
    return f"{work.source}: {work.seconds:.2f} s of work on one core{held}; predicted {guesses}{allowed}"
