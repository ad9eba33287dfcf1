"""How a strategy is found, read, and given its options."""

import pickle
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from dask.base import tokenize

from pipeline.errors import ConfigError
from pipeline.interrupts import stoppable
from pipeline.signals.strategy import FOLDER, load_strategy, strategies
from signal_cases import write_strategy

BARS = pd.DataFrame({"close": [1.0, 2.0, 3.0]})
OPTIONS = """
    from typing import Literal
    def signal(
        bars, *, window: int = 20, level: float = 0.5, mode: Literal["long", "flat"] = "long", strict: bool = False,
        label: str = "a", stop: float | None = None, windows: tuple[int, ...] = (1,), free=3,
    ):
        return bars["close"] * 0 + window
"""


def refusal(name, params=None, folder=None) -> str:
    with stoppable(), pytest.raises(ConfigError) as refused:
        load_strategy(name, params or {}, folder)
    return str(refused.value)


def test_a_plain_name_is_a_file_of_strategies():
    """The file's name is the registry."""
    strategy = load_strategy("sma_cross", {})

    assert strategy.file == str(FOLDER / "sma_cross.py")
    assert strategy.params == {"fast": 10, "slow": 30}
    assert strategy.columns == ("close",)


def test_a_path_is_a_file_anywhere(tmp_path):
    """A user's own file needs no installation."""
    file = write_strategy(tmp_path, "mine", "def signal(bars): return bars['close'] * 0")
    strategy = load_strategy(file, {})

    assert (strategy.name, strategy.columns) == ("mine", None)
    assert strategy(BARS).tolist() == [0.0, 0.0, 0.0]


def test_a_dotted_name_is_an_importable_module(tmp_path, monkeypatch):
    """A strategy in a package uses its package's other modules, by relative import too."""
    (tmp_path / "acme_desk").mkdir()
    (tmp_path / "acme_desk" / "__init__.py").write_text("LEVEL = 0.25\n")
    write_strategy(tmp_path / "acme_desk", "tools", "def half(x): return x / 2")
    write_strategy(
        tmp_path / "acme_desk",
        "alpha",
        """
        from . import LEVEL
        from .tools import half
        def signal(bars): return bars["close"] * 0 + half(LEVEL)
        """,
    )
    monkeypatch.syspath_prepend(tmp_path)
    strategy = load_strategy("acme_desk.alpha", {})

    assert strategy(BARS).tolist() == [0.125, 0.125, 0.125]
    assert [source.module for source in strategy.code.sources[1:]] == ["acme_desk", "acme_desk.tools"]


def test_params_are_converted_by_their_hints(tmp_path):
    """Config files give text; the strategy gets what its hints say."""
    file = write_strategy(tmp_path, "s", OPTIONS)
    given = {"window": "5", "level": "1e-4", "mode": "flat", "strict": "true", "stop": "0.1", "windows": [1, "2"]}
    strategy = load_strategy(file, given)

    assert strategy.params == {
        "window": 5,
        "level": 1e-4,
        "mode": "flat",
        "strict": True,
        "label": "a",
        "stop": 0.1,
        "windows": (1, 2),
        "free": 3,
    }
    assert load_strategy(file, {"stop": None, "window": 5.0}).params["stop"] is None


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"windw": 5}, "strategy.params.windw of 's' is not an option"),
        ({"window": "5.5"}, "strategy.params.window of 's' is '5.5', not int"),
        ({"window": True}, "strategy.params.window of 's' is True, not int"),
        ({"window": None}, "strategy.params.window of 's' is None, not int"),
        ({"level": float("nan")}, "strategy.params.level of 's' is nan, not float"),
        ({"label": 7}, "strategy.params.label of 's' is 7, not str"),
        ({"mode": "short"}, "strategy.params.mode of 's' is 'short', not Literal['long', 'flat']"),
        ({"free": "x"}, "strategy.params.free of 's' is 'x', not int"),
    ],
)
def test_a_wrong_option_is_refused_with_the_right_ones(tmp_path, params, text):
    """A typo costs one look at the message, not one at the source."""
    message = refusal(write_strategy(tmp_path, "s", OPTIONS), params)

    assert message.startswith(text)
    assert "its options are window: int = 20, level: float = 0.5, mode: Literal['long', 'flat'] = 'long'" in message


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("def signal(bars:\n", ["s.py line 1 is not Python", "Repair that line"]),
        ("import nosuchmodule\n", ["s.py:1 raised ModuleNotFoundError: No module named 'nosuchmodule'"]),
        ("x = 1\ny = 1 / 0\n", ["s.py:2 raised ZeroDivisionError: division by zero"]),
        ("raise KeyboardInterrupt(3)\n", ["s.py:1 raised KeyboardInterrupt: 3"]),
        ("raise SystemExit(3)\n", ["s.py:1 raised SystemExit: 3"]),
        ("x = 1\n", ["it has no function `signal`", "Add `def signal(bars"]),
        ("signal = 5\n", ["its `signal` is a int, not a function"]),
        ("def score(bars): return 1\n", ["`score`, which is not available in this version"]),
        ("def pair(left, right): return 1\n", ["`pair`, which is not available in this version"]),
        ("def fit(panel): return 1\n", ["`fit`, which is not available in this version"]),
        ("def signal(): return 1\n", ["signal()", "bars come first"]),
        ("def signal(bars, window=3): return 1\n", ["signal(bars, window=3)", "options are keyword-only"]),
        ("def signal(bars, *, window): return 1\n", ["signal(bars, *, window)", "with defaults"]),
        ("def signal(*bars): return 1\n", ["signal(*bars)"]),
        ("def signal(bars, **options): return 1\n", ["signal(bars, **options)"]),
        ("def signal(bars, *, a: 'Nope' = 1): return 1\n", ["name 'Nope' is not defined"]),
        (
            "COLUMNS = 'close'\ndef signal(bars): return 1\n",
            ["its COLUMNS are 'close'", 'COLUMNS = ("close", "volume")'],
        ),
        (b"# \xff\ndef signal(bars): return 1\n", ["s.py", "is not Python"]),
    ],
)
def test_a_bad_file_is_a_config_error_in_one_line(tmp_path, text, parts):
    """What is wrong with a file is said with file and line before anything runs."""
    file = tmp_path / "s.py"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    message = refusal(str(file))

    assert message.startswith(("strategy 's'", f"strategy '{file}'"))
    assert all(part in message for part in parts), message
    assert "\n" not in message


def test_a_missing_strategy_is_guessed():
    """A misspelled name is answered with the nearest one."""
    message = refusal("sma_cros")

    assert "Did you mean 'sma_cross'?" in message
    assert "buy_and_hold" in message
    assert "there is no file" in refusal("nowhere/file.py")
    assert "it cannot be imported" in refusal("no_such_package.module")
    assert "there is no such Python module" in refusal("json.nothing")


def test_siblings_come_along_and_count(tmp_path):
    """A module beside the strategy is importable, travels with it, and belongs to its sha256."""
    write_strategy(tmp_path, "levels", "import deeper\nUPPER = deeper.ONE")
    write_strategy(tmp_path, "deeper", "ONE = 1.0")
    file = write_strategy(tmp_path, "s", "import levels\ndef signal(bars): return bars['close'] * 0 + levels.UPPER")
    strategy = load_strategy(file, {})
    write_strategy(tmp_path, "deeper", "ONE = 0.5")
    edited = load_strategy(file, {})

    assert [source.module for source in strategy.code.sources] == ["s", "levels", "deeper"]
    assert (strategy(BARS)[0], edited(BARS)[0]) == (1.0, 0.5)
    assert strategy.sha256 != edited.sha256


def test_a_module_counts_by_its_import_statement_alone(tmp_path):
    """One inside a function does; what `importlib` brings in is not seen, as docs/strategies.md says."""
    write_strategy(tmp_path, "seen", "")
    write_strategy(tmp_path, "unseen", "")
    text = """
        import importlib
        def signal(bars):
            import seen
            return importlib.import_module("unseen").signal(bars)
        """
    file = write_strategy(tmp_path, "s", text)
    before = load_strategy(file, {}).sha256
    write_strategy(tmp_path, "unseen", "X = 1")
    same = load_strategy(file, {}).sha256
    write_strategy(tmp_path, "seen", "X = 1")
    edited = load_strategy(file, {}).sha256

    assert before == same != edited


def test_siblings_of_the_same_name_do_not_meet(tmp_path):
    """Two folders may each have a `helpers.py`."""
    found = []
    for folder, level in (("one", 0.1), ("two", 0.2)):
        write_strategy(tmp_path / folder, "helpers", f"LEVEL = {level}")
        text = "from helpers import LEVEL\ndef signal(bars): return bars['close'] * 0 + LEVEL"
        found.append(load_strategy(write_strategy(tmp_path / folder, "s", text), {}))

    assert [strategy(BARS)[0] for strategy in found] == [0.1, 0.2]


def test_where_a_file_lies_does_not_change_what_it_is(tmp_path):
    """The same text elsewhere has the same sha256; Dask tells it apart by file and options, and by nothing else."""
    here, there = (write_strategy(tmp_path / place, "s", OPTIONS) for place in ("here", "there"))
    first, again, other = load_strategy(here, {}), load_strategy(here, {}), load_strategy(here, {"window": 9})

    assert first.sha256 == load_strategy(there, {}).sha256
    assert tokenize(first) == tokenize(again)
    assert len({tokenize(each) for each in (first, other, load_strategy(there, {}))}) == 3


def test_a_strategy_works_where_its_file_is_not(tmp_path):
    """Its text travels: another process needs no file, and its traceback shows the line."""
    write_strategy(tmp_path, "aside", "def fail(): raise ValueError('aside')")
    text = """
        import dataclasses, aside
        @dataclasses.dataclass
        class Level:
            value: float = 0.5
        def signal(bars, *, fails: bool = False):
            if fails:
                aside.fail()
            return bars["close"] * 0 + Level().value
        """
    files = [tmp_path / "s.py", tmp_path / "aside.py"]
    name = write_strategy(tmp_path, "s", text)
    pickled = [pickle.dumps(load_strategy(name, {"fails": fails})) for fails in (False, True)]
    for file in files:
        file.unlink()
    script = (
        "import pickle, sys, traceback, pandas as pd\n"
        "works, fails = pickle.loads(sys.stdin.buffer.read())\n"
        "bars = pd.DataFrame({'close': [1.0]})\n"
        "print(pickle.loads(works)(bars)[0])\n"
        "try: pickle.loads(fails)(bars)\n"
        "except ValueError: print(traceback.format_exc())\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], input=pickle.dumps(pickled), capture_output=True, check=True)
    out = ran.stdout.decode()

    assert out.startswith("0.5\n")
    assert "def fail(): raise ValueError('aside')" in out


def test_the_list_names_options_and_faults(tmp_path):
    """The `strategies` command shows every file, broken ones with what is wrong."""
    write_strategy(tmp_path, "good", '"""Hold.\n\nMore."""\ndef signal(bars, *, window: int = 20): return 1')
    write_strategy(tmp_path, "wrong", "def signal(bars: return 1")
    write_strategy(tmp_path, "_private", "x = 1")
    good, wrong = strategies(tmp_path)

    assert (good.name, good.summary, [str(option) for option in good.options]) == (
        "good",
        "Hold.",
        ["window: int = 20"],
    )
    assert wrong.name == "wrong"
    assert "is not Python" in wrong.summary


def test_the_list_holds_what_ships():
    """Three strategies come with the project, each with a summary."""
    listed = strategies()

    assert [each.name for each in listed] == ["buy_and_hold", "rsi", "sma_cross"]
    assert all(each.summary.endswith(".") for each in listed)
    assert [str(option) for option in listed[2].options] == ["fast: int = 10", "slow: int = 30"]
    assert Path(load_strategy("rsi", {}).file).parent == FOLDER
