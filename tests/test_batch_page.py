"""The page of all batches: what it shows, that it is whole in one file, and that nothing in it is run but ours."""

import hashlib
import shutil
from base64 import b64encode
from datetime import date, timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest

import chromium
from batches import EVENING, Nights
from pipeline.batch import page
from report_cases import HOSTILE

FOUR = """
retries: 0
runs:
- {name: a, conf: one.yaml, set: {name: a}}
- {name: b, conf: one.yaml, set: {name: b}, needs: [a]}
- {name: c, conf: one.yaml, set: {name: c}}
- {name: 'd[fast=10]', conf: one.yaml, set: {name: d}}
"""
browser_is_there = pytest.mark.skipif(
    not Path(chromium.PROGRAM).exists(),
    reason=f"{chromium.PROGRAM} is missing: nothing was tested in a browser. Install it: apt-get install chromium",
)


@pytest.fixture
def nights(tmp_path, monkeypatch):
    """Return batches in a folder of their own."""
    return Nights(tmp_path, monkeypatch, [0.0])


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium.running(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


class Parsed(HTMLParser):
    """A page as a parser reads it: its elements, and the text of each row."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep an element."""
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Keep text."""
        self.text.append(data.strip())


def test_every_run_is_shown_with_state_figures_and_links(nights):
    """What needs a look comes first, with its reason; links are relative, so the folder can be moved."""
    done, _ = nights.batch(FOUR, {"a": [4], "c": [3]})
    for path in nights.output.glob("[cd]/*"):
        (path / "report.html").touch()
    parsed = Parsed(Path(page.write(nights.output)).read_text())
    rows = [each for tag, each in parsed.elements if tag == "tr" and "data-state" in each]

    assert [row["data-state"] for row in rows] == ["failed", "blocked", "degraded", "committed"]
    assert {"said 4", "needs a, which is failed", "+12.50%", "1.00", "failed 4", "degraded 3"} <= set(parsed.text)
    links = [each["href"] for tag, each in parsed.elements if tag == "a"]
    assert f"c/{EVENING}-1/report.html" in links
    assert all((nights.output / link).exists() for link in links if "%" not in link)
    assert {"1 well, 1 degraded of 4", "4", "data"} <= set(parsed.text)  # runs that are well; exit code and its class
    assert done.page == str(nights.output / "index.html")


def test_a_run_that_was_found_stale_is_not_well(nights):
    """It is complete and ends with 3; where all are well, nothing else is counted."""
    done, _ = nights.batch(FOUR)
    assert ">4 well of 4<" in page.page(nights.output)
    path = Path(done.folder) / "batch.json"
    path.write_text(path.read_text().replace('"committed",\n   "exit_code": 0', '"complete",\n   "exit_code": 3', 1))

    assert ">3 well, 1 degraded of 4<" in page.page(nights.output)


def test_past_nights_are_a_strip(nights):
    """One mark for each of the newest thirty batches of a name, oldest first, each a link to its record."""
    for night in range(32):
        nights.batch(f"keep: {{batches: 99}}\n{FOUR}", {"a": [5]} if night == 31 else {}, EVENING + timedelta(night))
    marks = [each for tag, each in Parsed(page.page(nights.output)).elements if "title" in each]

    assert len(marks) == 30
    assert [mark["class"] for mark in marks] == ["committed"] * 29 + ["failed"]
    assert marks[0]["title"].startswith("as of 2020-11-22: committed; 4 committed; ")
    assert marks[-1]["href"] == "batches/nightly/2020-12-21-32/batch.json"


def test_no_link_of_the_page_is_dead(nights):
    """Of the nights there are as many as are kept, also when one was removed; none leads to a folder that is gone."""
    for night in range(4):
        done, _ = nights.batch(f"keep: {{batches: 2}}\n{FOUR}", as_of=EVENING + timedelta(night))
    elements = Parsed((nights.output / page.NAME).read_text()).elements
    links = [each["href"] for tag, each in elements if tag == "a"]

    assert len([each for _, each in elements if "title" in each]) == 2
    assert [link for link in links if not (nights.output / link).exists()] == []
    shutil.rmtree(done.runs[0]["run_dir"])
    links = [each["href"] for tag, each in Parsed(page.page(nights.output)).elements if tag == "a"]
    assert [link for link in links if not (nights.output / link).exists()] == []


def test_batches_that_need_a_look_come_first(nights):
    """Of those that are well, the newest."""
    for name, codes in (("fine", {}), ("bad", {"a": [5]}), ("new", {})):
        nights.batch(f"name: {name}\n{FOUR}", codes)
    found = [each["id"] for tag, each in Parsed(page.page(nights.output)).elements if tag == "section"]

    assert found[0] == "bad"
    assert sorted(found) == ["bad", "fine", "new"]


def test_nothing_is_loaded_and_only_our_script_is_run(nights):
    """The policy names the script by its hash; there is no address in the page but relative ones."""
    nights.batch(FOUR)
    text = page.page(nights.output)

    policy = next(each["content"] for tag, each in Parsed(text).elements if "http-equiv" in each)
    script = text.partition("<script>")[2].partition("</script>")[0]
    digest = b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy.startswith(f"default-src 'none'; script-src 'sha256-{digest}'; ")
    assert "http:" not in text
    assert "https:" not in text
    assert text.count("<script") == 1


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_text(nights, text):
    """Of labels, reasons and paths: no element and no attribute comes of them."""
    done, _ = nights.batch(FOUR)
    plain = Parsed(page.page(nights.output))
    path = Path(done.folder) / "batch.json"
    quoted = text.encode("unicode_escape").decode().replace("\\", "\\\\").replace('"', '\\"').replace("\\\\u", "\\u")
    path.write_text(path.read_text().replace("d[fast=10]", quoted).replace('"reason": ""', f'"reason": "{quoted}"'))
    hostile = Parsed(page.page(nights.output))

    assert [tag for tag, _ in hostile.elements if tag != "p"] == [tag for tag, _ in plain.elements if tag != "p"]
    assert not [each for _, each in hostile.elements if any(name.startswith("on") for name in each)]


def test_a_page_without_batches_says_so(tmp_path):
    """An empty output folder has a page too."""
    assert "No batch was run here yet." in page.page(tmp_path)


@pytest.mark.browser
@browser_is_there
def test_the_page_works_offline_in_a_browser(nights, browser):
    """Rows are sorted by a click, filtered by state and text; nothing is asked of a network; the console is silent."""
    nights.batch(FOUR, {"a": [4], "c": [3]})
    script = """
      const rows = () => [...document.querySelectorAll("tbody tr:not([hidden]) .label")]
        .map(cell => cell.dataset.key);
      const press = (selector, text) => [...document.querySelectorAll(selector)]
        .find(button => button.textContent.includes(text)).click();
      const seen = [rows()];
      press("th button", "Run"); press("th button", "Run"); seen.push(rows());
      press(".states button", "committed"); seen.push(rows());
      press(".states button", "committed");
      const field = document.querySelector("input");
      field.value = "NEEDS A"; field.dispatchEvent(new Event("input")); seen.push(rows());
      return [...seen, document.querySelector(".count").textContent];
    """
    seen = browser.visit(nights.output / page.NAME, script, ready=chromium.LOADED)

    assert seen.problems == []
    assert [url for url in seen.requests if not url.startswith("data:")] == [(nights.output / page.NAME).as_uri()]
    assert seen.value == [["a", "b", "c", "d[fast=10]"], [*"abc", "d[fast=10]"], ["d[fast=10]"], ["b"], "1 of 4 shown"]


@pytest.mark.browser
@browser_is_there
def test_the_page_fits_a_phone(nights, browser):
    """Nothing is wider than the screen."""
    nights.batch(FOUR.replace("d[fast=10]", "d[" + "x" * 80 + "]"), {"a": [4]}, date(2020, 11, 20))
    script = "return [...document.querySelectorAll('body *')].map(e => e.getBoundingClientRect().right)"
    seen = browser.visit(nights.output / page.NAME, script, width=390, ready=chromium.LOADED)

    assert seen.problems == []
    assert max(seen.value) <= 390
