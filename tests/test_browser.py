"""The pages in a real browser without a network: they draw, sort, fit a phone, and run nothing foreign."""

from pathlib import Path

import numpy as np
import pytest

import chromium
from pipeline.dashboard.performance import recorded
from pipeline.results import report
from report_cases import HOSTILE, metrics_of, random_tables, run_record, smallest_tables

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not Path(chromium.PROGRAM).exists(),
        reason=f"{chromium.PROGRAM} is missing: nothing was tested in a browser. Install it: apt-get install chromium",
    ),
]
CANVASES = 'return deep(document, "canvas").length'
CELLS = """
const cells = (id, column) => deep(document.getElementById(id), ".slick-row")
  .sort((a, b) => parseFloat(a.style.top) - parseFloat(b.style.top))
  .map(row => row.querySelectorAll(".slick-cell")[column].textContent);
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium.running(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


def page_of(folder, tables, **changes):
    """Write the report of `tables` into `folder` and return its path."""
    path = folder / "report.html"
    path.write_text(report.page(run_record(**changes), tables, metrics_of(tables)), encoding="utf-8")
    return path


@pytest.mark.parametrize("tables", [random_tables(), smallest_tables()], ids=["usual", "smallest"])
def test_report_draws_offline(browser, tmp_path, tables):
    """All charts are drawn, nothing is asked of a network, and the console stays silent."""
    seen = browser.visit(page_of(tmp_path, tables), CANVASES)

    assert seen.problems == []
    assert [url for url in seen.requests if not url.startswith(("file://", "data:", "blob:"))] == []
    assert len([url for url in seen.requests if url.startswith("file://")]) == 1
    assert seen.value >= 4


def test_trades_sort_and_are_virtual(browser, tmp_path):
    """A click on a header sorts all trades, though only the visible rows are in the page."""
    tables = random_tables(trades=3_000)
    script = (
        CELLS
        + """
      const header = deep(document.getElementById("table-trades"), ".slick-header-column")
        .find(element => element.textContent.startsWith("Net pnl"));
      header.click();
      await settled();
      return cells("table-trades", 6);
    """
    )
    seen = browser.visit(page_of(tmp_path, tables), script)
    pnl = [float(text.replace(",", "")) for text in seen.value if text != "n/a"]

    assert seen.problems == []
    assert len(seen.value) < 100
    assert pnl == sorted(pnl)
    assert pnl[0] == pytest.approx(tables.trades["pnl"].min(), abs=0.005)


def test_hostile_symbols_are_only_shown(browser, tmp_path):
    """A symbol that looks like HTML is read as it is: no element, no dialog, no script comes of it."""
    tables = random_tables(sessions=60, trades=28)
    for table in (tables.trades, tables.orders, tables.fills):
        table["symbol"] = np.resize(HOSTILE, len(table))
    script = CELLS + 'return [cells("table-trades", 0), deep(document, "img, [onload], [onerror]").length]'
    seen = browser.visit(page_of(tmp_path, tables, name=HOSTILE[0], warnings=list(HOSTILE)), script)

    assert seen.problems == []
    assert set(seen.value[0]) == set(HOSTILE)
    assert seen.value[1] == 0


def test_report_fits_a_phone(browser, tmp_path):
    """On a narrow screen only wide tables scroll sideways, not the page."""
    seen = browser.visit(page_of(tmp_path, random_tables()), "return document.documentElement.scrollWidth", width=390)

    assert seen.problems == []
    assert seen.value <= 390


def test_performance_report_draws_offline(browser, tmp_path):
    """Dask's report works without a network, and under the policy that forbids one."""
    from distributed import Client, LocalCluster

    path = tmp_path / "performance.html"
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster, set_as_default=False) as client,
        recorded(client, path),
    ):
        client.submit(sum, [1, 2]).result()
    seen = browser.visit(path, 'return deep(document, ".bk-Tabs, .bk-tab").length')

    assert [text for text in seen.problems if "could not set initial ranges" not in text] == []
    assert [url for url in seen.requests if url.startswith("http")] == []
    assert seen.value >= 9
