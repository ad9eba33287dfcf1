"""Some symbols asked again in one process, for a debugger."""

import os
import pdb  # noqa: T100 - it is stood in for
import signal
from pathlib import Path

import pandas as pd
import pytest

from pipeline import config, interrupts
from pipeline.command_line import main
from pipeline.errors import ConfigError, StrategyError
from pipeline.events import Note, Warned
from pipeline.replay import replay
from pipeline.run import run
from pipeline.signals.strategy import strategies
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


@pytest.mark.parametrize("which", ["NOPE", "AAPL..NOPE", "", "NOPE..AAPL"])
def test_an_unknown_symbol_is_refused(store, which):
    """Saying which there are."""
    with pytest.raises(ConfigError, match=r"is none of the 5 symbols of this run, AAPL\.\.MSFT"):
        replay(options(store), which)


def test_a_range_that_runs_backwards_or_never_ends_is_refused(store):
    """What was meant is offered; half a range is no symbol."""
    with pytest.raises(ConfigError, match=r"'MSFT\.\.AAPL' runs backwards; .* Ask for AAPL\.\.MSFT"):
        replay(options(store), "MSFT..AAPL")
    with pytest.raises(ConfigError, match=r"'AAPL\.\.' is none of the 5 symbols"):
        replay(options(store), "AAPL..")


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


def test_a_signal_is_no_failure_of_the_strategy(store, tmp_path, monkeypatch, capfd):
    """Ctrl-C in a replay that takes too long: no traceback and no debugger, but the signal's exit code."""
    monkeypatch.setattr(pdb, "post_mortem", pytest.fail)
    monkeypatch.setattr(interrupts, "GRACE", 3600.0)
    name = write_strategy(tmp_path, "s", "import signal as s\ndef signal(bars): s.raise_signal(s.SIGINT)\n")
    own = [f"data.store={store}", f"strategy.name={name}", "strategy.params={}"]
    before = {number: signal.getsignal(number) for number in interrupts.CODES}
    try:
        assert main(["replay", str(SAMPLE), "FB", *own, "--pdb"]) == 130
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

    assert capfd.readouterr().err.splitlines()[-1].startswith("interrupted by a signal.")


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


@pytest.mark.parametrize("name", [listed.name for listed in strategies()])
def test_no_strategy_of_ours_looks_ahead(store, name):
    """Asked with 20 cut histories of each symbol, it answers what it answers with all bars."""
    found = replay(options(store, f"strategy.name={name}", "strategy.params={}"), "AAPL..MSFT", look_ahead=True)

    assert found.exit_code == 0
    assert [(each["cuts"], each["look_ahead"]) for each in found.symbols] == [(20, None)] * 5


CHEATS = {
    "tomorrow": "return (bars['close'].shift(-1) > bars['close']).astype(float)",
    "mean": "return (bars['close'] > bars['close'].mean()).astype(float)",
    "centred": "return (bars['close'] > bars['close'].rolling(9, center=True, min_periods=1).mean()).astype(float)",
}


@pytest.mark.parametrize("name", CHEATS)
def test_a_strategy_that_looks_ahead_is_caught(store, tmp_path, name):
    """Exit code 5, and a warning that names strategy, symbol, session and both answers."""
    mine = write_strategy(tmp_path, name, f"def signal(bars): {CHEATS[name]}")
    told = []
    found = replay(options(store, f"strategy.name={mine}", "strategy.params={}"), "IBM", told.append, look_ahead=True)
    (asked,) = found.symbols
    (warning,) = [event.text for event in told if isinstance(event, Warned)]

    assert found.exit_code == 5
    assert {asked["look_ahead"]["then"], asked["look_ahead"]["later"]} == {0.0, 1.0}
    assert warning.startswith(
        f"signals: strategy {name!r} for 'IBM': it looks ahead: after {asked['look_ahead']['bar']}"
    )
    assert "LOOKS AHEAD" in found.summary[0][1]


RARE = """def signal(bars, *, days: int = 20):
    close = bars["close"]
    wanted = (close > close.rolling(days).max().shift()).astype(float).where(lambda is_high: is_high > 0)
    wanted[close < close.rolling(days).min().shift()] = 0.0
    return wanted.ffill().shift(-1)
"""


def test_a_peek_at_one_bar_is_caught_where_opinions_change_rarely(store, tmp_path):
    """A breakout changes its mind on one bar in fifty: nearly all cuts elsewhere show nothing."""
    mine = write_strategy(tmp_path, "rare", RARE)
    found = replay(options(store, f"strategy.name={mine}", "strategy.params={}"), "AAPL..MSFT", look_ahead=True)

    assert all(each["look_ahead"] for each in found.symbols)
    assert max(each["changes"] / each["bars"] for each in found.symbols) < 0.05


def test_what_a_look_ahead_tells_is_true(store, tmp_path):
    """The opinion with all bars is that of tomorrow's close; with the bars up to then there is no tomorrow."""
    mine = write_strategy(tmp_path, "tomorrow", f"def signal(bars): {CHEATS['tomorrow']}")
    found = replay(options(store, f"strategy.name={mine}", "strategy.params={}"), "IBM", look_ahead=True)
    told = found.symbols[0]["look_ahead"]

    assert (told["bar"], told["then"], told["later"]) == (told["known_to"], 0.0, 1.0)


def test_a_look_ahead_is_a_matter_of_what_the_run_sees(store):
    """Bars behind data.end are not there for either answer, and a history of one bar cannot be cut."""
    one = replay(options(store, "data.end=2000-03-01"), "AAPL", look_ahead=True).symbols[0]
    two = replay(options(store, "data.end=2000-03-02"), "AAPL", look_ahead=True).symbols[0]

    assert [(each["cuts"], each["look_ahead"]) for each in (one, two)] == [(0, None), (1, None)]
