"""``index.html`` beside the runs: the newest batch of every name, run by run, and the nights before it.

The template is ``index.html.j2`` beside this file. As in the report, whatever came from files or users is escaped, and
the page's Content-Security-Policy runs no script but ours and loads nothing from anywhere.
"""

import hashlib
import math
import os
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pipeline.batch import doubts, record
from pipeline.batch.record import BatchRecord, RunRecord
from pipeline.errors import ExitCode
from pipeline.files import replace_file
from pipeline.words import counted, shortened

NAME = "index.html"
TEMPLATE = Path(__file__).with_name("index.html.j2")
NIGHTS = 30  # that the strip shows
LONGEST = 100  # characters of a warning in a run's row; the batch's own list has all of it
URGENT = ("failed", "interrupted", "abandoned", "blocked", "running", "waiting", "pending", "degraded")
"""States in the order in which somebody should look at them; the well ones follow."""

GRAVE = ("failed", "interrupted", "abandoned")
SCRIPT = """
"use strict";
for (const table of document.querySelectorAll("table.runs")) {
  const body = table.tBodies[0], rows = [...body.rows];
  table.querySelectorAll("th button").forEach(button => button.addEventListener("click", () => {
    const column = button.closest("th").cellIndex, head = button.closest("th");
    const up = head.getAttribute("aria-sort") === "descending";
    table.querySelectorAll("th").forEach(other => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const key = row => row.cells[column].dataset.key ?? row.cells[column].textContent;
    const compare = (a, b) => {
      const [x, y] = [key(a), key(b)];
      if (x === "" || y === "") return (x === "") - (y === "");
      const order = isNaN(x) || isNaN(y) ? x.localeCompare(y, "en", {numeric: true}) : x - y;
      return up ? order : -order;
    };
    body.append(...[...rows].sort(compare));
  }));
  const section = table.closest("section"), field = section.querySelector("input[type=search]");
  const states = [...section.querySelectorAll(".states button")];
  const show = () => {
    const text = field.value.toLowerCase();
    const pressed = states.filter(button => button.getAttribute("aria-pressed") === "true").map(b => b.value);
    let shown = 0;
    for (const row of rows) {
      const {text: said, state} = row.dataset;
      const fits = said.toLowerCase().includes(text) && (!pressed.length || pressed.includes(state));
      row.hidden = !fits;
      shown += fits;
    }
    section.querySelector(".count").textContent = shown === rows.length ? "" : `${shown} of ${rows.length} shown`;
  };
  field.addEventListener("input", show);
  states.forEach(button => button.addEventListener("click", () => {
    button.setAttribute("aria-pressed", button.getAttribute("aria-pressed") !== "true");
    show();
  }));
  section.querySelector(".tools").hidden = false;
}
"""


@dataclass(frozen=True)
class Column:
    """A figure of the table; `form` formats it."""

    name: str
    label: str
    form: str


COLUMNS = (
    Column("total_return", "Total return [%]", "{:+.2%}"),
    Column("annual_return", "Annual return [%]", "{:+.2%}"),
    Column("sharpe", "Sharpe ratio", "{:.2f}"),
    Column("max_drawdown", "Max drawdown [%]", "{:.2%}"),
    Column("trades_closed", "Trades closed", "{:,.0f}"),
    Column("final_equity", "Final equity [currency]", "{:,.0f}"),
)


def write(output: Path) -> Path:
    """Write the page of an output folder, atomically; return where it lies."""
    path = output / NAME
    replace_file(path, page(output).encode())
    return path


def page(output: Path) -> str:
    """Return the page of an output folder as one self-contained HTML document."""
    found = [list(record.history(output, name)) for name in record.names(output)]
    newest = sorted((nights for nights in found if nights), key=lambda nights: nights[0][1].started, reverse=True)
    batches = sorted(newest, key=lambda nights: _urgency(nights[0][1].state))
    return template().render(
        sections=[_section(output, nights) for nights in batches],
        columns=COLUMNS,
        script=SCRIPT,
        hash=f"'sha256-{b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()}'",
    )


def template() -> Any:
    """Return the page's template: it escapes all values, and a missing one is an error."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["duration"] = duration
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8"))


def duration(seconds: float) -> str:
    """Return seconds as a person says them.

    >>> duration(0.0712), duration(75), duration(7260)
    ('0.07 s', '1 min 15 s', '2 h 1 min')
    """
    minute, hour = 60, 3600
    if seconds < minute:
        return f"{seconds:.2f} s"
    whole = round(seconds)
    if seconds < hour:
        return f"{whole // minute} min {whole % minute} s"
    return f"{whole // hour} h {whole % hour // minute} min"


def _section(output: Path, nights: Sequence[tuple[Path, BatchRecord]]) -> dict[str, Any]:
    folder, told = nights[0]
    code = None if told.exit_code is None else ExitCode(told.exit_code)
    return {
        "told": told,
        "meaning": "not ended" if code is None else code.name.lower(),
        "well": _well(told.runs),
        "newest": max((run.newest for run in told.runs if run.newest), default="n/a"),
        "rows": [_row(output, run, told) for run in sorted(told.runs, key=lambda run: _urgency(run.state))],
        "counts": told.counts,
        "count": counted(len(told.doubts), "warning"),
        "warnings": _warnings(told),
        "evenings": len({run.as_of for run in told.runs}),
        "nights": [_night(output, *night) for night in reversed(nights[:NIGHTS])],
        "log": _link(output, folder / record.LOG),
        "record": _link(output, folder / record.RECORD),
    }


def _urgency(state: str) -> int:
    return URGENT.index(state) if state in URGENT else len(URGENT)


def _well(runs: Sequence[RunRecord]) -> str:
    """Return how many runs are as they should be; one that is published but ended with 3 is not, nor one found so."""
    degraded = sum(run.is_well and bool(run.exit_code) for run in runs)
    well = sum(run.is_well for run in runs) - degraded
    return f"{well} well{f', {degraded} degraded' if degraded else ''} of {len(runs)}"


def _warnings(told: BatchRecord) -> list[tuple[bool, str]]:
    """Return each warning once, with the runs that told it and whether it is new: new ones first."""
    several = len({run.as_of for run in told.runs}) > 1
    said = []
    for text in doubts.by_news(told.doubts, told.new_warnings):
        runs = told.warned.get(text, [])
        first = f"{runs[0].label} {runs[0].as_of}" if several and runs else runs[0].label if runs else ""
        said.append((text in told.new_warnings, f"{doubts.whose(first, len(runs))}: {text}" if runs else text))
    return said


def _row(output: Path, run: RunRecord, told: BatchRecord) -> dict[str, Any]:
    where = Path(run.run_dir) if run.is_well and run.run_dir else Path(run.record) if run.record else None
    if where and not where.exists():  # removed by hand, say, or as a record of a failure that is a week old
        where = None
    files = ("report.html", "performance.html", "run.json", "log.jsonl", "traceback.txt") if where else ()
    links = [(name, _link(output, where / name)) for name in files if where and (where / name).exists()]
    return {
        "run": run,
        "figures": [(column, _figure(run.headline.get(column.name), column)) for column in COLUMNS],
        "took": duration(run.seconds) if run.attempts else "",
        "links": [*links, *([("folder", _link(output, where))] if where else [])],
        "text": " ".join([run.label, run.name, run.state, run.as_of, run.reason, *run.warnings]),
        "doubt": shortened(doubts.in_short(run.warnings, told.new_warnings), LONGEST),
        "grave": run.state in GRAVE,
    }


def _figure(value: float | None, column: Column) -> tuple[str, str]:
    """Return what to sort by and what to show; empty where there is no number."""
    if value is None or not math.isfinite(value):
        return "", ""
    return repr(value), column.form.format(value)


def _night(output: Path, folder: Path, told: BatchRecord) -> dict[str, Any]:
    counts = ", ".join(f"{count} {state}" for state, count in told.counts.items())
    took = str(timedelta(seconds=round(told.seconds)))
    return {
        "state": told.state,
        "link": _link(output, folder / record.RECORD),
        "title": f"as of {told.as_of}: {told.state}; {counts}; {took}",
        "as_of": told.as_of,
    }


def _link(output: Path, path: Path) -> str:
    return quote(os.path.relpath(path, output))
