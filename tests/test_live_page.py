"""The live page in a real browser: figures move, nothing complains, and a run ends right whoever looks on."""

import json
import re
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

import chromium
from pipeline import backtest
from pipeline.compute.choose import Choice
from pipeline.compute.local import free_port
from pipeline.compute.scheduler import start
from pipeline.compute.shipping import by_value
from pipeline.compute.site import Site
from pipeline.dashboard.live import page_of
from pipeline.dashboard.plugin import BacktestPlugin
from pipeline.modes import Kind
from report_cases import HOSTILE
from signal_cases import write_strategy

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not Path(chromium.PROGRAM).exists(),
        reason=f"{chromium.PROGRAM} is missing: nothing was tested in a browser. Install it: apt-get install chromium",
    ),
]
ROOT = Path(__file__).resolve().parents[1]
SLOW = """
    import time


    def signal(bars, *, seconds: float = 0.0):
        time.sleep(seconds)
        return (bars["close"] > bars["close"].rolling(20).mean()).astype(float)
"""
READ = """
  const all = (selector) => deep(document, selector)
    .map(e => e.innerText.replace(/\\s+/g, " ").replace(/\\u2212/g, "-").trim());
  const points = () => Math.max(...[...Bokeh.documents[0]._all_models.values()]
    .filter(model => model.type == "ColumnDataSource").map(model => model.data.session.length));
  const seen = () => ({chosen: all(".runs tr.chosen td"), steps: all(".strip li"), tiles: all(".tile"),
    legend: all(".legend li"), workers: all(".workers td"), messages: all(".messages li"), points: points()});
"""
WATCH = f"""
  {READ}
  const moments = [];
  for (let count = 0; count < 400 && !document.body.classList.contains("over"); count++) {{
    moments.push(seen());
    await settled(); await settled();
  }}
  await settled(); moments.push(seen());  // the last figures and the end may come within one wait
  return [moments, all("#over")];
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium.running(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """One folder for store and runs, so that the sample is ingested once, and a strategy that takes its time."""
    folder = tmp_path_factory.mktemp("watched")
    write_strategy(folder, "slow", SLOW)
    done = backtest(ROOT / "conf" / "sample.yaml", *settings(folder), "scheduler.kind=synchronous")
    (folder / "digest").write_text(done.result_digest)
    return folder


def settings(place: Path, seconds: float = 0.0) -> list[str]:
    """Return the settings of a run that takes so many seconds for a symbol."""
    strategy = f"strategy={{name: {place}/slow.py, params: {{seconds: {seconds}}}}}"
    return [f"data.store={place}/store", f"output.dir={place}/runs", "output.report=false", strategy]


@contextmanager
def watched_run(place: Path, *overrides: str):
    """Start a run with a dashboard; yield its process and the link that it prints."""
    own = [*settings(place, 1.5), "scheduler.dashboard=true", f"dashboard.port={free_port(19_000)}", *overrides]
    command = [sys.executable, "-m", "pipeline", "run", "conf/sample.yaml", "--json", *own]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        told = []
        for line in process.stderr:
            told.append(line)
            if found := re.search(r"dashboard: (\S+)", line):
                break
        else:
            pytest.fail("".join(told))
        threading.Thread(target=process.stderr.read, daemon=True).start()  # or the pipe would fill
        try:
            yield process, found[1]
        finally:
            process.kill()


def test_figures_move_until_the_run_has_ended(browser, place):
    """Partitions go from waiting to done, the account appears, the end is told; the console stays silent."""
    with watched_run(place, "scheduler.kind=processes", "scheduler.workers=2") as (process, link):
        seen = browser.visit(link, WATCH)
        answer = json.loads(process.communicate(timeout=60)[0])
    moments, over = seen.value
    first, last = moments[0], moments[-1]
    states = [[int(text.split()[0]) for text in moment["legend"]] for moment in moments if moment["legend"]]

    assert seen.problems == []
    assert process.returncode == 0
    assert answer["result_digest"] == (place / "digest").read_text()
    assert [text.split(maxsplit=1)[1] for text in first["legend"]] == ["done", "at work", "waiting", "failed"]
    (parts,) = {sum(counts) for counts in states}

    assert parts in {4, 5}  # one for each symbol, but that FB has few bars
    assert all(at_work <= 2 and not failed for _, at_work, _, failed in states)
    assert states == sorted(states)
    assert states[0][0] < states[-1][0]
    assert re.match(rf"Stage signals \d+ % of {parts} partitions", first["tiles"][0])
    assert first["points"] == 0
    assert last["points"] > 100
    assert last["chosen"][0] == "committed"
    assert all(re.search(r"\d s$", step) for step in last["steps"])
    assert f"Orders filled {answer['metrics']['orders_filled']:,.0f}" in " ".join(last["tiles"])
    assert last["messages"] == [f"files: {answer['run_dir']}"]
    assert "has ended" in over[0]


def test_a_browser_that_goes_costs_nothing(browser, place):
    """A page that is closed while the run goes on leaves it as it was."""
    with watched_run(place, "scheduler.kind=threads", "scheduler.workers=2") as (process, link):
        seen = browser.visit(link, f"{READ} return seen()")
        answer = json.loads(process.communicate(timeout=60)[0])

    assert seen.problems == []
    assert seen.value["chosen"][0] == "running"
    assert process.returncode == 0
    assert answer["result_digest"] == (place / "digest").read_text()


# a page that is told what to show


@pytest.fixture
def page():
    """Start a cluster with the page on it; yield its link and how to tell it of a run."""
    with start(Choice(Kind.SYNCHRONOUS, 1, ""), dashboard=True, site=Site(port=free_port(19_500))) as scheduler:
        client = scheduler.client
        client.register_plugin(by_value(BacktestPlugin(ends=True)))
        yield page_of(scheduler.link), lambda **news: client.log_event("backtest", {"run": "a", **news})


RUN = {
    "name": "demo",
    "strategy": "sma_cross(fast=10)",
    "began": "2026-01-05 22:30:00",
    "symbols": 5,
    "bars": 10_000,
    "first": "2020-01-01",
    "last": "2023-12-31",
    "cash": 1000.0,
}


def trading(*equity: float, at: int = 0) -> dict:
    """Return the news of a run in its trading loop, one close a day from 2020-01-01 on."""
    sessions = list(range(18_262 + at, 18_262 + at + len(equity)))
    stages = {"open": 0.01, "start": 0.5, "signals": 2.0}
    progress = {"stage": "trading", "total": 10_000, "unit": "bar", "done": 5000, "stage_bars": 5000}
    clock = {"stage_began": 2.5, "clock": 4.5, "stages": stages, "partitions": 5}
    return {**progress, **clock, "marks": {"at": at, "sessions": sessions, "equity": list(equity)}}


def test_the_account_is_drawn_as_it_comes(browser, page):
    """Every figure has its unit, and changes with the next close."""
    link, tell = page
    tell(**RUN, **trading(1100.0, 990.0), filled=1234, refused=5)
    seen = browser.visit(link, f"{READ} return seen()")
    tell(marks={"at": 2, "sessions": [18_264], "equity": [1210.0]})
    later = browser.visit(link, f"{READ} return seen()")

    assert seen.problems == later.problems == []
    assert re.fullmatch(r"Left [2-9]\.\d\d s in this stage, at its speed so far", seen.value["tiles"].pop(2))
    assert re.fullmatch(r"Elapsed \d+(\.\d\d)? s since 2026-01-05 22:30:00 UTC", seen.value["tiles"].pop(2))
    assert seen.value["tiles"] == [
        "Stage trading 50 % of 10,000 bars",
        "Speed 2.5 thousand bars per second, trading so far",
        "Session 2020-01-02 2 sessions done, to 2023-12-31",
        "Equity 990 currency, -1.00 % since the start",
        "Drawdown -10.00 % from the peak; worst -10.00 %",
        "Orders filled 1,234 5 refused or partial",
    ]
    assert seen.value["points"] == 2
    assert later.value["points"] == 3
    assert later.value["tiles"][5:7] == [
        "Equity 1,210 currency, +21.00 % since the start",
        "Drawdown 0.00 % from the peak; worst -10.00 %",
    ]


@pytest.mark.parametrize(("dark", "ground"), [(False, "rgb(250, 250, 250)"), (True, "rgb(20, 24, 28)")])
@pytest.mark.parametrize("width", [390, 1200])
def test_the_page_suits_day_and_night_and_phone(browser, page, dark, ground, width):
    """Nothing is cut off, and text stands out from its ground at least 4.5 to 1, as WCAG AA asks."""
    link, tell = page
    tell(**RUN, **trading(1100.0, 990.0), warnings=["the sample is small"])
    script = """
      const shade = (colour) => colour.match(/[\\d.]+/g).slice(0, 3).map(part => part / 255)
        .map(part => part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
        .reduce((sum, part, place) => sum + part * [0.2126, 0.7152, 0.0722][place], 0.05);
      const ground = getComputedStyle(document.body).backgroundColor;
      const contrast = (element) => [shade(getComputedStyle(element).color), shade(ground)].sort((a, b) => a - b);
      const texts = deep(document, ".tile *, td, th, .strip b, .soft, .messages li").filter(e => e.innerText);
      return [document.documentElement.scrollWidth, ground, texts.length,
        Math.min(...texts.map(contrast).map(([low, high]) => high / low))];
    """
    seen = browser.visit(link, script, width=width, dark=dark)

    assert seen.problems == []
    assert seen.value[0] <= width
    assert seen.value[1] == ground
    assert seen.value[2] > 30
    assert seen.value[3] >= 4.5


def test_hostile_names_are_only_shown(browser, page):
    """What looks like HTML is read as it is: no element, no dialog, no script comes of it."""
    link, tell = page
    name = HOSTILE[0]
    told = {"name": name, "strategy": name, "warnings": [name], "reason": name, "stage": name, "unit": name}
    tell(**{**RUN, **trading(1000.0), **told})
    seen = browser.visit(
        link, f'{READ} return [all(".runs tr.chosen td"), deep(document, "img[src=x], [onload], [onerror]").length]'
    )

    assert seen.problems == []
    assert seen.value[0][1:3] == [name, name]
    assert seen.value[1] == 0


def test_a_viewer_chooses_among_runs(browser, page):
    """The newest run is shown until another one is chosen."""
    link, tell = page
    tell(**RUN, **trading(1100.0))
    tell(**{**RUN, "run": "b", "name": "second"}, stage="signals", total=5, unit="partition")
    script = f"""{READ}
      const before = all(".runs tr.chosen td")[1];
      const select = deep(document, "select").find(element => element.options.length == 3);
      select.selectedIndex = 2;
      select.dispatchEvent(new Event("change"));
      while (all(".runs tr.chosen td")[1] == before) await settled();
      return [before, all(".runs tr.chosen td")[1], all(".runs td").length];
    """
    seen = browser.visit(link, script)

    assert seen.problems == []
    assert seen.value[:2] == ["second", "demo"]


def test_the_page_is_in_the_navigation_bar_of_all(browser, page):
    """From any of Dask's own pages it is one click away, and back."""
    link, _ = page
    bar = 'return [...document.querySelectorAll(".navbar li > a")].map(a => a.getAttribute("href"))'
    there = browser.visit(link.replace("/backtest", "/status"), bar)
    here = browser.visit(link, bar)

    assert here.problems == []
    assert "backtest" in there.value
    assert here.value == there.value
