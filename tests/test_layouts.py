"""Layouts are recognised by the names in the header, and symbols by the name of the file."""

from datetime import date

import pytest

from pipeline.bars.declared import facts_of
from pipeline.bars.layouts import plain, recognise
from pipeline.bars.naming import agree, symbol_of
from pipeline.bars.quality import RefusedError, Rule, printable
from pipeline.bars.rows import ReadOptions
from pipeline.bars.vendors import ENGLISH, LAYOUTS
from pipeline.modes import Frequency

ALPHA = "timestamp,open,high,low,close,adjusted_close,volume,dividend_amount,split_coefficient"
STOOQ = "<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>"


AKSHARE = "日期,股票代码,开盘,收盘,最高,最低,成交量,成交额,振幅,涨跌幅,涨跌额,换手率"
TUSHARE = "ts_code,trade_date,open,high,low,close,pre_close,change,pct_chg,vol,amount"
DOWNLOAD = "Price,Close,High,Low,Open,Volume"


def split(header):
    return header.split(",")


def facts(match, **declared):
    return facts_of(match, ReadOptions({}, "{symbol}.csv", date(2025, 12, 31), **declared))


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
        ("timestamp,open,high,low,close,volume", "timestamp", None),
        (TUSHARE, "tushare", "none"),
        (TUSHARE + ",adj_factor", "tushare", "none"),
        (AKSHARE, "akshare", None),
        (AKSHARE.replace("股票代码,", ""), "akshare-eastmoney", None),
        ("date,open,high,low,close,volume,amount,outstanding_share,turnover", "akshare-sina", None),
        ("date,code,open,high,low,close,preclose,volume,amount,adjustflag,turn", "baostock", "none"),
        ("symbol,date,open,close,high,low,volume,factor,change,adjclose", "qlib", "none"),
        ("Date,Open,High,Low,Close,Volume,Dividends,Stock Splits,Capital Gains", "yfinance", "all"),
        ("Date,Open,High,Low,Close,Adj Close,Volume,Dividends,Stock Splits", "yahoo", "splits"),
        (DOWNLOAD, "yfinance-download", "all"),
        (DOWNLOAD.replace("Close", "Adj Close,Close"), "yfinance-download", "splits"),
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


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_every_layout_gives_what_a_bar_needs(layout):
    """Each entry of the registry has a session or time, four prices and a volume, declares its facts, and is found."""
    header = [*layout.columns, *layout.marks]
    if layout.before:
        header = [name for name in header if name not in layout.before] + list(layout.before)

    when = "session" if layout.frequency is Frequency.DAILY else "time"
    assert {when, "open", "high", "low", "close", "volume"} <= set(layout.columns.values())
    assert layout.adjustment in {"none", "splits", "all", None}
    assert layout.volume_unit in {"shares", "lots", None}
    assert all(name == plain(name) for name in (*layout.columns, *layout.marks, *layout.optional, *layout.fixed))
    assert recognise(header, {}, layout.frequency).layout is layout


def test_what_a_layout_cannot_tell_must_be_declared():
    """AKShare's files do not say what they are adjusted for; the older ones not even what their volume counts."""
    new, old = recognise(split(AKSHARE), {}), recognise(split(AKSHARE.replace("股票代码,", "")), {})

    with pytest.raises(RefusedError, match=r"akshare does not tell: set data.adjustment to none .*, splits or all"):
        facts(new)
    assert (facts(new, adjustment="all").adjustment, facts(new, adjustment="all").shares) == ("all", 100)
    with pytest.raises(RefusedError, match=r"akshare-eastmoney does not tell: .*; data.volume_unit to shares or lots"):
        facts(old)
    assert facts(old, adjustment="none", volume_unit="shares").shares == 1
    assert facts(old, adjustment="none", volume_unit="lots").shares == 100


def test_everything_that_must_be_declared_is_named_at_once():
    """Of declared columns nothing is known; one refusal, short enough to be kept, names every setting."""
    daily = recognise(split("d,open,high,low,close,volume,factor"), {"session": "d"})
    minute = recognise(split("t,open,high,low,close,volume"), {"time": "t"}, Frequency.MINUTE)
    texts = []
    for match in (daily, minute):
        with pytest.raises(RefusedError) as refused:
            facts(match)
        texts.append(printable(refused.value.text))

    assert texts[0] == (
        "layout columns does not tell: set data.adjustment to none (as traded), splits or all (qfq, hfq); "
        "data.volume_unit to shares or lots"
    )
    assert texts[1] == f"{texts[0]}; data.time_zone as America/New_York; data.bar_label to start or end"


def test_declaration_goes_before_the_layout():
    """A plain file is adjusted for everything and in shares, unless the user knows better."""
    match = recognise(split("date,open,high,low,close,volume"), {})

    assert [facts(match, adjustment=each).adjustment for each in (None, "none", "splits")] == ["all", "none", "splits"]
    assert [facts(match, volume_unit=each).shares for each in (None, "shares", "lots")] == [1, 1, 100]


@pytest.mark.parametrize(
    ("header", "declared", "column"),
    [
        (TUSHARE + ",adj_factor", "all", "factor"),
        ("Date,Open,High,Low,Close,Adj Close,Volume", "all", "adjusted_close"),
        (ALPHA, "splits", "split"),
    ],
)
def test_prices_are_never_adjusted_twice(header, declared, column):
    """Prices declared adjusted beside a column that would adjust them again are a contradiction."""
    match = recognise(split(header), {})

    with pytest.raises(RefusedError, match=rf"data.adjustment is {declared}, .* has {column}") as refused:
        facts(match, adjustment=declared)
    assert refused.value.rule is Rule.DECLARED
    assert len(refused.value.text) <= 200
    assert facts(match, adjustment="none").adjustment == "none"


def test_chinese_extras_get_the_names_of_tushare():
    """One strategy reads the turnover of either vendor; a name that is not in the map is kept."""
    match = recognise(split(AKSHARE + ",备注"), {})

    assert match.extras == {
        "amount": 7, "amplitude": 8, "pct_chg": 9, "change": 10, "turnover_rate": 11, "备注": 12
    }  # fmt: skip
    assert all(theirs == plain(theirs) for theirs in ENGLISH)


def test_factor_of_unknown_meaning_is_not_ignored():
    """A plain file with a factor may hold prices of any kind; it is refused, and data.columns can say what it is."""
    header = split("date,open,high,low,close,volume,factor")

    with pytest.raises(RefusedError, match="factor of unknown meaning"):
        recognise(header, {})
    assert recognise(header, {"factor": "factor", "session": "date"}).places["factor"] == 6


def test_several_symbols_side_by_side_are_refused():
    """Several tickers of yfinance are columns beside each other; the message says how a file should be."""
    with pytest.raises(RefusedError, match=r"two columns are 'close'.*one symbol a file is expected"):
        recognise(split("Price,Close,Close,High,High,Low,Low,Open,Open,Volume,Volume"), {})


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
    with pytest.raises(RefusedError, match="adjusted price or factor of unknown meaning"):
        recognise(split("Date,Open,High,Low,Close,Volume,Adjusted"), {})


def test_columns_name_what_no_layout_knows():
    """data.columns maps ours to theirs; what it leaves out stands under its own name."""
    columns = {"symbol": "ts_code", "session": "trade_date", "volume": "vol", "turnover": "amount (k)"}
    match = recognise(split("ts_code,trade_date,open,high,low,close,vol,Amount (k),pe_ttm"), columns)

    assert (match.layout.adjustment, match.layout.volume_unit) == (None, None)
    assert match.places == {"symbol": 0, "session": 1, "open": 2, "high": 3, "low": 4, "close": 5, "volume": 6}
    assert match.extras == {"turnover": 7, "pe_ttm": 8}


def test_mapped_actions_are_not_applied_to_adjusted_prices():
    """Declared columns with a dividend cannot be declared adjusted for it."""
    match = recognise(split("d,open,high,low,close,volume,cash"), {"session": "d", "dividend": "cash"})

    assert match.places["dividend"] == 6
    with pytest.raises(RefusedError, match="has dividend to adjust prices by"):
        facts(match, adjustment="all", volume_unit="shares")


def test_columns_that_are_not_there_are_refused_by_name():
    """A name in data.columns that the header lacks is told with the column it was for."""
    with pytest.raises(RefusedError, match=r"lacks 'last' \(close\) of data.columns"):
        recognise(split("date,open,high,low,close,volume"), {"session": "date", "close": "last"})


def test_extras_get_plain_names_and_never_ours():
    """Further columns are stored in lower case; a name of ours or one that is taken is left out and noted."""
    match = recognise(split("Date,Open,High,Low,Close,Volume,P/E Ratio,p e ratio,Scale,时间,市值"), {})

    assert match.extras == {"p_e_ratio": 6, "时间": 9, "市值": 10}
    assert [note.split("'")[1] for note in match.notes] == ["p e ratio", "Scale"]


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


def test_a_pattern_without_symbol_tells_none():
    """Files may be named by session, or anyhow; then a column tells the symbol."""
    assert symbol_of("AAPL.csv", "{name}.csv") is None


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("AAPL", "aapl", True),
        ("000001", "000001.SZ", True),
        ("600000.SS", "sh.600000", True),
        ("SH600000", "600000", True),
        ("BRK-B", "BRK.B", True),
        ("aapl.us", "AAPL", True),
        ("AAPL", "MSFT", False),
        ("000001", "000002", False),
        ("000001", "1", False),
        ("000001.SZ", "600000.SH", False),
        ("A", "AA", False),
    ],
)
def test_symbols_agree_but_for_case_and_exchange(one, other, same):
    """A suffix or prefix of the exchange, case and punctuation make no other symbol; a lost zero does."""
    assert (agree(one, other), agree(other, one)) == (same, same)


def test_pattern_letters_are_taken_literally():
    """A dot in the pattern is a dot, not any letter."""
    assert symbol_of("dataXAAPL.csv", "data.{symbol}.csv") is None
    assert symbol_of("data.AAPL.csv", "data.{symbol}.csv") == "AAPL"
