"""`report RUN` makes the page of a published run from its files, and from nothing that is not as it was published."""

import json
import re
from pathlib import Path

import pytest

from pipeline import config
from pipeline.command_line import main
from pipeline.results import report, rundir
from pipeline.results.attempts import read_record
from pipeline.run import run


@pytest.fixture
def made(tmp_path):
    """Return a function that makes a run of the sample."""

    def made(*, paged: bool) -> Path:
        own = [f"data.store={tmp_path}/store", f"output.dir={tmp_path}/runs", f"output.report={str(paged).lower()}"]
        return Path(run(config.load(Path("conf/sample.yaml"), own, {})).run_dir)

    return made


def test_the_page_is_that_of_the_run(made):
    """Metrics, tables and charts are the same; the run verifies again, and its record is as it was but for the page."""
    folder = made(paged=True)
    before, page = read_record(folder), (folder / "report.html").read_text()
    (folder / "report.html").write_text("lost")

    assert main(["report", str(folder)]) == 0

    again, after = (folder / "report.html").read_text(), read_record(folder)
    metrics = re.compile(r'<section id="metrics".*?</section>|<table.*?</table>', re.DOTALL)
    assert metrics.search(page)
    assert metrics.search(again).group() == metrics.search(page).group()
    assert rundir.verify(folder) == []
    assert {**after, "files": 0} == {**before, "files": 0}
    assert {name for name in after["files"] if after["files"][name] != before["files"][name]} <= {"report.html"}


def test_a_page_that_failed_comes_later(made, monkeypatch, capsys):
    """The run stays degraded, as it ended, and is complete for who asks for the page."""

    def page(*_):
        raise RuntimeError("no template")

    with monkeypatch.context() as broken:
        broken.setattr(report, "page", page)
        folder = made(paged=True)
    assert not (folder / "report.html").exists()
    key = read_record(folder)["run_key"]
    output, name = folder.parents[1], folder.parent.name
    assert rundir.complete(output, name, key, ["report.html"]) is None

    assert main(["report", str(output / "latest"), "--json"]) == 0

    answer = json.loads(capsys.readouterr().out)
    assert answer["report"] == str(folder / "report.html")
    assert answer["result_digest"] == read_record(folder)["result_digest"]
    assert read_record(folder)["state"] == "degraded"
    assert rundir.complete(output, name, key, ["report.html"])[0] == folder
    assert main(["verify", "conf/sample.yaml", f"data.store={output.parent}/store", f"output.dir={output}"]) == 0


@pytest.mark.parametrize("name", ["fills.parquet", "metrics.json", "config.yaml"])
def test_a_run_that_is_not_as_published_gets_no_page(made, capsys, name):
    """Exit code 4 names the file, and nothing is written."""
    folder = made(paged=False)
    (folder / name).write_bytes((folder / name).read_bytes() + b" ")

    assert main(["report", str(folder)]) == 4

    assert f"{folder / name}: changed; its sha256 is not that of run.json" in capsys.readouterr().err
    assert not (folder / "report.html").exists()


@pytest.mark.parametrize("content", [None, "{}", "no json"])
def test_what_is_no_run_is_refused(tmp_path, capsys, content):
    """A folder without a record, or with one of an attempt that failed."""
    if content is not None:
        (tmp_path / "run.json").write_text(content)

    assert main(["report", str(tmp_path)]) == 4
    assert "holds no record of a published run" in capsys.readouterr().err
