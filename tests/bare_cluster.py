"""A real Dask cluster in processes of its own that have nothing of ours: no package, no path, no setting."""

import contextlib
import os
import re
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Iterator
from pathlib import Path

from certificates import Authority

PACKAGES = sysconfig.get_path("purelib")
ENVIRONMENT = {"PATH": os.environ["PATH"], "PYTHONPATH": PACKAGES, "DASK_LOGGING__DISTRIBUTED": "info"}


class BareCluster:
    """A scheduler over TLS and, as they are asked for, its workers."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack, *, tls: bool) -> None:
        """Start the scheduler; `folder` is where everything lies and runs."""
        self.folder, self.stack = folder, stack
        self.flags: list[str] = []
        if tls:
            self.authority = Authority(folder / "pki")
            certificate, key = self.authority.issue("cluster")
            self.flags = [
                "--tls-ca-file",
                str(self.authority.ca),
                "--tls-cert",
                str(certificate),
                "--tls-key",
                str(key),
            ]
        protocol = "tls" if tls else "tcp"
        here = ["--host", "127.0.0.1", "--port", "0", "--dashboard-address", "127.0.0.1:0", "--protocol", protocol]
        self.scheduler, self.address = self._start("dask_scheduler", here, rf"Scheduler at:\s+({protocol}://\S+)")

    def worker(self, *arguments: str, cwd: Path | None = None, env: dict[str, str] | None = None) -> subprocess.Popen:
        """Start a worker and return its process when it is connected."""
        here = [self.address, "--host", "127.0.0.1", "--no-dashboard", "--nthreads", "1", "--local-directory"]
        flags = [*here, str(self.folder / "space"), *arguments]
        return self._start("dask_worker", flags, r"Registered to:\s+(\S+)", cwd=cwd, env=env)[0]

    def tls(self, name: str = "user", **issued) -> list[str]:
        """Return the settings of a user with a certificate of this cluster's authority."""
        certificate, key = self.authority.issue(name, **issued)
        return [f"scheduler.tls={{ca: {self.authority.ca}, certificate: {certificate}, key: {key}}}"]

    def _start(self, program, arguments, ready, cwd=None, env=None) -> tuple[subprocess.Popen, str]:
        command = [sys.executable, "-S", "-m", f"distributed.cli.{program}", *arguments, *self.flags]
        cwd = cwd or self.folder
        process = subprocess.Popen(
            command, cwd=cwd, env=env or ENVIRONMENT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        )
        self.stack.callback(_end, process)
        said = []
        for line in process.stderr:
            said.append(line)
            if found := re.search(ready, line):
                threading.Thread(target=process.stderr.read, daemon=True).start()  # or the pipe would fill
                return process, found[1]
        raise AssertionError("".join(said))


def _end(process: subprocess.Popen) -> None:
    process.kill()
    process.wait()
    process.stderr.close()


@contextlib.contextmanager
def bare_cluster(folder: Path, *, workers: int = 0, tls: bool = True) -> Iterator[BareCluster]:
    """Start a cluster with so many workers, and end it."""
    with contextlib.ExitStack() as stack:
        cluster = BareCluster(folder, stack, tls=tls)
        for _ in range(workers):
            cluster.worker()
        yield cluster
