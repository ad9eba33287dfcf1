"""A cluster that stands until it is told to end, for many runs, and the page that shows them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from pipeline.compute import scheduler
from pipeline.compute.choose import Choice
from pipeline.compute.shipping import by_value, ship
from pipeline.compute.site import site_of
from pipeline.dashboard.live import page_of
from pipeline.dashboard.plugin import BacktestPlugin
from pipeline.errors import ConfigError, ExitCode
from pipeline.events import Listener
from pipeline.modes import Kind
from pipeline.network import DashboardOptions
from pipeline.options import SchedulerOptions
from pipeline.words import counted

PORT = 8786  # where Dask users look for a scheduler; the next free one if it is taken


@dataclass(frozen=True)
class Standing:
    """A cluster at work: where to watch it, and where runs find it."""

    dashboard: str | None
    address: str
    workers: int
    processes: int | None  # how many it started; None where another class did
    is_open: bool  # whether any user of this machine may compute on it
    exit_code: ExitCode = ExitCode.OK

    @property
    def summary(self) -> list[tuple[str, str]]:
        """Return label and value of each line that a person reads."""
        return [
            ("dashboard", self.dashboard or "this cluster has none"),
            ("address", self.address),
            (
                "workers",
                counted(self.workers, "thread")
                if self.processes is None
                else f"{self.processes:,}, each a process of one thread",
            ),
            (
                "open to",
                "all users of this machine; scheduler.tls keeps them out" if self.is_open else "its certificates",
            ),
            ("use it", f"make run ARGS='scheduler.address={self.address}'"),
            ("end it", "Ctrl-C"),
        ]


@contextmanager
def standing(options: SchedulerOptions, dashboard: DashboardOptions, listener: Listener) -> Iterator[Standing]:
    """Start the cluster that `options` describe, one process per worker, for the block.

    Raises
    ------
    ConfigError, TemporaryError
        As of `pipeline.compute.scheduler.start`; or `options` name a cluster that stands already.
    """
    from dask.system import cpu_count

    if options.address is not None:
        raise ConfigError(
            f"scheduler.address: {options.address}; a cluster that runs already is not started. Watch it on its own "
            f"dashboard, or set scheduler.address to null."
        )
    choice = Choice(Kind.DISTRIBUTED, options.workers_of(Kind.PROCESSES) or cpu_count(), "it is to stand")
    site = replace(site_of(options, dashboard), scheduler_port=PORT)
    with scheduler.start(choice, dashboard=True, site=site, listener=listener) as place:
        client = place.client
        assert client is not None  # it is distributed
        client.register_plugin(by_value(BacktestPlugin(ends=False)))
        ship(client)
        address = client.scheduler.address
        link = page_of(place.link) if place.link else None
        workers = place.choice.workers
        is_open = not address.startswith("tls:")
        yield Standing(link, address, workers, workers if site.is_here else None, is_open=is_open)
