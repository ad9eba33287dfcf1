"""Minute bars, from files to a run directory."""

import json
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from csv_files import write
from markets import bars, changes, in_minutes, options, run
from pipeline import config
from pipeline.bars.blocks import blocks_of, load_block
from pipeline.bars.ingest import ingest
from pipeline.bars.minutes import MINUTES, bar_times
from pipeline.bars.periods import read_periods
from pipeline.bars.plan import lay_periods
from pipeline.bars.quality import RefusedError
from pipeline.bars.reading import ReadOptions, read_file
from pipeline.bars.simulator import Market
from pipeline.bars.store import open_snapshot
from pipeline.bars.synthetic import rows_of, survey
from pipeline.bars.times import Clock, moments, of_two
from pipeline.errors import ConfigError, DataError
from pipeline.modes import BarLabel, Frequency
from pipeline.replay import replay
from pipeline.results.trades import trades_of
from pipeline.run import run as backtest
from signal_cases import KINDS, write_strategy

TIMED = "time,open,high,low,close,volume"
NEW_YORK = Clock("America/New_York", BarLabel.START, 1)
YFINANCE = """Datetime,Open,High,Low,Close,Volume,Dividends,Stock Splits
2024-01-02 09:30:00-05:00,10,11,9,10.5,100,0.0,0.0
2024-01-02 09:31:00-05:00,10.5,11,10,11,50,0.0,0.0
2024-07-01 15:59:00-04:00,12,12,12,12,70,0.0,0.0
"""
DOWNLOAD = """Price,Close,High,Low,Open,Volume
Ticker,MSFT,MSFT,MSFT,MSFT,MSFT
Datetime,,,,,
2024-01-02 14:30:00+00:00,10.5,11,9,10,100
2024-07-01 19:59:00+00:00,12,12,12,12,70
"""
BAOSTOCK = """date,time,code,open,high,low,close,volume,amount,adjustflag
2024-01-02,20240102093500000,sh.600000,10,11,9,10.5,100,1050,3
2024-01-02,20240102150000000,sh.600000,10.5,11,10,11,50,550,3
"""
TUSHARE = """ts_code,trade_time,open,close,high,low,vol,amount
600000.SH,2024-01-02 09:31:00,10,10.5,11,9,100,1050
"""
AKSHARE = """时间,开盘,收盘,最高,最低,成交量,成交额,最新价
2024-01-02 09:31:00,10,10.5,11,9,2,1050,10.5
"""


def read(folder: Path, text: str, name="AAA.csv", **more):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return read_file(path, ReadOptions({}, "{symbol}.csv", date(2024, 12, 31), frequency=Frequency.MINUTE, **more))


def ends(reading) -> list[str]:
    """Return the ends of the bars of a reading, in UTC, and their sessions."""
    return [f"{row['time']:%Y-%m-%d %H:%M} {row['session']:%d}" for row in reading.bars.to_pylist()]


def test_yfinance_minutes_end_a_minute_later(tmp_path):
    """Its times are where bars begin, with an offset that follows summer time; the exchange's zone must be told."""
    refused = read(tmp_path, YFINANCE)
    reading = read(tmp_path, YFINANCE, time_zone="America/New_York")

    assert "does not tell: set data.time_zone as America/New_York" in refused.quarantine["text"][0].as_py()
    assert ends(reading) == ["2024-01-02 14:31 02", "2024-01-02 14:32 02", "2024-07-01 20:00 01"]
    assert reading.adjustment == "all"


@pytest.mark.parametrize(("apart", "minutes", "says"), [(1, 5, "1 minute"), (5, 1, "5 minutes"), (60, 1, "60 minutes")])
def test_bars_of_another_length_are_refused(tmp_path, apart, minutes, says):
    """Too long, and they overlap; too short, and their last minutes are known before they have passed."""
    starts = pd.date_range("2024-01-02 04:00", periods=2000 // apart, freq=f"{apart}min")
    text = (
        TIMED.replace("time", "datetime") + "".join(f"\n{start:%Y-%m-%d %H:%M},10,12,9,11,7" for start in starts) + "\n"
    )
    refused, good = (read(tmp_path, text, **TOLD, bar_minutes=length) for length in (minutes, apart))

    assert refused.quarantine["rule"].to_pylist() == ["declared"]
    assert f"bars begin {says} apart, and data.bar_minutes is {minutes}" in refused.quarantine["text"][0].as_py()
    assert good.bars.num_rows == len(starts)
    ended = read(tmp_path, text, **{**TOLD, "bar_label": BarLabel.END}, bar_minutes=minutes)
    assert ended.bars.num_rows == len(starts)


def test_a_share_that_seldom_trades_is_of_its_length(tmp_path):
    """Minutes without a trade have no bar: gaps of 2 and 3 minutes are no bars of 2 or 3."""
    starts = pd.Timestamp("2024-01-02 09:30") + pd.to_timedelta(np.cumsum([2, 3, 4] * 20), unit="min")
    text = (
        TIMED.replace("time", "datetime") + "".join(f"\n{start:%Y-%m-%d %H:%M},10,12,9,11,7" for start in starts) + "\n"
    )

    assert read(tmp_path, text, **TOLD, bar_minutes=1).bars.num_rows == len(starts)


def test_yfinance_download_of_minutes_is_read(tmp_path):
    """Three lines of header, times of UTC where bars begin; the session is the date in New York."""
    reading = read(tmp_path, DOWNLOAD, name="MSFT.csv", time_zone="America/New_York")
    (first, _) = reading.bars.to_pylist()

    assert (reading.layout, reading.adjustment, reading.quarantine.num_rows) == ("yfinance-download-minute", "all", 0)
    assert ends(reading) == ["2024-01-02 14:31 02", "2024-07-01 20:00 01"]
    assert [first[name] for name in ("symbol", "open", "high", "low", "close")] == ["MSFT", 10, 11, 9, 10.5]
    assert first["line"] == 4


def test_yfinance_download_without_adjustment_is_read(tmp_path):
    """With auto_adjust=False there is an Adj Close, and prices are adjusted for splits."""
    text = DOWNLOAD.replace("Price,", "Price,Adj Close,").replace("Ticker,", "Ticker,MSFT,")
    text = (
        text.replace("Datetime,", "Datetime,,")
        .replace("+00:00,", "+00:00,5.25,", 1)
        .replace("59:00+00:00", "59:00+00:00,6")
    )
    reading = read(tmp_path, text, name="MSFT.csv", time_zone="America/New_York")

    assert (reading.layout, reading.adjustment) == ("yfinance-download-minute", "splits")
    assert reading.bars["adjusted_close"].to_pylist() == [5.25, 6]


@pytest.mark.parametrize(
    ("frequency", "text"), [("minute", DOWNLOAD.replace("Datetime,", "Date,")), ("daily", DOWNLOAD)]
)
def test_a_download_of_the_other_frequency_is_told(tmp_path, frequency, text):
    """The header's first line is the same; the third tells, and the message names the setting."""
    (tmp_path / "MSFT.csv").write_text(text)
    options = ReadOptions({}, "{symbol}.csv", date(2024, 12, 31), frequency=Frequency(frequency))
    (refusal,) = read_file(tmp_path / "MSFT.csv", options).quarantine.to_pylist()

    other = {"minute": "daily", "daily": "minute"}[frequency]
    assert refusal["text"].endswith(f" is expected. Set data.frequency: {other}.")


@pytest.mark.parametrize(
    ("text", "layout", "times", "volume", "more"),
    [
        (BAOSTOCK, "baostock-minute", ["2024-01-02 01:35 02", "2024-01-02 07:00 02"], [100, 50], {}),
        (TUSHARE, "tushare-minute", ["2024-01-02 01:31 02"], [100], {}),
        (AKSHARE, "akshare-minute", ["2024-01-02 01:31 02"], [200], {"adjustment": "none"}),
    ],
)
def test_chinese_vendors_write_the_ends(tmp_path, text, layout, times, volume, more):
    """Clock times of Shanghai, ends of bars; volume in shares, or lots of 100."""
    reading = read(tmp_path, text, **more)

    assert reading.layout == layout
    assert ends(reading) == times
    assert reading.bars["volume"].to_pylist() == volume


TOLD = {"adjustment": "none", "volume_unit": "shares", "time_zone": "America/New_York", "bar_label": BarLabel.START}
STOOQ = "<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>"
METATRADER = "<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<TICKVOL>,<VOL>,<SPREAD>"


@pytest.mark.parametrize(
    ("text", "layout"),
    [
        ("Date,Time,Open,High,Low,Close,Volume\n2024-01-02,09:30,10,11,9,10.5,100\n", "date-time"),
        ("Date,Time,Open,High,Low,Close,Volume\n20240102,09:30:00,10,11,9,10.5,100\n", "date-time"),
        ("Date,Time,Open,High,Low,Close,Volume\n2024/01/02,0930,10,11,9,10.5,100\n", "date-time"),
        (f"{METATRADER}\n2024.01.02,09:30:00,10,11,9,10.5,7,100,1\n", "metatrader"),
        (f"{STOOQ}\nAAA.US,5,20240102,093000,10,11,9,10.5,100,0\n", "stooq-minute"),
        ("Datetime,Open,High,Low,Close,Volume\n2024-01-02 09:30,10,11,9,10.5,100\n", "datetime"),
        ("timestamp,open,high,low,close,volume\n2024-01-02 09:30:00,10,11,9,10.5,100\n", "timestamp-minute"),
    ],
)
def test_dates_and_times_in_two_columns_are_read(tmp_path, text, layout):
    """As vendors write them; what their files do not tell is asked for."""
    refused, reading = read(tmp_path, text), read(tmp_path, text, **TOLD)
    (bar,) = reading.bars.to_pylist()

    assert refused.quarantine["rule"].to_pylist() == ["declared"]
    assert reading.layout == layout
    assert ends(reading) == ["2024-01-02 14:31 02"]
    assert [bar[name] for name in ("open", "high", "low", "close", "volume")] == [10, 11, 9, 10.5, 100]


def test_two_columns_of_other_names_are_declared(tmp_path):
    """`date` and `time` on the left; an offset may stand with the time."""
    path = tmp_path / "AAA.csv"
    path.write_text("d,t,open,high,low,close,volume\n2024-01-02,09:30-05:00,10,11,9,10.5,100\n")
    told = ReadOptions(
        {"date": "d", "time": "t"}, "{symbol}.csv", date(2024, 12, 31), frequency=Frequency.MINUTE, **TOLD
    )

    assert ends(read_file(path, told)) == ["2024-01-02 14:31 02"]


def test_two_columns_that_are_no_time_are_quarantined(tmp_path):
    """American dates, hours without their zero, seconds, no date at all: never guessed."""
    cells = ["01/02/2024,09:30", "2024-01-02,9:30", "2024-01-02,930", "2024-01-02,09:30:15", ",09:30", "2024-01-02,"]
    text = "Date,Time,Open,High,Low,Close,Volume\n" + "".join(f"{pair},1,1,1,1,1\n" for pair in cells)
    reading = read(tmp_path, text + "2024-01-02,09:31,1,1,1,1,1\n", **TOLD)

    assert ends(reading) == ["2024-01-02 14:32 02"]
    assert reading.quarantine["line"].to_pylist() == [2, 3, 4, 5, 6, 7]
    assert set(reading.quarantine["rule"].to_pylist()) == {"moment"}


def test_times_of_numbers_are_refused():
    """In Parquet 93000 is what is left of 093000, or of nothing."""
    with pytest.raises(RefusedError, match="times are int64, not text; leading zeros may be lost"):
        of_two(pa.array(["2024-01-02"]), pa.array([93000]))


def test_minutes_in_a_daily_folder_are_told(tmp_path):
    """A column of times that are no midnights refuses the file, with the setting that fits it."""
    path = tmp_path / "AAA.csv"
    path.write_text("Date,Time,Open,High,Low,Close,Volume\n2024-01-02,09:30,10,11,9,10.5,100\n")
    (entry,) = read_file(path, ReadOptions({}, "{symbol}.csv", date(2024, 12, 31))).quarantine.to_pylist()

    assert entry["text"].startswith("'09:30' in column 'Time' at line 2; of layout stooq-web only midnight is read.")
    assert "Set data.frequency: minute" in entry["text"]


def test_five_minute_bars_begin_five_minutes_before_they_end(tmp_path):
    """The length of a bar is told."""
    reading = read(tmp_path, YFINANCE, time_zone="America/New_York", bar_minutes=5)

    assert ends(reading)[0] == "2024-01-02 14:35 02"


def test_times_that_are_none_are_quarantined(tmp_path):
    """Seconds, hours that do not exist, and clocks that show a time twice or never: each a row with its line."""
    times = ["2024-01-02 09:30:30", "2024-01-02 25:00", "2024-02-30 09:30", "2024-03-10 02:30", "2024-11-03 01:30", "x"]
    text = "time,symbol,open,high,low,close,volume\n" + "".join(f"{time},A,1,1,1,1,1\n" for time in times)
    reading = read(tmp_path, text + "2024-01-02 09:30,A,1,1,1,1,1\n", "A.csv", time_zone="America/New_York")

    assert ends(reading) == ["2024-01-02 14:30 02"]
    assert reading.quarantine["line"].to_pylist() == [2, 3, 4, 5, 6, 7]
    assert set(reading.quarantine["rule"].to_pylist()) == {"moment"}


def test_offsets_on_some_rows_refuse_the_file():
    """Who knows what the others mean."""
    with pytest.raises(RefusedError, match="'2024-01-02 09:31' at line 3 has no offset, others have one"):
        moments(pa.array(["2024-01-02 09:30Z", "2024-01-02 09:31"]), np.array([2, 3]), NEW_YORK)


def test_timestamps_of_parquet_are_moments_or_clocks():
    """With a zone they are moments; without, the exchange's clock; midnight ends the day before."""
    aware = pa.array([pd.Timestamp("2024-01-02 14:30", tz="UTC")])
    naive = pa.array([pd.Timestamp("2024-01-02 23:59"), pd.Timestamp("2024-01-02 09:30:01")])

    assert moments(aware, np.array([1]), NEW_YORK)[0].astype(str).tolist() == ["2024-01-02T14:31:00.000"]
    found, session = moments(naive, np.array([1, 2]), NEW_YORK)
    assert found.astype(str).tolist() == ["2024-01-03T05:00:00.000", "NaT"]
    assert str(session[0]) == "2024-01-02"


def test_rows_of_one_minute_must_agree(tmp_path):
    """Equal ones are one; ones that differ are none, and the quarantine says which minute."""
    good, other = "2024-01-02 09:30,1,1,1,1,5", "2024-01-02 09:31,2,2,2,2,5"
    write(tmp_path / "bars" / "A.csv", [good, good, other, other.replace(",5", ",6")], TIMED)
    snapshot = ingested(tmp_path, *files(tmp_path)).snapshot
    text = (tmp_path / "store" / "quarantine.csv").read_text()

    counts = snapshot.manifest.counts
    assert (counts["stored"], counts["duplicates"], counts["quarantined"]) == (1, 1, 2)
    assert "time=2024-01-02T14:32Z open=2" in text


def test_grown_files_come_to_what_a_rebuild_gives(tmp_path):
    """Two more sessions: the closed month is kept, and the bars are those of an ingest from nothing."""
    days = pd.bdate_range("2023-12-28", "2024-01-05").strftime("%Y-%m-%d")
    rows = [f"{day} {minute},1,99,1,{number + 1},5" for number, day in enumerate(days) for minute in ("09:30", "09:32")]
    for symbol in "AB":
        write(tmp_path / "bars" / f"{symbol}.csv", rows[:-4], TIMED)
    before = ingested(tmp_path, *files(tmp_path)).snapshot
    for symbol in "AB":
        write(tmp_path / "bars" / f"{symbol}.csv", rows, TIMED)
    after = ingested(tmp_path, *files(tmp_path)).snapshot
    afresh = ingested(tmp_path / "other", *files(tmp_path)).snapshot

    assert [period.first for period in after.manifest.periods] == ["2023-12-28", "2024-01-01"]
    assert {part.file for part in before.manifest.parts} & {part.file for part in after.manifest.parts}
    assert after.manifest.counts == afresh.manifest.counts
    closes = [
        pd.concat([load_block(block, ["raw_close"]) for block in blocks_of(snapshot, ["A", "B"])])["raw_close"].tolist()
        for snapshot in (after, afresh)
    ]
    assert closes[0] == closes[1] == [number // 2 + 1 for number in range(len(rows))] * 2


def files(place: Path) -> list[str]:
    """Return the settings that read a folder of files with a column `time` of New York, where bars begin."""
    return ["data.source=csv", f"data.path={place}/bars", "data.columns={time: time}",
            "data.adjustment=all", "data.volume_unit=shares",
            "data.time_zone=America/New_York", "data.bar_label=start"]  # fmt: skip


def options_of(place: Path, *overrides: str) -> config.Options:
    own = {"data.frequency": "minute", "data.store": f"{place}/store", "output.dir": f"{place}/runs"}
    stated = own | {"output.report": "false"} | dict(override.split("=", 1) for override in overrides)
    return config.load(None, [f"{name}={value}" for name, value in stated.items()], {})


def ingested(place: Path, *overrides: str):
    return ingest(options_of(place, *overrides).data, readers=2, as_of=date(2024, 12, 31))


MARKET = ("data.source=synthetic", "data.synthetic.symbols=6", "data.synthetic.sessions=12",
          "data.synthetic.start=2024-03-04")  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Ingest a made-up market of minutes over the change to summer time on 2024-03-10."""
    folder = tmp_path_factory.mktemp("minutes")
    ingested(folder, *MARKET)
    return folder


def test_sample_has_no_minutes(tmp_path):
    """Asking for them is a mistake in the config."""
    with pytest.raises(ConfigError, match=r"data\.source is sample, which has daily bars: daily expected"):
        options_of(tmp_path, "data.source=sample")


def test_an_unknown_time_zone_is_a_config_error(tmp_path):
    """Before any file is read."""
    with pytest.raises(ConfigError, match=r"data\.time_zone is 'New York'; a time zone like America/New_York"):
        options_of(tmp_path, *MARKET, "data.time_zone='New York'")


def test_daily_files_are_no_minutes(tmp_path):
    """A daily file in a folder of minutes is refused with the setting that fits it."""
    write(tmp_path / "bars" / "A.csv", ["Date,Open,High,Low,Close,Volume", "2024-01-02,1,1,1,1,5"])

    with pytest.raises(
        DataError, match=r"of yahoo, daily bars, but data.frequency is minute. Set data.frequency: daily"
    ):
        ingested(tmp_path, "data.source=csv", f"data.path={tmp_path}/bars")


def test_made_up_minutes_lead_from_open_to_close():
    """The first minute opens and the last closes where the daily bar does, whatever trades between, and in UTC."""
    minutes = Market(40, 60, 7, date(2024, 1, 2), Frequency.MINUTE)
    days = Market(40, 60, 7, date(2024, 1, 2))
    counts = survey(minutes)
    thinnest = 0
    for number in range(40):
        table, daily = rows_of(minutes, number).to_pandas(), rows_of(days, number).to_pandas()
        grouped = table.groupby("session")
        assert grouped["open"].first().tolist() == daily["open"].tolist()
        assert grouped["close"].last().tolist() == daily["close"].tolist()
        assert (table["low"] <= table[["open", "close"]].min(axis=1)).all()
        assert (table["high"] >= table[["open", "close"]].max(axis=1)).all()
        assert (grouped["split"].prod().to_numpy() == daily["split"].to_numpy()).all()
        assert (grouped["dividend"].sum().to_numpy() == daily["dividend"].to_numpy()).all()
        ratio = grouped["volume"].sum().to_numpy() / daily["volume"].to_numpy()
        assert ((ratio >= 1) & (ratio < 1.4)).all()
        local = table["time"].dt.tz_convert("America/New_York")
        assert (local.dt.strftime("%H:%M").between("09:31", "16:00")).all()
        assert (local.dt.tz_localize(None).dt.normalize() == table["session"]).all()
        assert counts.bars_of[table["symbol"][0]] == len(table)
        thinnest = max(thinnest, int(grouped.size().rsub(MINUTES).max()))

    assert thinnest > 50
    assert counts.bars.sum() == sum(counts.bars_of.values())


def test_made_up_minutes_do_not_depend_on_the_size_of_the_market():
    """A symbol is the same beside any number of others; a longer market begins with the shorter one."""
    small, large = (
        Market(count, sessions, 3, date(2024, 1, 2), Frequency.MINUTE) for count, sessions in ((1, 5), (9, 9))
    )
    one, other = rows_of(small, 0).to_pandas(), rows_of(large, 0).to_pandas()

    pd.testing.assert_frame_equal(one, other.iloc[: len(one)])


def test_minutes_have_volatility_of_the_day():
    """Over many sessions the squared returns of the minutes add up to about the day's variance from open to close."""
    market = Market(12, 250, 7, date(2022, 1, 3), Frequency.MINUTE)
    tables = [rows_of(market, number).to_pandas() for number in range(12)]
    realised = sum((np.log(table["close"] / table["open"]) ** 2).sum() for table in tables)
    daily = [table.groupby("session").agg(open=("open", "first"), close=("close", "last")) for table in tables]

    assert realised == pytest.approx(sum((np.log(day["close"] / day["open"]) ** 2).sum() for day in daily), rel=0.35)


def test_store_keeps_both_session_and_time(place):
    """Blocks and periods hold the same bars; times ascend; every time knows its session."""
    snapshot = open_snapshot(place / "store")
    symbols = list(snapshot.by_symbol)
    (period,) = read_periods(snapshot, symbols, ["close", "factor"], None, None)
    frames = pd.concat([load_block(block, ["raw_close"]) for block in blocks_of(snapshot, symbols)])

    assert period.has_times
    assert (np.diff(period.times) > np.timedelta64(0)).all()
    assert period.sessions[period.day].tolist() == pd.DatetimeIndex(period.times, tz="UTC").tz_convert(
        "America/New_York").date.tolist()  # fmt: skip
    assert period.closing.sum() == len(period.sessions) == 12
    rows = np.repeat(symbols, np.diff(period.starts))
    by_period = pd.DataFrame({"symbol": rows, "time": period.times[period.time], "close": period.columns["close"]})
    by_block = frames.assign(symbol=frames["symbol"].astype(str), time=frames["time"].dt.tz_localize(None))
    assert by_period["close"].tolist() == by_block.sort_values(["symbol", "time"])["raw_close"].tolist()


def test_start_and_end_are_sessions(place):
    """Both are included, with all their minutes."""
    snapshot = open_snapshot(place / "store")
    window = date(2024, 3, 8), date(2024, 3, 12)
    (period,) = read_periods(snapshot, list(snapshot.by_symbol), ["close"], *window)

    assert period.sessions.astype(str).tolist() == ["2024-03-08", "2024-03-11", "2024-03-12"]
    assert period.day.tolist() == sorted(period.day.tolist())
    assert len(period.times) == 3 * MINUTES
    assert str(period.times[0]) == "2024-03-08T14:31:00.000"  # winter time until Sunday
    assert str(period.times[MINUTES]) == "2024-03-11T13:31:00.000"


@pytest.mark.parametrize("kind", KINDS)
def test_minutes_give_the_same_digest_under_every_scheduler(place, kind):
    """The run goes through, and what comes out does not depend on where."""
    done = backtest(options_of(place, *MARKET, f"scheduler.kind={kind}", "scheduler.workers=2"))
    first = backtest(options_of(place, *MARKET, "scheduler.kind=synchronous"))

    assert done.result_digest == first.result_digest
    assert done.rows["fills"] > 100
    assert done.rows["bars"] > 20_000


def test_run_directory_tells_the_minute(place):
    """Orders, fills, trades and signals carry session and time; equity goes by session."""
    done = backtest(options_of(place, *MARKET, "output.report=true"))
    tables = {
        name: pd.read_parquet(f"{done.run_dir}/{name}.parquet")
        for name in ("equity", "orders", "fills", "trades", "signals")
    }

    assert len(tables["equity"]) == 12
    assert list(tables["orders"])[:4] == ["signal_session", "signal_time", "session", "time"]
    assert list(tables["trades"])[1:5] == ["entry_session", "entry_time", "exit_session", "exit_time"]
    waited = tables["orders"].query("status == 'filled' and filled != 0")
    assert (waited["time"] > waited["signal_time"]).all()
    assert (waited["time"] - waited["signal_time"]).min() == pd.Timedelta(minutes=1)
    local = tables["fills"]["time"].dt.tz_convert("America/New_York").dt.tz_localize(None)
    assert (local.dt.normalize() == tables["fills"]["session"]).all()
    assert tables["trades"]["sessions_held"].min() == 0
    assert tables["signals"]["time"].is_monotonic_increasing
    assert json.loads(Path(done.run_dir, "run.json").read_text())["snapshot"]["frequency"] == "minute"
    assert Path(done.run_dir, "report.html").is_file()


def test_strategy_sees_times_and_sessions(place, tmp_path):
    """The index is the bar's end in UTC, `session` a column: long over the first half hour of each session."""
    text = """
        COLUMNS = ("close",)
        def signal(bars):
            assert list(bars) == ["session", "close"] and bars.index.name == "time" and str(bars.index.tz) == "UTC"
            return (bars.groupby("session").cumcount() < 30).astype(float)
        """
    name = write_strategy(tmp_path, "opening", text)
    done = backtest(options_of(place, *MARKET, f"strategy.name={name}"))
    trades = pd.read_parquet(f"{done.run_dir}/trades.parquet")

    assert (trades["sessions_held"] == 0).all()
    assert trades["entry_time"].dt.tz_convert("America/New_York").dt.strftime("%H:%M").mode().tolist() == ["09:32"]


def test_an_entry_lives_until_its_session_ends():
    """Asked in the second minute, no bar until the session is over: rejected at its last minute; then the next day."""
    frame = in_minutes(bars(A=[10, 10, None, None, 10, 10], B=[1] * 6), 4)
    chosen = options(cash=1_000, sizing={"method": "shares", "value": 10})
    asked = in_minutes(changes(("A", 1, 1)), 4)
    refused = run(frame, asked, chosen).orders.iloc[0]
    ledger = run(
        frame, asked, options(cash=1_000, sizing={"method": "shares", "value": 10}, orders={"valid_sessions": 2})
    )

    assert (refused["status"], refused["reason"], f"{refused['time']:%d %H:%M}") == ("rejected", "no_bar", "01 14:03")
    assert [f"{time:%d %H:%M}" for time in ledger.fills["time"]] == ["02 14:00"]


def test_an_entry_of_the_last_minute_has_the_whole_next_session():
    """Its first session is the one of the first minute at which it can fill."""
    frame = in_minutes(bars(A=[10, 10, None, 10, 10, 10], B=[1] * 6), 2)
    chosen = options(cash=1_000, sizing={"method": "shares", "value": 10})
    ledger = run(frame, in_minutes(changes(("A", 1, 1)), 2), chosen)

    assert [f"{time:%d %H:%M}" for time in ledger.fills["time"]] == ["02 14:01"]


def test_intraday_trades_know_their_minutes():
    """Entered and left within a session: held for 0 sessions, at the minutes of the fills."""
    frame = in_minutes(bars(A=[10, 10, 11, 12]), 4)
    ledger = run(frame, in_minutes(changes(("A", 0, 1), ("A", 2, 0)), 4), options(cash=1_000))
    (trade,) = trades_of(ledger.fills, ledger.equity["session"].to_numpy()).to_dict("records")

    assert (f"{trade['entry_time']:%H:%M}", f"{trade['exit_time']:%H:%M}", trade["sessions_held"]) == (
        "14:01",
        "14:03",
        0,
    )
    assert len(ledger.equity) == len(ledger.benchmark) == 1
    assert ledger.equity["equity"].tolist() == [1_200]
    assert ledger.benchmark.tolist() == [1_200]


def test_periods_of_minutes_are_bounded():
    """A period holds at most four million bars, the tail one million, split at months or sessions where need be."""
    days = np.arange("2023-01-02", "2024-07-01", dtype="datetime64[D]")
    periods = lay_periods(days, np.full(len(days), 195_000))
    sizes = [int((np.datetime64(p.last) - np.datetime64(p.first)).astype(int) + 1) * 195_000 for p in periods]

    assert max(sizes) <= 4_000_000
    assert sizes[-1] <= 1_000_000
    assert periods[-1].open
    assert sum(sizes) == len(days) * 195_000


def test_bar_times_follow_summer_time():
    """The exchange opens at the same local time all year."""
    times = bar_times(Market(1, 12, 7, date(2024, 3, 4), Frequency.MINUTE))

    assert str(times[0, 0]) == "2024-03-04T14:31:00.000"
    assert str(times[-1, -1]) == "2024-03-19T20:00:00.000"


def test_a_look_ahead_within_a_session_is_caught(place, tmp_path):
    """Of minute bars the minute is named, in UTC."""
    mine = write_strategy(tmp_path, "next", "def signal(bars): return (bars['close'].diff(-1) < 0).astype(float)")
    own = ("strategy.name=" + mine, "strategy.params={}")
    cheating = replay(options_of(place, *MARKET, *own), "SIM00000", look_ahead=True).symbols[0]
    honest = replay(options_of(place, *MARKET), "SIM00000", look_ahead=True).symbols[0]

    assert cheating["look_ahead"]["bar"].endswith(" UTC")
    assert (honest["look_ahead"], honest["cuts"]) == (None, 20)
