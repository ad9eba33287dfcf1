"""How vendors write bars. A new vendor is one entry of `LAYOUTS`.

Besides what its columns are called a layout declares what a file cannot be asked: whether its prices are as traded
(``none``), adjusted for splits (``splits``), or for splits and dividends (``all``), and whether its volume counts
shares or lots of 100. None where files of one header differ; then `data.adjustment` or `data.volume_unit` must tell.

Names are compared as letters and digits only, in lower case, so ``<CLOSE>``, ``Close`` and ``close`` are one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.modes import BarLabel, Frequency
from pipeline.schema import PRICES

_OHLC = {name: name for name in PRICES}
_OHLCV = {**_OHLC, "volume": "volume"}
_YFINANCE_DOWNLOAD = {"price": "session", **_OHLCV}
_YFINANCE_MINUTES = {"price": "time", **_OHLCV}
_EASTMONEY = {
    "日期": "session",
    "开盘": "open",
    "最高": "high",
    "最低": "low",
    "收盘": "close",
    "成交量": "volume",
}

PLAINEST = "stooq-web"  # whose header others write, too, of prices that are adjusted otherwise
MIDNIGHTS = ("000000", "0000", "0", "00:00:00", "00:00", "")  # what daily bars may have in a column of times

ENGLISH: Mapping[str, str] = {
    "成交额": "amount",
    "振幅": "amplitude",
    "涨跌幅": "pct_chg",
    "涨跌额": "change",
    "换手率": "turnover_rate",
    "昨收": "pre_close",
    "前收盘": "pre_close",
    "市盈率": "pe",
    "市净率": "pb",
    "总市值": "total_mv",
    "流通市值": "circ_mv",
}
"""What further columns with Chinese names are stored under: the names that Tushare gives the same things."""


@dataclass(frozen=True)
class Layout:
    """A vendor's way to write bars; all header names as `pipeline.bars.layouts.plain` makes them."""

    name: str
    adjustment: str | None  # none | splits | all; None: the files do not tell
    columns: Mapping[str, str]  # theirs: ours; all of them must be there
    marks: tuple[str, ...] = ()  # further columns that must be there, which tells twins apart
    optional: Mapping[str, str] = field(default_factory=lambda: {"symbol": "symbol", "ticker": "symbol"})
    volume_unit: str | None = "shares"  # shares | lots; None: the files do not tell
    is_scaled: bool = False  # prices stand there x factor, the volume / factor
    before: tuple[str, str] | None = None  # the first stands before the second; tells twins apart
    compact: bool = False  # dates may be YYYYMMDD
    frequency: Frequency = Frequency.DAILY
    zone: str | None = None  # of minute bars whose times have no offset; None: the files do not tell
    label: BarLabel | None = None  # which end of a minute bar its time is; None: the files do not tell
    heads: tuple[str, ...] = ()  # first cells of the header's further lines
    fixed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # columns that hold one of these texts


LAYOUTS: tuple[Layout, ...] = (
    # https://www.alphavantage.co/documentation/#dailyadj: raw prices, dividends and splits on the ex-date
    Layout(
        name="alpha-vantage",
        adjustment="none",
        columns={
            "timestamp": "session",
            **_OHLCV,
            "adjustedclose": "adjusted_close",
            "dividendamount": "dividend",
            "splitcoefficient": "split",
        },
    ),
    # https://www.alphavantage.co/documentation/#daily, as traded; others write the same of adjusted prices
    Layout(name="timestamp", adjustment=None, columns={"timestamp": "session", **_OHLCV}),
    # our own bars as pandas or `files` write them; the factor is optional
    Layout(
        name="pipeline",
        adjustment="none",
        columns={"symbol": "symbol", "session": "session", **_OHLCV},
        optional={"factor": "factor"},
    ),
    # https://tushare.pro/document/2?doc_id=27 (daily), =28 (adj_factor, to be merged in by ts_code and trade_date)
    Layout(
        name="tushare",
        adjustment="none",
        columns={"tscode": "symbol", "tradedate": "session", **_OHLC, "vol": "volume"},
        optional={"adjfactor": "factor"},
        volume_unit="lots",
        compact=True,
    ),
    # https://akshare.akfamily.xyz/data/stock/stock.html: stock_zh_a_hist since May 2024; adjust is "", qfq or hfq
    Layout(name="akshare", adjustment=None, columns={**_EASTMONEY, "股票代码": "symbol"}, volume_unit="lots"),
    # the same before that, and of funds, Hong Kong and the US, some of them in lots, some in shares
    Layout(name="akshare-eastmoney", adjustment=None, columns=_EASTMONEY, optional={}, volume_unit=None),
    # the same page, stock_zh_a_daily
    Layout(
        name="akshare-sina",
        adjustment=None,
        columns={"date": "session", **_OHLCV},
        marks=("outstandingshare", "turnover"),
    ),
    # http://baostock.com: query_history_k_data_plus; adjustflag is 1 (hfq), 2 (qfq) or 3 (as traded)
    Layout(
        name="baostock",
        adjustment="none",
        columns={"date": "session", "code": "symbol", **_OHLCV},
        marks=("adjustflag",),
        optional={},
        fixed={"adjustflag": ("3",)},
    ),
    # https://qlib.readthedocs.io/en/latest/component/data.html: what `dump_bin` reads; raw price = price / factor
    Layout(
        name="qlib",
        adjustment="none",
        columns={"date": "session", **_OHLCV, "factor": "factor"},
        marks=("change",),
        is_scaled=True,
    ),
    # finance.yahoo.com since 2017: prices adjusted for splits, "Adj Close" for dividends too
    Layout(
        name="yahoo",
        adjustment="splits",
        columns={"date": "session", **_OHLCV, "adjclose": "adjusted_close"},
        before=("adjclose", "volume"),
    ),
    # ichart.finance.yahoo.com until 2017, and bokeh_sampledata: prices as traded
    Layout(
        name="yahoo-2013",
        adjustment="none",
        columns={"date": "session", **_OHLCV, "adjclose": "adjusted_close"},
        before=("volume", "adjclose"),
    ),
    # https://ranaroussi.github.io/yfinance/advanced/price_adjustment.html: Ticker.history ...
    Layout(
        name="yfinance",
        adjustment="all",
        columns={"date": "session", **_OHLCV},
        marks=("dividends", "stocksplits"),
    ),
    # ... what download(auto_adjust=False) writes ...
    Layout(
        name="yfinance-download",
        adjustment="splits",
        columns={**_YFINANCE_DOWNLOAD, "adjclose": "adjusted_close"},
        optional={},
        heads=("Ticker", "Date"),
    ),
    # ... and without that option
    Layout(
        name="yfinance-download",
        adjustment="all",
        columns=_YFINANCE_DOWNLOAD,
        optional={},
        heads=("Ticker", "Date"),
    ),
    # https://stooq.com/db/h/: bulk files, adjusted for splits and dividends
    Layout(
        name="stooq",
        adjustment="all",
        columns={"ticker": "symbol", "date": "session", **_OHLC, "vol": "volume"},
        optional={},
        compact=True,
        fixed={"per": ("D",), "time": MIDNIGHTS},
    ),
    # minute bars: ours ...
    Layout(
        name="pipeline-minute",
        adjustment="none",
        columns={"symbol": "symbol", "time": "time", **_OHLCV},
        optional={"factor": "factor"},
        frequency=Frequency.MINUTE,
        label=BarLabel.END,
    ),
    # ... https://ranaroussi.github.io/yfinance: Ticker.history(interval="1m") ...
    Layout(
        name="yfinance-minute",
        adjustment="all",
        columns={"datetime": "time", **_OHLCV},
        marks=("dividends", "stocksplits"),
        frequency=Frequency.MINUTE,
        label=BarLabel.START,
    ),
    # ... download(interval="1m", auto_adjust=False): three lines of header, times with the offset of UTC ...
    Layout(
        name="yfinance-download-minute",
        adjustment="splits",
        columns={**_YFINANCE_MINUTES, "adjclose": "adjusted_close"},
        optional={},
        frequency=Frequency.MINUTE,
        label=BarLabel.START,
        heads=("Ticker", "Datetime"),
    ),
    # ... and without that option ...
    Layout(
        name="yfinance-download-minute",
        adjustment="all",
        columns=_YFINANCE_MINUTES,
        optional={},
        frequency=Frequency.MINUTE,
        label=BarLabel.START,
        heads=("Ticker", "Datetime"),
    ),
    # ... https://tushare.pro/document/2?doc_id=370: stk_mins, in shares, unlike the daily ones ...
    Layout(
        name="tushare-minute",
        adjustment="none",
        columns={"tscode": "symbol", "tradetime": "time", **_OHLC, "vol": "volume"},
        optional={"adjfactor": "factor"},
        frequency=Frequency.MINUTE,
        zone="Asia/Shanghai",
        label=BarLabel.END,
    ),
    # ... https://akshare.akfamily.xyz/data/stock/stock.html: stock_zh_a_hist_min_em ...
    Layout(
        name="akshare-minute",
        adjustment=None,
        columns={"时间": "time", **{name: ours for name, ours in _EASTMONEY.items() if ours != "session"}},
        optional={},
        volume_unit="lots",
        frequency=Frequency.MINUTE,
        zone="Asia/Shanghai",
        label=BarLabel.END,
    ),
    # ... http://baostock.com: query_history_k_data_plus with frequency 5, 15, 30 or 60
    Layout(
        name="baostock-minute",
        adjustment="none",
        columns={"time": "time", "code": "symbol", **_OHLCV},
        marks=("adjustflag",),
        optional={},
        fixed={"adjustflag": ("3",)},
        frequency=Frequency.MINUTE,
        zone="Asia/Shanghai",
        label=BarLabel.END,
    ),
    # https://stooq.com/db/h/: bulk files of 5 and 60 minutes; whose clock, and which end of a bar, is not told
    Layout(
        name="stooq-minute",
        adjustment=None,
        columns={"ticker": "symbol", "date": "date", "time": "time", **_OHLC, "vol": "volume"},
        marks=("per", "openint"),
        optional={},
        frequency=Frequency.MINUTE,
    ),
    # https://www.mql5.com/en/docs/constants/structures/mqlrates: where a period starts, by the broker's clock
    Layout(
        name="metatrader",
        adjustment=None,
        columns={"date": "date", "time": "time", **_OHLC, "vol": "volume"},
        marks=("tickvol", "spread"),
        optional={},
        frequency=Frequency.MINUTE,
        label=BarLabel.START,
    ),
    # many vendors, adjusted or not, starts or ends; http://www.kibot.com/Data_Format.aspx has no header
    Layout(
        name="date-time",
        adjustment=None,
        columns={"date": "date", "time": "time", **_OHLCV},
        frequency=Frequency.MINUTE,
    ),
    # the same in one column; of yfinance too where it leaves dividends and splits out
    Layout(name="datetime", adjustment=None, columns={"datetime": "time", **_OHLCV}, frequency=Frequency.MINUTE),
    # https://www.alphavantage.co/documentation/#intraday, and others
    Layout(
        name="timestamp-minute", adjustment=None, columns={"timestamp": "time", **_OHLCV}, frequency=Frequency.MINUTE
    ),
    # https://stooq.com/q/d/: the download of one symbol, and the plainest file there is
    Layout(
        name=PLAINEST,
        adjustment="all",
        columns={"date": "session", **_OHLCV},
        fixed={"time": MIDNIGHTS},
    ),
)
