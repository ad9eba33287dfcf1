"""Figures and fragments of HTML as the live page shows them: every figure with its unit, every name escaped."""

from html import escape
from typing import Any

from pipeline.dashboard.runs import SIGNALS, Run

MINUTE, HOUR = 60, 3600
THOUSAND, MILLION = 1e3, 1e6
AT_THIS_SPEED = "in this stage, at its speed so far"
MOST_WORKERS = 24
STAGES = ("ingest", "open", "choose", "start", "signals", "trading", "results", "report")
TASKS = {"done": "done", "running": "at work", "waiting": "waiting", "failed": "failed"}


def seconds(value: float) -> str:
    """Return a duration: ``0.42 s``, ``12 s``, ``3 min 5 s``, ``2 h 10 min``."""
    if value < MINUTE:
        return f"{value:.2f} s" if value < MINUTE / 6 else f"{value:.0f} s"
    whole = round(value)
    if whole < HOUR:
        return f"{whole // MINUTE} min {whole % MINUTE} s"
    return f"{whole // HOUR} h {whole % HOUR // MINUTE} min"


def speed(value: float | None) -> str:
    """Return bars per second in words short enough for a tile."""
    if value is None:
        return "&ndash;"
    if value >= MILLION:
        return f"{value / MILLION:,.1f} million"
    return f"{value / THOUSAND:,.1f} thousand" if value >= THOUSAND else f"{value:,.0f}"


def percent(fraction: float, *, sign: bool = False) -> str:
    """Return a fraction in percent, with a real minus."""
    return f"{100 * fraction:{'+' if sign else ''},.2f} %".replace("-", "&minus;")


def day(days: int) -> str:
    """Return a session as ISO date."""
    from datetime import date, timedelta

    return (date(1970, 1, 1) + timedelta(days)).isoformat()


def task_name(name: str, key: Any) -> str:
    """Return a task's name with the symbols that its key tells: ``signals sma_cross AAPL..AMZN``."""
    match key:
        case [str(), int(), str(symbols)] if symbols:
            return f"{name.rstrip()} {symbols}"
    return name


def tile(label: str, value: str, note: str = "&nbsp;") -> str:
    """Return a figure with what it is and what it is compared with."""
    return f'<div class="tile"><b>{label}</b><span>{value}</span><i>{note}</i></div>'


def tiles(run: Run, now: float) -> str:
    """Return the figures of a run."""
    left = run.left(now)
    share = f"{100 * run.done / run.total:.0f} % of {escape(counted(run.total, run.unit))}" if run.total else "&nbsp;"
    share += f", {run.failed:,} failed" if run.failed else ""
    figures = [
        tile(
            "Stage" if not run.is_over else "State", escape(run.state if run.is_over else run.stage or "begun"), share
        ),
        tile("Speed", *_speed(run)),
        *([] if run.is_over else [tile("Left", seconds(left) if left is not None else "&ndash;", AT_THIS_SPEED)]),
        tile("Took" if run.is_over else "Elapsed", seconds(run.elapsed(now)), f"since {escape(run.began)} UTC"),
        *account(run),
        tile("Orders filled", f"{run.filled:,}", f"{run.refused:,} refused or partial"),
    ]
    return f'<div class="tiles">{"".join(figures)}</div>'


def _speed(run: Run) -> tuple[str, str]:
    if run.speed is None and run.speeds:
        name = list(run.speeds)[-1]
        return speed(run.speeds[name]), f"bars per second, {name}"
    return speed(run.speed), f"bars per second, {escape(run.stage)} so far" if run.speed else "bars per second"


def account(run: Run) -> list[str]:
    """Return the figures of a run's account at the last close that was told."""
    if not run.equity:
        span = f"{escape(run.first)} to {escape(run.last)}"
        start = f"{run.cash:,.0f} currency at the start"
        return [tile("Session", "&ndash;", span), tile("Equity", "&ndash;", start), tile("Drawdown", "&ndash;")]
    change = percent(run.equity[-1] / run.cash - 1, sign=True) if run.cash else "n/a"
    return [
        tile("Session", day(run.sessions[-1]), f"{counted(len(run.sessions), 'session')} done, to {escape(run.last)}"),
        tile("Equity", f"{run.equity[-1]:,.0f}", f"currency, {change} since the start"),
        tile("Drawdown", percent(run.drawdown[-1]), f"from the peak; worst {percent(min(run.drawdown))}"),
    ]


def strip(run: Run) -> str:
    """Return the stages of a run in their order: how long each took, how far the present one is."""
    steps = []
    for name in STAGES:
        if name in run.stages:
            steps.append(
                f'<li class="past"><b>{name}</b><i>{seconds(run.stages[name])}</i><u style="width:100%"></u></li>'
            )
        elif name == run.stage:  # or where it stopped
            share = 100 * run.done / run.total if run.total else 0
            told = f"{share:.0f} %" if run.total else "&hellip;"
            steps.append(f'<li class="now"><b>{name}</b><i>{told}</i><u style="width:{share:.1f}%"></u></li>')
        elif name != "ingest" and not run.is_over:
            steps.append(f'<li><b>{name}</b><i>&ndash;</i><u style="width:0"></u></li>')
    return f'<ol class="strip">{"".join(steps)}</ol>'


def states(run: Run, tasks: dict[str, int]) -> str:
    """Return a bar of the partitions by state: what the plugin says of them, or all done once the stage is over."""
    if SIGNALS in run.stages:
        computed = counted(run.partitions, "partition")
        return f'<p class="soft">{computed}, all computed.</p>'
    count = sum(tasks.values())
    if not count:
        return f'<p class="soft">No partition {"was computed" if run.is_over else "is at work yet"}.</p>'
    parts = "".join(
        f'<u class="{name}" style="width:{100 * tasks[name] / count:.2f}%"></u>' for name in TASKS if tasks[name]
    )
    legend = "".join(f'<li><u class="{name}"></u>{tasks[name]:,} {said}</li>' for name, said in TASKS.items())
    return f'<div class="stack">{parts}</div><ul class="legend">{legend}</ul>'


def workers(rows: list[dict[str, Any]]) -> str:
    """Return a line per worker: how contended its GIL is, its CPU, memory and threads."""
    lines = "".join(
        f"<tr><td>{escape(row['name'])}</td><td>{_meter(row['gil'])}</td><td>{row['cpu']:.0f} %</td>"
        f"<td>{row['memory_mb']:,.0f} MB</td><td>{row['threads']}</td><td>{row['tasks']}</td></tr>"
        for row in rows[:MOST_WORKERS]
    )
    more = f'<p class="soft">and {len(rows) - MOST_WORKERS:,} more</p>' if len(rows) > MOST_WORKERS else ""
    head = _head("Worker", "GIL contention, of the time", "CPU, of a core", "Memory", "Threads", "Tasks")
    return f'<table class="workers">{head}{lines}</table>{more}' if rows else '<p class="soft">No worker is here.</p>'


def _meter(share: float | None) -> str:
    if share is None:
        return '<span class="soft">not measured</span>'
    return f'<span class="meter"><u style="width:{100 * share:.0f}%"></u></span>{100 * share:.0f} %'


def overview(runs: list[Run], now: float, chosen: str) -> str:
    """Return a table of the newest runs."""
    lines = "".join(
        f'<tr class="{"chosen" if run.run == chosen else ""}"><td>{_state(run)}</td>'
        f"<td>{escape(run.name)}</td><td>{escape(run.strategy)}</td><td>{_progress(run)}</td>"
        f"<td>{seconds(run.elapsed(now))}</td><td>{f'{run.equity[-1]:,.0f}' if run.equity else '&ndash;'}</td>"
        f"<td>{percent(min(run.drawdown)) if run.drawdown else '&ndash;'}</td></tr>"
        for run in runs
    )
    head = _head("State", "Run", "Strategy", "Stage", "Elapsed", "Equity, currency", "Worst drawdown")
    return f'<table class="runs">{head}{lines}</table>'


def _state(run: Run) -> str:
    state = escape(run.state)
    return f'<s class="{state}"></s>{state}'


def _head(*names: str) -> str:
    return f"<tr>{''.join(f'<th>{name}</th>' for name in names)}</tr>"


def _progress(run: Run) -> str:
    if run.is_over:
        return escape(run.reason) or "over"
    return f"{escape(run.stage)} {100 * run.done / run.total:.0f} %" if run.total else escape(run.stage or "begun")


def messages(run: Run) -> str:
    """Return why a run failed, what it warned of, and where its files are."""
    lines = [f'<li class="bad">{escape(run.reason)}</li>'] if run.reason else []
    lines += [f"<li>{escape(text)}</li>" for text in run.warnings]
    lines += [f"<li>files: {escape(run.path)}</li>"] if run.path else []
    return f'<ul class="messages">{"".join(lines)}</ul>' if lines else ""


def counted(number: int, noun: str) -> str:
    """Return a number of things as `pipeline.words.counted` does, which does not travel to clusters with this page."""
    return f"{number:,} {noun if number == 1 else f'{noun}s'}"
