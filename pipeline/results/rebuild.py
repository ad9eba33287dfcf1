"""The report of a published run, made again from its files: after a page that failed, or by a newer version."""

import json
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import DataError, ExitCode
from pipeline.files import replace_file, sha256_of, writable
from pipeline.results import report, rundir
from pipeline.results.attempts import RECORD
from pipeline.results.history import read_named
from pipeline.results.tables import Tables

PAGE = "report.html"


@dataclass(frozen=True)
class Rebuilt:
    """Where the page is, and of which run."""

    run_dir: str
    report: str
    result_digest: str
    summary: list[tuple[str, str]]
    exit_code: ExitCode = ExitCode.OK


def rebuilt(folder: Path) -> Rebuilt:
    """Write ``report.html`` of a run anew; its numbers and how it ended stay as they are.

    Parameters
    ----------
    folder : Path
        The run directory, or a link to it.

    Raises
    ------
    DataError
        It is no published run, one of its files may not be read, or one but the page is not what ``run.json`` says.
    TemporaryError
        The page cannot be written.
    """
    folder = folder.resolve()
    record = read_named(folder)
    if "files" not in record:
        raise DataError(
            f"report: {folder} holds no record of a published run; run.json with the checksums of its files expected. "
            f"Name a folder like runs/NAME/KEY-ATTEMPT, or runs/latest."
        )
    problems = [problem for problem in rundir.verify(folder) if not problem.startswith(f"{folder / PAGE}:")]
    if problems:
        raise DataError(f"report: {problems[0]}")
    figures = json.loads((folder / "metrics.json").read_bytes())["metrics"]
    page = report.page(record, Tables.read(folder), figures)
    with writable("report", folder):
        replace_file(folder / PAGE, page.encode())
        entry = {"bytes": (folder / PAGE).stat().st_size, "sha256": sha256_of(folder / PAGE)}
        files = dict(sorted({**record["files"], PAGE: entry}.items()))
        replace_file(folder / RECORD, rundir.as_json({**record, "files": files}))
    path = str(folder / PAGE)
    return Rebuilt(
        run_dir=str(folder),
        report=path,
        result_digest=record["result_digest"],
        summary=[("report", path), ("run", f"{record['name']} {record['run_key']}"), ("state", record["state"])],
    )
