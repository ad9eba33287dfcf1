"""Files as the vendors of Chinese and US stocks write them: units, adjustment, encodings, headers of several lines."""

from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crash import options_of
from csv_files import closes, run
from pipeline.bars.assembly import assemble
from pipeline.bars.reading import read_file
from pipeline.bars.rows import ReadOptions
from pipeline.bars.vendors import ENGLISH, LAYOUTS
from pipeline.errors import DataError
from pipeline.modes import Adjustment, Encoding

TUSHARE = """\
ts_code,trade_date,open,high,low,close,pre_close,change,pct_chg,vol,amount
000001.SZ,20180718,8.75,8.85,8.69,8.70,8.72,-0.02,-0.23,525152.77,460697.377
000001.SZ,20180717,8.74,8.75,8.66,8.72,8.73,-0.01,-0.11,375356.33,326396.994
"""
AKSHARE = """\
日期,股票代码,开盘,收盘,最高,最低,成交量,成交额,振幅,涨跌幅,涨跌额,换手率
2017-03-01,000001,9.49,9.49,9.55,9.47,346994,330199000.0,0.84,0.11,0.01,0.21
2017-03-02,000001,9.51,9.43,9.54,9.42,403629,382395900.0,1.26,-0.63,-0.06,0.24
"""
SINA = """\
date,open,high,low,close,volume,amount,outstanding_share,turnover
2019-11-01,9.01,9.23,8.98,9.2,1500000.0,13700000.0,750000000.0,0.002
"""
BAOSTOCK = """\
date,code,open,high,low,close,preclose,volume,amount,adjustflag,turn,tradestatus,pctChg,isST
2017-01-03,sh.601398,4.4000,4.4300,4.3900,4.4300,4.4100,104161632,459717955.00,3,0.038600,1,0.453500,0
2017-01-04,sh.601398,4.4300,4.4300,4.4300,4.4300,4.4300,,,3,,0,0.000000,0
"""
QLIB = """\
symbol,date,open,close,high,low,volume,factor,change,adjclose
SH600000,2020-01-02,2.5,2.625,2.75,2.375,4000,0.25,,10.5
SH600000,2020-01-03,,,,,,0.25,,
SH600000,2020-01-06,5.0,5.25,5.5,4.75,2000,0.5,1.0,21.0
"""
HISTORY = """\
Date,Open,High,Low,Close,Volume,Dividends,Stock Splits
2024-03-08 00:00:00-05:00,168.3,172.9,168.2,170.0,76114600,0.0,0.0
2024-03-11 00:00:00-04:00,172.2,173.6,171.3,172.0,60139500,0.24,0.0
"""
DOWNLOAD = """\
Price,Close,High,Low,Open,Volume
Ticker,MSFT,MSFT,MSFT,MSFT,MSFT
Date,,,,,
2023-02-17,254.5,256.5,252.4,255.8,30000100
2023-02-21,,251.5,248.0,251.0,28397400
2023-02-22
"""


def read(tmp_path, content, name="X.csv", **declared):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_file(path, ReadOptions({}, "{symbol}.csv", date(2025, 12, 31), **declared))


def refusal(reading):
    """Return rule and text of a refused file."""
    (entry,) = reading.quarantine.to_pylist()
    assert (reading.rows_in, reading.bars.num_rows, entry["line"]) == (0, 0, 0)
    return entry["rule"], entry["text"]


def quarantined(reading):
    """Return line -> rule, having checked that no row was lost."""
    assert reading.bars.num_rows + reading.quarantine.num_rows == reading.rows_in
    return dict(zip(reading.quarantine["line"].to_pylist(), reading.quarantine["rule"].to_pylist(), strict=True))


def test_tushare_daily_is_read(tmp_path):
    """Prices as traded, lots of 100 as shares, YYYYMMDD, newest first without a word; the rest as it comes."""
    reading = read(tmp_path, TUSHARE, name="000001.csv")
    bar = reading.bars.to_pylist()[0]

    assert (reading.layout, reading.adjustment, reading.notes, quarantined(reading)) == ("tushare", "none", (), {})
    assert (bar["symbol"], str(bar["session"].date())) == ("000001.SZ", "2018-07-18")
    assert [bar[name] for name in ("open", "high", "low", "close")] == [8.75, 8.85, 8.69, 8.70]
    assert bar["volume"] == pytest.approx(52_515_277, rel=1e-12)
    assert [bar[name] for name in ("pre_close", "change", "pct_chg", "amount")] == [8.72, -0.02, -0.23, 460697.377]


def test_tushare_factor_is_the_factor(tmp_path):
    """A merged adj_factor adjusts: over its two bars the second is worth 1.02 of the first."""
    header, *rows = TUSHARE.splitlines()
    text = "\n".join([header + ",adj_factor", rows[0] + ",110.19162", rows[1] + ",108.031", ""])
    reading = read(tmp_path, text)
    rows = reading.bars.append_column("file", pa.array([0, 0], pa.int32()))

    assert assemble("000001.SZ", rows, ["x"], []).bars["factor"].to_pylist() == pytest.approx([1.0, 1.02], rel=1e-12)


def test_tushare_parquet_with_whole_number_dates_is_read(tmp_path):
    """Saved by pandas the dates may be integers."""
    frame = pd.DataFrame({"ts_code": ["600000.SH"], "trade_date": [20180718]})
    frame = frame.assign(open=8.75, high=8.85, low=8.69, close=8.70, vol=2.0)
    frame.to_parquet(tmp_path / "X.parquet")
    bar = read_file(tmp_path / "X.parquet", ReadOptions({}, "{symbol}.parquet", date(2025, 12, 31))).bars.to_pylist()[0]

    assert (bar["symbol"], str(bar["session"].date()), bar["volume"]) == ("600000.SH", "2018-07-18", 200.0)


@pytest.mark.parametrize(("written", "encoding"), [("utf-8", "utf-8"), ("utf-8-sig", "utf-8"), ("gb18030", "gb18030")])
@pytest.mark.parametrize("adjustment", ["none", "all"])
def test_akshare_hist_is_read(tmp_path, written, encoding, adjustment):
    """Chinese headers in either encoding; the declared adjustment; lots as shares; leading zeros stay."""
    reading = read(tmp_path, AKSHARE.encode(written), name="000001.csv", adjustment=adjustment, encoding=encoding)
    bar = reading.bars.to_pylist()[0]

    assert (reading.layout, reading.adjustment, reading.notes) == ("akshare", adjustment, ())
    assert bar["symbol"] == "000001"
    names = ("open", "high", "low", "close", "volume")
    assert [bar[name] for name in names] == [9.49, 9.55, 9.47, 9.49, 34_699_400.0]
    names = ("amount", "amplitude", "pct_chg", "change", "turnover_rate")
    assert [bar[name] for name in names] == [330199000.0, 0.84, 0.11, 0.01, 0.21]


def test_akshare_without_a_declaration_is_refused(tmp_path):
    """The file does not say whether it is raw, qfq or hfq; nothing is guessed and the choices are named."""
    rule, text = refusal(read(tmp_path, AKSHARE))

    assert rule == "declared"
    assert "akshare" in text
    assert all(choice in text for choice in ("data.adjustment", "none", "splits", "all"))
    assert len(text) < 200


def test_akshare_without_a_symbol_column_needs_its_volume_unit(tmp_path):
    """Funds, Hong Kong, the US and older files have the same header; the symbol comes from the file's name."""
    header, *rows = AKSHARE.replace("股票代码,", "").splitlines()
    text = "\n".join([header, *(row.replace(",000001,", ",") for row in rows), ""])

    assert refusal(read(tmp_path, text, adjustment="none"))[0] == "declared"
    reading = read(tmp_path, text, name="00700.csv", adjustment="none", volume_unit="shares")
    assert reading.bars["symbol"].to_pylist() == ["00700"] * 2
    assert reading.bars["volume"].to_pylist() == [346_994.0, 403_629.0]


def test_akshare_sina_is_read(tmp_path):
    """stock_zh_a_daily counts shares, and its turnover is a fraction."""
    reading = read(tmp_path, SINA, adjustment="none")
    bar = reading.bars.to_pylist()[0]

    assert reading.layout == "akshare-sina"
    assert (bar["symbol"], bar["volume"], bar["turnover"], bar["outstanding_share"]) == ("X", 1.5e6, 0.002, 7.5e8)


def test_baostock_is_read(tmp_path):
    """Shares, symbols with their exchange; a suspended session has no volume and is no bar."""
    reading = read(tmp_path, BAOSTOCK)

    assert (reading.layout, reading.adjustment) == ("baostock", "none")
    assert quarantined(reading) == {3: "volume"}
    assert (reading.bars["symbol"][0].as_py(), reading.bars["volume"][0].as_py()) == ("sh.601398", 104_161_632.0)


def test_adjusted_baostock_is_refused_by_what_came(tmp_path):
    """Its flag says that the prices are not as traded; the message names column, line and what is read."""
    rule, text = refusal(read(tmp_path, BAOSTOCK.replace(",3,0.0386", ",2,0.0386")))

    assert rule == "fixed"
    assert text == "'2' in column 'adjustflag' at line 2; of layout baostock only '3' is read"


def test_qlib_dump_becomes_what_was_traded(tmp_path):
    """Price / factor and volume x factor are as traded; a blank session is no bar; adjclose moves and is left out."""
    reading = read(tmp_path, QLIB)
    first, second = reading.bars.to_pylist()

    assert (reading.layout, reading.adjustment, quarantined(reading)) == ("qlib", "none", {3: "price"})
    names = ("symbol", "open", "high", "low", "close", "volume", "factor")
    assert [first[name] for name in names] == ["SH600000", 10.0, 11.0, 9.5, 10.5, 1000.0, 0.25]
    assert [second[name] for name in names] == ["SH600000", 10.0, 11.0, 9.5, 10.5, 1000.0, 0.5]
    assert "adjclose" not in reading.bars.column_names


@given(
    st.lists(
        st.tuples(st.lists(st.integers(1, 10**6), min_size=4, max_size=4), st.floats(1e-6, 1e6), st.integers(0, 10**9)),
        min_size=1,
        max_size=8,
    )
)
def test_qlib_round_trip_loses_no_bar(tmp_path_factory, drawn):
    """Whatever the factor, all bars pass the gate and give the prices in cents and the shares that were dumped."""
    lines, expected = ["date,open,high,low,close,volume,factor,change"], []
    for number, (cents, factor, volume) in enumerate(drawn):
        low, opened, close, high = sorted(cents)
        raw = [price / 100 for price in (opened, high, low, close)]
        scaled = ",".join(repr(price * factor) for price in raw)
        lines.append(f"2020-01-{number + 1:02},{scaled},{volume / factor!r},{factor!r},0")
        expected.append([*raw, volume])
    bars = read(tmp_path_factory.mktemp("q"), "\n".join([*lines, ""])).bars

    np.testing.assert_allclose(
        np.column_stack([bars[name].to_numpy() for name in ("open", "high", "low", "close", "volume")]),
        expected,
        rtol=1e-14,
    )


@pytest.mark.parametrize("factor", ["", "0", "-1", "nan", "inf", "x"])
def test_bad_factor_is_the_rule_that_is_told(tmp_path, factor):
    """Without a good factor nothing is known of the prices."""
    assert quarantined(read(tmp_path, QLIB.replace("4000,0.25", f"4000,{factor}")))[2] == "factor"


def test_prices_and_volumes_beyond_floats_are_quarantined(tmp_path):
    """A unit that makes a number infinite makes no bar and no warning."""
    qlib = read(tmp_path, QLIB.replace("2.5,2.625,2.75,2.375,4000,0.25", "1e300,1e300,1e300,1e300,1,1e-300"))
    tushare = read(tmp_path, TUSHARE.replace("525152.77", "1e308"))

    assert quarantined(qlib) == {2: "factor", 3: "price"}
    assert quarantined(tushare) == {2: "volume"}


def test_yfinance_history_is_read(tmp_path):
    """Midnights in New York, before and after the clocks change, are their local dates; actions are only told."""
    reading = read(tmp_path, HISTORY, name="AAPL.csv")

    assert (reading.layout, reading.adjustment, reading.notes) == ("yfinance", "all", ())
    assert [str(day.date()) for day in reading.bars["session"].to_pylist()] == ["2024-03-08", "2024-03-11"]
    assert reading.bars["dividends"].to_pylist() == [0.0, 0.24]
    assert reading.bars["dividend"].to_pylist() == [0.0, 0.0]

    hourly = read(tmp_path, HISTORY.replace("11 00:00", "11 09:30"))
    assert refusal(hourly)[0] == "time"


def test_yfinance_download_is_read(tmp_path):
    """The header's three lines are no rows; lines below keep their numbers."""
    reading = read(tmp_path, DOWNLOAD, name="MSFT.csv")

    assert (reading.layout, reading.adjustment, reading.rows_in) == ("yfinance-download", "all", 3)
    assert reading.bars["line"].to_pylist() == [4]
    assert quarantined(reading) == {5: "price", 6: "cells"}
    assert [reading.bars[name][0].as_py() for name in ("open", "high", "low", "close")] == [255.8, 256.5, 252.4, 254.5]


def test_yfinance_download_names_its_symbol(tmp_path):
    """A file named after another symbol is refused; where the name is none, the line of 'Ticker' tells."""
    rule, text = refusal(read(tmp_path, DOWNLOAD, name="AAPL.csv"))
    other = read(tmp_path, DOWNLOAD, name="prices 2023.csv")

    assert (rule, text[:62]) == ("file_name", "the name says 'AAPL', the header's line of 'Ticker' 'MSFT' thr")
    assert other.bars["symbol"].to_pylist() == ["MSFT"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (DOWNLOAD.replace("Date,,,,,", "Datetime,,,,,"), "goes on with 'Datetime,,,,,'; a line of 'Date' is expected"),
        (DOWNLOAD.replace("Ticker,MSFT,MSFT,MSFT,MSFT,MSFT\n", ""), "goes on with 'Date,,,,,'; a line of 'Ticker'"),
        ("Price,Close,High,Low,Open,Volume\n", "goes on with the end of the file; a line of 'Ticker' is expected"),
        ("\n".join(DOWNLOAD.splitlines()[:3]), "a header and no rows"),
    ],
)
def test_other_header_than_that_of_a_download_is_refused(tmp_path, text, told):
    """Minute bars, a cut file: what came and what was expected."""
    rule, message = refusal(read(tmp_path, text, name="MSFT.csv"))

    assert rule == "not_bars"
    assert told in message


def test_encoding_that_is_not_the_declared_one_is_told(tmp_path):
    """GB18030 suggests itself where it fits, UTF-8 is never read as gibberish, other bytes get neither advice."""
    chinese, plain = AKSHARE.encode("gb18030"), DOWNLOAD.encode("utf-16")

    rule, text = refusal(read(tmp_path, chinese))
    assert rule == "encoding"
    assert text == (
        "not UTF-8 text: line 1, byte 1: b'\\xc8\\xd5\\xc6\\xda'. Set data.encoding to gb18030 if it is Chinese, else "
        "save it as UTF-8 CSV."
    )
    assert refusal(read(tmp_path, AKSHARE, encoding="gb18030"))[1].endswith(
        "Set data.encoding to utf-8, if it is that."
    )
    both = "Date,Name\n2020-01-02,\u65e5\u672c\n"  # whose bytes are text in GB18030, too
    assert refusal(read(tmp_path, both, encoding="gb18030"))[1] == (
        "not GB18030 text: line 2, byte 12: b'\\xe6\\x97\\xa5\\xe6' after b'2020-01-02,'. Set data.encoding to utf-8, "
        "if it is that."
    )
    assert refusal(read(tmp_path, plain, encoding="gb18030"))[1].endswith("Save it as UTF-8 CSV.")
    assert read(tmp_path, TUSHARE, encoding="gb18030").rows_in == 2


@given(st.binary(max_size=300))
def test_no_bytes_raise_as_gb18030(tmp_path_factory, content):
    """Whatever a file holds, reading it as GB18030 ends with a reading."""
    header = AKSHARE.splitlines()[0].encode("gb18030")
    for data in (content, header + b"\n" + content):
        reading = read(tmp_path_factory.mktemp("b"), data, encoding="gb18030", adjustment="none")
        assert reading.bars.num_rows == 0


def test_every_layout_and_name_is_documented():
    """What is recognised, and what Chinese columns are called, stands in docs/data.md."""
    text = (Path(__file__).parents[1] / "docs" / "data.md").read_text()

    assert [layout.name for layout in LAYOUTS if f"`{layout.name}`" not in text] == []
    assert [name for names in ENGLISH.items() for name in names if name not in text] == []


def test_declarations_reach_the_store_and_rebuild_it(tmp_path):
    """Options decide what is stored; other options build it afresh; without them the error names the choices."""
    folder = tmp_path / "bars"
    folder.mkdir()
    (folder / "000001.csv").write_bytes(AKSHARE.encode("gb18030"))
    options = options_of(folder, tmp_path / "store").model_copy(update={"encoding": Encoding.GB18030})

    with pytest.raises(DataError, match=r"no usable symbol.*000001\.csv: layout akshare .*set data\.adjustment"):
        run(options)
    raw = options.model_copy(update={"adjustment": Adjustment.NONE})
    first, again = run(raw), run(raw)
    assert (first.snapshot.manifest.ingest["adjustment"], first.changed, again.changed) == ("none", True, False)
    assert closes(first.snapshot) == {"000001": [("2017-03-01", 9.49), ("2017-03-02", 9.43)]}
    other = run(options.model_copy(update={"adjustment": Adjustment.ALL}))
    assert (other.snapshot.manifest.ingest["adjustment"], other.changed) == ("all", True)
