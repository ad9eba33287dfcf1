"""The gate: which texts are numbers, sessions and symbols, and which rows are good."""

from datetime import date, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.bars.quality import (
    RefusedError,
    Rule,
    is_symbol,
    judge,
    numbers,
    printable,
    quarantine,
    sessions,
)
from pipeline.schema import QUARANTINE

AS_OF = date(2021, 4, 21)


def parsed(*texts):
    return numbers(pa.array(texts, pa.string()), np.arange(2, 2 + len(texts)))


def days(*texts, compact=False):
    return sessions(pa.array(texts, pa.string()), np.arange(2, 2 + len(texts)), compact=compact)


def bar(**changed):
    """One good bar, as the gate sees it."""
    values = {"session": "2020-01-02", "open": 10.0, "high": 12.0, "low": 9.0, "close": 11.0, "volume": 100.0}
    values |= {"factor": 0.5, "adjusted_close": 5.5, "dividend": 0.0, "split": 1.0} | changed
    arrays = {name: np.array([value]) for name, value in values.items()}
    arrays["session"] = arrays["session"].astype("datetime64[D]")
    return arrays


def verdict(columns, *, good_symbol=True):
    broken, rules = judge(columns, np.array([good_symbol]), AS_OF)
    return [*rules, None][broken[0]]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1.0),
        ("12.50", 12.5),
        (".5", 0.5),
        ("-3", -3.0),
        ("1e5", 1e5),
        ("1.5E-2", 0.015),
        (" 7 ", 7.0),
        ("007", 7.0),
    ],
)
def test_plain_numerals_are_numbers(text, value):
    """Digits, one decimal point, an exponent, spaces around."""
    assert parsed("1", text)[1] == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0.",
        "1.e5",
        "1e",
        "-",
        "nan",
        "NaN",
        "inf",
        "-inf",
        "Infinity",
        "null",
        "None",
        "+1",
        "0x10",
        "1_000",
        "1f",
        "\u0967\u0968",
        "1 2",
        "$5",
        "5%",
        "1.2.3",
        "#N/A",
    ],
)
def test_other_texts_are_not_numbers(text):
    """What was cut, filled or formatted never becomes a number, and leaves its neighbours alone."""
    values = parsed("1.5", text, "2.5")

    assert np.isnan(values[1])
    assert values[[0, 2]].tolist() == [1.5, 2.5]


@pytest.mark.parametrize("text", ["1,234.50", "12,5", "1,234", "1,234,567", "1'234.5", "1.234,5"])
def test_separators_in_numbers_refuse_the_file(text):
    """A decimal comma or a thousands separator puts every number in doubt; the line is named."""
    with pytest.raises(RefusedError, match="at line 3 looks like a decimal comma or a thousands separator") as refused:
        parsed("1", text)

    assert refused.value.rule is Rule.SEPARATOR


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_printed_floats_come_back_exactly(value):
    """What Python prints is read as the same number, bit for bit."""
    assert parsed(repr(value))[0] == value


def test_typed_numbers_keep_their_value_and_nulls_are_nan():
    """Parquet's integers and floats become float64."""
    values = numbers(pa.array([1, None, 3], pa.int64()), np.arange(3))

    np.testing.assert_array_equal(values, [1.0, np.nan, 3.0])


def test_column_of_dates_is_no_column_of_numbers():
    """A price column of another type refuses the file."""
    with pytest.raises(RefusedError, match="a column of numbers is date32"):
        numbers(pa.array([date(2020, 1, 2)]), np.arange(1))


@pytest.mark.parametrize("suffix", ["", " 00:00", " 00:00:00", "T00:00:00", " 00:00:00.000"])
def test_iso_dates_may_end_in_midnight(suffix):
    """A midnight says no more than the date."""
    assert days("2020-02-29" + suffix, "1999-12-31").astype(str).tolist() == ["2020-02-29", "1999-12-31"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "01/02/2020",
        "2020/01/02",
        "2020-1-2",
        "2020-02-30",
        "20200102",
        "1577923200",
        "1577923200000",
        "2020-W01-4",
        "Jan 2, 2020",
        "43832",
        "null",
        "\u0662020-01-02",
    ],
)
def test_undeclared_dates_are_none(text):
    """Only the declared form is a date; nothing is guessed, and epochs are not silently 1970."""
    found = days("2020-01-02", text)

    assert np.isnat(found).tolist() == [False, True]


def test_compact_dates_count_where_the_layout_says_so():
    """YYYYMMDD is a date for Stooq, and an impossible one is not."""
    found = days("20200102", "20200230", "2020-01-03", compact=True)

    assert found.astype(str).tolist() == ["2020-01-02", "NaT", "2020-01-03"]


@pytest.mark.parametrize(
    "text",
    [
        "2020-01-03 16:00:00",
        "2020-01-03T00:00:00Z",
        "2020-01-03 00:00:00-05:00",
        "2020-01-03 09:30",
        "2020-01-03 09:30:00-05:00",
        "2020-01-03 00:00:00 EST",
        "2020-01-03 00:00:00+5",
    ],
)
def test_time_of_day_or_odd_zone_refuses_the_file(text):
    """Moments within a day, and a zone where others have none, are refused, naming the first line that has one."""
    with pytest.raises(RefusedError, match="at line 3 is a moment") as refused:
        days("2020-01-02", text, "2020-01-04")

    assert refused.value.rule is Rule.TIME


@pytest.mark.parametrize("zone", ["Z", "+00:00", "-05:00", "+0800"])
def test_local_midnights_are_their_local_date(zone):
    """Stamps that all have a zone are the dates they show, whatever summer time does to the offset."""
    found = days(f"2024-01-02 00:00:00{zone}", "2024-07-02T00:00-04:00", "soon", "")

    assert found.astype(str).tolist() == ["2024-01-02", "2024-07-02", "NaT", "NaT"]


def test_one_stamp_within_a_day_refuses_zoned_midnights():
    """Hourly bars begin at midnight too; one other hour gives them away."""
    with pytest.raises(RefusedError, match="'2024-01-02 01:00:00-05:00' at line 3 is a moment"):
        days("2024-01-02 00:00:00-05:00", "2024-01-02 01:00:00-05:00")


def test_typed_timestamps_must_be_local_midnights():
    """Parquet's timestamps follow the same rule as text."""
    midnights = pa.array([np.datetime64("2020-01-02", "ns"), None], pa.timestamp("ns"))
    noon = pa.array([np.datetime64("2020-01-02T12:00", "s")], pa.timestamp("s"))

    assert sessions(midnights, np.arange(2), compact=False).astype(str).tolist() == ["2020-01-02", "NaT"]
    zoned = pa.array([datetime(2024, month, 2, tzinfo=ZoneInfo("America/New_York")) for month in (1, 7)])
    assert sessions(zoned, np.arange(2), compact=False).astype(str).tolist() == ["2024-01-02", "2024-07-02"]
    with pytest.raises(RefusedError, match="is a moment"):
        sessions(noon, np.arange(1), compact=False)
    with pytest.raises(RefusedError, match=r"'2024-01-02T05:00:00\.000000' at line 0 is a moment"):
        sessions(zoned.cast(pa.timestamp("us", "UTC")), np.arange(2), compact=False)


@pytest.mark.parametrize(
    "text", ["A", "BRK.B", "000001", "NA", "TRUE", "1e5", "nan", "aapl", "BF-B", "ES^F", "BP.", "平安", "CON", "X" * 32]
)
def test_allowed_symbols(text):
    """Symbols are exact text: letters of any script, digits, dots, dashes, carets."""
    assert is_symbol(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        None,
        "../../x",
        "a/b",
        "a\\b",
        "A\0",
        "A ",
        " A",
        "=cmd",
        "+1",
        "-A",
        "@x",
        ".A",
        "^A",
        "A_B",
        "A\u200fB",
        "A\u202eB",
        "e\u0301",
        "A\n",
        "X" * 33,
    ],
)
def test_refused_symbols(text):
    """Paths, controls, formulas, marks that turn the text, and decomposed twins are no symbols."""
    assert not is_symbol(text)


def test_good_bar_breaks_no_rule():
    """The bar that the other cases change is itself good."""
    assert verdict(bar()) is None


@pytest.mark.parametrize(
    ("changed", "rule"),
    [
        ({"session": "NaT"}, Rule.SESSION),
        ({"session": "1899-12-31"}, Rule.RANGE),
        ({"session": "0001-01-01"}, Rule.RANGE),
        ({"session": "2021-04-22"}, Rule.FUTURE),
        ({"session": "9999-12-31"}, Rule.FUTURE),
        ({"factor": 0.0}, Rule.FACTOR),
        ({"factor": np.inf}, Rule.FACTOR),
        ({"factor": np.nan}, Rule.FACTOR),
        ({"close": np.nan}, Rule.PRICE),
        ({"high": np.inf}, Rule.PRICE),
        ({"high": 1e13}, Rule.PRICE),
        ({"low": 9e-13}, Rule.PRICE),
        ({"factor": 5e-324}, Rule.FACTOR),
        ({"factor": 1e308}, Rule.FACTOR),
        ({"volume": 1e19}, Rule.VOLUME),
        ({"adjusted_close": 1e308}, Rule.ADJUSTED),
        ({"dividend": 1e13}, Rule.ACTION),
        ({"split": 1e7}, Rule.ACTION),
        ({"split": 1e-7}, Rule.ACTION),
        ({"low": 0.0}, Rule.PRICE),
        ({"open": -10.0}, Rule.PRICE),
        ({"high": 8.0}, Rule.OHLC),
        ({"open": 12.01}, Rule.OHLC),
        ({"close": 8.99}, Rule.OHLC),
        ({"low": 10.01}, Rule.OHLC),
        ({"volume": -1.0}, Rule.VOLUME),
        ({"volume": np.nan}, Rule.VOLUME),
        ({"volume": np.inf}, Rule.VOLUME),
        ({"adjusted_close": np.nan}, Rule.ADJUSTED),
        ({"adjusted_close": 0.0}, Rule.ADJUSTED),
        ({"dividend": -0.1}, Rule.ACTION),
        ({"dividend": np.nan}, Rule.ACTION),
        ({"split": 0.0}, Rule.ACTION),
        ({"split": np.inf}, Rule.ACTION),
    ],
)
def test_each_fault_breaks_its_rule(changed, rule):
    """One fault in a good bar is told by the rule it breaks."""
    assert verdict(bar(**changed)) is rule


@pytest.mark.parametrize(
    "changed",
    [
        {"session": "1900-01-01"},
        {"session": "2021-04-21"},
        {"volume": 0.0},
        {"volume": 0.5},
        {"low": 10.0, "open": 10.0},
        {"split": 0.125},
    ],
)
def test_edges_are_good(changed):
    """Both ends of the range, no volume, fractions of shares, a bar that opens at its low, a reverse split."""
    assert verdict(bar(**changed)) is None


def test_symbol_is_judged_first():
    """A row without an allowed symbol is nobody's, whatever else is wrong with it."""
    assert verdict(bar(close=np.nan), good_symbol=False) is Rule.SYMBOL


def test_every_rule_has_one_sentence():
    """The sentence of a rule is shown to users: it begins, ends, and is one."""
    for rule in Rule:
        assert rule.sentence[0].isupper()
        assert rule.sentence.endswith(".")
        assert rule == rule.value


def test_quarantine_keeps_text_short_and_harmless():
    """At most 200 characters, no control that acts on a terminal."""
    table = quarantine("a.csv", [(7, None, Rule.PRICE, "\x1b[31m" + "x" * 300)])

    assert table.schema == QUARANTINE
    assert table["rule"].to_pylist() == ["price"]
    assert len(table["text"][0].as_py()) == 200
    assert "\x1b" not in table["text"][0].as_py()
    assert quarantine("a.csv", []).num_rows == 0


@given(st.text())
def test_printable_is_printable(text):
    """No text at all gets a control character through."""
    assert printable(text).isprintable()
