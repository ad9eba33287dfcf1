"""What a batch prints when it is over: a table for people, and a last line for machines."""

import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from pipeline.batch import doubts
from pipeline.batch.record import remark
from pipeline.words import shortened

HEADS = ("run", "state", "total return", "annual", "Sharpe", "max drawdown", "trades", "seconds")
LONGEST = 100  # characters of a reason and a warning; the page and the log have all of it


def table(runs: Iterable[Mapping[str, Any]], new: Collection[str] = ()) -> str:
    """Return one line per run: its state, and what it came to or why it came to nothing; `new` warnings first."""
    runs = list(runs)
    several = len({run["as_of"] for run in runs}) > 1
    rows = [_row(run, f"{run['label']} {run['as_of']}" if several else run["label"], new) for run in runs]
    widths = [max(len(row[place]) for row in [HEADS, *rows]) for place in range(len(HEADS))]
    lines = [f"{_line(row[: len(HEADS)], widths)}  {row[-1]}".rstrip() for row in rows]
    return "\n".join([_line(HEADS, widths), *lines])


def last_line(outcome: Any) -> str:
    """Return how a batch ended as one JSON object on one line."""
    ending = {
        "event": "exit",
        "code": int(outcome.exit_code),
        "class": outcome.exit_code.name.lower(),
        "state": outcome.state,
        "reason": outcome.reason,
        "path": outcome.folder,
        "counts": outcome.counts,
        "warnings": outcome.warnings,
    }
    return json.dumps(ending, ensure_ascii=False)


def _row(run: Mapping[str, Any], label: str, new: Collection[str]) -> tuple[str, ...]:
    figures = run["headline"]
    return (
        label,
        run["state"] + (f" {run['exit_code']}" if run["exit_code"] else ""),
        _shown(figures.get("total_return"), "{:+.2%}"),
        _shown(figures.get("annual_return"), "{:+.2%}"),
        _shown(figures.get("sharpe"), "{:.2f}"),
        _shown(figures.get("max_drawdown"), "{:.2%}"),
        _shown(figures.get("trades_closed"), "{:,.0f}"),
        f"{run['seconds']:.2f}" if run["attempts"] else "",
        shortened(_said(run, new), LONGEST),
    )


def _said(run: Mapping[str, Any], new: Collection[str]) -> str:
    """Return why a run is not as it should be, and what it was warned of."""
    return "; ".join(filter(None, [remark(run["state"], run["reason"]), doubts.in_short(run["warnings"], new)]))


def _line(cells: Iterable[str], widths: list[int]) -> str:
    first, second, *numbers = (
        cell.ljust(width) if place < 2 else cell.rjust(width)  # noqa: PLR2004 - run and state are text
        for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "  ".join([first, second, *numbers])


def _shown(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)
