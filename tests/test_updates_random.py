"""However a store was reached, night by night or at once, it says the same."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from crash import options_of
from csv_files import run
from pipeline.bars.parquet import read_parquet
from pipeline.bars.store import Snapshot, verify
from pipeline.errors import DataError
from pipeline.modes import Frequency
from pipeline.options import DataOptions
from pipeline.schema import STORED, bars_schema

DAYS = [str(day.date()) for day in pd.bdate_range("2020-12-24", "2021-01-08")]  # periods begin with 2021
TIMES = [f"{day} {minute}" for day in DAYS[3:9] for minute in ("09:31", "09:32")]
MOMENTS = {Frequency.DAILY: DAYS, Frequency.MINUTE: TIMES}
ADJUSTMENTS = {"actions": ("dividend", "split"), "factor": ("factor",), "adjusted close": ("adjusted_close",)}
NUMBERS = ("open", "high", "low", "close", "volume")
LINE = st.fixed_dictionaries(
    {
        "symbol": st.sampled_from("ABC"),
        "close": st.sampled_from(["10", "10.5", "4.2", "31", "nan"]),
        "dividend": st.sampled_from(["0", "0", "0", "0.5"]),
        "split": st.sampled_from(["1", "1", "1", "2"]),
        "factor": st.sampled_from(["1", "1", "1.25"]),
        "adjusted_close": st.sampled_from(["10", "10.5", "10.45"]),
        "pe": st.sampled_from(["", "7", "7", "x"]),  # a column that is one, or not, or not yet
    }
)
NIGHTS = st.lists(st.lists(LINE, min_size=1, max_size=4), min_size=2, max_size=min(len(DAYS), len(TIMES)))
FORMS = st.sampled_from(["long", "by symbol", "by session", "both"])
EDIT = st.sampled_from(["volume", "close", "twice", "drop", "insert", "reverse"])
EDITS = st.lists(st.tuples(st.integers(1, 9), st.integers(0, 30), EDIT), max_size=4)


@pytest.mark.parametrize("adjustment", list(ADJUSTMENTS))
@pytest.mark.parametrize("frequency", list(Frequency))
@settings(max_examples=settings.default.max_examples // 5, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(history=st.tuples(NIGHTS, FORMS, EDITS), named=st.sampled_from([1, 100]))
def test_night_by_night_is_at_once(history, named, frequency, adjustment, tmp_path_factory):
    """Lines appended, files added, old lines changed, inserted and dropped: each night as if all files were new."""
    nights, form, edits = history
    home = tmp_path_factory.mktemp("nights")
    options = options_for(home, frequency, adjustment)
    header = ["time" if frequency is Frequency.MINUTE else "session", *options.columns, "symbol", "pe"]
    (home / "bars").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda _: None)  # of many small stores it is all the time
        for module in ("spills", "manifest", "intake", "holding", "updates"):
            patch.setattr(f"pipeline.bars.{module}.NAMED_SYMBOLS", named)
        for number, lines in enumerate(nights):
            when = MOMENTS[frequency][number]
            for line in lines:
                cells = {**line, header[0]: when, "open": line["close"], "high": "99", "low": "1", "volume": "5"}
                append(home / "bars" / home_of(form, line["symbol"], when), header, [cells[name] for name in header])
            for _, place, what in [edit for edit in edits if edit[0] == number]:
                # an adjusted close is believed only as far as rounding goes, so the past may stay as it was
                change(home / "bars", place, "volume" if what == "close" and adjustment == "adjusted close" else what)
            edited = [what for at, _, what in edits if at <= number]
            compare(
                options, home, trembles=adjustment == "adjusted close" and not {"drop", "insert"}.isdisjoint(edited)
            )


def options_for(home: Path, frequency: Frequency, adjustment: str) -> DataOptions:
    columns = {name: name for name in (*NUMBERS, *ADJUSTMENTS[adjustment])}
    given = {"columns": columns, "adjustment": "none", "volume_unit": "shares", "fail_above": 1.0}
    times = {"frequency": frequency, "time_zone": "Asia/Shanghai", "bar_label": "end"}
    return options_of(home / "bars", home / "store").model_copy(update={**given, **times})


def home_of(form: str, symbol: str, when: str) -> str:
    """Return which file a line goes to."""
    if form == "both":
        form = "by symbol" if symbol == "A" else "by session"
    return {"long": "all", "by symbol": symbol, "by session": when.replace(":", "")}[form] + ".csv"


def append(path: Path, header: list[str], cells: list[str]) -> None:
    if not path.exists():
        path.write_text(",".join(header) + "\n")
    with path.open("a") as file:
        file.write(",".join(cells) + "\n")


def change(folder: Path, place: int, what: str) -> None:
    """Change one of the files, as vendors do."""
    path = sorted(folder.iterdir())[place % len(list(folder.iterdir()))]
    header, *lines = path.read_text().splitlines()
    row = place % len(lines)
    if what == "reverse":
        lines.reverse()
    elif what == "drop":
        del lines[row : row + (len(lines) > 1)]  # a file without rows is refused, and what it gave stays
    elif what == "twice":
        lines.insert(0, lines[row])
    else:
        cells = dict(zip(header.split(","), lines[row].split(","), strict=True))
        cells |= {"volume": "6"} if what == "volume" else {"close": "11"}
        cells |= {"symbol": "ABC"[place % 3]} if what == "insert" else {}
        lines[row : row + (what != "insert")] = [",".join(cells.values())]
    path.write_text("\n".join([header, *lines]) + "\n")


def compare(options: DataOptions, home: Path, *, trembles: bool) -> None:
    """See that an update comes to what an ingest of all files at once comes to.

    Where old lines of an adjusted close were dropped or inserted it `trembles`: stored factors stay, if the new ones
    differ by no more than the rounding of the prices, which is 1 in 1000 here.
    """
    try:
        afresh = run(options.model_copy(update={"store": home / "other"}), rebuild=True).snapshot
    except DataError as error:  # no usable symbol
        if not (options.store / "CURRENT").exists():
            with pytest.raises(type(error)):
                run(options)
        return
    snapshot = run(options).snapshot
    verify(snapshot)
    if snapshot.manifest.held:
        return  # the files took bars away: what is stored stays, see test_ingest_losses
    came, wanted = content(snapshot), content(afresh)
    if trembles:
        np.testing.assert_allclose(*(factors.pop("factor") for factors in (came, wanted)), rtol=4e-3)
        del came["ends"], wanted["ends"]
    for what, expected in wanted.items():
        assert came[what] == expected, what


def content(snapshot: Snapshot) -> dict[str, object]:
    """Return everything a snapshot says, but for its scales and its history."""
    manifest = snapshot.manifest
    schema = bars_schema(manifest.columns[len(STORED) :], Frequency(manifest.frequency))
    parts = [read_parquet(snapshot.path(part)) for part in manifest.parts]
    bars = pa.concat_tables(parts, promote_options="default").select(schema.names).to_pandas()
    bars = bars.sort_values([name for name in ("symbol", "session", "time") if name in schema.names])
    names = ("path", "bytes", "crc32", "rows_in", "adjustment", "refused")
    return {
        # a column once stored stays
        "bars": bars.drop(columns="factor")
        .dropna(axis="columns", how="all")
        .to_csv(index=False, float_format=float.hex),
        "factor": bars["factor"].tolist(),
        "actions": read_parquet(snapshot.path(manifest.actions)).to_pylist(),
        "ends": str(read_parquet(snapshot.path(manifest.ends)).to_pylist()),
        "quarantine": snapshot.path(manifest.quarantine).read_text(),
        "counts": manifest.counts,
        "remarks": manifest.remarks,
        "symbols": [(entry.symbol, entry.rows, entry.first, entry.last) for entry in manifest.symbols],
        "sources": list(zip(*(manifest.sources[name] for name in names), strict=True)),
    }
