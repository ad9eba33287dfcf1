"""The scheduler's part of the live page: it hears the runs, serves ``/backtest``, and names tasks by their symbols.

It travels by value to schedulers that have nothing of ours, so it and what it needs (`runs`, `words`, `style`, `page`)
import the standard library and Dask's scheduler alone, Bokeh where a page opens.
"""

import time
from collections import Counter
from typing import Any

from distributed.diagnostics.plugin import SchedulerPlugin
from distributed.diagnostics.task_stream import TaskStreamPlugin
from distributed.http.utils import RequestHandler

from pipeline.dashboard.page import document
from pipeline.dashboard.runs import Run, Runs
from pipeline.dashboard.words import task_name

TOPIC = "backtest"
STATES = {"memory": "done", "erred": "failed"}
MEGABYTE = 2**20


class NamedTaskStream(TaskStreamPlugin):
    """Dask's record of tasks, in which each is called by stage, strategy and symbols; colours go by the first two."""

    def rectangles(self, *args: Any, **kwargs: Any) -> dict[str, list[Any]]:
        """Return what the task stream draws."""
        found = super().rectangles(*args, **kwargs)
        found["name"] = list(map(task_name, found["name"], found["key"]))
        return found


class BacktestJSON(RequestHandler):
    """``/backtest.json``: the runs and the workers, for programs."""

    def get(self) -> None:
        """Answer."""
        self.write(self.server.extensions[TOPIC].as_dict())


class BacktestPlugin(SchedulerPlugin):
    """Hears what runs tell, and shows it as a page of Dask's own dashboard."""

    name = TOPIC
    idempotent = True

    def __init__(self, *, ends: bool) -> None:
        """Serve a cluster that `ends` with the process that runs on it, or one that stays."""
        self.ends = ends

    async def start(self, scheduler: Any) -> None:
        """Begin to listen, and open the page if this scheduler has a dashboard."""
        self.scheduler = scheduler
        self.runs = Runs()
        self.views: list[Any] = []  # those that somebody looks at
        scheduler.extensions[TOPIC] = self
        if TaskStreamPlugin.name not in scheduler.plugins:
            scheduler.add_plugin(NamedTaskStream(scheduler))
        scheduler.http_application.add_handlers(r".*", [(r"/backtest.json", BacktestJSON, {"dask_server": scheduler})])
        try:
            from distributed.dashboard.core import BokehApplication
            from distributed.dashboard.scheduler import template_variables
        except ImportError:  # no Bokeh: no dashboard either
            return
        from tornado.ioloop import IOLoop

        shared = template_variables(scheduler)
        if TOPIC not in shared["pages"]:
            shared["pages"].insert(0, TOPIC)  # the navigation bar of all pages
        pages = {"/backtest": lambda _, extra, doc: document(self, extra, doc)}
        application = BokehApplication(pages, scheduler, prefix="", template_variables=shared)
        scheduler.http_application.add_application(application)
        application.initialize(IOLoop.current())
        application.start()

    async def close(self) -> None:
        """Let go of the browsers: else one would ask this scheduler what it asks the next one of this process."""
        for view in self.views:
            view.stop()  # or one draws what nobody sends any more
        await self.scheduler.http_server.close_all_connections()

    def log_event(self, topic: str, msg: Any) -> None:
        """Hear a message, and let the scheduler forget it."""
        if topic == TOPIC:
            self.runs.tell(msg, self.now())
            self.scheduler._broker.truncate(TOPIC)  # noqa: SLF001 - else it keeps 100,000 of them

    def remove_client(self, scheduler: Any, client: str) -> None:  # noqa: ARG002 - Dask's signature
        """Note what ended without a word."""
        self.runs.lose(client)

    def now(self) -> float:
        """Return the scheduler's clock, in seconds."""
        return time.monotonic()

    def tasks(self, run: Run) -> dict[str, int]:
        """Return how many partitions of a run are done, running, waiting and failed: at its end, as it left them."""
        if run.is_over:
            return run.left_behind
        client = self.scheduler.clients.get(run.client)
        tasks = client.wants_what if client else ()
        states = Counter(STATES.get(task.state, "waiting") for task in tasks)
        held = Counter(task.processing_on for task in tasks if task.processing_on)  # Dask gives workers one in advance
        running = sum(min(count, worker.nthreads) for worker, count in held.items())
        return {
            "done": max(0, states["done"] - run.failed),  # a strategy's failure is an answer as well
            "running": running,
            "waiting": states["waiting"] - running,
            "failed": states["failed"] + run.failed,
        }

    def has_shown(self, run: str) -> bool:
        """Tell whether all who look see how a run has ended."""
        known = self.runs.by_id.get(run)
        return known is None or all(view.shown in {("", ""), (run, known.state)} for view in self.views)

    def workers(self) -> list[dict[str, Any]]:
        """Return what the workers told last: GIL contention (fraction of the time), CPU (percent of a core), memory."""
        return [
            {
                "name": str(worker.name),
                "address": worker.address,
                "gil": worker.metrics.get("gil_contention"),
                "cpu": worker.metrics.get("cpu", 0.0),
                "memory_mb": worker.metrics.get("memory", 0) / MEGABYTE,
                "threads": worker.nthreads,
                "tasks": len(worker.processing),
            }
            for worker in self.scheduler.workers.values()
        ]

    def as_dict(self) -> dict[str, Any]:
        """Return everything, the newest run first."""
        runs = [{**run.as_dict(self.now()), "tasks": self.tasks(run)} for run in self.runs.newest_first()]
        return {"runs": runs, "workers": self.workers()}
