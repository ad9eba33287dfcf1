"""Batches in a loop: memory, descriptors, threads, processes and disk use end where they began. ``make soak``.

    python tests/soak.py MINUTES

Every batch makes new runs (their cash differs), in two worker processes that one process starts, and removes the old
ones as its `keep` says; the loop calls the command in this process, so that what one batch leaves behind adds up. The
first batches fill caches and are not counted. Ends with 0 if nothing grew by more than `ALLOWED`, else with 1.
"""

import contextlib
import io
import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import median

import psutil

from pipeline.command_line import main

SAMPLE = Path(__file__).parents[1] / "conf" / "sample.yaml"
RUNS = 40  # in a batch
WARM_UP = 3  # batches; two of them are kept
LEAST = 6  # batches that are counted, however little time there is
MEGABYTE = 1 << 20


@dataclass(frozen=True)
class Use:
    """What is used between two batches."""

    memory_mb: float  # resident, of this process
    descriptors: float
    threads: float
    children: float  # processes
    disk_mb: float  # of runs and store
    files: float  # in them
    temporary: float  # entries of the system's temporary folder that begin like ours
    run_memory_mb: (
        float  # growth, within one batch, of the process that makes the runs, from its second to its last run
    )


ALLOWED = Use(memory_mb=4, descriptors=0, threads=0, children=0, disk_mb=0.1, files=0, temporary=0, run_memory_mb=4)
"""How much more there may be of each at the end; texts of JSON vary by a few bytes."""


class Told(io.StringIO):
    """What the command says on stderr: at each line that tells of a run, memory of the process that makes the runs."""

    def __init__(self) -> None:
        """Hear nothing yet."""
        super().__init__()
        self.seen: list[float] = []  # megabytes, after each run

    def write(self, text: str) -> int:
        """Take a line."""
        if text.startswith("["):
            makers = [child for child in psutil.Process().children() if "pipeline.batch.worker" in child.cmdline()]
            self.seen += [maker.memory_info().rss / MEGABYTE for maker in makers]
        return super().write(text)

    @property
    def growth(self) -> float:
        """By how much it grew in the second half of the runs, when everything is loaded."""
        quarter = RUNS // 4
        return median(self.seen[-quarter:]) - median(self.seen[2 * quarter : 3 * quarter])


def batch(folder: Path, number: int) -> float:
    """Make one batch and return by how many megabytes the process that makes its runs grew."""
    answer, told = io.StringIO(), Told()
    with contextlib.redirect_stdout(answer), contextlib.redirect_stderr(told):
        code = main(["batch", str(folder / "soak.yaml"), "--json", f"trading.cash={1_000_000 + number}"])
    came = json.loads(answer.getvalue())
    if code or came["counts"] != {"committed": RUNS}:
        raise SystemExit(f"batch {number} ended with {code}: {came.get('reason') or came}")
    return told.growth


def use(folder: Path, run_memory_mb: float) -> Use:
    """Return what is used now."""
    this = psutil.Process()
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return Use(
        memory_mb=this.memory_info().rss / MEGABYTE,
        descriptors=this.num_fds(),
        threads=this.num_threads(),
        children=len(this.children(recursive=True)),
        disk_mb=sum(path.stat().st_size for path in files) / MEGABYTE,
        files=len(files),
        temporary=sum(1 for _ in Path(tempfile.gettempdir()).glob("pipeline-*")),
        run_memory_mb=run_memory_mb,
    )


def write_batch(folder: Path) -> None:
    """Write the file of the batches."""
    settings = {"data.store": folder / "store", "output.dir": folder / "runs", "output.report": "false"}
    lines = "".join(f"  {name}: {value}\n" for name, value in settings.items())
    kind = "  scheduler.kind: processes\n  scheduler.workers: 2\n"
    runs = f"- {{conf: {SAMPLE}, vary: {{trading.slippage.rate: {[number / 100_000 for number in range(RUNS)]}}}}}"
    (folder / "soak.yaml").write_text(f"keep: {{batches: 2}}\nset:\n{lines}{kind}runs:\n{runs}\n")


def table(begun: Use, ended: Use) -> tuple[str, list[str]]:
    """Return the figures as text, and the names of what grew."""
    lines, grew = [f"{'':16}{'began':>10}{'ended':>10}{'allowed':>10}"], []
    for name in (field.name for field in fields(Use)):
        first, last, more = (getattr(each, name) for each in (begun, ended, ALLOWED))
        is_growth = name == "run_memory_mb"
        if last > (more if is_growth else first + more):
            grew.append(name)
        lines.append(f"{name:16}{first:10.1f}{last:10.1f}{'' if is_growth else '+':>7}{more:g}")
    return "\n".join(lines), grew


def soak(minutes: float, folder: Path) -> list[str]:
    """Run batches for so long and print what they use; return the names of what grew."""
    write_batch(folder)
    seen: list[Use] = []
    began, number = time.monotonic(), 0
    while number < WARM_UP + LEAST or time.monotonic() - began < 60 * minutes:
        seen.append(use(folder, batch(folder, number)))
        number += 1
        sys.stderr.write(f"{time.monotonic() - began:7.0f} s  batch {number}: {json.dumps(asdict(seen[-1]))}\n")
    counted = seen[WARM_UP:]
    third = max(1, len(counted) // 3)
    figures, grew = table(_middle(counted[:third]), _middle(counted[-third:]))
    verdict = f"grew: {', '.join(grew)}" if grew else "nothing grew"
    sys.stdout.write(f"{number} batches of {RUNS} runs in {time.monotonic() - began:,.0f} s\n{figures}\n{verdict}\n")
    return grew


def _middle(uses: list[Use]) -> Use:
    return Use(*(median(getattr(each, field.name) for each in uses) for field in fields(Use)))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="soak-") as scratch:
        sys.exit(bool(soak(float(sys.argv[1]), Path(scratch))))
