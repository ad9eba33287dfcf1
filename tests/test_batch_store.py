"""What a store holds back or doubts reaches every run that reads it, on every night, also one that was found."""

import json
from pathlib import Path

import pytest

from csv_files import DAYS, append, bars, night_is_over, one_run, write
from pipeline import upkeep
from pipeline.command_line import main
from pipeline.config import load

NEXT = "2021-01-11"


@pytest.fixture
def place(tmp_path):
    """Return a folder with a batch of two runs over three symbols."""
    one_run(tmp_path, ", warn_above: 0.2")
    (tmp_path / "eod.yaml").write_text("runs: [{conf: one.yaml, vary: {trading.cash: [1000, 2000]}}]\n")
    return tmp_path


def batch(place, capsys, *overrides) -> dict:
    """Make the batch and return its answer."""
    code = main(["batch", str(place / "eod.yaml"), *overrides, "--json"])
    answer = json.loads(capsys.readouterr().out)
    assert answer["exit_code"] == code
    return answer


def told(answer) -> list[tuple[str, int, str]]:
    return [(run["state"], run["exit_code"], run["reason"]) for run in answer["runs"]]


def test_a_past_evening_sees_what_came_late(place, capsys):
    """Bars of its dates that came after it, and new symbols: what the store holds now, up to that date."""
    write(place / "bars" / "AAA.csv", bars(DAYS[:4]))
    then = batch(place, capsys, "--as-of", DAYS[4])
    write(place / "bars" / "AAA.csv", bars(close=10.0))
    write(place / "bars" / "DDD.csv", bars(close=40.0))
    later = batch(place, capsys, "--as-of", DAYS[4])

    rows = [json.loads((Path(each["runs"][0]["run_dir"]) / "run.json").read_text())["rows"] for each in (then, later)]
    assert [each["bars"] for each in rows] == [14, 20]
    assert Path(then["runs"][0]["run_dir"]).is_dir()  # what was made then stays


def test_a_store_that_holds_symbols_back_is_3_every_night(place, capsys):
    """Each run, the night of the ingest and the next, made or found; mended files end it; `run` says the same."""
    assert batch(place, capsys)["exit_code"] == 0
    write(place / "bars" / "AAA.csv", bars(DAYS[:6]))
    first, again = batch(place, capsys), batch(place, capsys)
    alone = main(["run", str(place / "one.yaml"), "trading.cash=1000"])
    capsys.readouterr()
    write(place / "bars" / "AAA.csv", bars())

    reason = (
        f"the files of 1 symbol no longer give all stored bars, which stay: AAA ({place / 'bars' / 'AAA.csv'}: AAA no "
        f"longer reaches {DAYS[9]} (it ends {DAYS[5]}); its 10 stored bars stay. `ingest --rebuild` takes the file as "
        f"it is)"
    )
    for answer in (first, again):
        assert answer["exit_code"] == 3
        assert told(answer) == [("complete", 3, f"{reason}; already complete")] * 2
    assert alone == 3
    assert batch(place, capsys)["exit_code"] == 0


def test_a_source_that_is_gone_hides_nothing(place, capsys):
    """The store is used as it is, and what it holds back is told still."""
    batch(place, capsys)
    write(place / "bars" / "AAA.csv", bars(DAYS[:6]))
    batch(place, capsys)
    (place / "bars").rename(place / "aside")
    answer = batch(place, capsys)

    assert answer["exit_code"] == 3
    assert any("AAA no longer reaches" in text for text in answer["runs"][1]["warnings"])


def test_a_revision_that_is_refused_is_told_as_such(place, capsys):
    """Every night until it is accepted: its files would change stored bars, nothing was shorter."""
    refuse = "data.revisions=refuse"
    batch(place, capsys, refuse)
    write(place / "bars" / "CCC.csv", [*bars(DAYS[:9], close=30.0), *bars(DAYS[9:], close=31.0)])
    answers = [batch(place, capsys, refuse) for _ in range(2)]
    taken = batch(place, capsys, "data.revisions=accept")
    night_is_over(place / "store")
    after = batch(place, capsys, "data.revisions=accept")

    for answer in answers:
        assert answer["exit_code"] == 3
        for _, code, reason in told(answer):
            assert code == 3
            assert reason.startswith("the files of 1 symbol would change stored bars, which stay: CCC (")
            assert "since data.revisions is refuse" in reason
            assert "shorter" not in reason
    assert "stored bars of 1 symbol changed" in taken["runs"][1]["reason"]
    assert (taken["exit_code"], after["exit_code"]) == (3, 0)


def test_a_revision_is_told_a_day_later_if_who_took_it_in_died(place, capsys):
    """No batch came to its end since: the next one ends with 3, once; a run by hand would have, too."""
    batch(place, capsys)
    rows = bars()
    rows[2] = f"{DAYS[2]},10.0,11.0,9.0,10.5,10.5,100"
    write(place / "bars" / "AAA.csv", rows)
    upkeep.opened_store(load(place / "one.yaml", []), lambda _: None)  # and no word of it
    night_is_over(place / "store", told=False)
    append(place / "bars" / "BBB.csv", *bars([NEXT], close=20.0))
    answers = [batch(place, capsys, "--as-of", day) for day in ("2021-01-12", "2021-01-13")]

    assert answers[0]["runs"][0]["reason"].startswith("stored bars of 1 symbol changed (AAA: ")
    assert [answer["exit_code"] for answer in answers] == [3, 0]


def test_a_revision_is_told_by_all_of_the_night_whoever_took_it_in(place, capsys):
    """An ingest that nobody heard of, as of a batch that died after it: the next batch says it, and the one after."""
    batch(place, capsys)
    rows = bars()
    rows[2] = f"{DAYS[2]},10.0,11.0,9.0,10.5,10.5,100"
    write(place / "bars" / "AAA.csv", rows)
    assert main(["ingest", str(place / "one.yaml"), "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["reason"].startswith("stored bars of 1 symbol changed (AAA: ")
    answers = [batch(place, capsys) for _ in range(2)]
    night_is_over(place / "store")
    later = batch(place, capsys)

    for answer, state in zip(answers, ("degraded", "complete"), strict=True):
        assert answer["exit_code"] == 3
        assert [run["state"] for run in answer["runs"]] == [state] * 2
        for run in answer["runs"]:
            assert run["reason"].startswith("stored bars of 1 symbol changed (AAA: ")
            assert any(text.startswith("AAA: 1 of 10 stored bars otherwise") for text in run["warnings"])
    assert later["exit_code"] == 0
    assert any(text.startswith("AAA: 1 of 10 stored bars otherwise") for text in later["runs"][0]["warnings"])


def test_a_source_that_is_gone_is_3(place, capsys):
    """A disk that is not mounted brings no bars: every run says so, though it is complete."""
    batch(place, capsys)
    (place / "bars").rename(place / "aside")
    answer = batch(place, capsys)

    assert answer["exit_code"] == 3
    for _, code, reason in told(answer):
        assert code == 3
        assert reason.startswith(f"data.path: {place}/bars: no such folder or file")
        assert "The store is used as it is; already complete" in reason


def test_a_night_without_usable_bars_is_3(place, capsys):
    """All of tonight's rows refused: the symbols and the rule are named, until bars come."""
    batch(place, capsys)
    for symbol in ("AAA", "BBB", "CCC"):
        append(place / "bars" / f"{symbol}.csv", f"{NEXT},10,9,11,10,10,100")
    answers = [batch(place, capsys) for _ in range(2)]

    for answer in answers:
        assert answer["exit_code"] == 3
        assert {code for _, code, _ in told(answer)} == {3}
        assert (
            "3 rows newly refused, 0 new bars stored: AAA, BBB, CCC; most by rule ohlc" in answer["runs"][1]["reason"]
        )
        assert any("3 of 33 rows refused when the bars were ingested" in text for text in answer["runs"][1]["warnings"])


def test_a_jump_of_tonight_reaches_every_run(place, capsys):
    """As a warning of each, in the record and the log, also where an ingest came before; not as a degradation."""
    batch(place, capsys)
    append(place / "bars" / "AAA.csv", *bars([NEXT], close=5.1))
    assert main(["ingest", str(place / "one.yaml")]) == 0
    capsys.readouterr()
    answer = batch(place, capsys)

    text = f"AAA: the close of {NEXT} moves by -49.0% without a corporate action that explains it."
    assert answer["exit_code"] == 0
    for run in answer["runs"]:
        assert [warning.startswith(text) for warning in run["warnings"]] == [True]
    folder = next((place / "runs" / "batches" / "eod").glob("*-2"))
    assert text in (folder / "log.jsonl").read_text()
    assert text in (folder / "batch.json").read_text()
    assert text in (place / "runs" / "index.html").read_text()


@pytest.mark.parametrize("flags", [[], ["--rebuild"]])
def test_ingest_warns_of_refused_rows_as_a_run_does(place, capsys, flags):
    """One bad row of history is too little for 3, and is told all the same: on the screen and to machines."""
    append(place / "bars" / "AAA.csv", f"{NEXT},10,9,11,10,10,100")
    code = main(["ingest", str(place / "one.yaml"), "--json", *flags])
    ingested = capsys.readouterr()
    told = f"1 of 31 rows refused when the bars were ingested, see {place / 'store' / 'quarantine.csv'}"
    answer = json.loads(ingested.out)
    assert (code, answer["problems"], answer["reason"], answer["warnings"]) == (0, [told], "", [told])
    assert f"warning: {told}\n" in ingested.err

    assert main(["run", str(place / "one.yaml")]) == 0
    assert f"warning: {told}\n" in capsys.readouterr().err
