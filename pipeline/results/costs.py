"""What a run cost, as its report shows it: a row for each stage, a lane for each worker, a sentence on the traffic."""

from collections.abc import Mapping
from typing import Any

from pipeline.words import counted

MOST_PARTITIONS = 400  # that are drawn; more would be lines of one pixel
MEGABYTE = 2**20
MILLION = 1e6


def stage_rows(run: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what each stage of a run took; figures that were not taken are None.

    Of each: ``name``, ``seconds``, ``width`` (percent of the longest), ``cpu`` seconds, ``cores`` used and ``gil``
    contention (fractions), ``memory`` and ``peak`` [MB] of the parent, ``worker`` (peak of the largest one, MB),
    ``read`` [MB], ``rate`` [million bars per second].
    """
    taken = (run.get("monitor") or {}).get("stages", {})
    longest = max(run["stages"].values(), default=0) or 1
    return [
        _row(name, seconds, 100 * seconds / longest, taken.get(name) or {}) for name, seconds in run["stages"].items()
    ]


def _row(name: str, seconds: float, width: float, taken: Mapping[str, Any]) -> dict[str, Any]:
    def scaled(key: str, unit: float) -> float | None:
        return None if taken.get(key) is None else taken[key] / unit

    return {
        "name": name,
        "seconds": seconds,
        "width": round(width, 1),
        "cpu": taken.get("cpu_seconds"),
        "cores": taken.get("cpu_utilisation"),
        "gil": taken.get("gil_contention"),
        "memory": taken.get("memory_mb"),
        "peak": taken.get("peak_memory_mb"),
        "worker": taken.get("workers_peak_memory_mb"),
        "read": scaled("read_bytes", MEGABYTE),
        "rate": scaled("bars_per_second", MILLION),
    }


def lanes(run: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return when each worker was at which partition, in percent of the time from the first to the last.

    Of each worker: ``worker``, and ``tasks`` with ``left``, ``width`` and ``title``. The largest
    `MOST_PARTITIONS` only.
    """
    partitions = (run.get("monitor") or {}).get("partitions") or {}
    columns = ("worker", "began", "seconds", "symbols", "count", "bars")
    rows = list(zip(*(partitions.get(name, []) for name in columns), strict=True))
    if not rows:
        return []
    whole = max(began + seconds for _, began, seconds, *_ in rows) or 1.0
    labels = _labels([worker for worker, *_ in rows])
    drawn: dict[str, list[dict[str, Any]]] = {label: [] for label in labels.values()}
    for worker, began, seconds, symbols, count, bars in sorted(rows, key=lambda row: -row[2])[:MOST_PARTITIONS]:
        title = f"{symbols}: {counted(count, 'symbol')}, {counted(bars, 'bar')}, {seconds:.3f} s"
        place = {"left": round(100 * began / whole, 2), "width": round(100 * seconds / whole, 2)}
        drawn[labels[worker]].append({**place, "title": title})
    return [{"worker": label, "tasks": tasks} for label, tasks in drawn.items()]


def _labels(workers: list[str]) -> dict[str, str]:
    """Return a short name for each worker ``host/process/thread``: what is the same in all of them is left out."""
    known = {worker: worker.split("/") for worker in dict.fromkeys(workers)}
    kinds = ("host", "process", "thread")
    differ = [place for place in range(len(kinds)) if len({parts[place] for parts in known.values()}) > 1]
    return {
        worker: " ".join(f"{kinds[place]} {parts[place]}" for place in differ) or "this process"
        for worker, parts in known.items()
    }


def traffic(run: Mapping[str, Any]) -> str | None:
    """Return what travelled between this process and its workers; None where nothing was measured."""
    signals = (run.get("monitor") or {}).get("signals")
    if not signals or not signals["bars_bytes"]:
        return None
    sent, received, bars = (signals[f"{name}_bytes"] for name in ("sent", "received", "bars"))
    if not sent + received:
        return f"none: the {bars / MEGABYTE:,.1f} MB of bars were read where they were used"
    share = (sent + received) / bars
    return (
        f"{sent / MEGABYTE:,.2f} MB sent, {received / MEGABYTE:,.2f} MB received: {share:.1%} of the "
        f"{bars / MEGABYTE:,.1f} MB of bars, which workers read themselves"
    )
