"""How many bytes cross the border of this process: tasks that go out, answers that come in."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from dask.multiprocessing import _dumps, _loads

CODEC = "lz4"  # changes shrink to a third, at some 2 milliseconds a megabyte
LENGTH = 8  # bytes before the compressed ones: how many there were


@dataclass
class Traffic:
    """Bytes between this process and its workers; none where they are threads of it."""

    sent: int = 0
    received: int = 0


def packed(value: Any) -> bytes:
    """Return a value as a few bytes; runs in a worker, at the end of a task."""
    raw = _dumps(value)
    return len(raw).to_bytes(LENGTH, "little") + pa.compress(raw, CODEC, asbytes=True)


def unpacked(data: bytes) -> Any:
    """Return the value of `packed` bytes."""
    size = int.from_bytes(data[:LENGTH], "little")
    return _loads(pa.decompress(data[LENGTH:], size, CODEC, asbytes=True))


@dataclass(frozen=True)
class Dumps:
    """Dask's way to send a value to another process, counted in this one; there it is Dask's own again."""

    traffic: Traffic

    def __call__(self, value: Any) -> bytes:
        """Return a value as bytes."""
        data = _dumps(value)
        self.traffic.sent += len(data)
        return data

    def __reduce__(self) -> tuple[Callable[[], Any], tuple[()]]:
        """Travel as what it counts for."""
        return _plain_dumps, ()


@dataclass(frozen=True)
class Loads:
    """Dask's way to take a value from another process, counted in this one; there it is Dask's own again."""

    traffic: Traffic

    def __call__(self, data: bytes) -> Any:
        """Return the value of some bytes."""
        self.traffic.received += len(data)
        return _loads(data)

    def __reduce__(self) -> tuple[Callable[[], Any], tuple[()]]:
        """Travel as what it counts for."""
        return _plain_loads, ()


def _plain_dumps() -> Any:
    return _dumps


def _plain_loads() -> Any:
    return _loads


@contextmanager
def cluster_traffic(traffic: Traffic) -> Iterator[None]:
    """Count what goes over the connections that a cluster has with this process, all of it, heartbeats too.

    Dask counts what workers hand out, in memory sizes, but not what it sends. So this stands between its messages and
    the network; if a version of Dask keeps them elsewhere, nothing is counted and nothing breaks.
    """
    from distributed.comm import tcp as module
    from distributed.utils import nbytes

    tcp: Any = module  # these names are not its public ones
    to_frames, from_frames = tcp.to_frames, tcp.from_frames

    async def counted_to_frames(*arguments: Any, **options: Any) -> Any:
        frames = await to_frames(*arguments, **options)
        traffic.sent += sum(map(nbytes, frames))
        return frames

    async def counted_from_frames(frames: Any, *arguments: Any, **options: Any) -> Any:
        traffic.received += sum(map(nbytes, frames))
        return await from_frames(frames, *arguments, **options)

    tcp.to_frames, tcp.from_frames = counted_to_frames, counted_from_frames
    try:
        yield
    finally:
        tcp.to_frames, tcp.from_frames = to_frames, from_frames
