"""Backtest strategies over many stocks with one shared account, on a Dask DataFrame.

The stages, in the order the data flows::

    bars      files -> clean bars -> store -> Dask DataFrame, one partition per block
    signals   map_partitions(strategy) -> the sessions on which an opinion changes
    trading   signals + bars -> orders, fills, equity: sequential, one account, compiled
    results   tables -> metrics, report, run directory
    dashboard the live page and Dask's performance report of a run

Beside them ``compute`` says where work runs and what it costs, ``options`` what can be chosen, ``config`` reads
the choice from YAML, and ``run`` is the whole flow on one screen.

>>> import pipeline
>>> run = pipeline.backtest("conf/sample.yaml", "trading.cash=50_000")  # doctest: +SKIP
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.run import backtest

__all__ = ["__version__", "backtest"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import `backtest` at its first use (PEP 562): ``python -m pipeline --help`` needs none of it."""
    if name == "backtest":
        from pipeline.run import backtest

        return backtest
    raise AttributeError(f"module 'pipeline' has no attribute {name!r}")
