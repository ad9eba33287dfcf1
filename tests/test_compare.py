"""Published runs side by side."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from pipeline.command_line import main
from pipeline.errors import DataError
from pipeline.results.compare import compare
from pipeline.run import backtest

SAMPLE = Path("conf/sample.yaml")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Publish a run, the same one under other workers, and one with less cash."""
    folder = tmp_path_factory.mktemp("runs")
    own = [f"data.store={folder}/store", f"output.dir={folder}/runs", "output.report=false"]
    changes = (["scheduler.kind=synchronous"], ["scheduler.kind=threads"], ["trading.cash=50000"])
    return [Path(backtest(SAMPLE, *own, *each).run_dir) for each in changes]


def test_runs_that_differ_in_their_scheduler_come_to_the_same(runs):
    """What differs is named, and the result is not among it."""
    comparison = compare(runs[:2])

    assert comparison.same_result
    assert comparison.first_difference is None
    assert comparison.differs == {"scheduler.kind": ["synchronous", "threads"]}
    assert comparison.runs[0]["digest"] == comparison.runs[1]["digest"]
    assert dict(comparison.summary)["result"] == "the same, bit for bit"


def test_one_run_is_compared_with_nothing(runs):
    """It is shown, and nothing is said of its sameness."""
    alone = compare(runs[:1])

    assert dict(alone.summary)["result"] == "one run, compared with nothing; name another one beside it"
    assert (alone.same_result, alone.first_difference) == (None, None)


def test_figures_are_those_of_the_runs(runs):
    """Metrics, seconds of each stage and of the strategy, memory: as their own files say."""
    (figures,) = compare(runs[:1]).runs
    record = json.loads((runs[0] / "run.json").read_text())
    metrics = json.loads((runs[0] / "metrics.json").read_text())["metrics"]

    assert figures["final equity [currency]"] == metrics["final_equity"]
    assert figures["Sharpe ratio [annualised]"] == metrics["sharpe"]
    assert figures["signals [s]"] == record["stages"]["signals"]
    assert figures["work of signals, one core [s]"] == record["monitor"]["signals"]["busy_seconds"]
    assert figures["peak memory [MB]"] == record["peak_memory_mb"]
    assert figures["run"] == f"sample/{runs[0].name}"


def test_the_first_session_that_differs_is_told(runs):
    """With less cash the account is another from the first close on; with one fill changed, from that day on."""
    assert compare([runs[0], runs[2]]).first_difference == str(
        pd.read_parquet(runs[0] / "equity.parquet")["session"].iloc[0].date()
    )


def test_equity_that_differs_later(runs, tmp_path):
    """The first difference is looked for, not the first session."""
    other = tmp_path / "sample" / "changed-1"
    shutil.copytree(runs[0], other)
    equity = pd.read_parquet(other / "equity.parquet")
    equity.loc[100:, "equity"] += 1e-6
    equity.to_parquet(other / "equity.parquet")
    record = json.loads((other / "run.json").read_text())
    (other / "run.json").write_text(json.dumps({**record, "result_digest": "0" * 64}))
    comparison = compare([runs[0], other])

    assert not comparison.same_result
    assert comparison.first_difference == str(equity["session"].iloc[100].date())
    assert comparison.differs == {}


def test_a_record_of_an_older_version_is_compared_as_far_as_it_goes(runs, tmp_path):
    """No monitor, no metrics: n/a."""
    other = tmp_path / "sample" / "old-1"
    shutil.copytree(runs[0], other)
    record = json.loads((other / "run.json").read_text())
    del record["monitor"]
    (other / "run.json").write_text(json.dumps(record))
    (other / "metrics.json").unlink()
    shown = dict(compare([runs[0], other]).summary)

    assert shown["GIL held by strategy [%]"].endswith("n/a")
    assert shown["final equity [currency]"].endswith("n/a")


@pytest.mark.parametrize("text", [None, "{}", "nonsense"])
def test_what_is_no_run_is_refused(tmp_path, text):
    """Naming the folder, and what is expected."""
    if text is not None:
        (tmp_path / "run.json").write_text(text)
    with pytest.raises(DataError, match="holds no record of a run"):
        compare([tmp_path])


def test_the_command_prints_a_column_for_each_run(runs, capsys):
    """`compare RUN RUN`, also by the link to the latest."""
    latest = runs[0].parents[1] / "latest"
    code = main(["compare", str(runs[0]), str(latest)])
    rows = dict(line.split("  ", 1) for line in capsys.readouterr().out.splitlines())

    assert code == 0
    assert rows["trading.cash"].split() == ["1000000.0", "50000.0"]
    assert runs[2].name in rows["run"]


def test_json_has_the_numbers(runs, capsys):
    """For scripts: one object."""
    assert main(["compare", *map(str, runs), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)

    assert [each["bars"] for each in told["runs"]] == [12154] * 3
    assert told["same_result"] is False
