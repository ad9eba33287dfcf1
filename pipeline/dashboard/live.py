"""What a run tells the live page of its cluster while it works; the page costs the run next to nothing, and never more.

Events are gathered and sent at most ten times a second, from the thread of the client's own loop: neither the signals
nor the trading loop wait for the network, and a page that is lost is a page that is lost.
"""

import asyncio
import concurrent.futures
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from threading import Lock
from time import perf_counter, sleep
from typing import Any

from pipeline.errors import PipelineError
from pipeline.events import (
    AccountMarked,
    Event,
    Listener,
    Note,
    PartitionFailed,
    Published,
    Stage,
    StageFinished,
    StageProgress,
    StageStarted,
    Warned,
)

__all__ = ["told"]

PERIOD = 0.1  # seconds between two messages
PATIENCE = 2.0  # seconds that the last message may take, and the page to draw it
TOPIC = "backtest"
WARNINGS = 20  # that are shown


@contextmanager
def told(client: Any, link: str | None, about: dict[str, Any], listener: Listener) -> Iterator[Listener]:
    """Open the live page on the cluster of `client`, and yield a listener that tells it of a run.

    Parameters
    ----------
    client : distributed.Client
        Connected to the cluster that computes the run.
    link : str or None
        Of Dask's dashboard; None if the cluster has none.
    about : dict
        Of `pipeline.dashboard.runs.Run`: ``name strategy scheduler symbols bars first last cash stages``, and
        ``began``, a datetime of UTC.
    listener : Listener
        Told the link, or why there is no page.
    """
    from pipeline.compute.shipping import by_value
    from pipeline.dashboard.plugin import BacktestPlugin

    try:
        client.register_plugin(by_value(BacktestPlugin(ends=client.cluster is not None)))
    except Exception as error:  # noqa: BLE001 - whatever it is, it must not cost the run
        listener(Warned(f"the live page could not be opened: {type(error).__name__}: {error}"))
    else:
        listener(Note(f"dashboard: {page_of(link)}" if link else "dashboard: this cluster has none"))
    telling = Telling(client, about)
    try:
        yield telling
    except BaseException as error:
        why = str(error) if isinstance(error, PipelineError) else type(error).__name__
        telling.put(state="interrupted" if isinstance(error, KeyboardInterrupt) else "failed", reason=why)
        raise
    finally:
        telling.close()


def page_of(link: str) -> str:
    """Return the link of the live page, from that of Dask's status page."""
    return f"{link.removesuffix('/status')}/backtest"


class Telling:
    """A listener that gathers what to tell, and sends it from the thread of the client's loop."""

    def __init__(self, client: Any, about: dict[str, Any]) -> None:
        """Begin to tell."""
        self.client = client
        began: datetime = about["began"]
        self.began = perf_counter() - (datetime.now(UTC) - began).total_seconds()
        self.bars = about["bars"]
        self.run = uuid.uuid4().hex
        self.lock = Lock()
        self.news: dict[str, Any] = {}
        self.marks: dict[str, Any] = {"at": 0, "sessions": [], "equity": []}
        self.stages: dict[str, float] = dict(about["stages"])
        self.warnings: list[str] = []
        self.total = self.failed = 0
        self.put(**{**about, "began": f"{began:%Y-%m-%d %H:%M:%S}", "client": client.id, "state": "running"})
        self.sending = asyncio.run_coroutine_threadsafe(self._send_always(), client.loop.asyncio_loop)

    def __call__(self, event: Event) -> None:
        """Gather what an event tells."""
        match event:
            case StageStarted():
                self.total = event.total
                if event.stage is Stage.SIGNALS:
                    self.put(partitions=event.total)
                self.put(
                    stage=event.stage.value,
                    total=event.total,
                    unit=event.unit,
                    done=0,
                    stage_bars=0,
                    stage_began=perf_counter() - self.began,
                )
            case StageProgress():
                self.put(done=event.done, stage_bars=self._bars(event))
            case PartitionFailed():
                self.failed += 1
                self.put(failed=self.failed)
            case AccountMarked():
                self._mark(event)
            case StageFinished():
                self.stages[event.stage.value] = event.seconds
                self.put(stages=dict(self.stages))
            case Warned():
                self.warnings = [*self.warnings, event.text][-WARNINGS:]
                self.put(warnings=self.warnings)
            case Published():
                self.put(state=event.state, path=event.path, filled=event.filled, refused=event.refused)

    def put(self, **news: Any) -> None:
        """Have fields of the run told with the next message."""
        with self.lock:
            self.news.update(news)

    def close(self) -> None:
        """Send the rest, if that takes no time to speak of, and let who watches see the end of it."""
        self.sending.cancel()
        last = asyncio.run_coroutine_threadsafe(self._send(), self.client.loop.asyncio_loop)
        try:
            last.result(PATIENCE)
        except (OSError, TimeoutError, concurrent.futures.CancelledError):
            last.cancel()
        else:
            self._wait_for_viewers()

    def _wait_for_viewers(self) -> None:
        """Where the page ends with this process, give it the time to draw how the run has ended."""
        scheduler = getattr(self.client.cluster, "scheduler", None)
        page = getattr(scheduler, "extensions", {}).get(TOPIC)
        if page is None or not page.views:
            return
        until = perf_counter() + PATIENCE
        while perf_counter() < until and not page.has_shown(self.run):
            sleep(PERIOD)
        sleep(PERIOD)  # until it has gone over the wire

    def _bars(self, event: StageProgress) -> int:
        if event.stage is Stage.TRADING:
            return event.done
        return round(self.bars * event.done / self.total) if event.stage is Stage.SIGNALS and self.total else 0

    def _mark(self, event: AccountMarked) -> None:
        with self.lock:
            self.news |= {"filled": event.filled, "refused": event.refused}
            self.marks["sessions"] += event.sessions.astype("datetime64[D]").astype(int).tolist()
            self.marks["equity"] += event.equity.tolist()

    def _message(self) -> dict[str, Any] | None:
        """Return what to send, and forget it; None if there is nothing."""
        with self.lock:
            if not self.news and not self.marks["sessions"]:
                return None
            message = {"run": self.run, "clock": perf_counter() - self.began, **self.news, "marks": self.marks}
            told = self.marks["at"] + len(self.marks["sessions"])
            self.news, self.marks = {}, {"at": told, "sessions": [], "equity": []}
        return message

    async def _send(self) -> None:
        if message := self._message():
            await self.client.scheduler.log_event(topic=TOPIC, msg=message)

    async def _send_always(self) -> None:
        while True:
            await self._send()
            await asyncio.sleep(PERIOD)
