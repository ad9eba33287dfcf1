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

TOPIC = "backtest"
STATES = {"memory": "done", "processing": "running", "erred": "failed"}
MEGABYTE = 2**20


class NamedTaskStream(TaskStreamPlugin):
    """Dask's record of tasks, in which each is called by stage, strategy and symbols; colours go by the first two."""

    def rectangles(self, *args: Any, **kwargs: Any) -> dict[str, list[Any]]:
        """Return what the task stream draws."""
        found = super().rectangles(*args, **kwargs)
        found["name"] = [
            f"{name} {symbols_in(key)}".strip() for name, key in zip(found["name"], found["key"], strict=True)
        ]
        return found


def symbols_in(key: Any) -> str:
    """Return which symbols a key says that its task is about."""
    match key:
        case (str(), int(), str(symbols)):
            return symbols
    return ""


class BacktestJSON(RequestHandler):
    """``/backtest.json``: the runs and the workers, for programs."""

    def get(self) -> None:
        """Answer."""
        self.write(self.server.extensions[TOPIC].as_dict())


class BacktestPlugin(SchedulerPlugin):
    """Hears what runs tell, and shows it as a page of Dask's own dashboard."""

    name = TOPIC
    idempotent = True

    async def start(self, scheduler: Any) -> None:
        """Begin to listen, and open the page if this scheduler has a dashboard."""
        self.scheduler = scheduler
        self.runs = Runs()
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
        """Return how many tasks of a run are done, running, waiting and failed."""
        client = self.scheduler.clients.get(run.client)
        states = Counter(STATES.get(task.state, "waiting") for task in client.wants_what) if client else Counter()
        return {name: 0 if run.is_over else states[name] for name in ("done", "running", "waiting", "failed")}

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
