"""Reading a source file: good rows survive exactly, everything else is refused with file, line and rule."""

import gzip
import io
import os
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import bokeh_sampledata
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.bars import cells, content
from pipeline.bars.reading import read_file
from pipeline.bars.rows import ROWS, ReadOptions
from pipeline.schema import QUARANTINE

OPTIONS = ReadOptions({}, "{symbol}.csv", date(2021, 4, 21))
PLAIN = "Date,Open,High,Low,Close,Volume"
ALPHA = "timestamp,open,high,low,close,adjusted_close,volume,dividend_amount,split_coefficient"
GOOD = "2020-01-02,10.5,12.25,9.75,11,100"


def read(tmp_path, content, name="A.csv", options=OPTIONS):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_file(path, options)


def refusal(reading):
    """Return rule and text of a refused file, whose reading must be empty otherwise."""
    assert (reading.layout, reading.adjustment, reading.rows_in, reading.bars.num_rows) == ("", "", 0, 0)
    (entry,) = reading.quarantine.to_pylist()
    assert (entry["file"], entry["line"]) == (reading.path, 0)
    return entry["rule"], entry["text"]


def quarantined(reading):
    """Return line -> rule, having checked that no row was lost."""
    assert reading.bars.num_rows + reading.quarantine.num_rows == reading.rows_in
    return dict(zip(reading.quarantine["line"].to_pylist(), reading.quarantine["rule"].to_pylist(), strict=True))


def test_good_file_is_read_as_it_is(tmp_path):
    """Every value, the lines, and what is known about the file come back."""
    text = f"{ALPHA}\n2020-01-02,10.5,12.25,9.75,11,5.5,100,0.25,2\n2020-01-03,11,11,11,11,5.5,0,0,1\n"
    reading = read(tmp_path, text)

    assert (reading.layout, reading.adjustment, reading.notes, reading.rows_in) == ("alpha-vantage", "none", (), 2)
    assert reading.bars.schema == ROWS
    assert reading.quarantine.schema == QUARANTINE
    assert reading.bars["session"].to_numpy().astype("datetime64[D]").astype(str).tolist() == [
        "2020-01-02",
        "2020-01-03",
    ]
    assert [list(row.values())[3:] for row in reading.bars.to_pylist()] == [
        [10.5, 12.25, 9.75, 11, 100, None, 5.5, 0.25, 2, 2],
        [11, 11, 11, 11, 0, None, 5.5, 0, 1, 3],
    ]
    assert reading.bars["symbol"].to_pylist() == ["A", "A"]
    assert reading.bytes == len(text)
    assert int(reading.crc32, 16) == zlib.crc32(text.encode())
    assert reading.mtime_ns == (tmp_path / "A.csv").stat().st_mtime_ns


def test_absent_columns_say_so(tmp_path):
    """Without actions the dividend is 0 and the split 1; without a factor or an adjusted close these are null."""
    row = read(tmp_path, f"{PLAIN}\n{GOOD}\n").bars.to_pylist()[0]

    assert (row["factor"], row["adjusted_close"], row["dividend"], row["split"]) == (None, None, 0.0, 1.0)


def test_windows_and_spreadsheet_files_are_read(tmp_path):
    """A byte order mark, CR LF, quotes, spaces around numbers, blank lines: all harmless, lines stay exact."""
    text = f'\ufeff\r\n{PLAIN}\r\n\r\n"2020-01-02", 10.5 ,"12.25",9.75,11,100\r\n\r\n1,2\r\nbad,1,1,1,1,1\r\n\r\n'
    reading = read(tmp_path, text)

    assert reading.bars["line"].to_pylist() == [4]
    assert quarantined(reading) == {6: "cells", 7: "session"}
    assert reading.notes == ()


def test_long_file_has_its_own_symbols(tmp_path):
    """Symbols of a column are exact text: NA, TRUE, 000001 and 1e5 are what they are."""
    names = ["NA", "TRUE", "000001", "1e5", "nan", "null"]
    reading = read(tmp_path, f"Ticker,{PLAIN}\n" + "".join(f"{name},{GOOD}\n" for name in names), name="all.csv")

    assert reading.bars["symbol"].to_pylist() == names


def test_bad_symbols_are_quarantined_row_by_row(tmp_path):
    """A symbol outside the allowlist takes its own rows with it and no others."""
    names = ["../../x", "A", "=cmd|' /C calc'!A0", "", "A ", "\u202eA", "B" * 33]
    reading = read(tmp_path, f"Symbol,{PLAIN}\n" + "".join(f"{name},{GOOD}\n" for name in names))

    assert reading.bars["symbol"].to_pylist() == ["A"]
    assert quarantined(reading) == dict.fromkeys([2, 4, 5, 6, 7, 8], "symbol")
    assert reading.quarantine["symbol"].to_pylist() == [None] * 6


def test_stooq_bulk_file_is_read(tmp_path):
    """Compact dates, D for daily, midnight as 000000; the open interest is a further column."""
    header = "<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>"
    reading = read(tmp_path, f"{header}\nAAPL.US,D,20200102,000000,10.5,12.25,9.75,11,100,0\n", name="aapl.us.txt")

    assert (reading.layout, reading.adjustment, reading.notes) == ("stooq", "all", ())
    assert reading.bars["symbol"].to_pylist() == ["AAPL.US"]
    assert reading.bars.column_names == [*ROWS.names, "openint"]

    intraday = read(tmp_path, f"{header}\nAAPL.US,D,20200102,153000,10.5,12.25,9.75,11,100,0\n", name="aapl.us.txt")

    rule, text = refusal(intraday)
    assert rule == "fixed"
    assert text == (
        "'153000' in column '<TIME>' at line 2; of layout stooq only midnight is read. Set data.frequency: minute if "
        "bars are shorter than a day"
    )


@pytest.mark.parametrize(("name", "inside"), [("AAPL", "MSFT"), ("000001.SZ", "600000.SH"), ("000001", "600000")])
def test_a_name_that_is_another_symbol_refuses_the_file(tmp_path, name, inside):
    """One of the two is wrong; the message shows both and what to do."""
    rule, text = refusal(read(tmp_path, f"Symbol,{PLAIN}\n{inside},{GOOD}\n", name=f"{name}.csv"))

    assert rule == "file_name"
    assert text == (
        f"the name says {name!r}, column 'Symbol' {inside!r} throughout; they must agree. Rename the file, or set "
        "data.file_pattern to '{name}.csv' if names tell no symbol."
    )


@pytest.mark.parametrize(
    ("name", "inside"),
    [
        ("000001", "000001.SZ"),
        ("aapl.us", "AAPL.US"),
        ("prices", "AAPL"),
        ("2020", "AAPL"),
        ("20200102", "600000"),
    ],
)
def test_a_name_that_agrees_or_is_no_symbol_is_read(tmp_path, name, inside):
    """Case and exchange make no difference; a name that is not written as the symbols are is none."""
    reading = read(tmp_path, f"Symbol,{PLAIN}\n{inside},{GOOD}\n", name=f"{name}.csv")

    assert reading.bars["symbol"].to_pylist() == [inside]
    assert reading.notes == ()


def test_a_file_of_several_symbols_may_have_any_name(tmp_path):
    """Its column tells them, row by row; so too where data.file_pattern says that names tell nothing."""
    several = read(tmp_path, f"Symbol,{PLAIN}\nMSFT,{GOOD}\nGOOG,{GOOD}\n", name="AAPL.csv")
    one = read(tmp_path, f"Symbol,{PLAIN}\nMSFT,{GOOD}\n", "AAPL.csv", replace(OPTIONS, file_pattern="{name}.csv"))

    assert (several.bars["symbol"].to_pylist(), several.notes) == (["MSFT", "GOOG"], ())
    assert (one.bars["symbol"].to_pylist(), one.notes) == (["MSFT"], ())


def test_nul_bytes_are_told_with_their_line(tmp_path):
    """A file that a crash left half written has them; the message says how many and where."""
    rule, text = refusal(read(tmp_path, f"{PLAIN}\n{GOOD}\n2020-01-03,10".encode() + b"\0" * 30))

    assert rule == "encoding"
    assert text == (
        "not UTF-8 text: 30 NUL bytes, the first in line 3 after b'020-01-03,10'; text has none. Save it as UTF-8 CSV."
    )


def test_a_file_without_header_is_told_so(tmp_path):
    """As Kibot and HistData write them; the cure is to write a header above the rows."""
    rule, text = refusal(read(tmp_path, "01/12/2010,09:30,54.17,54.25,54.1,54.2,1234\n"))

    assert rule == "not_bars"
    assert text == (
        "no header: its first line is '01/12/2010,09:30,54.17,54.25,54.1,54.2,1...'. Write one above it that says what "
        "the columns are, like date,open,high,low,close,volume."
    )


def test_mapped_file_is_read(tmp_path):
    """data.columns makes any header readable; its further names are kept as extras."""
    options = ReadOptions(
        {"session": "交易日期", "close": "px", "pe": "PE (ttm)"},
        "{symbol}.csv",
        OPTIONS.as_of,
        adjustment="none",
        volume_unit="lots",
    )
    reading = read(
        tmp_path, "交易日期,open,high,low,px,volume,PE (ttm)\n20200102,10,12,9,11,100,7.5\n", options=options
    )

    assert (reading.layout, reading.adjustment) == ("columns", "none")
    assert (reading.bars["close"].to_pylist(), reading.bars["volume"].to_pylist()) == ([11.0], [10_000.0])
    assert reading.bars["pe"].to_pylist() == [7.5]


def test_extra_columns_are_numbers_or_noted(tmp_path):
    """A further column is kept if all its cells are numbers or empty; text is left out and named."""
    text = f"{PLAIN},PE,Name,Void\n{GOOD},7.5,Acme,\n{GOOD.replace('-02', '-03')},,Acme,\n"
    reading = read(tmp_path, text)

    assert reading.bars.column_names == [*ROWS.names, "pe"]
    np.testing.assert_array_equal(reading.bars["pe"].to_numpy(), [7.5, np.nan])
    assert [note.split("'")[1] for note in reading.notes] == ["name", "void"]


def test_unsorted_rows_are_kept_and_noted(tmp_path):
    """Order is not a fault; the note counts what comes late, within a symbol; newest first is an order too."""
    days = ["2020-01-03", "2020-01-02", "2020-01-06"]
    unsorted, newest_first = (
        read(tmp_path, f"{PLAIN}\n" + "".join(f"{day}{GOOD[10:]}\n" for day in order))
        for order in (days, sorted(days, reverse=True))
    )

    assert (unsorted.bars.num_rows, newest_first.bars.num_rows) == (3, 3)
    assert unsorted.notes == ("unsorted rows: 1 bar after a later one; sorted now",)
    assert newest_first.notes == ()


MUTATIONS = {
    "nan close": (lambda c: [*c[:4], "NaN", *c[5:]], "price"),
    "empty open": (lambda c: [c[0], "", *c[2:]], "price"),
    "infinite high": (lambda c: [*c[:2], "inf", *c[3:]], "price"),
    "zero low": (lambda c: [*c[:3], "0", *c[4:]], "price"),
    "negative open": (lambda c: [c[0], "-10", *c[2:]], "price"),
    "text price": (lambda c: [c[0], "ten", *c[2:]], "price"),
    "cut numeral": (lambda c: [*c[:4], "11.", *c[5:]], "price"),
    "high below low": (lambda c: [*c[:2], c[3], c[2], *c[4:]], "ohlc"),
    "close above high": (lambda c: [*c[:4], "99999999", *c[5:]], "ohlc"),
    "negative volume": (lambda c: [*c[:5], "-1"], "volume"),
    "text volume": (lambda c: [*c[:5], "many"], "volume"),
    "no volume": (lambda c: [*c[:5], ""], "volume"),
    "future": (lambda c: ["2021-04-22", *c[1:]], "future"),
    "epoch": (lambda c: ["1577923200000", *c[1:]], "session"),
    "American date": (lambda c: ["01/02/2020", *c[1:]], "session"),
    "no date": (lambda c: ["", *c[1:]], "session"),
    "year one": (lambda c: ["0001-01-01", *c[1:]], "range"),
    "short line": (lambda c: c[:4], "cells"),
    "long line": (lambda c: [*c, "1"], "cells"),
}


@st.composite
def good_rows(draw):
    """Cells of good bars on consecutive days, with prices of cents."""
    rows = []
    for number in range(draw(st.integers(1, 12))):
        cents = sorted(draw(st.lists(st.integers(1, 10**6), min_size=4, max_size=4)))
        opened, close = draw(st.permutations(cents[1:3]))
        day = date(2020, 1, 1) + timedelta(number)
        prices = [f"{value / 100:.2f}" for value in (opened, cents[3], cents[0], close)]
        rows.append([day.isoformat(), *prices, str(draw(st.integers(0, 10**9)))])
    return rows


@given(good_rows(), st.lists(st.tuples(st.sampled_from(sorted(MUTATIONS)), st.integers(0, 99)), max_size=6))
def test_faults_are_found_and_good_rows_survive_exactly(tmp_path_factory, rows, faults):
    """Each fault alone or with others is quarantined on its line under its rule; all other rows come out as typed."""
    lines, expected = [list(row) for row in rows], {}
    for name, place in faults:
        row = place % len(rows)
        if row + 2 not in expected:
            change, expected[row + 2] = MUTATIONS[name]
            lines[row] = change(lines[row])
    if len(rows) == sum(rule == "cells" for rule in expected.values()):
        return  # no row has as many cells as the header: another test
    text = "\n".join([PLAIN, *(",".join(cells) for cells in lines), ""])
    reading = read(tmp_path_factory.mktemp("f"), text)

    assert quarantined(reading) == expected
    assert reading.quarantine["text"].to_pylist() == [",".join(lines[line - 2]) for line in sorted(expected)]
    clean = [row for number, row in enumerate(rows) if number + 2 not in expected]
    names = ("open", "high", "low", "close", "volume")
    assert [list(row.values()) for row in reading.bars.select(names).to_pylist()] == [
        [float(cell) for cell in row[1:]] for row in clean
    ]
    assert reading.bars["session"].to_numpy().astype("datetime64[D]").astype(str).tolist() == [row[0] for row in clean]


@pytest.mark.parametrize("name", sorted(MUTATIONS))
def test_each_fault_alone(tmp_path, name):
    """A single bad row among good ones is the only one that is quarantined, with its text."""
    change, rule = MUTATIONS[name]
    rows = [f"2020-01-0{day}{GOOD[10:]}" for day in range(1, 8)]
    rows[3] = ",".join(change(rows[3].split(",")))
    reading = read(tmp_path, "\n".join([PLAIN, *rows, ""]))

    assert quarantined(reading) == {5: rule}
    assert reading.quarantine["text"].to_pylist() == [rows[3]]
    assert reading.quarantine["symbol"].to_pylist() == ["A"]
    assert reading.bars["line"].to_pylist() == [2, 3, 4, 6, 7, 8]


@pytest.mark.parametrize("header", [PLAIN, ALPHA, "Date,Open,High,Low,Close,Adj Close,Volume"])
def test_file_cut_at_any_byte_gives_no_wrong_price(tmp_path, header):
    """However a file is cut, its whole rows are right, and a last one without its newline is noted."""
    width = header.count(",")
    rows = [[f"2020-01-0{d}", "10.25", "12.75", "9.125", "11.50", *["10.50"] * (width - 4)] for d in (2, 3, 6)]
    whole = "\n".join([header, *(",".join(row) for row in rows), ""]).encode()
    for size in range(len(whole)):
        reading = read(tmp_path, whole[:size])
        for row, bar in zip(rows, reading.bars.to_pylist(), strict=False):
            assert str(bar["session"].date()) == row[0]
            assert [bar[name] for name in ("open", "high", "low", "close")] == [float(cell) for cell in row[1:5]]
        if reading.layout and whole[size - 1 : size] != b"\n":
            assert reading.notes == ("no newline at the end: the file may be truncated",)
            quarantined(reading)


def zipped():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("A.csv", f"{PLAIN}\n{GOOD}\n")
    return buffer.getvalue()


NO_BARS = {
    "empty": (b"", "not_bars", "the file is empty"),
    "blank": (b"\n \n\n", "not_bars", "the file is empty"),
    "header only": (f"{PLAIN}\n".encode(), "not_bars", "a header and no rows"),
    "header without newline": (PLAIN.encode(), "not_bars", "a header and no rows"),
    "JSON": (b'{"error": "limit reached"}', "not_bars", "not a bar file: its first line is '{\"error"),
    "JSON lines": (b'{\n"Error Message"\n}\n', "not_bars", "not a bar file: its first line is '{'"),
    "HTML": (b"<!DOCTYPE html>\n<html><body>404</body></html>", "not_bars", "not a bar file: its first line is '<!DOC"),
    "prose": (
        b"Thank you for using our API.\nPlease upgrade.\n",
        "not_bars",
        "not a bar file: its first line is 'Thank",
    ),
    "numbers without header": (f"{GOOD}\n".encode(), "not_bars", "no header: its first line is '2020-01-02"),
    "zip": (zipped(), "encoding", "not UTF-8 text: starts with b'PK"),
    "gzip without its suffix": (gzip.compress(b"x" * 99), "encoding", r"not UTF-8 text: starts with b'\x1f\x8b"),
    "UTF-16": (f"{PLAIN}\n{GOOD}\n".encode("utf-16"), "encoding", r"not UTF-8 text: starts with b'\xff\xfe"),
    "Latin-1": (
        f"{PLAIN},Name\n{GOOD},Nestl\xe9\n".encode("latin-1"),
        "encoding",
        r"not UTF-8 text: line 2, byte 40: b'\xe9' after b'11,100,Nestl'. Save it as UTF-8 CSV.",
    ),
    "Latin-1 that may be GB18030": (
        f"{PLAIN},Name\n{GOOD},Caf\xe9s\n".encode("latin-1"),
        "encoding",
        r"not UTF-8 text: line 2, byte 38: b'\xe9' after b'5,11,100,Caf'. Set data.encoding to gb18030 if it is",
    ),
    "cut within a letter": (
        f"{PLAIN},Name\n\u65e5,{GOOD}".encode()[: -len(GOOD) - 2],
        "encoding",
        r"not UTF-8 text: line 2, byte 1: b'\xe6\x97'. ",
    ),
    "semicolons": (f"{PLAIN}\n{GOOD}\n".replace(",", ";").encode(), "separator", "cells are separated by ';'"),
    "tabs": (f"{PLAIN}\n{GOOD}\n".replace(",", "\t").encode(), "separator", r"cells are separated by '\t'"),
    "decimal commas": (f"{PLAIN}\n{GOOD}\n".replace(".", ",").encode(), "separator", "no row has the header's 6 cells"),
    "thousands": (f'{PLAIN}\n2020-01-02,"1,050.5",1200,900,1100,5\n'.encode(), "separator", "'1,050.5' at line 2"),
    "quoted newline": (f'{PLAIN},x\n{GOOD},"a\nb"\n{GOOD},c\n'.encode(), "quotes", "a newline inside quotes"),
    "open quote": (
        f'{PLAIN}\n"{GOOD}\n{GOOD}"\n{GOOD}\n'.encode(),
        "quotes",
        "a newline inside quotes, or a quote that",
    ),
    "cut quote": (f'{PLAIN}\n{GOOD[:-3]}"10'.encode(), "quotes", "a quote that is never closed at line 2"),
    "times of day": (f"{PLAIN}\n{GOOD[:10]} 09:30{GOOD[10:]}\n".encode(), "time", "'2020-01-02 09:30' at line 2"),
    "zones": (f"{PLAIN}\n{GOOD}\n{GOOD[:10]}T00:00Z{GOOD[10:]}\n".encode(), "time", "'2020-01-02T00:00Z' at line 3"),
    "a million columns": (b"a," * 30_000 + b"\n1\n", "too_large", "30,001 columns; at most 500"),
    "endless header": (b"a" * 70_000, "too_large", "a header of more than 65536 bytes"),
    "two closes": (f"{PLAIN},Close\n{GOOD},1\n".encode(), "not_bars", "two columns are 'close'"),
    "unknown names": (b"d,o,h,l,close,v\n1,2,3,4,5,6\n", "not_bars", "header 'd,o,h,l,close,v' has no known layout"),
}


@pytest.mark.parametrize("name", sorted(NO_BARS))
def test_file_without_bars_is_refused_with_its_reason(tmp_path, name):
    """Nothing that is no bar file is read as one, and the message says what came."""
    content, rule, text = NO_BARS[name]
    found = refusal(read(tmp_path, content))

    assert found[0] == rule
    assert found[1].startswith(text)


@pytest.mark.parametrize("name", ["my data.csv", "^GSPC.csv", "AAA (1).csv"])
def test_name_that_gives_no_symbol_refuses_the_file(tmp_path, name):
    """A file without a symbol column needs one in its name; the message says what one may be."""
    rule, text = refusal(read(tmp_path, f"{PLAIN}\n{GOOD}\n", name=name))

    assert rule == "file_name"
    assert "'{symbol}.csv'" in text
    assert "1 to 32 letters, digits, dots, dashes or carets, beginning with a letter or digit" in text


def test_a_code_that_lost_its_zeros_refuses_the_file(tmp_path):
    """000001 became 1 in a spreadsheet: the name tells."""
    rule, text = refusal(read(tmp_path, f"Symbol,{PLAIN}\n1,{GOOD}\n", name="000001.csv"))

    assert rule == "file_name"
    assert "leading zeros were lost" in text
    assert read(tmp_path, f"Symbol,{PLAIN}\n1,{GOOD}\n", name="2020.csv").rows_in == 1


@pytest.mark.parametrize(("volumes", "noted"), [((0, 0), True), ((0, 7), False)])
def test_bars_that_never_trade_are_noted(tmp_path, volumes, noted):
    """An index, or a vendor's file without volumes: nothing would ever fill, so it is said as it is read."""
    rows = "\n".join(f"2020-03-{day:02},10,12,9,11,{volumes[day > 20]}" for day in range(1, 26))
    notes = read(tmp_path, f"{PLAIN}\n{rows}\n").notes

    assert ("all 25 bars have volume 0: no order fills in them" in notes) is noted


@given(st.binary(max_size=300))
def test_no_bytes_raise(tmp_path_factory, content):
    """Whatever a file holds, reading it ends with a reading; as text, gzip and Parquet alike."""
    folder = tmp_path_factory.mktemp("bytes")
    for name in ("A.csv", "A.csv.gz", "A.parquet"):
        reading = read(folder, content, name=name)
        assert reading.bars.num_rows == 0


@given(st.text(alphabet="0129.,-\n\r\"' :TZenaif;\t", max_size=200))
def test_no_text_under_a_good_header_raises_or_loses_a_row(tmp_path_factory, text):
    """Any text below a header is bars, quarantine, or a refusal; rows are conserved."""
    reading = read(tmp_path_factory.mktemp("text"), f"{PLAIN}\n{text}")

    if reading.layout:
        quarantined(reading)
    else:
        refusal(reading)


def test_gzip_is_unpacked_within_limits(tmp_path, monkeypatch):
    """A gzip file reads like its content, in members too; a bomb, a cut and a damaged one are refused."""
    text = f"{PLAIN}\n{GOOD}\n".encode()

    assert read(tmp_path, gzip.compress(text[:20]) + gzip.compress(text[20:]), name="A.csv.gz").rows_in == 1
    assert refusal(read(tmp_path, gzip.compress(text)[:-4], name="A.csv.gz"))[0] == "encoding"
    assert refusal(read(tmp_path, b"no gzip", name="A.csv.gz"))[0] == "encoding"
    assert refusal(read(tmp_path, b"", name="A.csv.gz"))[0] == "not_bars"
    monkeypatch.setattr(content, "FREE_BYTES", 1 << 20)
    rule, message = refusal(read(tmp_path, gzip.compress(b"\n" * (8 << 20)), name="A.csv.gz"))
    assert rule == "too_large"
    assert "gzip bomb" in message


def test_huge_file_is_refused_before_it_is_read(tmp_path):
    """A sparse file of a terabyte costs nothing."""
    path = tmp_path / "A.csv"
    path.touch()
    os.truncate(path, 1 << 40)

    assert refusal(read_file(path, OPTIONS))[0] == "too_large"


@pytest.mark.parametrize("size", [1, 1000, content.CHECKED_AT_ONCE, content.CHECKED_AT_ONCE + 1, 600_000])
def test_of_a_file_that_grew_only_the_rest_is_kept_and_all_is_checked(tmp_path, size):
    """A prefix that is as it was known is looked at, whatever its length; one that differs gives the whole file."""
    before, rest = os.urandom(size), b"the new line\n"
    path = tmp_path / "A.csv"
    path.write_bytes(before + rest)
    known, whole = (f"{zlib.crc32(data):08x}" for data in (before, before + rest))

    grown = content.load(path, (size, known))
    other = content.load(path, (size, whole))
    unchanged = content.load(path, (size + len(rest), whole))
    longer = content.load(path, (size + len(rest) + 1, "00000000"))

    assert (grown.data, grown.has_grown, grown.size, grown.crc32) == (rest, True, size + len(rest), whole)
    assert (other.data, other.has_grown, other.crc32) == (before + rest, False, whole)
    assert (unchanged.data, unchanged.has_grown, unchanged.crc32) == (b"", True, whole)
    assert (longer.data, longer.has_grown, longer.crc32) == (before + rest, False, whole)


def test_file_that_changes_while_it_is_read_is_refused(tmp_path, monkeypatch):
    """What is read must be what was there at one moment."""
    path = tmp_path / "A.csv"
    path.write_text(f"{PLAIN}\n{GOOD}\n")
    fstat = os.fstat

    def fstat_of_a_growing_file(descriptor):
        before = fstat(descriptor)
        with path.open("a") as file:
            file.write("2020-01-03")
        return before

    monkeypatch.setattr(content.os, "fstat", fstat_of_a_growing_file)

    assert refusal(read_file(path, OPTIONS))[0] == "changed"


@pytest.mark.timeout(10)
def test_things_that_are_no_files_are_refused_without_blocking(tmp_path):
    """A directory, a FIFO, a dangling link, a missing and an unreadable name come back with the system's words."""
    (tmp_path / "dir.csv").mkdir()
    os.mkfifo(tmp_path / "fifo.csv")
    (tmp_path / "link.csv").symlink_to(tmp_path / "nowhere")
    expected = {
        "dir.csv": "not a regular file; a directory",
        "fifo.csv": "not a regular file",
        "link.csv": "No such file or directory",
        "gone.csv": "No such file or directory",
        "x" * 300 + ".csv": "File name too long",
        "nul\0.csv": "embedded null byte",
    }
    for name, text in expected.items():
        rule, message = refusal(read_file(tmp_path / name, OPTIONS))
        assert rule == "unreadable"
        assert message.startswith(text)


def parquet(table, **options):
    buffer = io.BytesIO()
    pq.write_table(table, buffer, **options)
    return buffer.getvalue()


def bars_table(**changed):
    columns = {
        "symbol": pa.array(["NA", "B"]).dictionary_encode(),
        "session": pa.array([np.datetime64("2020-01-02", "ns")] * 2),
        **{name: pa.array([10.0, 10.0]) for name in ("open", "high", "low", "close")},
        "volume": pa.array([5, 7], pa.int64()),
        "factor": pa.array([1.0, 2.0]),
        "pe": pa.array([None, 8.5], pa.float32()),
    }
    return pa.table(columns | changed)


def test_parquet_file_is_read(tmp_path):
    """Our own columns as Parquet: dictionary symbols, integers, nulls; the factor."""
    reading = read(tmp_path, parquet(bars_table()), name="bars.parquet")

    assert (reading.layout, reading.rows_in, reading.notes) == ("pipeline", 2, ())
    assert reading.bars.column_names == [*ROWS.names, "pe"]
    assert reading.bars["symbol"].to_pylist() == ["NA", "B"]
    assert reading.bars["factor"].to_pylist() == [1.0, 2.0]
    assert reading.bars["line"].to_pylist() == [1, 2]
    np.testing.assert_array_equal(reading.bars["pe"].to_numpy(), [np.nan, 8.5])


def test_bad_rows_of_parquet_are_quarantined(tmp_path):
    """The same gate judges typed columns; the row's number is its line."""
    closes = pa.array([np.nan, 10.0])
    reading = read(tmp_path, parquet(bars_table(close=closes)), name="bars.parquet")

    assert quarantined(reading) == {1: "price"}
    assert reading.quarantine["text"][0].as_py().startswith("NA,2020-01-02 00:00:00,10.0")


@pytest.mark.parametrize(
    ("changed", "rule"),
    [
        ({"symbol": pa.array([1, 2])}, "column_type"),
        ({"pe": pa.array([[1.0], [2.0]])}, "column_type"),
        ({"pe": pa.array([b"x", b"y"])}, "column_type"),
        ({"close": pa.array([date(2020, 1, 2)] * 2)}, "column_type"),
        ({"session": pa.array([np.datetime64("2020-01-02T15:30", "ms")] * 2)}, "time"),
        ({"session": pa.array([0, 0], pa.timestamp("ms", "Asia/Tokyo"))}, "time"),
        ({"session": pa.array([0, 0], pa.timestamp("ms", "Mars/Olympus"))}, "time"),
    ],
)
def test_strange_parquet_columns_are_refused(tmp_path, changed, rule):
    """Nested and binary columns, symbols that are numbers, moments and unknown zones refuse the file."""
    assert refusal(read(tmp_path, parquet(bars_table(**changed)), name="bars.parquet"))[0] == rule


def test_parquet_limits_come_from_the_footer(tmp_path, monkeypatch):
    """Too many rows are refused before they are read; an empty table and a missing one too."""
    assert refusal(read(tmp_path, parquet(bars_table().slice(0, 0)), name="b.parquet")) == ("not_bars", "no rows")
    monkeypatch.setattr(cells, "MAX_ROWS", 1)
    assert refusal(read(tmp_path, parquet(bars_table()), name="b.parquet"))[0] == "too_large"


@given(st.integers(0, 10**9), st.integers(0, 255))
def test_damaged_parquet_never_raises(tmp_path_factory, place, byte):
    """A flipped byte gives a reading or a refusal, never an exception."""
    content = bytearray(parquet(bars_table()))
    content[place % len(content)] = byte
    reading = read(tmp_path_factory.mktemp("p"), bytes(content), name="b.parquet")

    assert reading.rows_in == reading.bars.num_rows + (reading.quarantine.num_rows if reading.layout else 0)


@pytest.mark.parametrize(
    "session",
    [
        pa.array([2**62 - 2**62 % 86_400_000, -(2**62)], pa.timestamp("ms")),
        pa.array([2**45, -(2**45)], pa.date64()),
        pa.array([2**31 - 1, -(2**31)], pa.date32()),
        pa.array([1577923200, 1577923200000]),
        pa.array([1.5, float("nan")]),
        pa.array([True, None]),
        pa.nulls(2),
        pa.array(["", None]),
    ],
    ids=lambda array: str(array.type),
)
def test_strange_sessions_of_parquet_give_no_bars(tmp_path, session):
    """Far-away dates, epochs, truth values and nothing at all are quarantined or refused, never a bar or an error."""
    reading = read(tmp_path, parquet(bars_table(session=session)), name="b.parquet")

    assert reading.bars.num_rows == 0
    assert reading.quarantine.num_rows == max(reading.rows_in, 1)


def test_sample_stocks_are_read(tmp_path):
    """The five stocks of bokeh_sampledata: a long, gzipped file in Yahoo's form of 2013, 12,154 rows."""
    path = bokeh_sampledata.__path__[0] + "/_data/stocks.csv.gz"
    reading = read_file(Path(path), OPTIONS)

    assert (reading.layout, reading.adjustment, reading.rows_in) == ("yahoo-2013", "none", 12_154)
    assert quarantined(reading) == {}
    assert sorted(set(reading.bars["symbol"].to_pylist())) == ["AAPL", "FB", "GOOG", "IBM", "MSFT"]
    assert reading.bars.slice(0, 1).to_pylist()[0]["close"] == 130.31


def test_real_files_are_read(real_files):
    """253 files of a vendor, on threads: 252 stocks without a bad row, and the error page refused by name."""
    options = ReadOptions({}, "DA-{symbol}-T-{date}.csv", OPTIONS.as_of)
    with ThreadPoolExecutor(2) as pool:
        readings = list(pool.map(lambda path: read_file(path, options), sorted(real_files.glob("*.csv"))))
    (page,) = (reading for reading in readings if not reading.layout)
    good = [reading for reading in readings if reading.layout]

    assert refusal(page)[0] == "not_bars"
    assert page.quarantine["symbol"].to_pylist() == ["BF.B"]
    assert {(reading.layout, reading.quarantine.num_rows, reading.notes) for reading in good} == {
        ("alpha-vantage", 0, ())
    }
    assert len({reading.bars["symbol"][0].as_py() for reading in good}) == 252
    assert sum(reading.rows_in for reading in good) == 1_189_018
