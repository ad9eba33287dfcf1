"""Runs side by side, read from their own records: what differs in them, in what came out, and in what it took.

A run directory is never changed after it was published, so there is no other history to keep in step with it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import DataError, ExitCode
from pipeline.results.history import read_named
from pipeline.results.tables import read_table

RESULTS = (
    ("final equity [currency]", "final_equity", ",.2f"),
    ("annual return [% per year]", "annual_return", "+,.2%"),
    ("volatility [% per year]", "volatility", ".2%"),
    ("Sharpe ratio [annualised]", "sharpe", ".2f"),
    ("max drawdown [%]", "max_drawdown", ".2%"),
    ("trades closed", "trades_closed", ",.0f"),
)


@dataclass(frozen=True)
class Comparison:
    """Some runs and how they differ."""

    runs: list[dict[str, Any]]  # of each run: its figures by name, units in the names
    differs: dict[str, list[Any]]  # setting -> its value in each run
    same_result: bool | None  # the digests agree; None of one run, which is compared with nothing
    first_difference: str | None  # first session on which an equity differs from the first run's
    summary: list[tuple[str, str]]
    exit_code: ExitCode = ExitCode.OK


def compare(folders: Sequence[Path]) -> Comparison:
    """Compare published runs.

    Parameters
    ----------
    folders : sequence of Path
        Run directories, or links to them; the first is what others are compared with.

    Raises
    ------
    DataError
        One of them holds no record of a run, or one that may not be read.
    TemporaryError
        The disk fails.
    """
    folders = [folder.resolve() for folder in folders]
    records = [_record(folder) for folder in folders]
    runs = [_figures(folder, record) for folder, record in zip(folders, records, strict=True)]
    differs = _differences(records)
    same = len({record["result_digest"] for record in records}) == 1 if len(records) > 1 else None
    first = _first_difference(folders) if same is False else None
    summary = [*_rows(runs, differs), ("result", _verdict(same, first))]
    return Comparison(runs, differs, same, first, summary)


def _verdict(same: bool | None, first: str | None) -> str:  # noqa: FBT001 - as of `Comparison`
    if same is None:
        return "one run, compared with nothing; name another one beside it"
    if same:
        return "the same, bit for bit"
    return f"not the same; equity differs from {first} on" if first else "not the same; fills differ"


def _record(folder: Path) -> dict[str, Any]:
    record = read_named(folder)
    if "result_digest" not in record:
        raise DataError(
            f"compare: {folder} holds no record of a run; run.json of a published run expected. "
            f"Name a folder like runs/NAME/KEY-ATTEMPT, or runs/latest."
        )
    return record


def _figures(folder: Path, record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures of a run by name; None where it was recorded by an older version."""
    stages, monitor = record["stages"], record.get("monitor") or {}
    signals, used = monitor.get("signals") or {}, (monitor.get("stages") or {}).get("signals") or {}
    metrics = read_named(folder, "metrics.json").get("metrics", {})
    return {
        "run": f"{folder.parent.name}/{folder.name}",
        "started": record["started"],
        "state": record["state"],
        "strategy": record["strategy"]["name"],
        "bars": record["rows"]["bars"],
        "digest": record["result_digest"],
        **{label: metrics.get(name) for label, name, _ in RESULTS},
        "scheduler": f"{record['scheduler']['kind']} x {record['scheduler']['workers']}",
        "all stages [s]": round(sum(stages.values()), 3),
        **{f"{name} [s]": seconds for name, seconds in stages.items()},
        "work of signals, one core [s]": signals.get("busy_seconds"),
        "cores used by signals [%]": used.get("cpu_utilisation"),
        "GIL held by strategy [%]": signals.get("gil_held"),
        "sent to workers [bytes]": signals.get("sent_bytes"),
        "received from them [bytes]": signals.get("received_bytes"),
        "peak memory [MB]": record["peak_memory_mb"],
    }


def _differences(records: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return the settings, versions and sources that are not the same in all runs."""
    known = [dict(_flat(_compared(record))) for record in records]
    names = list(dict.fromkeys(name for each in known for name in each))
    values = {name: [each.get(name) for each in known] for name in names}
    return {name: each for name, each in values.items() if any(value != each[0] for value in each)}


def _compared(record: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **record["config"],
        "strategy": {**record["config"]["strategy"], "sha256": record["strategy"]["sha256"]},
        "snapshot": record["snapshot"]["content_id"],
        "versions": record["versions"],
    }


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _first_difference(folders: Sequence[Path]) -> str | None:
    """Return the first session on which the equity of a run is not that of the first one; None if all agree."""
    tables = [read_table(folder, "equity").set_index("session")["equity"] for folder in folders]
    days = []
    for other in tables[1:]:
        pair = tables[0].align(other)
        unequal = ~np.equal(*(each.to_numpy() for each in pair))
        if unequal.any():
            days.append(pair[0].index[int(unequal.argmax())])
    return str(min(days).date()) if days else None


def _rows(runs: Sequence[Mapping[str, Any]], differs: Mapping[str, Sequence[Any]]) -> Iterator[tuple[str, str]]:
    forms = {label: form for label, _, form in RESULTS}
    names = list(dict.fromkeys(name for run in runs for name in run))
    table = [(name, [_shown(name, run.get(name), forms) for run in runs]) for name in names]
    table += [(name, [str(value) for value in values]) for name, values in differs.items()]
    widths = [max(len(cells[number]) for _, cells in table) for number in range(len(runs))]
    for name, cells in table:
        yield name, "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip()


def _shown(name: str, value: Any, forms: Mapping[str, str]) -> str:
    if value is None:
        return "n/a"
    if name == "digest":
        return f"{value[:12]}..."
    if name in forms:
        return format(value, forms[name])
    if name.endswith("[%]"):
        return f"{value:.0%}"
    return f"{value:,}" if isinstance(value, int | float) else str(value)
