"""The few lines a person reads when a run is over: what was run, what came out, where it lies."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.results.metrics import why_none
from pipeline.words import counted

ROWS = (
    ("final equity", "final_equity", "{:,.2f} currency"),
    ("total return", "total_return", "{:+,.2%}"),
    ("annual return", "annual_return", "{:+,.2%} per year"),
    ("volatility", "volatility", "{:,.2%} per year"),
    ("Sharpe ratio", "sharpe", "{:.2f} (annualised, risk-free 0)"),
    ("max drawdown", "max_drawdown", "{:.2%}"),
    ("benchmark return", "benchmark_annual_return", "{:+.2%} per year"),
    ("turnover", "turnover", "{:,.0%} of equity per year"),
)


CURES = {
    "cash": "Raise trading.cash, or ask for less in trading.sizing",
    "lot": "A position is worth less than one lot: raise trading.cash or trading.sizing, or set trading.lot: 0",
    "no_bar": "Raise trading.orders.valid_sessions if its symbols trade seldom",
    "volume": "Raise trading.volume_cap, or see whether the bars have volume",
    "risk": "Begin data.start later than the bars, so that the average true range is known",
    "end_of_data": "The orders came at the last bar: take more sessions",
}
"""What to do where orders end for a reason, by the texts of `pipeline.schema.Reason`."""
STATUSES = ("filled", "partial", "rejected")
MANY = 2  # reasons that are shown with their counts


def summary_of(target: Path, record: Mapping[str, Any], figures: Mapping[str, float | None]) -> list[tuple[str, str]]:
    """Return label and value of each line; every figure carries its unit."""
    rows = record["rows"]
    strategy = record["strategy"]
    params = ", ".join(f"{name}={value}" for name, value in strategy["params"].items())
    seconds = ", ".join(f"{name} {value:.2f}" for name, value in record["stages"].items())
    return [
        ("strategy", f"{strategy['name']}({params})"),
        *((label, _shown(figures[name], form, why_none(name, figures))) for label, name, form in ROWS),
        ("trades", f"{_count(figures['trades_closed'])} closed, {_count(figures['trades_open'])} open"),
        ("orders", _orders(record["orders"], figures)),
        ("bars", f"{rows['bars']:,} of {counted(record['symbols'], 'symbol')}{_without(record['skipped'])}"),
        ("stages", f"{seconds} seconds"),
        ("digest", f"{record['result_digest'][:16]}..., {_sameness(record.get('differs_from'))}"),
        ("files", str(target)),
    ]


def _without(skipped: Mapping[str, str]) -> str:
    return f", {len(skipped):,} of them left out" if skipped else ""


def _sameness(other: str | None) -> str:
    return f"not that of {other}" if other else "the same under every scheduler"


def why_idle(endings: Mapping[str, Mapping[str, int]]) -> str:
    """Return why a run traded nothing, from how its orders ended and why; "" if it traded."""
    ended = {how: {why: count for why, count in endings.get(how, {}).items() if why != "held"} for how in STATUSES}
    if ended["filled"] or ended["partial"]:
        return ""
    if not ended["rejected"]:
        return (
            "no order arose, so nothing was traded: on no session of the run did the strategy want to hold anything. "
            "See signals.parquet."
        )
    reasons = ended["rejected"]
    why = max(reasons, key=reasons.__getitem__)
    orders = counted(sum(reasons.values()), "order")
    cure = f" {CURES[why]}." if why in CURES else ""
    told = f"{orders}, {reasons[why]:,} rejected for {why}"
    return f"no order filled, so nothing was traded: {told}.{cure} See orders.parquet."


def _orders(endings: Mapping[str, Mapping[str, int]], figures: Mapping[str, float | None]) -> str:
    """Return how many orders ended how, with the reasons of those that did not get all they asked for."""
    parts = [f"{_count(figures['orders_filled'])} filled"]
    if figures["orders_held"]:
        parts.append(f"{_count(figures['orders_held'])} held already")
    for how in ("partial", "rejected"):
        reasons = endings.get(how, {})
        parts.append(f"{_count(figures[f'orders_{how}'])} {how}{_why(reasons)}")
    return ", ".join(parts)


def _why(reasons: Mapping[str, int]) -> str:
    """Return the reasons of some orders, the most frequent first, with counts where there are several."""
    if len(reasons) < MANY:
        return f" ({next(iter(reasons))})" if reasons else ""
    ranked = sorted(reasons, key=lambda reason: -reasons[reason])
    shown = [f"{reason} {reasons[reason]:,}" for reason in ranked[:MANY]]
    rest = sum(reasons[reason] for reason in ranked[MANY:])
    return f" ({', '.join(shown)}{f', others {rest:,}' if rest else ''})"


def _shown(value: float | None, form: str, why: str) -> str:
    if value is None:
        return f"n/a ({why})" if why else "n/a"
    return form.format(value)


def _count(value: float | None) -> str:
    return f"{value or 0:,.0f}"
