"""Clusters of other machines: a running one by its address, or one that a class starts."""

import asyncio
import importlib
import inspect
import os
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, cast

import dask
from distributed import Client, Security
from distributed.comm.core import FatalCommClosedError, connect
from distributed.utils import silence_logging_cmgr

from pipeline.compute import workers
from pipeline.compute.local import ANY_PORT, SILENT, first_cause, free_port
from pipeline.compute.shipping import check_versions, ship
from pipeline.compute.site import HOST, Site
from pipeline.errors import ConfigError, TemporaryError
from pipeline.network import ClusterOptions, is_loopback

REFERENCE = re.compile(r"\$\{ENV:(\w+)\}")
OF_TIMEOUT = 0.9  # part of it for reaching the address, so that its own error is told; the rest for a word from it
SILENCE = "something listens there, and says nothing that Dask knows: frozen, or no scheduler"
PATIENT = 3.0  # seconds of waiting before we say what for


@contextmanager
def remote_cluster(site: Site, tell: Callable[[str], None], *, dashboard: bool) -> Iterator[tuple[Client, str | None]]:
    """Connect to the cluster of a site, starting it if it is one to start; yield a client and the dashboard's link.

    Its workers are fit to compute when this yields: at least one is there, of our versions and with our package.

    Raises
    ------
    ConfigError
        The class is not there, does not take its arguments, or listens unencrypted to other machines.
    TemporaryError
        No scheduler or no worker within the site's timeout, or one of other versions.
    """
    workers.hush()
    with silence_logging_cmgr(SILENT), _connected(site, dashboard=dashboard) as client:
        _wait_for_a_worker(client, site, tell)
        check_versions(client)
        ship(client)
        yield client, _link(client)


def _connected(site: Site, *, dashboard: bool) -> AbstractContextManager[Client]:
    return _at_address(site) if site.address else _of_class(site, dashboard=dashboard)


@contextmanager
def _at_address(site: Site) -> Iterator[Client]:
    security = site.security()
    try:
        asyncio.run(asyncio.wait_for(_greet(site, security), site.timeout))
        client = Client(site.address, security=security, timeout=site.timeout, set_as_default=False)
    except (OSError, TimeoutError) as error:
        came = "refused" if isinstance(error, FatalCommClosedError) else f"no answer within {site.timeout:g} seconds"
        why = SILENCE if isinstance(error, TimeoutError) else _words(first_cause(error))
        raise TemporaryError(
            f"scheduler.address: {site.address}: {came} ({why}); a "
            f"scheduler is to run there, of the same authority's certificates. Start it, or check address and files."
        ) from None
    with client:
        yield client


async def _greet(site: Site, security: Security | None) -> None:
    """See that a scheduler answers: Dask's own client waits for ever where something else listens, and says less."""
    arguments = security.get_connection_args("client") if security else {}
    try:
        comm = await connect(site.address, timeout=OF_TIMEOUT * site.timeout, **arguments)
    except ValueError:  # of tornado: there were words before TLS had begun
        raise FatalCommClosedError("it speaks without TLS") from None
    comm.abort()


@contextmanager
def _of_class(site: Site, *, dashboard: bool) -> Iterator[Client]:
    options = cast(ClusterOptions, site.cluster)
    make = _class_of(options.name)
    page = free_port(site.port) if dashboard else ANY_PORT
    arguments = dask.config.merge(_safe_arguments(make, site, page), _resolved(options.arguments))
    settings = {**site.web_settings(page), **site.comm_settings()}
    workers.prestart()  # it may start workers here, too
    with workers.without_main(), dask.config.set(settings), _made(make, options.name, arguments) as cluster:
        _refuse_open_ports(cluster, options.name, site)
        if options.adapt is not None:
            cluster.adapt(minimum=options.adapt.minimum, maximum=options.adapt.maximum)
        elif options.scale is not None:
            cluster.scale(options.scale)
        with Client(cluster, security=site.security(), set_as_default=False) as client:
            yield client


def _class_of(name: str) -> Callable[..., Any]:
    module, _, last = name.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), last)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"scheduler.cluster.class: {name!r} is not there ({error}); it is a class of an installed package. Check "
            f"the spelling, or install the package into .venv."
        ) from None
    is_class = isinstance(found, type) and hasattr(found, "scale") and hasattr(found, "adapt")
    if not (is_class or (callable(found) and last.endswith("Cluster"))):  # distributed.SSHCluster is a function
        raise ConfigError(
            f"scheduler.cluster.class: {name!r} is no cluster; a class with scale() and adapt() expected. Name one, "
            f"like dask_jobqueue.SLURMCluster."
        )
    return cast(Callable[..., Any], found)


@contextmanager
def _made(make: Callable[..., Any], name: str, arguments: dict[str, Any]) -> Iterator[Any]:
    try:
        cluster = make(**arguments)
    except (TypeError, ValueError, OSError, RuntimeError) as error:
        cause = first_cause(error)
        if isinstance(cause, TypeError | ValueError):
            raise ConfigError(
                f"scheduler.cluster: {name} refused its arguments ({_words(cause)}); kwargs are what it is "
                f"called with. Correct scheduler.cluster.kwargs."
            ) from None
        raise TemporaryError(
            f"scheduler.cluster: {name} did not start ({_words(cause)}); the queue or machine behind it "
            f"refused. Try it by hand."
        ) from error
    with cluster:
        yield cluster


def _safe_arguments(make: Callable[..., Any], site: Site, port: int) -> dict[str, Any]:
    """Return arguments that keep a cluster of this class to itself, as far as it takes them; kwargs come on top."""
    takes = inspect.signature(make).parameters
    page = f"{HOST}:{port}"
    arguments: dict[str, Any] = {"worker_dashboard_address": f"{HOST}:{ANY_PORT}", "silence_logs": SILENT}
    if "scheduler_options" in takes:
        arguments["scheduler_options"] = {"dashboard_address": page}
    else:
        arguments["dashboard_address"] = page
    if security := site.security():
        arguments["security"] = security
    return {name: value for name, value in arguments.items() if name in takes}


def _resolved(value: Any) -> Any:
    """Return arguments with every ``${ENV:NAME}`` looked up."""
    match value:
        case dict():
            return {key: _resolved(each) for key, each in value.items()}
        case list():
            return [_resolved(each) for each in value]
        case str() if found := REFERENCE.fullmatch(value):
            if found[1] not in os.environ:
                raise ConfigError(f"scheduler.cluster: {value}; no such variable in the environment. Set it.")
            return os.environ[found[1]]
    return value


def _refuse_open_ports(cluster: Any, name: str, site: Site) -> None:
    """Refuse a cluster that other machines can reach without TLS, before it gets any work."""
    protocol, _, rest = str(cluster.scheduler_address).partition("://")
    if protocol not in {"tls", "inproc"} and not is_loopback(rest.rpartition(":")[0]):
        raise ConfigError(
            f"scheduler.cluster: {name} listens on {cluster.scheduler_address}; what other machines reach must be "
            f"tls://, since whoever reaches it can run code. Set scheduler.tls, see docs/dashboard.md."
        )
    server = getattr(getattr(cluster, "scheduler", None), "http_server", None)
    if server is not None and not is_loopback(server.address) and not (site.expose and site.certificate):
        raise ConfigError(
            f"scheduler.cluster: the dashboard of {name} listens on {server.address}:{server.port}; other machines may "
            f"see it only with dashboard.expose. Leave dashboard_address out of scheduler.cluster.kwargs."
        )


def _wait_for_a_worker(client: Client, site: Site, tell: Callable[[str], None]) -> None:
    waited = min(PATIENT, site.timeout)
    try:
        client.wait_for_workers(1, timeout=waited)
    except TimeoutError:
        tell(f"waiting for a worker, at most {site.timeout:g} seconds (scheduler.timeout)")
        try:
            client.wait_for_workers(1, timeout=max(site.timeout - waited, 0.1))
        except TimeoutError:
            raise TemporaryError(
                f"scheduler distributed: no worker within {site.timeout:g} seconds; tasks need one. Start workers, or "
                f"raise scheduler.timeout."
            ) from None


def _link(client: Client) -> str | None:
    """Return the link of a cluster's dashboard: here if its scheduler is, and only this machine may see it."""
    server = getattr(getattr(client.cluster, "scheduler", None), "http_server", None)
    if server is not None and is_loopback(server.address):
        return f"http://{HOST}:{server.port}/status"
    try:
        return cast(str | None, client.dashboard_link)
    except KeyError:  # it has none
        return None


def _words(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
