"""A batch file: what it may say, which runs it names, and in which order."""

from pathlib import Path

import pytest

from pipeline.batch.file import Backfill, read_batch
from pipeline.batch.planning import dependants, planned, read
from pipeline.config import load
from pipeline.errors import ConfigError

SAMPLE = Path(__file__).parents[1] / "conf" / "sample.yaml"


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a batch file beside two files of settings, and returns its path."""
    (tmp_path / "night").mkdir()
    for name, cash in (("one", 1000), ("two", 2000)):
        (tmp_path / "night" / f"{name}.yaml").write_text(f"name: {name}\ntrading: {{cash: {cash}}}\n")

    def write(text: str) -> Path:
        path = tmp_path / "nightly.yaml"
        path.write_text(text)
        return path

    return write


def runs_of(path: Path, *overrides: str, environment=None):
    """Return the planned runs of a batch file."""
    return planned(read_batch(path), overrides, environment or {})


def complaints(path: Path) -> list[str]:
    """Return the lines in which a batch file is refused, without its path."""
    with pytest.raises(ConfigError) as refused:
        read(path)
    return [line.removeprefix(f"{path}:") for line in str(refused.value).splitlines()]


def test_a_file_states_only_what_differs(write):
    """Everything else is as in conf/batch.yaml; the name is the file's unless it states one."""
    file = read_batch(write("retries: 1\nruns: [{conf: night/one.yaml}]\n"))

    assert (file.options.name, file.options.retries, file.options.backoff) == ("nightly", 1, (60.0, 300.0))
    assert (file.options.backfill, file.options.catch_up, file.options.keep.batches) == (Backfill.FAILED, 0, 30)
    assert read_batch(write("name: eod\nruns: [{conf: night/one.yaml}]\n")).options.name == "eod"


def test_the_example_runs_as_it_stands():
    """conf/batch.yaml, which holds the defaults, is a batch itself, and so is every example beside it."""
    folder = SAMPLE.parent

    assert [run.label for run in runs_of(folder / "batch.yaml")] == ["sample"]
    assert len(runs_of(folder / "nightly.yaml")) == 9


def test_layers_of_a_run_in_order(write):
    """Conf < set of the batch < set of the entry < vary < environment < command line."""
    path = write(
        "set: {trading.cash: 3, trading.lot: 3, data.start: 2003-01-01, output.report: false}\n"
        "runs:\n- {conf: night/one.yaml, set: {trading: {lot: 4}}, vary: {trading.max_positions: [5]}}\n"
    )
    (run,) = runs_of(path, "trading.cash=7", environment={"BACKTEST__DATA__START": "2006-01-01"})
    trading = run.options.trading

    assert (trading.cash, trading.lot, trading.max_positions, run.options.output.report) == (7, 4, 5, False)
    assert str(run.options.data.start) == "2006-01-01"


def test_vary_makes_one_run_for_each_combination(write):
    """In the order written, each with a label that says how it differs, and the value as text."""
    text = "{strategy.params.fast: [5, 10], trading: {slippage: {rate: [0, 5e-4]}}}"
    runs = runs_of(write(f"runs: [{{conf: night/one.yaml, vary: {text}}}]\n"))

    assert [run.label for run in runs] == [
        "one[fast=5,rate=0]",
        "one[fast=5,rate=5e-4]",
        "one[fast=10,rate=0]",
        "one[fast=10,rate=5e-4]",
    ]
    assert [run.options.strategy.params["fast"] for run in runs] == ["5", "5", "10", "10"]
    assert [run.options.trading.slippage.rate for run in runs] == [0.0, 0.0005, 0.0, 0.0005]
    assert runs[1].varied == {"strategy.params.fast": "5", "trading.slippage.rate": "5e-4"}


def test_a_glob_makes_one_run_of_each_file(write):
    """In the order of their names, from the folder of the batch file, wherever the command is called."""
    runs = runs_of(write("runs: [{conf: 'night/*.yaml'}, {name: again, conf: 'night/*.yaml'}]\n"))

    assert [run.label for run in runs] == ["one", "two", "again/one", "again/two"]
    assert [run.options.trading.cash for run in runs] == [1000, 2000, 1000, 2000]


def test_a_run_comes_after_what_it_needs(write):
    """Else the order of the file stands; a group's name means all of its runs."""
    path = write(
        "runs:\n"
        "- {name: report, conf: night/one.yaml, needs: [grid]}\n"
        "- {name: free, conf: night/one.yaml}\n"
        "- {name: grid, conf: night/two.yaml, vary: {trading.cash: [1, 2]}, needs: [prices]}\n"
        "- {name: prices, conf: night/one.yaml}\n"
    )
    runs = runs_of(path)

    assert [run.label for run in runs] == ["free", "prices", "grid[cash=1]", "grid[cash=2]", "report"]
    assert runs[-1].needs == ("grid[cash=1]", "grid[cash=2]")
    assert dependants(runs)["prices"] == ["grid[cash=1]", "grid[cash=2]", "report"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("retrys: 3\nruns: [{conf: night/one.yaml}]", "1: retrys is not a setting; did you mean 'retries'?"),
        ("retries: 99\nruns: [{conf: night/one.yaml}]", "1: retries is '99'; "),
        ("backoff: [1, two]\nruns: [{conf: night/one.yaml}]", "1: backoff[1] is 'two'; "),
        ("catch_up: -1\nruns: [{conf: night/one.yaml}]", "1: catch_up is '-1'; "),
        ("backfill: most\nruns: [{conf: night/one.yaml}]", "1: backfill is 'most'; "),
        ("on_failure: mail\nruns: [{conf: night/one.yaml}]", "1: on_failure is 'mail'; "),
        ("on_failure: []\nruns: [{conf: night/one.yaml}]", "1: on_failure is an empty list; a command expected"),
        ("metrics: m.txt\nruns: [{conf: night/one.yaml}]", "1: metrics is 'm.txt'; a file ending in .prom expected"),
        ("schedule: {at: '25:00'}\nruns: [{conf: night/one.yaml}]", "1: schedule.at is '25:00'; a time of day"),
        ("schedule: {days: Montag}\nruns: [{conf: night/one.yaml}]", "1: schedule.days is 'Montag'; days like"),
        ("schedule: {memory: lots}\nruns: [{conf: night/one.yaml}]", "1: schedule.memory is 'lots'; a size like 8G"),
        ("name: a/b\nruns: [{conf: night/one.yaml}]", "1: name is 'a/b'; "),
        ("name: x", " no runs; a list expected."),
        ("runs: []", "1: runs is an empty list; a list expected."),
        ("runs: [text]", "1: 'text'; each of runs is a group of keys."),
        ("runs: [{name: x}]", "1: no conf; every one of runs names a file"),
        ("runs: [{conf: night/one.yaml, when: now}]", "1: when is not a setting; "),
        ("runs: [{conf: night/one.yaml, set: 3}]", "1: set is '3'; settings expected."),
        ("runs: [{conf: night/one.yaml, vary: {trading.cash: 3}}]", "1: trading.cash is '3'; a list of values"),
        ("runs: [{conf: night/one.yaml, needs: one}]", "1: needs is 'one'; a list of names expected"),
        ("runs: [{conf: night/none.yaml}]", "1: conf is 'night/none.yaml'; there is no such file beside"),
        ("runs: [{conf: night/one.yaml, set: {trading.csh: 3}}]", "1: trading.csh is not a setting; did you mean"),
        ("runs: [{conf: night/one.yaml, vary: {trading.cash: []}}]", "1: trading.cash is an empty list; a list of v"),
        ("runs: [{conf: night/one.yaml, vary: {trading.cash: [1, much]}}]", "1: trading.cash is 'much'; "),
        ("runs: [{conf: night/one.yaml}, {conf: night/one.yaml}]", "runs: 'one' stands there 2 times; "),
        ("runs: [{conf: night/one.yaml, needs: [ones]}]", "runs: 'one' needs 'ones', which is no run here; did you"),
        ("runs: [{conf: night/one.yaml}, {conf: night/two.yaml, set: {output.dir: x}}]", "output.dir is "),
    ],
)
def test_a_mistake_is_told_with_its_line(write, text, expected):
    """And with the rule, as one line each."""
    (line,) = complaints(write(text))

    assert line.startswith(expected)


def test_all_mistakes_are_told_at_once(write):
    """Those of the batch first; then those of the settings of its runs, of their names and of what needs what."""
    path = write(
        "retrys: 1\nretries: -1\ntoken: abc123\nset: {output.token: abc123}\nruns:\n"
        "- {conf: night/one.yaml, needs: [nobody]}\n- {conf: night/one.yaml}\n- {conf: 'none/*.yaml'}\n- {}\n"
        "- {conf: night/two.yaml, set: {trading.csh: 3}}\n"
    )
    told = complaints(path)

    expected = [
        "1: retrys is not a setting; did you mean 'retries'? Known: name, retries,",
        "3: token is not a setting; known: ",
        "9: no conf; ",
        "3: token looks like a secret; ",
        "4: output.token looks like a secret; ",
        "2: retries is '-1'; a number greater than or equal to 0 expected.",
        "4: output.token is not a setting; ",
        "8: conf is 'none/*.yaml'; ",
        "10: trading.csh is not a setting; ",
    ]
    assert [line[: len(start)] for line, start in zip(told, expected, strict=False)] == expected
    assert all("set, runs" in line for line in told[:2])
    assert "abc123" not in "".join(told)


def test_names_and_needs_are_told_beside_other_mistakes(write):
    """A run that cannot be made for its own mistakes is still known to those that need it."""
    text = (
        "retries: -1\nruns:\n- {conf: night/one.yaml, needs: [nobody, two, gone]}\n- {conf: night/one.yaml}\n"
        "- {conf: night/two.yaml, set: {trading.csh: 3}}\n- {name: gone, conf: gone.yaml}\n"
    )
    told = complaints(write(text))

    assert [line[:20] for line in told[:3]] == ["1: retries is '-1'; ", "5: trading.csh is no", "6: conf is 'gone.yam"]
    assert told[3].startswith("runs: 'one' stands there 2 times; ")
    assert told[4:] == ["runs: 'one' needs 'nobody', which is no run here; known: one."]


def test_the_config_of_one_run_is_no_batch_and_the_other_way_round(write, tmp_path):
    """In one sentence that names the command for it, before anything about its settings."""
    path = write("runs: [{conf: night/one.yaml}]\n")
    one = tmp_path / "night" / "one.yaml"

    with pytest.raises(ConfigError) as refused:
        load(path)
    assert str(refused.value) == (
        f"{path}: a batch file, since it has `runs`; the config of one run expected. Use `batch {path}`."
    )
    with pytest.raises(ConfigError) as refused:
        read_batch(one)
    assert str(refused.value) == (
        f"{one}: no runs; this is the config of one run. Use `run {one}`, or name it in a batch file: "
        "`runs: [{conf: one.yaml}]`."
    )


def test_a_circle_of_needs_is_told(write):
    """Run by run, in the order of the needs."""
    (line,) = complaints(write("runs: [{conf: night/one.yaml, needs: [two]}, {conf: night/two.yaml, needs: [one]}]\n"))

    said = line.strip().removesuffix("; a circle has no first run. Remove one of these needs.")
    assert said in {"one needs two, two needs one", "two needs one, one needs two"}
