"""What makes a worker of another cluster fit to compute for us: same versions, our package, the same store.

Nothing is assumed of such a worker but Python, Dask and the packages a strategy needs. This package travels to it as a
zip of its modules; a strategy's text travels with every task anyway.
"""

import hashlib
import io
import pickle
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import cloudpickle
from distributed import Client
from distributed.diagnostics.plugin import SchedulerPlugin, WorkerPlugin

from pipeline.compute.source import DIGEST, PACKAGE
from pipeline.errors import TemporaryError

BOTH = ("python", "dask", "distributed", "msgpack", "cloudpickle")
WORKERS = (*BOTH, "pandas", "numpy", "pyarrow", "TA-Lib")
"""Whose versions must be ours: in the scheduler what carries tasks, in workers also what computes and reads."""


@contextmanager
def _reachable() -> Iterator[None]:
    try:
        yield
    except (OSError, TimeoutError) as error:
        raise TemporaryError(
            f"scheduler distributed: {error}; the cluster is asked before and after it computes. See whether it still "
            f"runs."
        ) from None


@_reachable()
def check_versions(client: Client) -> None:
    """Compare the versions of scheduler and workers with ours; Dask itself would only warn.

    Raises
    ------
    TemporaryError
        With a table of what differs.
    """
    found: Any = client.get_versions(packages=["pyarrow", "TA-Lib"])  # beside those that Dask tells anyway
    ours = found["client"]["packages"]
    rows = list(_different(ours, BOTH, {"scheduler": found["scheduler"]}))
    rows += _different(ours, WORKERS, found["workers"])
    if rows:
        table = "\n".join(f"  {package:<12} {own:<16} {where} has {other}" for package, own, where, other in rows)
        raise TemporaryError(
            f"scheduler distributed: versions differ; numbers are promised only where they are the same.\n"
            f"  {'package':<12} {'here':<16} there\n{table}\nInstall requirements.lock on the whole cluster."
        )


def _different(
    ours: Mapping[str, Any], packages: Iterable[str], others: Mapping[str, Any]
) -> Iterable[tuple[str, str, str, str]]:
    for where, answer in others.items():
        theirs = answer["packages"] if answer else {}
        for package in packages:
            if theirs.get(package) != ours.get(package):
                yield package, str(ours.get(package)), where, theirs.get(package) or "none"


@_reachable()
def ship(client: Client) -> None:
    """Bring this package to all workers that lack it, and to those that come later.

    Raises
    ------
    TemporaryError
        A worker has another version of it already.
    """
    try:
        client.register_plugin(by_value(Delivery(package_zip(), DIGEST)), name=f"pipeline-{DIGEST}")
    except RuntimeError as error:
        raise TemporaryError(f"scheduler distributed: {error}") from None


@_reachable()
def check_file(client: Client, path: Path, sha256: str) -> None:
    """See that all workers read the same bytes at `path` as we do.

    Raises
    ------
    TemporaryError
        Naming the first worker that does not.
    """
    for worker, found in client.run(sha256_or_why_not, str(path)).items():
        if found != sha256:
            raise TemporaryError(
                f"scheduler distributed: worker {worker} reads {path} as {found}, here it is {sha256[:16]}...; workers "
                f"read the bars themselves. Put data.store on a file system that all of them mount at this path."
            )


def sha256_or_why_not(path: str) -> str:
    """Return the sha256 of a file's bytes, or in words why there is none; runs in a worker."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        return f"nothing ({error.strerror})"


@cache
def package_zip() -> bytes:
    """Return this package's modules as the bytes of a zip file."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(PACKAGE.rglob("*.py")):
            file.write(path, path.relative_to(PACKAGE.parent))
    return content.getvalue()


class Delivery(WorkerPlugin):
    """Makes this package importable in a worker, unless it is already; travels by value."""

    def __init__(self, content: bytes, digest: str) -> None:
        """Carry the bytes of a zip file."""
        self.content, self.digest = content, digest

    def setup(self, worker: Any) -> None:
        """Unpack the package where the worker keeps its files; refuse one of another version."""
        import importlib.util

        spec = importlib.util.find_spec("pipeline")
        if spec is None or spec.origin is None:  # none, or some folder of that name
            folder = Path(worker.local_directory, f"pipeline-{self.digest}")
            with zipfile.ZipFile(io.BytesIO(self.content)) as file:
                file.extractall(folder)
            sys.path.insert(0, str(folder))
            importlib.invalidate_caches()
        elif (there := self._version_there()) != self.digest:
            raise RuntimeError(
                f"worker {worker.address}: {spec.origin} is another version of the pipeline ({there}, not "
                f"{self.digest}); all of a run is of one. Start it again, without that package or with this one."
            )

    def _version_there(self) -> str:
        import importlib

        try:
            return str(importlib.import_module("pipeline.compute.source").DIGEST)
        except (ImportError, AttributeError):
            return "an older one"


def by_value(plugin: Any) -> "SchedulerPlugin | WorkerPlugin":
    """Return what a client can register in the place of a plugin of ours where the other end has nothing of ours.

    With the plugin travels what it uses of the package it is in.
    """
    package = sys.modules[sys.modules[type(plugin).__module__].__package__ or "pipeline"]
    cloudpickle.register_pickle_by_value(package)
    try:
        content = cloudpickle.dumps(plugin)
    finally:
        cloudpickle.unregister_pickle_by_value(package)
    kind = SchedulerPlugin if isinstance(plugin, SchedulerPlugin) else WorkerPlugin
    vessel = type("Vessel", (kind,), {"__reduce__": lambda _: (pickle.loads, (content,))})()
    for name in ("name", "idempotent"):  # by them Dask knows a plugin that is there already
        if hasattr(plugin, name):
            setattr(vessel, name, getattr(plugin, name))
    return vessel
