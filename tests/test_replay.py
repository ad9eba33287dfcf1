"""Some symbols asked again in one process, for a debugger."""

import os
import pdb  # noqa: T100 - it is stood in for
from pathlib import Path

import pandas as pd
import pytest

from pipeline import config
from pipeline.command_line import main
from pipeline.errors import ConfigError, StrategyError
from pipeline.events import Note
from pipeline.replay import replay
from pipeline.run import run
from signal_cases import write_strategy

SAMPLE = Path("conf/sample.yaml")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("sample") / "store"


def options(store, *overrides):
    return config.load(SAMPLE, [f"data.store={store}", *overrides], {})


def test_a_symbol_answers_as_in_a_run(store, tmp_path):
    """The last change of opinion, and how many there are, are those of the run's signals."""
    own = ("scheduler.kind=processes", f"output.dir={tmp_path}", "output.report=false")
    signals = pd.read_parquet(Path(run(options(store, *own)).run_dir) / "signals.parquet")
    expected = signals[signals["symbol"] == "IBM"]
    (answered,) = replay(options(store), "IBM").symbols

    assert answered["changes"] == len(expected) > 10
    assert answered["last_change"] == str(expected["session"].iloc[-1].date())
    assert answered["signal"] == expected["signal"].iloc[-1]
    assert answered["bars"] == 3270


def test_a_partition_is_named_as_everywhere_else(store):
    """AAPL..GOOG are all symbols of the run between the two, themselves included."""
    assert [each["symbol"] for each in replay(options(store), "AAPL..GOOG").symbols] == ["AAPL", "FB", "GOOG"]
    assert [each["symbol"] for each in replay(options(store, "data.symbols=[AAPL, GOOG]"), "AAPL..GOOG").symbols] == [
        "AAPL",
        "GOOG",
    ]


@pytest.mark.parametrize("which", ["NOPE", "AAPL..NOPE", "", "MSFT..AAPL"])
def test_an_unknown_symbol_is_refused(store, which):
    """Saying which there are."""
    with pytest.raises(ConfigError, match=r"is none of the 5 symbols of this run, AAPL\.\.MSFT"):
        replay(options(store), which)


def test_it_happens_in_this_process(store, tmp_path):
    """A breakpoint would be hit: the strategy sees this process, and the options of the config."""
    text = """
        import logging, os
        def signal(bars, *, window: int = 3):
            logging.getLogger(__name__).info("%d %d", os.getpid(), window)
            return bars["close"] * 0
        """
    told = []
    name = write_strategy(tmp_path, "mine", text)
    replay(options(store, f"strategy.name={name}", "strategy.params={window: 7}"), "FB", told.append)

    assert [event.text for event in told if isinstance(event, Note)] == [f"FB INFO: {os.getpid()} 7"]


FAILS = """
    def signal(bars):
        if len(bars) < 3000:
            raise ValueError("bad bar")
        return bars["close"] * 0
    """


def test_what_a_strategy_raises_is_handed_over_whole(store, tmp_path):
    """With its traceback; then the replay ends as a run would."""
    seen = []
    mine = options(store, f"strategy.name={write_strategy(tmp_path, 'fails', FAILS)}", "strategy.params={}")
    with pytest.raises(StrategyError) as replayed:
        replay(mine, "AAPL..MSFT", failed=seen.append)
    with pytest.raises(StrategyError) as in_a_run:
        run(mine)

    assert [str(error) for error in seen] == ["bad bar"]
    frame = seen[0].__traceback__
    while frame.tb_next:
        frame = frame.tb_next
    assert frame.tb_frame.f_code.co_name == "signal"
    assert "bars" in frame.tb_frame.f_locals
    assert str(replayed.value) == str(in_a_run.value)


def test_the_debugger_starts_where_it_failed(store, tmp_path, monkeypatch, capfd):
    """`replay CONF SYMBOL --pdb`: the traceback, the debugger at its end, then exit code 5."""
    started = []
    monkeypatch.setattr(pdb, "post_mortem", started.append)
    name = write_strategy(tmp_path, "fails", FAILS)
    own = [f"data.store={store}", f"strategy.name={name}", "strategy.params={}"]

    assert main(["replay", str(SAMPLE), "FB", *own, "--pdb"]) == 5
    assert len(started) == 1
    assert 'raise ValueError("bad bar")' in capfd.readouterr().err


def test_a_profile_names_what_took_longest(store, tmp_path):
    """The strategy's own functions, not the pipeline's."""
    text = """
        def slow_part(bars):
            return sum(range(300_000))
        def signal(bars):
            slow_part(bars)
            return bars["close"] * 0
        """
    told = []
    mine = options(store, f"strategy.name={write_strategy(tmp_path, 'slow', text)}", "strategy.params={}")
    replay(mine, "FB", told.append, profile=True)

    (profile,) = [event.text for event in told if isinstance(event, Note)]
    assert "slow_part" in profile
    assert "signals_of_block" not in profile
