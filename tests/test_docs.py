"""The documentation names what there is."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from pipeline import backtest
from pipeline.errors import ExitCode
from pipeline.network import DashboardOptions, TlsOptions
from pipeline.schema import EQUITY_COLUMNS, FILL_COLUMNS, ORDER_COLUMNS, TRADE_COLUMNS, Reason
from pipeline.signals.strategy import strategies

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
DOCS = {path.stem: path.read_text() for path in (ROOT / "docs").glob("*.md")}


def test_make_lists_every_target():
    """`make` alone prints each target that a person may call, with what it does."""
    makefile = (ROOT / "Makefile").read_text()
    declared = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[1].split()
    printed = subprocess.run(["make", "-C", str(ROOT)], capture_output=True, text=True, check=True).stdout

    for target in declared:
        assert re.search(rf"make {target} +\w", printed), target


@pytest.mark.parametrize("command", re.findall(r"^make ([a-z-]+)", README, re.MULTILINE))
def test_readme_names_targets_that_exist(command):
    """Every `make` command of the README is a target."""
    assert re.search(rf"^{command}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_strategy_of_the_readme_runs_as_told(tmp_path, monkeypatch):
    """Saved under the name it is given and called as the README says, it trades, with its own options alone."""
    (text,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    (name,) = re.findall(r"Save this as `(\w+\.py)`", README)
    (arguments,) = re.findall(rf"^make run ARGS='(strategy\.name={name} .*)'$", README, re.MULTILINE)
    (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    done = backtest(ROOT / "conf" / "sample.yaml", *arguments.split(), "output.report=false")

    assert dict(done.summary)["strategy"] == "yearly_high(window=252, hold=10)"
    assert done.rows["fills"] > 10


@pytest.mark.faults
def test_the_environment_finds_the_pipeline_from_anywhere(tmp_path):
    """`.venv/bin/python -m pipeline` works in any directory, as scheduled jobs call it."""
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run(
        ["make", "-s", "-C", str(ROOT), f"VENV={tmp_path}/venv", str(python)], check=True, stdout=subprocess.DEVNULL
    )
    script = "import pipeline, strategies; print(pipeline.__file__)"
    found = subprocess.run([python, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    assert Path(found.strip()) == ROOT / "pipeline" / "__init__.py"


def test_vendors_of_the_readme_are_those_of_the_docs():
    """Every layout that is recognised is named where people look first."""
    said = {
        "akshare-eastmoney": "AKShare",
        "akshare-sina": "AKShare",
        "alpha-vantage": "Alpha Vantage",
        "pipeline": "any",
        "timestamp": "Alpha Vantage",
    }
    for layout in re.findall(r"^\| `([a-z]+(?:-[a-z]+)?)", DOCS["data"].split("| layout")[1], re.MULTILINE):
        vendor = said.get(layout, layout.partition("-")[0])

        assert re.search(rf"\b{vendor}\b", README, re.IGNORECASE), layout


def test_readme_links_lead_somewhere():
    """Every relative link of README and docs points to a file."""
    for folder, text in [(ROOT, README), *((ROOT / "docs", text) for text in DOCS.values())]:
        for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", text):
            assert (folder / target).exists(), target


def test_pages_that_the_code_names_are_there():
    """Messages and settings send people to pages that exist."""
    files = [*(ROOT / "pipeline").rglob("*.py"), *(ROOT / "conf").iterdir()]
    named = {page for file in files for page in re.findall(r"\bdocs/([a-z]+)\.md", file.read_text())}

    assert named
    assert named <= DOCS.keys()


def test_every_setting_of_dashboard_and_clusters_is_explained():
    """The page about them names each key."""
    scheduler = {"dashboard", "address", "cluster", "tls", "timeout", "kind", "workers"}
    for name in {*DashboardOptions.model_fields, *TlsOptions.model_fields, *scheduler}:
        assert re.search(rf"\b{name}\b", DOCS["dashboard"]), name


def test_every_strategy_is_named_in_the_readme_or_docs():
    """A strategy that ships is written about."""
    for strategy in strategies():
        assert strategy.name in README + DOCS["strategies"], strategy.name


def test_every_column_reason_and_exit_code_is_documented():
    """The tables, reasons and exit codes of the docs are those of the code."""
    for column in (*EQUITY_COLUMNS, *ORDER_COLUMNS, *FILL_COLUMNS, *TRADE_COLUMNS):
        assert re.search(
            rf"\b{column}\b", DOCS["results"].replace("gross and net exposure", "gross_exposure net_exposure")
        ), column
    for reason in Reason:
        assert f"`{reason}`" in DOCS["trading"], reason
    for code in ExitCode:
        assert re.search(rf"\b{int(code)}\b", DOCS["results"]), code


def test_every_module_stands_in_the_import_ladder():
    """A module that no contract names would escape the check of the import order."""
    layers = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]["layers"]
    named = {name for layer in layers for name in re.findall(r"pipeline\.\w+", layer)}
    there = {f"pipeline.{path.stem}" for path in (ROOT / "pipeline").iterdir() if not path.name.startswith("__init__")}

    assert there - {"pipeline.__pycache__"} == named


@pytest.mark.parametrize("path", sorted((ROOT / "conf").glob("*.yaml")), ids=lambda path: path.name)
def test_every_config_is_named_in_the_readme_of_its_folder(path):
    """conf/README.md explains each file beside it."""
    assert yaml.safe_load(path.read_text()) is not None
    assert path.name in (ROOT / "conf" / "README.md").read_text()
