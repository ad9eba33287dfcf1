"""What markets demand, and what an option that is null means."""

from datetime import date

import pytest

from markets import options
from pipeline.modes import MarketName
from pipeline.trading.market import MARKETS, costs


@pytest.mark.parametrize(("market", "lot"), [("us", 1.0), ("free", 0.0)])
def test_null_is_the_markets_own(market, lot):
    """US stocks trade by the share and have no commission of their own; the free market trades fractions."""
    assert costs(options(market=market)) == (lot, 0.0, 0.0, 0.0, 0.0)


def test_options_come_before_the_market():
    """Whatever is given, 0 included, replaces the market's own."""
    chosen = options(
        market="us",
        lot=0,
        commission={"rate": 0.001, "minimum": 5, "fixed": 0.35},
        slippage={"rate": 0.002},
    )

    assert costs(chosen) == (0.0, 0.001, 5.0, 0.35, 0.002)


def test_every_market_is_dated_and_sourced():
    """Every market of the config has rules that say since when and according to whom."""
    assert set(MARKETS) == set(MarketName)
    for market in MARKETS.values():
        assert isinstance(market.since, date)
        assert len(market.source) > 20
