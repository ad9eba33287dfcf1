"""The signals of a store: what comes out, that it is the same everywhere, and what is said when a strategy fails."""

import signal
from datetime import date

import dask
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline import interrupts
from pipeline.bars.split import split
from pipeline.compute.scheduler import start
from pipeline.errors import ConfigError, StrategyError, TemporaryError
from pipeline.events import Logged, PartitionFinished, Stage, StageProgress
from pipeline.interrupts import Stopped, stoppable
from pipeline.modes import Kind
from pipeline.schema import SIGNALS
from pipeline.signals.build import by_session, changes
from pipeline.signals.partition import signals_of_block
from pipeline.signals.strategy import load_strategy
from signal_cases import KINDS, LENGTHS, SYMBOLS, bars_of, blocks_in, choice, market, signals_of, write_strategy


@pytest.fixture(scope="module", params=KINDS)
def scheduler(request):
    with start(choice(request.param)) as started:
        yield started


@pytest.fixture(scope="module")
def here():
    with start(choice(Kind.SYNCHRONOUS)) as started:
        yield started


@pytest.fixture(scope="module")
def layouts(tmp_path_factory):
    """Lay the same market out in 1, 2 and 6 blocks."""
    return {count: blocks_in(tmp_path_factory.mktemp("store"), market(), count) for count in (1, 2, 6)}


@pytest.fixture(scope="module")
def expected(layouts, here):
    return signals_of("sma_cross", layouts[1], here)


def test_changes_of_a_hand_made_opinion(tmp_path, here):
    """A row stands for each change; NaN keeps, the first opinion is compared with 0, both ends of the span count."""
    nan = np.nan
    opinions = [1.0, nan, 0.0, nan, 0.0, 0.5, 0.5, -1.0, nan, 0.0]
    frame = pd.concat([bars_of("A", range(1, 11)), bars_of("B", range(2, 12))])
    name = write_strategy(tmp_path, "s", f"nan = float('nan')\ndef signal(bars): return {opinions}[:len(bars)]")
    blocks = blocks_in(tmp_path / "store", frame, 1)
    days = pd.bdate_range("2020-01-01", periods=10)
    whole = signals_of(name, blocks, here)
    part = signals_of(name, blocks, here, span=(days[2].date(), days[7].date()))

    assert whole["session"].tolist() == [day for place in (0, 2, 5, 7, 9) for day in [days[place]] * 2]
    assert whole["symbol"].tolist() == ["A", "B"] * 5
    assert whole["signal"].tolist() == [value for value in (1.0, 0.0, 0.5, -1.0, 0.0) for _ in "AB"]
    assert part["session"].tolist() == [day for place in (5, 7) for day in [days[place]] * 2]


def test_signals_are_the_same_everywhere(scheduler, layouts, expected):
    """Bit for bit, whatever the scheduler and the number of partitions."""
    for blocks in layouts.values():
        pd.testing.assert_frame_equal(signals_of("sma_cross", blocks, scheduler), expected, check_exact=True)

    assert len(expected) > 10
    assert expected.dtypes.astype(str).tolist() == SIGNALS.dtypes.astype(str).tolist()
    assert expected["symbol"].cat.categories.tolist() == list(SYMBOLS)
    assert expected.equals(expected.sort_values(["session", "symbol"]))


@pytest.mark.parametrize("kind", [Kind.THREADS, Kind.PROCESSES])
@pytest.mark.parametrize("workers", [1, 3])
def test_signals_do_not_depend_on_the_number_of_workers(kind, workers, layouts, expected):
    """More workers are faster, not different."""
    with start(choice(kind, workers)) as scheduler:
        found = signals_of("sma_cross", layouts[6], scheduler)

    pd.testing.assert_frame_equal(found, expected, check_exact=True)


def test_random_strategies_repeat(scheduler, layouts, tmp_path, here):
    """The global generators are seeded by symbol, so even a strategy that draws gives the same signals anywhere."""
    text = """
        import time
        import numpy as np
        def signal(bars):
            first = np.random.random(len(bars))
            time.sleep(0.002)
            return (first + np.random.random(len(bars))) / 2
        """
    name = write_strategy(tmp_path, "dice", text)
    alone = signals_of(name, layouts[1], here)

    assert alone["signal"].nunique() == len(alone)
    pd.testing.assert_frame_equal(signals_of(name, layouts[6], scheduler), alone, check_exact=True)


def test_nothing_is_computed_early(layouts):
    """Opening bars and mapping a strategy over them computes nothing."""

    def refuse(*_, **__):
        raise AssertionError("computed")

    strategy = load_strategy("rsi", {})
    with dask.config.set(scheduler=refuse):
        lazy = changes(layouts[6], strategy, (None, None))

        assert lazy.npartitions == 6
        with pytest.raises(AssertionError, match="computed"):
            lazy.compute()


def test_no_bar_travels_in_a_task(layouts):
    """A task is a few kilobytes: where the block lies, and the strategy's text; no worker imports dask.dataframe."""
    strategy = load_strategy("sma_cross", {})
    (task,) = changes(layouts[1], strategy, (None, None)).to_delayed()
    sent = dask.multiprocessing._dumps(dict(task.dask))

    assert len(sent) < 8000
    assert b"dask.dataframe" not in sent


def test_a_strategy_sees_its_columns_on_sessions(tmp_path, layouts, here):
    """Declared columns only, or all of them, on the index `session`."""
    text = """
        {columns}
        def signal(bars):
            raise ValueError([bars.index.name, str(bars.index.dtype), *bars.columns])
        """
    declared = write_strategy(tmp_path, "s", text.format(columns="COLUMNS = ('close', 'raw_open')"))
    with pytest.raises(StrategyError, match=r"\['session', 'datetime64\[ms\]', 'close', 'raw_open'\]"):
        signals_of(declared, layouts[2], here)

    everything = write_strategy(tmp_path, "t", text.format(columns=""))
    columns = "'open', 'high', 'low', 'close', 'volume', 'raw_open', 'raw_high', 'raw_low', 'raw_close'"
    with pytest.raises(StrategyError, match=columns):
        signals_of(everything, layouts[2], here)


def test_a_column_that_the_bars_lack_is_a_config_error(tmp_path, layouts, here):
    """COLUMNS are checked before anything is read."""
    name = write_strategy(tmp_path, "s", "COLUMNS = ('close', 'pe')\ndef signal(bars): return bars['pe']")

    with pytest.raises(ConfigError, match="its COLUMNS name 'pe'; these bars have open, high"):
        signals_of(name, layouts[1], here)


def test_changing_the_bars_reaches_nobody(tmp_path, layouts, scheduler):
    """A strategy may scribble over its frame; the next symbol, and the next call, see the bars as they were."""
    text = """
        def signal(bars):
            bars["close"] = bars["close"] * 0 - 1
            bars.loc[bars.index[0], "open"] = 5.0
            bars.drop(columns="volume", inplace=True)
            return bars["close"]
        """
    name = write_strategy(tmp_path, "scribble", text)

    assert signals_of(name, layouts[2], scheduler)["signal"].tolist() == [-1.0] * 6
    assert signals_of(name, layouts[2], scheduler)["signal"].tolist() == [-1.0] * 6


def test_warnings_of_a_strategy_are_not_told(tmp_path, layouts, scheduler):
    """The same warning for every symbol would drown the rest; and this suite makes warnings errors."""
    text = """
        import warnings
        import numpy as np
        def signal(bars):
            warnings.warn("look out")
            np.log(np.zeros(3))
            return bars["close"] * 0
        """

    assert len(signals_of(write_strategy(tmp_path, "s", text), layouts[6], scheduler)) == 0


def test_an_own_file_with_siblings_runs_everywhere(tmp_path, layouts, scheduler):
    """`strategy.name=path/to/file.py` works in processes and on a cluster, modules beside it included."""
    write_strategy(tmp_path, "levels_beside", "LEVEL = 0.25")
    text = (
        "from levels_beside import LEVEL\ndef signal(bars, *, times: int = 1): return bars['close'] * 0 + LEVEL * times"
    )
    name = write_strategy(tmp_path, "own", text)

    assert signals_of(name, layouts[6], scheduler, times="2")["signal"].tolist() == [0.5] * 6


def test_progress_is_told_by_partition(layouts, scheduler):
    """Each partition that is done is told once, in the parent, and how many are done."""
    events = []
    signals_of("buy_and_hold", layouts[6], scheduler, events.append)

    told = [event for event in events if isinstance(event, PartitionFinished)]

    assert [event for event in events if isinstance(event, StageProgress)] == [
        StageProgress(Stage.SIGNALS, count) for count in range(1, 7)
    ]
    assert sorted(event.symbols for event in told) == list(SYMBOLS)
    assert sorted(event.cost.rows for event in told) == sorted(LENGTHS)


def test_what_a_strategy_logs_reaches_the_parent(tmp_path, layouts, scheduler):
    """Lines of its own logger, from INFO on, and warnings of any; of the partition they came from, in order."""
    text = """
        import logging
        log = logging.getLogger(__name__)
        def signal(bars):
            log.debug("not this")
            log.info("%d bars", len(bars))
            logging.getLogger("other").warning("look")
            return bars["close"] * 0
        """
    events = []
    signals_of(write_strategy(tmp_path, "chatty", text), layouts[6], scheduler, events.append)
    told = [event for event in events if isinstance(event, Logged)]

    assert sorted((event.symbols, event.level, event.text) for event in told) == sorted(
        line
        for symbol, length in zip(SYMBOLS, LENGTHS, strict=True)
        for line in [(symbol, "INFO", f"{length} bars"), (symbol, "WARNING", "look")]
    )


def test_a_strategy_that_logs_without_end_is_cut_short(tmp_path, layouts, here):
    """A line for every bar would drown the log: the first hundred of a partition are kept, and the rest counted."""
    text = """
        import logging
        def signal(bars):
            for number in range(150):
                logging.getLogger(__name__).info("x" * 1000)
            return bars["close"] * 0
        """
    events = []
    signals_of(write_strategy(tmp_path, "endless", text), layouts[1], here, events.append)
    lines = [event.text for event in events if isinstance(event, Logged)]

    assert len(lines) == 101
    assert {len(line) for line in lines[:-1]} == {500}
    assert lines[-1] == "800 more lines not kept"


def test_the_first_failure_does_not_depend_on_the_split(tmp_path, layouts, scheduler):
    """Every symbol from CCC on fails: CCC is told of, however symbols are divided and workers race."""
    name = write_strategy(tmp_path, "late", "def signal(bars): return bars['close'] * (0 if len(bars) == 250 else 9)")
    texts = set()
    for blocks in [*layouts.values(), split(layouts[1], 3, 1.0), split(layouts[6], 2, 1e-9)]:
        with pytest.raises(StrategyError) as refused:
            signals_of(name, blocks, scheduler)
        texts.add(str(refused.value))

    assert len(texts) == 1
    assert "for the 3 bars of 'CCC'" in texts.pop()


@pytest.mark.parametrize("answer", ["bars['close'] * 0 + 1", "np.ones(len(bars))", "[1.0] * len(bars)"])
def test_a_series_an_array_and_a_list_answer_alike(tmp_path, layouts, here, answer):
    """As docs/strategies.md says."""
    name = write_strategy(tmp_path, "s", f"import numpy as np\ndef signal(bars): return {answer}")

    assert signals_of(name, layouts[2], here)["signal"].tolist() == [1.0] * 6


ABOUT = "for the 250 bars of 'AAA' (2020-01-01..2020-12-15); "
LENGTHS_AGREE = "lengths must agree. Answer NaN where there is no opinion."
A_SERIES = "a Series, an array or a list answers. Return one value for each bar."
IN_RANGE = "an opinion is NaN or lies between -1 and 1. Scale or clip it."
NUMBERS = "opinions are numbers. Convert it to float64, None to NaN."
ONE_VALUE = "one value answers each bar. Return one column."
SAME_INDEX = "a Series keeps the order of the bars. Build it on bars.index."
ZOO = {
    "short": ("c.to_numpy()[1:]", "answered 249 values " + ABOUT + LENGTHS_AGREE),
    "shorter": ("(c * 0).dropna().iloc[1:]", "answered 249 values " + ABOUT + LENGTHS_AGREE),
    "none": ("None", "answered a NoneType " + ABOUT + A_SERIES),
    "scalar": ("1.0", "answered a float " + ABOUT + A_SERIES),
    "text": ("'long'", "answered a str " + ABOUT + A_SERIES),
    "frame": ("bars", "answered a DataFrame " + ABOUT + A_SERIES),
    "table": ("np.zeros((250, 1))", "answered 2 dimensions " + ABOUT + ONE_VALUE),
    "point": ("np.array(1.0)", "answered 0 dimensions " + ABOUT + ONE_VALUE),
    "words": ("['buy'] * 250", "answered a list of <U3 " + ABOUT + NUMBERS),
    "objects": ("[None] * 250", "answered a list of object " + ABOUT + NUMBERS),
    "complex": ("np.zeros(250, complex)", "answered a ndarray of complex128 " + ABOUT + NUMBERS),
    "dates": ("bars.index", "answered a DatetimeIndex of datetime64[ms] " + ABOUT + NUMBERS),
    "ragged": (
        "[[1], [1, 2]] * 125",
        "answered a ragged list " + ABOUT + "one value answers each bar. Return numbers, not lists.",
    ),
    "infinite": ("c / 0", "answered inf on 2020-01-01 " + ABOUT + IN_RANGE),
    "large": ("np.r_[np.nan, np.ones(248), 1.5]", "answered 1.5 on 2020-12-15 " + ABOUT + IN_RANGE),
    "reversed": ("(c * 0).iloc[::-1]", "answered a Series on another index " + ABOUT + SAME_INDEX),
    "twice": ("(c * 0).iloc[[0] * 250]", "answered a Series on another index " + ABOUT + SAME_INDEX),
    "unlabelled": ("pd.Series(np.zeros(250))", "answered a Series on another index " + ABOUT + SAME_INDEX),
}
FAILURES = {
    "raises": (
        "1 / 0",
        "ZeroDivisionError: division by zero",
        "Check strategy.params, repair that line, or leave the symbol out of data.symbols",
    ),
    "exits": (
        "sys.exit(3)",
        "SystemExit: 3",
        "Check strategy.params, repair that line, or leave the symbol out of data.symbols",
    ),
    "leaves": (
        "os._exit(0)",
        "SystemExit: 0",
        "Check strategy.params, repair that line, or leave the symbol out of data.symbols",
    ),
    "left": (
        "_exit(0)",
        "SystemExit: 0",
        "Check strategy.params, repair that line, or leave the symbol out of data.symbols",
    ),
    "deep": (
        "pd.Series([1]).loc[9]",
        "KeyError: 9",
        "Check strategy.params, repair that line, or leave the symbol out of data.symbols",
    ),
    "unpicklable": (
        "odd()",
        "Odd: one two",
        "Check strategy.params, repair that line, or leave the symbol out of data.symbols",
    ),
    "undeclared": ("bars['volume']", "KeyError: 'volume'", "Add 'volume' to its COLUMNS, which are ('close',)"),
    "attribute": (
        "bars.volume",
        "AttributeError: 'DataFrame' object has no attribute 'volume'",
        "Add 'volume' to its COLUMNS, which are ('close',)",
    ),
}
ZOO_FILE = """
import os
import sys
from os import _exit
import numpy as np
import pandas as pd
COLUMNS = ("close",)
class Odd(Exception):
    def __init__(self, one, two):
        super().__init__(f"{{one}}\\n{{two}}")
        self.lock = __import__("threading").Lock()
def odd():
    raise Odd("one", "two")
def signal(bars):
    c = bars["close"]
    return {answer}
"""


@pytest.fixture(scope="module")
def steady(tmp_path_factory):
    """Four symbols of the same sessions, in four partitions: every one of them makes a bad strategy fail."""
    frame = pd.concat([bars_of(symbol, np.arange(1.0, 251.0)) for symbol in SYMBOLS[:4]])
    return blocks_in(tmp_path_factory.mktemp("store"), frame, 4)


@pytest.mark.parametrize("name", ZOO)
def test_a_breach_is_told_in_the_same_words_everywhere(name, tmp_path, steady, scheduler):
    """What came, for which bars, which rule, what to do; of the same partition, whichever fails first."""
    answer, text = ZOO[name]

    with pytest.raises(StrategyError) as refused:
        signals_of(write_strategy(tmp_path, name, ZOO_FILE.format(answer=answer)), steady, scheduler)

    assert str(refused.value) == f"signals: strategy {name!r} {text}"


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_is_told_in_the_same_words_everywhere(name, tmp_path, steady, scheduler):
    """The strategy's own words and its line; no exception has to survive a journey between processes."""
    answer, text, cure = FAILURES[name]
    file = write_strategy(tmp_path, name, ZOO_FILE.format(answer=answer))
    line = 12 if name == "unpicklable" else 15

    with pytest.raises(StrategyError) as refused:
        signals_of(file, steady, scheduler)

    raised = f"signals: strategy {name!r} raised {text}, at {file}:{line}, {ABOUT}"
    assert str(refused.value) == f"{raised}a strategy answers for every symbol. {cure}."
    trace = refused.value.trace
    assert f'Traceback (most recent call last):\n  File "{file}", line 15, in signal\n    return {answer}\n' in trace
    assert f'  File "{file}", line {line}, in ' in trace
    assert trace.splitlines()[-1].strip() in text
    assert "contract.py" not in trace


def test_a_strategy_may_have_processes_of_its_own(tmp_path, steady, here):
    """They end by `os._exit`, as those of multiprocessing do, and by the signals that a pool sends them."""
    text = """
        import os, signal as signals
        def signal(bars):
            for ends in (lambda: os._exit(3), lambda: signals.raise_signal(signals.SIGTERM)):
                child = os.fork()
                if not child:
                    ends()
                bars["close"] = bars["close"] * 0 + os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) / 100
            return bars["close"]
        """
    with stoppable():
        found = signals_of(write_strategy(tmp_path, "s", text), steady, here)

    assert found["signal"].tolist() == [-signal.SIGTERM / 100] * 4


def test_an_interrupt_that_no_signal_sent_is_the_strategys_failure(tmp_path, steady, scheduler):
    """A library may raise it; as no signal came, the run fails like any other, and a batch goes on."""
    name = write_strategy(tmp_path, "s", "def signal(bars): raise KeyboardInterrupt('mine')")

    with stoppable(), pytest.raises(StrategyError, match=r"raised KeyboardInterrupt: mine, at .* of 'AAA'"):
        signals_of(name, steady, scheduler)


def test_an_interrupt_by_a_signal_ends_all(tmp_path, layouts, here, monkeypatch):
    """Also one that the strategy takes for its own, or raises anew; without our handlers nobody can tell."""
    own = write_strategy(tmp_path, "own", "def signal(bars): raise KeyboardInterrupt")
    text = """
        import signal as signals
        def signal(bars):
            try:
                signals.raise_signal(signals.{name})
            except KeyboardInterrupt:
                {then}
        """
    with pytest.raises(KeyboardInterrupt):
        signals_of(own, layouts[1], here)
    monkeypatch.setattr(interrupts, "GRACE", 3600.0)
    before = {number: signal.getsignal(number) for number in interrupts.CODES}
    for name, then, kind in (
        ("SIGINT", "raise", Stopped),
        ("SIGTERM", "raise", Stopped),
        ("SIGINT", "raise KeyboardInterrupt from None", KeyboardInterrupt),
    ):
        file = write_strategy(tmp_path, "sent", text.format(name=name, then=then))
        try:
            with pytest.raises(kind), stoppable():
                signals_of(file, layouts[1], here)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def test_the_symbol_that_fails_is_named(tmp_path, layouts, scheduler):
    """One bad symbol among many is found by name, partition and dates."""
    name = write_strategy(tmp_path, "s", "def signal(bars): return bars['close'] * (0 if len(bars) != 180 else 9)")

    with pytest.raises(StrategyError, match=r"the 180 bars of 'DDD' \(2020-01-01\.\.2020-09-08\)"):
        signals_of(name, layouts[6], scheduler)


def test_a_failure_ends_the_stage(tmp_path, layouts, here):
    """Partitions that have not begun are not computed after one has failed."""
    log = tmp_path / "asked"
    text = f"""
        def signal(bars):
            with open({str(log)!r}, "a") as file:
                file.write("asked\\n")
            raise ValueError
        """
    with pytest.raises(StrategyError):
        signals_of(write_strategy(tmp_path, "s", text), layouts[6], here)

    assert log.read_text() == "asked\n"


def test_memory_that_runs_out_may_come_back(tmp_path, layouts, scheduler):
    """A MemoryError is worth a retry: exit 75, not 5."""
    name = write_strategy(tmp_path, "s", "def signal(bars): raise MemoryError('1 TiB')")

    with pytest.raises(TemporaryError, match="MemoryError: 1 TiB"):
        signals_of(name, layouts[2], scheduler)


KEPT = ["float32", "int8", "bool", "Float64", "boolean", "float64[pyarrow]"]


@pytest.mark.parametrize("dtype", KEPT)
def test_every_dtype_of_numbers_is_accepted(dtype, tmp_path, layouts, here):
    """Truth values, whole numbers, nullable and Arrow columns all mean what they say."""
    name = write_strategy(tmp_path, "s", f"def signal(bars): return (bars['close'] > 0).astype({dtype!r})")

    assert signals_of(name, layouts[2], here)["signal"].tolist() == [1.0] * 6


def test_no_bars_no_signals():
    """A partition without bars has the columns and dtypes of any other."""
    empty = pd.DataFrame({"symbol": pd.Categorical([], categories=["A"]), "session": [], "close": []})
    empty = empty.astype({"session": "datetime64[ms]", "close": "float64"})
    found = signals_of_block(empty, strategy=load_strategy("rsi", {}), known=("close",), span=(None, None))

    assert found.dtypes.astype(str).tolist() == SIGNALS.dtypes.astype(str).tolist()
    assert len(found) == 0


opinion = st.one_of(st.just(float("nan")), st.sampled_from([-1.0, -0.0, 0.0, 0.5, 1.0]))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lists=st.lists(st.lists(opinion, min_size=1, max_size=12), min_size=1, max_size=4), cut=st.integers(0, 12))
def test_changes_retell_the_opinions(lists, cut, tmp_path):
    """Playing the changes back, starting from 0, gives the opinion of every session from the start on."""
    symbols = SYMBOLS[: len(lists)]
    frame = pd.concat([bars_of(*pair) for pair in zip(symbols, lists, strict=True)], ignore_index=True)
    frame = frame[["symbol", "session", "close"]].astype({"symbol": "category"})
    start_day = date(2020, 1, 1) + pd.offsets.BDay(cut)
    strategy = load_strategy(write_strategy(tmp_path, "echo", "def signal(bars): return bars['close']"), {})
    found = signals_of_block(frame, strategy=strategy, known=(), span=(start_day.date(), None))

    for symbol, opinions in zip(symbols, lists, strict=True):
        changed = dict(found.loc[found["symbol"] == symbol, ["session", "signal"]].itertuples(index=False))
        held = told = 0.0
        for session, value in zip(pd.bdate_range("2020-01-01", periods=len(opinions)), opinions, strict=True):
            if session >= start_day and not np.isnan(value):
                told = value
            assert changed.get(session, told) != held or session not in changed
            held = changed.get(session, held)
            assert held == told


@pytest.mark.parametrize("last", ["2020-01-06", "2220-01-06"], ids=["days of 16 bits", "more days than that"])
@pytest.mark.parametrize("turned", [False, True], ids=["as they are stored", "the other way round"])
def test_changes_are_in_the_order_of_time_then_symbol(last, turned):
    """Whatever the order of the partitions and however far apart the sessions are."""

    def part(symbols, codes, sessions):
        days = pd.DatetimeIndex(sessions).as_unit("ms")
        symbol = pd.Categorical.from_codes(codes, categories=pd.Index(symbols))
        return pd.DataFrame({"symbol": symbol, "session": days, "signal": np.arange(len(codes), dtype=float)})

    parts = [
        part(["A", "B"], [0, 0, 1], ["2020-01-02", last, "2020-01-02"]),
        part(["C"], [0, 0], ["2020-01-02", "2020-01-03"]),
    ]
    table = by_session(parts[::-1] if turned else parts)

    found = list(zip(table["symbol"], table["session"].dt.strftime("%Y-%m-%d"), table["signal"], strict=True))
    assert found == [
        ("A", "2020-01-02", 0.0),
        ("B", "2020-01-02", 2.0),
        ("C", "2020-01-02", 0.0),
        ("C", "2020-01-03", 1.0),
        ("A", last, 1.0),
    ]
