"""The report: everything is on the page, nothing is loaded, nothing foreign runs, no extreme is lost."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pipeline.results import bokehjs, charts, report
from report_cases import CASH, HOSTILE, metrics_of, monitor_record, random_tables, run_record, smallest_tables

SECTIONS = (
    "headline", "warnings", "time", "months", "drawdowns", "metrics", "trades", "symbols", "orders", "seconds", "data",
    "reproduce",
)  # fmt: skip


class Dom(HTMLParser):
    """The tags of a page with their attributes, its text outside scripts and styles, and its scripts."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text, self.scripts, self.inside = [], "", {}, []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self.inside.append((tag, dict(attrs).get("type", "")))

    def handle_endtag(self, tag):
        if tag in ("script", "style"):
            self.inside.pop()

    def handle_data(self, data):
        if not self.inside:
            self.text += data
        elif self.inside[-1][0] == "script":
            self.scripts.setdefault(self.inside[-1][1], []).append(data)


def dom_of(record, tables, metrics=None):
    return Dom(report.page(record, tables, metrics_of(tables) if metrics is None else metrics))


@pytest.fixture(scope="module")
def usual():
    """Parse the page of a run of 2,500 sessions."""
    return dom_of(run_record(), random_tables())


@pytest.fixture(scope="module")
def smallest():
    """Parse the page of a run of one session without an order."""
    return dom_of(run_record(), smallest_tables())


@pytest.mark.parametrize("size", ["usual", "smallest"])
def test_page_has_every_section(size, request):
    """Each section stands on the page once, and a chart or table has an element to stand in."""
    dom = request.getfixturevalue(size)
    ids = [attrs["id"] for _, attrs in dom.tags if "id" in attrs]
    targets = [item["target_id"] for item in json.loads(dom.scripts["application/json"][0])]

    assert len(ids) == len(set(ids))
    assert set(SECTIONS) <= set(ids)
    assert set(targets) <= set(ids)
    assert len(targets) == 4


def test_page_loads_nothing(usual):
    """No element names another file, and the page forbids itself every connection."""
    loading = [
        (tag, name, value)
        for tag, attrs in usual.tags
        for name, value in attrs.items()
        if name in {"src", "href", "srcset", "data", "action", "poster"} and not value.startswith("#")
    ]
    policy = next(
        attrs["content"] for _, attrs in usual.tags if "content-security" in attrs.get("http-equiv", "").lower()
    )

    assert loading == []
    assert not {"link", "iframe", "object", "embed", "base"} & {tag for tag, _ in usual.tags}
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-eval" not in policy
    assert "'unsafe-inline'" not in policy.split("style-src")[0]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_text(text, usual):
    """A symbol, name, warning, reason or option that looks like HTML adds no element, attribute or script."""
    tables = random_tables(sessions=60, trades=30)
    for table in (tables.trades, tables.fills, tables.orders):
        table["symbol"] = text
    tables.orders["reason"] = tables.orders["reason"].where(tables.orders["status"] == "filled", text)
    strategy = run_record()["strategy"] | {"name": text, "params": {text: text}}
    dom = dom_of(run_record(name=text, strategy=strategy, warnings=[text], state=text, stages={text: 1.0}), tables)
    items = json.loads(dom.scripts["application/json"][0])

    assert {tag for tag, _ in dom.tags} == {tag for tag, _ in usual.tags} | {"ul", "li"}
    assert not [name for _, attrs in dom.tags for name in attrs if name.startswith("on")]
    assert len(dom.scripts[""]) == len(usual.scripts[""])
    assert dom.text.count(text) >= 5
    assert text in json.dumps(items, ensure_ascii=False).replace('\\"', '"')


def test_scripts_cannot_end_early():
    """No script of ours contains what would end its element or hide its end."""
    for script in (*bokehjs.scripts(), report.LOADER):
        assert not re.search(r"</script|<!--.*<script", script, re.IGNORECASE | re.DOTALL)
        assert "\r" not in script


def test_smallest_run_says_not_available(smallest):
    """One flat session without an order gives n/a, 0 trades and no NaN, None or infinity to read."""
    assert "n/a" in smallest.text
    assert "All 0" in smallest.text
    assert "Equity never closed below an earlier peak." in smallest.text
    assert not re.search(r"\b(nan|NaN|NaT|None|inf)\b", smallest.text)


def test_a_figure_has_its_unit_once():
    """A percentage has its sign, and beside it what it is of, as on the screen when the run was over."""
    figures = {"total_return": 26.8097, "annual_return": 0.125, "turnover": 26.8097}
    text = " ".join(dom_of(run_record(), smallest_tables(), figures).text.split())

    assert "Total return2,680.97% Annual return12.50%per year" in text
    assert "Turnover2,680.97%per year" in text
    assert "% %" not in text
    assert "%%" not in text


def test_missing_metrics_are_not_available():
    """A metric that is None or unknown is shown as n/a."""
    dom = dom_of(run_record(), random_tables(sessions=30), metrics={"sharpe": None})

    assert dom.text.count("n/a") >= 40


def test_a_short_run_says_why_it_has_no_annual_figures():
    """In the conventions, and beside each figure."""
    dom = dom_of(run_record(), random_tables(sessions=30), metrics={"total_return": 0.1})

    assert "This run is shorter than a year: not annualised." in dom.text
    assert dom.text.count("(shorter than a year: not annualised)") == 10
    assert "not annualised)" not in dom_of(run_record(), random_tables(sessions=30), metrics={}).text


def test_doubts_are_on_the_page(smallest):
    """Fills at the close of their signal, warnings and lost rows are told; a clean run tells none."""
    record = run_record(warnings=["31 negative signals were clipped to 0"])
    record["config"]["trading"]["fill"] = "close"
    record["snapshot"]["counts"] |= {"quarantined": 37, "rows_in": 12_628, "files_refused": 1}
    doubts = (
        "optimistic",
        "31 negative signals were clipped to 0",
        "does not balance",  # 12,628 is one more than stored and quarantined
    )
    text = dom_of(record, smallest_tables()).text

    assert [doubt for doubt in doubts if doubt not in text] == []
    assert [doubt for doubt in doubts if doubt in smallest.text] == []
    assert "No warnings." in smallest.text


def test_the_account_is_told_in_numbers():
    """The universe is that of the run, and costs are what was paid, also where the config left them to the market."""
    record = run_record(symbols=1)
    free = {"rate": 0.0, "minimum": 0.0, "fixed": 0.0, "slippage": 0.0}
    dear = {"rate": 0.00025, "minimum": 5.0, "fixed": 1.0, "slippage": 0.0002}

    assert "1 symbol, 12,590 bars" in dom_of(record, smallest_tables()).text
    assert "commission 0, us market; slippage 0% of price" in dom_of(run_record(costs=free), smallest_tables()).text
    told = "commission 0.025% of value + 1.00 currency, at least 5.00 currency per order, us market; slippage 0.02%"
    assert told in dom_of(run_record(costs=dear), smallest_tables()).text


def test_notes_of_the_data_are_told_up_to_twenty():
    """The first notes stand on the page, and how many more there are."""
    record = run_record()
    record["snapshot"]["notes"] = [f"symbol {number}: doubtful" for number in range(1_025)]
    text = dom_of(record, smallest_tables()).text

    assert text.count(": doubtful") == 20
    assert "And 1,005 more; all are in run.json." in text


def test_nothing_is_said_of_a_prediction_that_was_not_made(usual):
    """A scheduler that was chosen without measuring has no row for it."""
    record = run_record()
    record["scheduler"]["predicted"] = {}

    assert "Predicted" in usual.text
    assert "redict" not in dom_of(record, smallest_tables()).text


def test_trades_are_cut_at_the_largest():
    """Of more trades than the page can hold the largest by gain or loss are kept."""
    trades = random_tables(trades=6_000).trades
    size = trades["pnl"].abs()
    kept = report.largest(trades)

    assert len(kept) == 5_000
    assert kept["pnl"].abs().min() >= size.drop(kept.index).max()


def test_monthly_returns_by_hand():
    """A month's return is its last equity over that of the month before, the first over the starting cash."""
    tables = smallest_tables()
    days = pd.Series(pd.to_datetime(["2023-12-28", "2023-12-29", "2024-01-02", "2024-03-28"]).as_unit("ms"))
    equity = pd.DataFrame({"session": days, "equity": [1.1 * CASH, 1.2 * CASH, 0.9 * CASH, 1.8 * CASH]})
    benchmark = pd.DataFrame({"session": days, "value": [CASH, 1.5 * CASH, CASH, 3 * CASH]})
    years = report.calendar(type(tables)(**vars(tables) | {"equity": equity, "benchmark": benchmark}), CASH)

    assert [year["year"] for year in years] == [2023, 2024]
    assert years[0]["months"][11]["value"] == pytest.approx(0.2)
    assert years[1]["months"][0]["value"] == pytest.approx(-0.25)
    assert np.isnan(years[1]["months"][1]["value"])
    assert years[1]["months"][2]["value"] == pytest.approx(1.0)
    assert [year["total"] for year in years] == pytest.approx([0.2, 0.5])
    assert [year["benchmark"] for year in years] == pytest.approx([0.5, 1.0])


def test_drawdowns_by_hand():
    """The deepest fall comes first, with its peak, trough, recovery and length; an open one has no recovery."""
    days = pd.Series(pd.bdate_range("2024-01-01", periods=7).as_unit("ms"))
    equity = pd.DataFrame({"session": days, "equity": [90.0, 100.0, 120.0, 60.0, 90.0, 130.0, 117.0]})
    falls = report.deepest_drawdowns(equity, 100.0)

    assert [fall["depth"] for fall in falls] == pytest.approx([-0.5, -0.1, -0.1])
    assert (falls[0]["peak"], falls[0]["trough"], falls[0]["recovery"]) == (days[2], days[3], days[5])
    assert falls[0]["sessions"] == 3
    assert {falls[1]["peak"], falls[2]["peak"]} == {None, days[5]}
    assert [fall["recovery"] for fall in falls if fall["peak"] == days[5]] == [None]


def test_contribution_by_hand():
    """A symbol's share is the net pnl of its closed trades; one that is only held has none."""
    trades = pd.DataFrame(
        {"symbol": pd.Categorical(["B", "A", "B", "C"]), "pnl": [30.0, -10.0, -5.0, np.nan]},
    )
    table = report.contribution(trades, 1_000.0)

    assert table["symbol"].tolist() == ["B", "C", "A"]
    assert table["pnl"].tolist() == [25.0, 0.0, -10.0]
    assert table["share"].tolist() == [0.025, 0.0, -0.01]
    assert table["closed"].tolist() == [2, 0, 1]
    assert table["still_open"].tolist() == [0, 1, 0]
    assert table["won"].fillna(-1).tolist() == [0.5, -1, 0]


def test_turnover_by_hand():
    """A month's turnover is half of what was bought and sold over its mean equity."""
    days = pd.Series(pd.to_datetime(["2024-01-30", "2024-01-31", "2024-02-01"]))
    equity = pd.DataFrame({"session": days, "equity": [90.0, 110.0, 100.0]})
    fills = pd.DataFrame({"session": days[:2], "quantity": [2.0, -3.0], "price": [10.0, 20.0]})
    table = charts.turnover(equity, fills)

    assert table["month"].tolist() == [pd.Timestamp("2024-01-01")]
    assert table["turnover"].tolist() == pytest.approx([0.4])


FLOATS = st.one_of(st.floats(-1e9, 1e9), st.just(float("nan")))


@given(
    lines=arrays.arrays(np.float64, st.tuples(st.integers(1, 3), st.integers(1, 400)), elements=FLOATS),
    points=st.integers(2, 60),
)
def test_down_sampling_keeps_extremes(lines, points):
    """What is drawn is a bounded, ascending choice with the ends and the highest and lowest value of every line."""
    kept = charts.kept(lines, points)
    sessions = lines.shape[1]

    assert (np.diff(kept) > 0).all()
    assert kept[0] == 0
    assert kept[-1] == sessions - 1
    assert len(kept) <= max(points, 2 * len(lines)) + 2
    for line in lines[~np.isnan(lines).all(axis=1)]:
        assert np.nanmax(line[kept]) == np.nanmax(line)
        assert np.nanmin(line[kept]) == np.nanmin(line)


@given(spike=st.integers(0, 9_999), sign=st.sampled_from([1, -1]))
def test_down_sampling_keeps_a_single_spike(spike, sign):
    """One session that stands out of ten thousand is drawn."""
    lines = np.zeros((2, 10_000))
    lines[1, spike] = sign

    assert spike in charts.kept(lines)


def test_large_runs_stay_small_and_fast():
    """20 years of 5,000 symbols with 60,000 trades stay under 4 MB, with about 2,000 points a line."""
    tables = random_tables(sessions=5_040, symbols=5_000, trades=60_000)
    page = report.page(run_record(), tables, metrics_of(tables))
    dom = Dom(page)
    model = json.loads(dom.scripts["application/json"][0])[0]

    assert len(page.encode()) < 4_000_000
    assert max(points_of(model)) <= charts.POINTS + 2
    assert "The 5,000 of 60,000 trades" in dom.text


def points_of(value):
    """Yield the length of every numeric array in the JSON of Bokeh models."""
    if isinstance(value, dict):
        if value.get("type") == "ndarray":
            yield value["shape"][0]
        for part in value.values():
            yield from points_of(part)
    elif isinstance(value, list):
        for part in value:
            yield from points_of(part)


def test_importing_the_report_does_not_import_bokeh():
    """Bokeh is loaded by the first page, not by whoever imports the module."""
    code = "import sys, pipeline.results.report; sys.exit('bokeh' in sys.modules or 'jinja2' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_page_tells_where_the_time_went(usual):
    """What each stage took, what more cores would save, and a box for every partition in its worker's lane."""
    text = " ".join(usual.text.split())
    boxes = [attrs for tag, attrs in usual.tags if tag == "i"]

    assert "signals0.2030.3007550150, peak 1601.00.06" in text  # cells without what stands between them
    assert "Signals 44%, results 33% of 0.46 s: twice the cores would save at most 0.10 s." in text
    assert (
        "0.400 s of work in 2 partitions, 0.050 s of it reading, 0.100 s waiting for a core that others had; "
        "the GIL was held for 25% of it; at the end a worker waited for the others 8% of the stage"
    ) in text
    assert "thread strategy_0" in text
    assert [(box["style"], box["title"][:4]) for box in boxes] == [
        ("left: 0.0%; width: 100.0%", "AAPL"),
        ("left: 5.0%; width: 50.0%", "IBM:"),
    ]


def test_prices_are_described_in_words():
    """Not in those of the settings."""
    snapshot = run_record()["snapshot"]
    pages = [
        dom_of(run_record(snapshot={**snapshot, "adjustment": each}), smallest_tables()) for each in ("none", "all")
    ]

    assert "as traded" in pages[0].text
    assert "adjusted for splits and dividends" in pages[1].text


def test_the_memory_of_workers_is_told_where_there_are_some():
    """Threads have none of their own: no empty column."""
    record = monitor_record()
    threads = dom_of(run_record(monitor=record), smallest_tables())
    record["stages"]["signals"]["workers_peak_memory_mb"] = 170.0
    processes = dom_of(run_record(monitor=record), smallest_tables())

    assert "Worker [MB]" not in threads.text
    assert "Worker [MB]" in processes.text


def test_page_of_an_older_run_goes_without_what_it_does_not_know():
    """A record without a monitor still makes a page."""
    record = run_record()
    del record["monitor"]
    dom = dom_of(record, smallest_tables())

    assert "threads, 2 workers" in dom.text
    assert not [tag for tag, _ in dom.tags if tag == "i"]


@pytest.mark.parametrize("text", HOSTILE)
def test_names_of_partitions_are_only_text(text):
    """Symbols and hosts come from elsewhere: they make no tag and no attribute."""
    dom = dom_of(run_record(monitor=monitor_record(symbols=text, worker=f"{text}/1/a")), smallest_tables())
    (box, _) = [attrs for tag, attrs in dom.tags if tag == "i"]

    assert set(box) == {"style", "title"}
    assert box["title"].startswith(text)
    assert not [tag for tag, attrs in dom.tags if tag == "img" or "onload" in attrs]
