"""Where a cluster is and how it is reached: what `start` needs to know beyond the kind and number of workers."""

import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from pipeline.errors import ConfigError
from pipeline.network import ClusterOptions, DashboardOptions, TlsOptions
from pipeline.options import SchedulerOptions

if TYPE_CHECKING:
    from distributed import Security

ROLES = ("client", "scheduler", "worker")
HOST = "127.0.0.1"
EVERYWHERE = "0.0.0.0"  # noqa: S104 - only where dashboard.expose says so, and then over TLS


@dataclass(frozen=True)
class Site:
    """A running cluster at `address`, one to start as `cluster` says, or, with neither, this machine."""

    address: str | None = None
    cluster: ClusterOptions | None = None
    tls: TlsOptions | None = None
    timeout: float = 60.0  # seconds to wait for an answer, and for a first worker
    scheduler_port: int | None = None  # where other processes find a cluster that starts here; None hides it
    port: int = 8787  # of the dashboard
    certificate: Path | None = None  # of the dashboard
    key: Path | None = None
    expose: bool = False  # whether other machines may see the dashboard

    @property
    def is_here(self) -> bool:
        """Whether the cluster is one that this process starts on this machine."""
        return self.address is None and self.cluster is None

    def security(self) -> "Security | None":
        """Return what encrypts the cluster's connections; the same files for whatever part this process plays.

        Raises
        ------
        ConfigError
            A file cannot be read, is no certificate, or is no key that fits and needs no password.
        """
        tls = self.tls
        if tls is None or tls.ca is None or tls.certificate is None or tls.key is None:
            return None
        from distributed import Security

        _check("scheduler.tls", tls.certificate, tls.key, tls.ca)
        names = {f"tls_{role}_{part}": part for role in ROLES for part in ("cert", "key")}
        files = {name: str(tls.key if part == "key" else tls.certificate) for name, part in names.items()}
        return Security(require_encryption=True, tls_ca_file=str(tls.ca), **files)

    def comm_settings(self) -> dict[str, Any]:
        """Return Dask's settings for the same: they also reach what a cluster's class starts on other machines."""
        if self.tls is None or self.tls.ca is None:
            return {}
        tls = {"ca-file": str(self.tls.ca)}
        for role in ROLES:
            tls |= {f"{role}.cert": str(self.tls.certificate), f"{role}.key": str(self.tls.key)}
        comm = {
            "require-encryption": True,
            "default-scheme": "tls",
            **{f"tls.{name}": path for name, path in tls.items()},
        }
        return {f"distributed.comm.{name}": value for name, value in comm.items()}

    def web_settings(self, port: int) -> dict[str, Any]:
        """Return Dask's settings for a dashboard of this site on `port`, as https where files are given.

        Only pages that come from the dashboard itself may open a connection to it: else any site in the same browser
        could read along.
        """
        settings: dict[str, Any] = {f"{_WEB}.bokeh-application.allow_websocket_origin": self._origins(port)}
        if self.certificate and self.key:
            _check("dashboard", self.certificate, self.key)
            settings |= {f"{_WEB}.tls.cert": str(self.certificate), f"{_WEB}.tls.key": str(self.key)}
        return settings

    def _origins(self, port: int) -> list[str]:
        return [f"{name}:{port}" for name in (HOST, "localhost", *(_own_names() if self.expose else ()))]


_WEB = "distributed.scheduler.dashboard"


def site_of(scheduler: SchedulerOptions, dashboard: DashboardOptions) -> Site:
    """Return what the settings say of cluster and dashboard."""
    return Site(
        address=scheduler.address,
        cluster=scheduler.cluster,
        tls=scheduler.tls,
        timeout=scheduler.timeout,
        port=dashboard.port,
        certificate=dashboard.certificate,
        key=dashboard.key,
        expose=dashboard.expose,
    )


def _own_names() -> set[str]:
    """Return by which names and numbers other machines may know this one."""
    cards = psutil.net_if_addrs().values()
    numbers = {each.address for card in cards for each in card if each.family == socket.AF_INET}
    return {socket.gethostname(), socket.getfqdn(), *numbers} - {HOST, "localhost"}


def _check(group: str, certificate: Path, key: Path, ca: Path | None = None) -> None:
    """Refuse files that would fail later, or ask for a password where nobody sits."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_cert_chain(certificate, key, password=lambda: "")
        if ca is not None:
            context.load_verify_locations(ca)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        names = ", ".join(str(path) for path in (ca, certificate, key) if path)
        why = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"{group}: {names}: {why}; PEM files of a certificate and its key without a password expected. Check the "
            f"paths and what the files hold."
        ) from None
