"""One scheduler, started for a run and ended with it, whatever its kind."""

import copy
import os
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask
from dask.base import compute, named_schedulers
from dask.callbacks import Callback
from dask.delayed import Delayed

from pipeline.compute import workers
from pipeline.compute.choose import Choice
from pipeline.compute.site import Site
from pipeline.errors import TemporaryError
from pipeline.events import Listener, Note, ignore
from pipeline.modes import Kind

if TYPE_CHECKING:
    from distributed import Client

SETTINGS = {
    "chunksize": 1,  # processes: Dask's 6 tasks at a time leave workers idle (dask#10292)
    "distributed.scheduler.no-workers-timeout": "60s",  # Dask waits for ever (distributed#3558)
    "distributed.scheduler.worker-ttl": "60s",  # a frozen worker is given up; Dask takes five minutes
    "distributed.worker.multiprocessing-method": "forkserver",  # warm, where Dask spawns
}


HERE = Site()


class Arrivals:
    """The results of some tasks, in their order, as they come in."""

    def __init__(self, tasks: Sequence[Delayed], done: Callable[[int], None], seen: Callable[[int, Any], None]) -> None:
        """Expect one result for every task; equal tasks share one."""
        self.places: dict[Any, list[int]] = {}
        for place, task in enumerate(tasks):
            self.places.setdefault(task.key, []).append(place)
        self.results: list[Any] = [None] * len(tasks)
        self.count = 0
        self.done, self.seen = done, seen

    def arrive(self, key: Any, result: Any) -> None:
        """Take the result of the tasks with this key; other keys are steps on the way."""
        for place in self.places.get(key, ()):
            self.results[place] = result
            self.count += 1
            self.seen(place, result)
            self.done(self.count)


class Scheduler:
    """Where tasks run; made by `start`."""

    def __init__(
        self,
        choice: Choice,
        *,
        pool: Executor | None = None,
        client: "Client | None" = None,
        link: str | None = None,
        site: Site = HERE,
    ) -> None:
        """Compute on `client`, or in `pool`, or here."""
        self.choice = choice
        self.client = client
        self.link = link  # of Dask's dashboard
        self.site = site
        self._pool = pool

    def compute(
        self,
        tasks: Sequence[Delayed],
        done: Callable[[int], None] = lambda _: None,
        *,
        seen: Callable[[int, Any], None] = lambda _, __: None,
    ) -> list[Any]:
        """Compute tasks and return their results, in their order.

        Parameters
        ----------
        tasks : sequence of Delayed
            Pure ones: a lost worker has them computed again.
        done : function of int
            Told how many are finished, as they finish; begins again when a worker was lost.
        seen : function of (int, result), optional
            Shown every result as it arrives, with its task's place; what it raises ends the computation.

        Raises
        ------
        TemporaryError
            Workers were lost, again and again.
        """
        if self.client is not None:
            from pipeline.compute.cluster import compute_on

            arrivals = Arrivals(tasks, done, seen)
            compute_on(self.client, tasks, arrivals.arrive, self.site.timeout)
            self._check_latecomers()
            return arrivals.results
        try:
            return self._compute_here(tasks, Arrivals(tasks, done, seen))
        except BrokenProcessPool:
            self._replace_pool()
        try:
            return self._compute_here(tasks, Arrivals(tasks, done, seen))
        except BrokenProcessPool:
            raise TemporaryError(
                f"scheduler processes: a worker died, and after a second start with {self.choice.workers} fresh ones "
                f"another died; workers live until their tasks are done. Often memory: give it more, or fewer "
                f"scheduler.workers; or the strategy kills its own process."
            ) from None

    def check_file(self, path: Path, sha256: str) -> None:
        """See that workers of other machines read the same bytes at `path`; TemporaryError names one that does not."""
        if self.client is not None and not self.site.is_here:
            from pipeline.compute.shipping import check_file

            check_file(self.client, path, sha256)

    def _check_latecomers(self) -> None:
        if self.client is not None and not self.site.is_here:
            from pipeline.compute.shipping import check_versions

            check_versions(self.client)

    def end(self, *, at_once: bool) -> None:
        """End what this scheduler runs on, after its tasks or `at_once`."""
        if isinstance(self._pool, ThreadPoolExecutor):
            self._pool.shutdown(wait=not at_once, cancel_futures=True)
        elif isinstance(self._pool, ProcessPoolExecutor):
            workers.end_pool(self._pool, at_once=at_once)

    def _replace_pool(self) -> None:
        self.end(at_once=True)
        self._pool = workers.start_pool(self.choice.workers)

    def _compute_here(self, tasks: Sequence[Delayed], arrivals: Arrivals) -> list[Any]:
        def told(key: Any, result: Any, *_: Any) -> None:
            arrivals.arrive(key, result)

        new_processes = workers.without_main() if isinstance(self._pool, ProcessPoolExecutor) else nullcontext()
        run = named_schedulers[self.choice.kind.value]  # by its name Dask would import distributed first, 0.15 s
        with Callback(posttask=told), new_processes:
            compute(*tasks, scheduler=run, pool=self._pool, optimize_graph=False)
        return arrivals.results


Start = Callable[..., AbstractContextManager[Scheduler]]
"""`start`, or what `kept` yields in its place."""


@contextmanager
def start(
    choice: Choice,
    *,
    clustered: bool = False,
    dashboard: bool = False,
    site: Site = HERE,
    listener: Listener = ignore,
) -> Iterator[Scheduler]:
    """Start the scheduler of `choice` and end it, and all its processes, with the block.

    Parameters
    ----------
    choice : Choice
        Kind and number of workers.
    clustered : bool
        Run the same kind on a `distributed.LocalCluster` of the same shape: 1 x 1, 1 x N or N x 1 (processes x
        threads). Dask's performance report and dashboard exist only there.
    dashboard : bool
        Put the dashboard where people look for it, on the site's port or the next free one; implies `clustered`.
    site : Site
        Where the cluster is, and how it is reached; a cluster elsewhere is taken as it is, whatever `choice` says.
    listener : Listener
        Told what it waits for.
    """
    wanted = _Wanted(choice, site, clustered=clustered, dashboard=dashboard)
    with _own_settings(), _started(wanted, listener) as scheduler:
        yield scheduler


@contextmanager
def kept() -> Iterator[Start]:
    """Yield a `start` for many runs: its schedulers stay warm for the next run that asks for one of the same shape.

    All of them end with this block; one whose run failed ends at once, since a task may hang in it.
    """
    running: dict[Hashable, tuple[Scheduler, ExitStack]] = {}

    @contextmanager
    def start_or_take(
        choice: Choice,
        *,
        clustered: bool = False,
        dashboard: bool = False,
        site: Site = HERE,
        listener: Listener = ignore,
    ) -> Iterator[Scheduler]:
        wanted = _Wanted(choice, site, clustered=clustered, dashboard=dashboard)
        shape = wanted.shape
        if shape not in running:
            starting = _started(wanted, listener)
            life = ExitStack()
            running[shape] = life.enter_context(starting), life
        scheduler, life = running[shape]
        try:
            yield scheduler
        except BaseException:
            del running[shape]
            with life:
                raise

    def end(*error: Any) -> None:
        for _, life in running.values():
            life.__exit__(*error)

    with _own_settings(), ExitStack() as at_the_end:
        at_the_end.push(end)
        yield start_or_take


@dataclass(frozen=True)
class _Wanted:
    """What a run asks for."""

    choice: Choice
    site: Site
    clustered: bool
    dashboard: bool

    @property
    def shape(self) -> Hashable:
        """What two runs must have in common to share a scheduler."""
        if not self.site.is_here:
            return repr(self.site)
        return self.choice.kind, self.choice.workers, self.clustered, self.dashboard, repr(self.site)


@contextmanager
def _started(wanted: _Wanted, listener: Listener) -> Iterator[Scheduler]:
    choice, site = wanted.choice, wanted.site
    if not site.is_here:
        from pipeline.compute.remote import remote_cluster

        with remote_cluster(site, lambda text: listener(Note(text)), dashboard=wanted.dashboard) as (client, link):
            threads = sum(client.nthreads().values())
            yield Scheduler(replace(choice, workers=threads), client=client, link=link, site=site)
        return
    if wanted.clustered or wanted.dashboard or choice.kind is Kind.DISTRIBUTED:
        from distributed import Client

        from pipeline.compute.local import local_cluster

        with (
            local_cluster(choice, site, dashboard=wanted.dashboard) as (cluster, link),
            Client(cluster, security=site.security(), set_as_default=False) as client,
        ):
            yield Scheduler(choice, client=client, link=link, site=site)
        return
    scheduler = Scheduler(choice, pool=_pool(choice))
    try:
        yield scheduler
    except BaseException:
        scheduler.end(at_once=True)
        raise
    scheduler.end(at_once=False)


def _pool(choice: Choice) -> Executor | None:
    if choice.kind is Kind.PROCESSES:
        return workers.start_pool(choice.workers)
    return ThreadPoolExecutor(choice.workers, "strategy") if choice.kind is Kind.THREADS else None


@contextmanager
def _own_settings() -> Iterator[None]:
    """Have Dask heed our settings alone: no DASK_* variable and no user's dask.yaml changes a result."""
    before = copy.deepcopy(dask.config.config)
    strays = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("DASK_")}
    dask.config.refresh(paths=[], env={})
    try:
        with dask.config.set(SETTINGS):
            yield
    finally:
        os.environ.update(strays)
        restored = dask.config.merge(*dask.config.defaults, before)  # some defaults came meanwhile, with imports
        dask.config.config.clear()
        dask.config.config.update(restored)
