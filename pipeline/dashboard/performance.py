"""Dask's own performance report of a stage: task stream, profiles, memory and bandwidth in one offline page."""

import html
import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pipeline.dashboard.words import task_name
from pipeline.errors import TemporaryError

__all__ = ["PerformanceReportError", "recorded"]

DATA = re.compile(r'(?P<open><script type="application/json"[^>]*>)(?P<data>.*?)(?P<close></script>)', re.DOTALL)
OFFLINE = (
    '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
    "script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:\">"
)
TASKS = {"key", "name", "duration_text"}  # columns of the task stream alone
ICON = re.compile(r'<link rel="[^"]*icon"[^>]*>')


class PerformanceReportError(TemporaryError):
    """The performance report could not be made; what it was to tell about went well."""


@contextmanager
def recorded(client: Any, path: Path) -> Iterator[None]:
    """Write Dask's report of what runs inside to `path`.

    The page loads nothing, and holds no source code but ours and no folder of this machine: of a profiled line it
    tells function, file and line number.

    Parameters
    ----------
    client : distributed.Client
        Inside, it is the current client.
    path : Path
        Where the page goes, about 1.7 MB.

    Raises
    ------
    PerformanceReportError
        Only after the body ended well. If the body fails, its error comes through and no report is made.
    """
    from distributed import performance_report

    with TemporaryDirectory() as folder, client.as_current():
        raw = Path(folder, path.name)
        report = performance_report(filename=str(raw), mode="inline")
        report.__enter__()
        yield
        try:
            client.run(end_profile, on_error="ignore")
            finish(report)
            path.write_text(scrubbed(raw.read_text(encoding="utf-8")), encoding="utf-8")
        except Exception as error:
            raise PerformanceReportError(
                f"performance report {path}: {error}; Dask could not make it. The results do not depend on it."
            ) from error


def end_profile(dask_worker: Any) -> None:
    """Count what a worker has profiled since its last full second: of a short run, Dask's report tells nothing else."""
    dask_worker.cycle_profile()


def finish(report: Any) -> None:
    report.__exit__(None, None, None)  # Dask prints its caller's source into the page: this function


def scrubbed(page: str) -> str:
    """Return Dask's page without source lines, folders of this machine, and links to the network."""

    def clean(found: re.Match[str]) -> str:
        data = neutral(json.loads(html.unescape(found["data"])))
        return found["open"] + html.escape(json.dumps(data), quote=False) + found["close"]

    return ICON.sub("", DATA.sub(clean, page)).replace("<head>", f"<head>{OFFLINE}", 1)


def neutral(value: Any) -> Any:
    """Return the data of Bokeh models with source lines emptied and paths shortened to folder and file."""
    match value:
        case {"type": "map", "entries": list(entries)} if {str(name) for name, _ in entries} >= TASKS:
            return {"type": "map", "entries": [[name, neutral(part)] for name, part in named(entries)]}
        case ["line", str() | list() as lines]:
            return ["line", "" if isinstance(lines, str) else [""] * len(lines)]
        case list():
            return [neutral(part) for part in value]
        case dict():
            return {neutral(key): neutral(part) for key, part in value.items()}
        case str():
            return without_folders(value)
    return value


def named(entries: list[list[Any]]) -> list[list[Any]]:
    """Return the columns of the task stream with the symbols of each task in its name."""
    columns = dict(entries)
    names = list(map(task_name, columns["name"], columns["key"]))
    return [[column, names if column == "name" else values] for column, values in entries]


def without_folders(text: str) -> str:
    """Return `text`, of which Python files keep their last two parts and other paths lose home, project and prefix.

    >>> without_folders("mean;/opt/lib/numpy/_methods.py;118")
    'mean;numpy/_methods.py;118'
    """
    parts = [
        "/".join(part.split("/")[-2:]) if part.startswith("/") and part.endswith(".py") else part
        for part in text.split(";")
    ]
    text = ";".join(parts)
    for folder in sorted({str(Path.home()), str(Path.cwd()), sys.prefix}, key=len, reverse=True):
        if folder.count("/") > 1 or folder == "/root":
            text = text.replace(folder, "~")
    return text
