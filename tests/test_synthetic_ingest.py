"""A made-up market through the whole ingest, from its settings to the store."""

from datetime import date

import pandas as pd
import pyarrow.compute as pc
import pytest

from pipeline import config
from pipeline.bars.blocks import blocks_of, load_block
from pipeline.bars.ingest import current_snapshot, ingest
from pipeline.bars.parquet import read_parquet
from pipeline.bars.simulator import Market
from pipeline.bars.store import verify
from pipeline.bars.synthetic import instruments, rows_of
from pipeline.errors import ConfigError
from pipeline.schema import INSTRUMENTS

AS_OF = date(2025, 12, 31)
MARKET = Market(symbols=40, sessions=600, seed=7, start=date(2020, 1, 2))


def options(store, *overrides):
    settings = ["data.source=synthetic", "data.synthetic.symbols=40", "data.synthetic.sessions=600"]
    settings += ["data.synthetic.start=2020-01-02", f"data.store={store}", *overrides]
    last = {setting.partition("=")[0]: setting for setting in settings}
    return config.load(None, list(last.values()), {}).data


def make(store, *overrides, readers=2, as_of=AS_OF):
    return ingest(options(store, *overrides), readers=readers, as_of=as_of)


def test_a_made_up_market_is_stored(tmp_path):
    """Every symbol's bars, actions and instruments row arrive in the store, and every row is accounted for."""
    snapshot = make(tmp_path).snapshot
    made = [rows_of(MARKET, number) for number in range(40)]
    stored = pd.concat(
        [load_block(block, ["raw_close", "volume"]) for block in blocks_of(snapshot, list(snapshot.by_symbol))]
    )
    acted = sum(
        pc.sum(pc.or_(pc.greater(rows["dividend"], 0), pc.not_equal(rows["split"], 1))).as_py() for rows in made
    )

    assert snapshot.manifest.counts == {
        "files": 1,
        "files_refused": 0,
        "rows_in": len(stored),
        "stored": len(stored),
        "duplicates": 0,
        "quarantined": 0,
        "symbols": 40,
    }
    assert stored["raw_close"].tolist() == [close for rows in made for close in rows["close"].to_pylist()]
    assert stored["volume"].tolist() == [volume for rows in made for volume in rows["volume"].to_pylist()]
    assert snapshot.manifest.actions.rows == acted > 0
    assert read_parquet(snapshot.path(snapshot.manifest.instruments)).cast(INSTRUMENTS) == instruments(MARKET)
    assert verify(snapshot) == len(snapshot.manifest.parts) + 5


def test_the_store_does_not_depend_on_who_made_it(tmp_path):
    """One reader or four: the same content, byte by byte."""
    assert make(tmp_path / "a", readers=1).snapshot.content_id == make(tmp_path / "b", readers=4).snapshot.content_id


def test_an_unchanged_market_is_not_made_again(tmp_path):
    """A second ingest does nothing and warns of nothing; another seed or length builds the store afresh."""
    first = make(tmp_path)
    again = make(tmp_path)
    other = make(tmp_path, "data.synthetic.seed=8")
    longer = make(tmp_path, "data.synthetic.seed=8", "data.synthetic.sessions=601")

    assert (first.changed, again.changed, other.changed, longer.changed) == (True, False, True, True)
    assert (again.refused, len(again.notes)) == ((), 1)
    assert len({one.snapshot.content_id for one in (first, other, longer)}) == 3
    assert not current_snapshot(options(tmp_path), AS_OF)


def test_a_rebuild_gives_the_same_market(tmp_path):
    """`ingest --rebuild` comes to the same content."""
    first = make(tmp_path).snapshot.content_id

    assert ingest(options(tmp_path), readers=2, as_of=AS_OF, rebuild=True).snapshot.content_id == first


def test_a_market_must_not_reach_into_the_future(tmp_path):
    """Sessions after the day of the ingest are a mistake of the settings, and nothing is stored.

    The NYSE had 253 sessions in 2020, 252 in 2021 and 82 until April 2022; the 13th of May 2022 was on the 18th.
    """
    with pytest.raises(ConfigError, match=r"600 sessions from 2020-01-02 on go to 2022-05-18; bars after 2022-05-17"):
        make(tmp_path, as_of=date(2022, 5, 17))

    assert not current_snapshot(options(tmp_path), AS_OF)
    assert make(tmp_path, as_of=date(2022, 5, 18)).changed


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("data.synthetic.symbols=0", "greater than or equal to 1"),
        ("data.synthetic.symbols=100_001", "less than or equal to 100000"),
        ("data.synthetic.seed=-1", "greater than or equal to 0"),
        ("data.synthetic.start=soon", "a date like 2020-12-31"),
        ("data.path=bars", "data.source is synthetic, which takes no path"),
    ],
)
def test_settings_are_checked(tmp_path, setting, complaint):
    """A market that cannot be made up is refused with the rule."""
    with pytest.raises(ConfigError, match=complaint):
        options(tmp_path, setting)
