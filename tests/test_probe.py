"""What a strategy costs, measured: the work of a probe is kept, and tells what the rest will take."""

import numpy as np
import pandas as pd
import pytest

from pipeline.compute.scheduler import start
from pipeline.errors import ConfigError, StrategyError
from pipeline.events import SymbolsProbed
from pipeline.modes import Kind
from pipeline.signals import build
from pipeline.signals.probe import probe
from pipeline.signals.strategy import load_strategy
from signal_cases import SYMBOLS, bars_of, blocks_in, choice, market, signals_of, write_strategy

NO_SPAN = (None, None)
QUICK = "def signal(bars): return (bars['close'].to_numpy() > 100) * 1.0"
SLOW = """
import time
def signal(bars):
    until = time.thread_time() + {seconds_per_bar} * len(bars)
    while time.thread_time() < until: pass
    return (bars['close'].to_numpy() > 100) * 1.0
"""


@pytest.fixture(scope="module")
def blocks(tmp_path_factory):
    return blocks_in(tmp_path_factory.mktemp("store"), market(), 2)


def symbols_of(blocks) -> list[str]:
    return [symbol for each in blocks for symbol in each.symbols]


def test_a_small_job_is_done_by_the_probe(blocks, tmp_path, monkeypatch):
    """Six symbols of a quick strategy: nothing is left, and the signals are those of any scheduler."""
    monkeypatch.setattr("pipeline.signals.probe.ENOUGH", 5.0)  # however busy the machine
    name = write_strategy(tmp_path, "quick", QUICK)
    probed = probe(blocks, load_strategy(name, {}), NO_SPAN)
    with start(choice(Kind.SYNCHRONOUS)) as scheduler:
        expected = signals_of(name, blocks, scheduler)

    assert probed.rest == []
    assert symbols_of(probed.done) == list(SYMBOLS)
    pd.testing.assert_frame_equal(build.by_session(probed.parts), expected, check_exact=True)


def test_a_column_that_the_bars_lack_is_told_by_the_probe(blocks, tmp_path):
    """As under any scheduler: `auto` must not take a misspelt name for a damaged store."""
    name = write_strategy(tmp_path, "s", "COLUMNS = ('close', 'vwap')\ndef signal(bars): return bars['vwap']")

    with pytest.raises(ConfigError, match="its COLUMNS name 'vwap'; these bars have open, high"):
        probe(blocks, load_strategy(name, {}), NO_SPAN)


def test_what_the_probe_leaves_completes_what_it_did(tmp_path):
    """Done and rest are all symbols, once each, and their signals together are those of an undivided run."""
    frame = pd.concat([bars_of(f"S{number:02d}", 100 + np.arange(40.0) % 7) for number in range(40)])
    many = blocks_in(tmp_path / "store", frame, 4)
    name = write_strategy(tmp_path, "slow", SLOW.format(seconds_per_bar=1e-4))  # 4 ms a symbol
    probed = probe(many, load_strategy(name, {}), NO_SPAN)
    with start(choice(Kind.SYNCHRONOUS)) as scheduler:
        expected = signals_of(name, many, scheduler)
        rest = build.signals(probed.rest, load_strategy(name, {}), NO_SPAN, scheduler)

    assert 0 < len(symbols_of(probed.done)) < 40
    assert symbols_of(probed.done) + symbols_of(probed.rest) == symbols_of(many)
    pd.testing.assert_frame_equal(build.by_session([*probed.parts, *rest]), expected, check_exact=True)


def test_it_tells_what_a_bar_costs(tmp_path):
    """A strategy of 100 microseconds a bar is told to cost about that; what others do on the machine hardly matters."""
    frame = pd.concat([bars_of(f"S{number:02d}", np.ones(50)) for number in range(40)])
    name = write_strategy(tmp_path, "slow", SLOW.format(seconds_per_bar=1e-4))
    probed = probe(blocks_in(tmp_path / "store", frame, 4), load_strategy(name, {}), NO_SPAN)

    assert 0.9e-4 < probed.seconds_per_row < 2e-4


def test_a_symbol_that_would_take_too_long_is_tried_in_part(tmp_path):
    """A second a symbol: its first bars say so, and nothing is kept."""
    frame = pd.concat([bars_of(symbol, np.ones(10_000), "1985-01-01") for symbol in "AB"])
    text = SLOW.format(seconds_per_bar=1e-4) + "COLUMNS = ('close',)\nimport logging\n"
    text = text.replace("    until", "    logging.getLogger(__name__).info(len(bars))\n    until")
    many = blocks_in(tmp_path / "store", frame, 2)
    probed = probe(many, load_strategy(write_strategy(tmp_path, "slow", text), {}), NO_SPAN)

    assert probed.done == []
    assert probed.rest == many
    assert sum(int(line.text) for line in probed.log) <= 1_500
    assert 0.9e-4 < probed.seconds_per_row < 2e-4


def test_the_cost_of_a_first_call_is_not_taken_for_that_of_all(tmp_path, blocks):
    """What a strategy imports or compiles when it is first asked says nothing about the next symbols."""
    text = """
        import time
        seen = []
        def signal(bars):
            if not seen:
                time.sleep(0.1)
                seen.append(1)
            return bars["close"] * 0
        """
    probed = probe(blocks, load_strategy(write_strategy(tmp_path, "first", text), {}), NO_SPAN)

    assert probed.seconds_per_row < 2e-5  # 0.1 s over 934 bars would be 1e-4


def test_a_strategy_that_never_answers_is_told_of_by_its_symbol(tmp_path, blocks):
    """Before it is asked: first about one symbol, then about some more."""
    heard = []
    name = write_strategy(tmp_path, "bad", "def signal(bars): raise ValueError('bad bar')")
    with pytest.raises(StrategyError):
        probe(blocks, load_strategy(name, {}), NO_SPAN, listener=heard.append)

    assert heard[0] == SymbolsProbed("AAA")
    assert {event.symbols.partition("..")[0] for event in heard} == {"AAA"}


def test_a_strategy_that_fails_fails_in_the_probe(tmp_path, blocks):
    """With the words of any scheduler, and of the first symbol."""
    name = write_strategy(tmp_path, "bad", "def signal(bars): raise ValueError('bad bar')")
    with pytest.raises(StrategyError) as here:
        probe(blocks, load_strategy(name, {}), NO_SPAN)
    with start(choice(Kind.THREADS)) as scheduler, pytest.raises(StrategyError) as there:
        signals_of(name, blocks, scheduler)

    assert str(here.value) == str(there.value)
    assert "for the 250 bars of 'AAA'" in str(here.value)


def test_a_strategy_may_fail_on_the_first_bars_of_a_symbol(tmp_path):
    """A trial is no verdict: whoever needs 600 bars gets them."""
    frame = pd.concat([bars_of(symbol, np.ones(600)) for symbol in "AB"])
    name = write_strategy(tmp_path, "picky", "def signal(bars): return bars['close'].to_numpy()[[599] + [0] * 599] * 0")
    probed = probe(blocks_in(tmp_path / "store", frame, 2), load_strategy(name, {}), NO_SPAN)

    assert symbols_of(probed.done) == ["A", "B"]


def test_what_is_logged_in_a_probe_is_kept(tmp_path, blocks):
    """A probe is work like any other."""
    text = (
        "import logging\ndef signal(bars):\n    logging.getLogger(__name__).info('asked')\n    return bars['close'] * 0"
    )
    probed = probe(blocks, load_strategy(write_strategy(tmp_path, "chatty", text), {}), NO_SPAN)

    assert ("INFO", "asked") in probed.log
