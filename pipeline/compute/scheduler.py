"""One scheduler, started for a run and ended with it, whatever its kind."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dask.base import compute
from dask.callbacks import Callback
from dask.delayed import Delayed
from dask.local import get_async, get_sync
from dask.multiprocessing import pack_exception

from pipeline.compute import workers
from pipeline.compute.arrivals import LOST, Arrivals
from pipeline.compute.choose import Choice
from pipeline.compute.settings import own_settings
from pipeline.compute.site import Site
from pipeline.compute.transfer import Dumps, Loads, Traffic, cluster_traffic
from pipeline.compute.wanted import Shape, Wanted
from pipeline.errors import TemporaryError
from pipeline.events import Listener, Note, Warned, ignore
from pipeline.modes import Kind

if TYPE_CHECKING:
    from distributed import Client

MOST_LOSSES = 3  # of workers, as a cluster allows a task; each costs what was under way
HERE = Site()


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
        listener: Listener = ignore,
    ) -> None:
        """Compute on `client`, or in `pool`, or here; `listener` is told of workers that die."""
        self.choice = choice  # of the run that uses it
        self.listener = listener  # likewise
        self.size = choice.workers  # how many there are
        self.client = client
        self.link = link  # of Dask's dashboard
        self.site = site
        self.traffic = Traffic()  # of the last `compute`
        self._pool = pool

    @property
    def sends(self) -> bool:
        """Whether tasks and their results travel between processes."""
        return self.client is not None or isinstance(self._pool, ProcessPoolExecutor)

    def compute(self, tasks: Sequence[Delayed], *, seen: Callable[[int, Any], None] = lambda _, __: None) -> list[Any]:
        """Compute tasks and return their results, in their order.

        Parameters
        ----------
        tasks : sequence of Delayed
            Pure ones: what a lost worker was at is computed again. What has arrived by then is kept.
        seen : function of (int, result), optional
            Shown every result as it arrives, with its task's place; what it raises ends the computation.

        Raises
        ------
        TemporaryError
            Workers were lost, again and again.
        """
        arrivals = Arrivals(tasks, seen)
        self.traffic = Traffic()
        if self.client is not None:
            from pipeline.compute.cluster import compute_on

            with cluster_traffic(self.traffic):
                where = f"scheduler {self.choice.kind}"
                arrive, patience = arrivals.arrive, self.site.timeout
                compute_on(self.client, tasks, arrive, patience, where=where, listener=self.listener)
            self._check_latecomers()
        else:
            self._compute_here(arrivals)
        return arrivals.results

    def _compute_here(self, arrivals: Arrivals) -> None:
        """Compute what has not arrived; after a lost worker again, as long as that leads anywhere."""
        for losses in range(MOST_LOSSES + 1):
            missing = len(arrivals.waiting)
            try:
                return self._run(list(arrivals.waiting.values()), arrivals)
            except BrokenProcessPool:
                if losses and len(arrivals.waiting) == missing:
                    break
                left, tasks = len(arrivals.waiting), len(arrivals.places)
                self.listener(Warned(LOST.format(where="scheduler processes", left=left, tasks=tasks)))
                self._replace_pool()
        raise TemporaryError(
            "scheduler processes: a worker died, and so did one that took its place; workers live until their tasks "
            "are done. Often memory: give it more, or fewer scheduler.workers; or the strategy kills its own process."
        )

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
        self._pool = workers.start_pool(self.size)

    def _run(self, tasks: Sequence[Delayed], arrivals: Arrivals) -> None:
        def told(key: Any, result: Any, *_: Any) -> None:
            arrivals.arrive(key, result)

        new_processes = workers.without_main() if isinstance(self._pool, ProcessPoolExecutor) else nullcontext()
        with Callback(posttask=told), new_processes:
            compute(*tasks, scheduler=self._get, optimize_graph=False)

    def _get(self, graph: Any, keys: Any, **_: Any) -> Any:
        """Compute a graph on the pool, or here, by Dask's own scheduler for single machines.

        One task more than there are workers is handed out, so that none waits while an answer is taken in.
        """
        under_way = self.choice.workers + (self.choice.workers == self.size)
        if self._pool is None:
            return get_sync(graph, keys)
        ways: dict[str, Any] = {}
        if isinstance(self._pool, ProcessPoolExecutor):
            ways = {"dumps": Dumps(self.traffic), "loads": Loads(self.traffic), "pack_exception": pack_exception}
        return get_async(partial(workers.submit, self._pool), under_way, graph, keys, **ways)


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
    wanted = Wanted(choice, site, clustered=clustered, dashboard=dashboard)
    with own_settings(), _started(wanted, listener) as scheduler:
        yield scheduler


class Kept:
    """What `kept` yields: `start` for many runs, whose workers stay warm for the next one."""

    def __init__(self) -> None:
        """Run nothing yet."""
        self.running: dict[Shape, tuple[Scheduler, ExitStack]] = {}

    @contextmanager
    def __call__(
        self,
        choice: Choice,
        *,
        clustered: bool = False,
        dashboard: bool = False,
        site: Site = HERE,
        listener: Listener = ignore,
    ) -> Iterator[Scheduler]:
        """Yield a scheduler of this kind, started now or before; of a larger pool no more workers are used."""
        wanted = Wanted(choice, site, clustered=clustered, dashboard=dashboard)
        shape = wanted.shape
        if not wanted.on_cluster and shape in self.running and self.running[shape][0].size < choice.workers:
            self.running.pop(shape)[1].close()
        if shape not in self.running:
            starting = _started(wanted, listener)
            life = ExitStack()
            self.running[shape] = life.enter_context(starting), life
        scheduler, life = self.running[shape]
        scheduler.choice = choice if site.is_here else replace(choice, workers=scheduler.size)
        scheduler.listener = listener
        try:
            yield scheduler
        except BaseException:
            del self.running[shape]
            with life:
                raise

    @property
    def warm(self) -> frozenset[Kind]:
        """The kinds whose workers wait for work."""
        return frozenset(shape.kind for shape in self.running)

    def end(self, *error: Any) -> None:
        """End all of them."""
        for _, life in self.running.values():
            life.__exit__(*error)


Start = Callable[..., AbstractContextManager[Scheduler]]
"""`start`, or a `Kept` in its place."""


def warm_kinds(start: Start) -> frozenset[Kind]:
    """Return the kinds that `start` has running already."""
    return start.warm if isinstance(start, Kept) else frozenset()


@contextmanager
def kept() -> Iterator[Kept]:
    """Yield a `start` for many runs: its schedulers stay warm for the next run that asks for one of the same shape.

    All of them end with this block; one whose run failed ends at once, since a task may hang in it.
    """
    with own_settings(), ExitStack() as at_the_end:
        running = Kept()
        at_the_end.push(running.end)
        yield running


@contextmanager
def _started(wanted: Wanted, listener: Listener) -> Iterator[Scheduler]:
    choice, site = wanted.choice, wanted.site
    if not site.is_here:
        from pipeline.compute.remote import remote_cluster

        with remote_cluster(site, lambda text: listener(Note(text)), dashboard=wanted.dashboard) as (client, link):
            threads = sum(client.nthreads().values())
            known = replace(choice, workers=threads)
            yield Scheduler(known, client=client, link=link, site=site, listener=listener)
        return
    if wanted.on_cluster:
        from distributed import Client

        from pipeline.compute.local import local_cluster

        with (
            local_cluster(choice, site, dashboard=wanted.dashboard) as (cluster, link),
            Client(cluster, security=site.security(), set_as_default=False) as client,
        ):
            if wanted.dashboard and (port := cluster.scheduler.http_server.port) != site.port:
                listener(Note(f"dashboard.port: {site.port} is taken, so the dashboard is on {port}"))
            yield Scheduler(choice, client=client, link=link, site=site, listener=listener)
        return
    scheduler = Scheduler(choice, pool=_pool(choice), listener=listener)
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
