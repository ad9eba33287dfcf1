"""Layouts are recognised by the names in the header, and symbols by the name of the file."""

import pytest

from pipeline.bars.layouts import LAYOUTS, recognise, symbol_of
from pipeline.bars.quality import RefusedError, Rule, printable

ALPHA = "timestamp,open,high,low,close,adjusted_close,volume,dividend_amount,split_coefficient"
STOOQ = "<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>"


def split(header):
    return header.split(",")


@pytest.mark.parametrize(
    ("header", "name", "adjustment"),
    [
        (ALPHA, "alpha-vantage", "none"),
        ("Date,Open,High,Low,Close,Adj Close,Volume", "yahoo", "splits"),
        ("Date,Open,High,Low,Close,Volume,Adj Close", "yahoo-2013", "none"),
        ("Ticker,Date,Open,High,Low,Close,Volume,Adj Close", "yahoo-2013", "none"),
        (STOOQ, "stooq", "all"),
        ("Date,Open,High,Low,Close,Volume", "stooq-web", "all"),
        ("symbol,session,open,high,low,close,volume", "pipeline", "none"),
        ("symbol,session,open,high,low,close,volume,factor,pe", "pipeline", "none"),
        (" DATE , <open>,High ,[LOW],close,VOLUME", "stooq-web", "all"),
    ],
)
def test_layout_is_told_by_the_header(header, name, adjustment):
    """A vendor's header gives its layout, whatever case, spaces and brackets it is written in."""
    match = recognise(split(header), {})

    assert (match.layout.name, match.layout.adjustment) == (name, adjustment)


def test_places_point_into_the_header():
    """Every column of ours stands where the header says, also when the vendor's order is another."""
    match = recognise(split("Volume,Close,Low,High,Open,Date"), {})

    assert match.places == {"volume": 0, "close": 1, "low": 2, "high": 3, "open": 4, "session": 5}


def test_every_layout_gives_what_a_bar_needs():
    """Each entry of the registry has a session, four prices and a volume, and declares its adjustment."""
    for layout in LAYOUTS:
        assert {"session", "open", "high", "low", "close", "volume"} <= set(layout.columns.values())
        assert layout.adjustment in {"none", "splits", "all"}


def test_unknown_header_names_the_nearest_layout_and_what_it_lacks():
    """A refusal tells what came, which layout is nearest, what is missing, and about data.columns."""
    with pytest.raises(RefusedError) as refused:
        recognise(split("Date,Open,High,Low,Last,Volume"), {})

    assert refused.value.rule is Rule.NOT_BARS
    assert "Date,Open,High,Low,Last,Volume" in refused.value.text
    assert "stooq-web, lacks close. Name the columns in data.columns" in refused.value.text


def test_header_of_something_else_is_called_no_bar_file():
    """Where no column is known, the first line is shown instead of a list of everything."""
    with pytest.raises(RefusedError, match=r"not a bar file: its first line is '<!DOCTYPE html>'"):
        recognise(["<!DOCTYPE html>"], {})


@pytest.mark.parametrize(
    "header", ["timestamp,open,high" + ",x" * 99, '{"error": "' + "y" * 500 + '"}', "Date,adj close" + ",zz" * 50]
)
def test_cure_is_within_the_text_that_is_kept(header):
    """However long the header and the list of what it lacks, the 200 characters kept still name data.columns."""
    with pytest.raises(RefusedError) as refused:
        recognise(split(header), {})

    assert "data.columns" in printable(refused.value.text)


def test_repeated_column_is_refused():
    """Two closes are one too many."""
    with pytest.raises(RefusedError, match="two columns are 'close'"):
        recognise(split("Date,Open,High,Low,Close,close,Volume"), {})


def test_unknown_adjusted_price_is_not_taken_for_a_fully_adjusted_file():
    """A plain header with an adjusted column of another name is not read as adjusted for everything."""
    with pytest.raises(RefusedError, match="adjusted price of unknown meaning"):
        recognise(split("Date,Open,High,Low,Close,Volume,Adjusted"), {})


def test_columns_name_what_no_layout_knows():
    """data.columns maps ours to theirs; what it leaves out stands under its own name."""
    columns = {"symbol": "ts_code", "session": "trade_date", "volume": "vol", "turnover": "amount (k)"}
    match = recognise(split("ts_code,trade_date,open,high,low,close,vol,Amount (k),pe_ttm"), columns)

    assert match.layout.adjustment == "all"
    assert match.places == {"symbol": 0, "session": 1, "open": 2, "high": 3, "low": 4, "close": 5, "volume": 6}
    assert match.extras == {"turnover": 7, "pe_ttm": 8}


def test_mapped_actions_make_prices_raw():
    """With a dividend, split or adjusted close the prices of a mapped file are as traded."""
    match = recognise(split("d,open,high,low,close,volume,cash"), {"session": "d", "dividend": "cash"})

    assert match.layout.adjustment == "none"
    assert match.places["dividend"] == 6


def test_columns_that_are_not_there_are_refused_by_name():
    """A name in data.columns that the header lacks is told with the column it was for."""
    with pytest.raises(RefusedError, match=r"lacks 'last' \(close\) of data.columns"):
        recognise(split("date,open,high,low,close,volume"), {"session": "date", "close": "last"})


def test_extras_get_plain_names_and_never_ours():
    """Further columns are stored in lower case; a name of ours or one that is taken is left out and noted."""
    match = recognise(split("Date,Open,High,Low,Close,Volume,P/E Ratio,p e ratio,Factor,时间,市盈率"), {})

    assert match.extras == {"p_e_ratio": 6, "时间": 9, "市盈率": 10}
    assert [note.split("'")[1] for note in match.notes] == ["p e ratio", "Factor"]


@pytest.mark.parametrize(
    ("name", "pattern", "symbol"),
    [
        ("DA-T-T-2021-04-21.csv", "DA-{symbol}-T-{date}.csv", "T"),
        ("DA-A-T-2021-04-21.csv", "DA-{symbol}-T-{date}.csv", "A"),
        ("DA-BRK.B-T-2021-04-21.csv", "DA-{symbol}-T-{date}.csv", "BRK.B"),
        ("DA-X-T-T-2021-04-21.csv", "DA-{symbol}-T-{date}.csv", "X-T"),
        ("BRK-B-2021-04-21.csv", "{symbol}-{date}.csv", "BRK-B"),
        ("AAPL_daily.csv", "{symbol}_{what}.csv", "AAPL"),
        ("AAPL-latest.csv", "{symbol}-{date}.csv", "AAPL"),
        ("000001.csv", "{symbol}.csv", "000001"),
        ("NA.csv", "{symbol}.csv", "NA"),
        ("aapl.us.txt", "{symbol}.csv", "aapl.us"),
        ("AAPL.csv.gz", "{symbol}.csv", "AAPL"),
        ("AAPL.parquet", "{symbol}.csv", "AAPL"),
        ("平安银行.csv", "{symbol}.csv", "平安银行"),
        ("AAPL.csv", "DA-{symbol}.csv", None),
        ("=cmd.csv", "{symbol}.csv", None),
        ("a b.csv", "{symbol}.csv", None),
        (".csv", "{symbol}.csv", None),
    ],
)
def test_symbol_is_captured_from_the_file_name(name, pattern, symbol):
    """The pattern gives the symbol exactly, dots and a ticker T included, or None where it is not allowed."""
    assert symbol_of(name, pattern) == symbol


def test_pattern_letters_are_taken_literally():
    """A dot in the pattern is a dot, not any letter."""
    assert symbol_of("dataXAAPL.csv", "data.{symbol}.csv") is None
    assert symbol_of("data.AAPL.csv", "data.{symbol}.csv") == "AAPL"
