"""The key of a run, the digest of its results, and the tables that carry them."""

import hashlib
import struct
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from made_tables import FRIDAY, run_of
from pipeline.results.rundir import result_digest, run_key
from pipeline.results.tables import Tables

BUY = (FRIDAY, "AAA", 10.0, 20.0, 1.0, 0.0, 0.5, "signal")


@pytest.fixture
def tables():
    """Return a run of two sessions with one fill."""
    return run_of([1000.0, 1010.0], fills=[BUY])


def test_run_key_is_the_hash_of_canonical_json():
    """Known from ``printf '{"a":1,"b":{"c":"é"}}' | sha256sum``: keys sorted, no spaces, utf-8."""
    assert run_key({"b": {"c": "é"}, "a": 1}) == "382c35e65b418e88"
    assert run_key({"b": {"c": "é"}, "a": 1}) == run_key({"a": 1, "b": {"c": "é"}})
    assert run_key({"b": {"c": "é"}, "a": 2}) != run_key({"a": 1, "b": {"c": "é"}})


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, Path("x")])
def test_run_key_refuses_what_json_cannot_say(value):
    """A key must not depend on how something prints."""
    with pytest.raises((TypeError, ValueError)):
        run_key({"value": value})


def test_result_digest_is_that_of_the_documented_bytes():
    """The digest can be computed with ``struct`` and ``hashlib`` alone."""
    fills = pd.DataFrame({"session": np.array(["1970-01-02"], "datetime64[ms]"), "symbol": ["é"], "price": [1.5]})
    equity = pd.DataFrame({"positions": [1, 2]})

    def text(value):
        return struct.pack("<q", len(value.encode())) + value.encode()

    expected = struct.pack("<qq", 1, 3) + text("session") + struct.pack("<q", 86_400_000_000)
    expected += text("symbol") + text("é") + text("price") + struct.pack("<d", 1.5)
    expected += struct.pack("<qq", 2, 1) + text("positions") + struct.pack("<qq", 1, 2)

    assert result_digest(fills, equity) == hashlib.sha256(expected).hexdigest()


@pytest.mark.parametrize(
    "recode",
    [
        lambda table: table.assign(symbol=pd.Categorical(table["symbol"], categories=["B", "AAA"])),
        lambda table: table.assign(symbol=table["symbol"].astype(object)),
        lambda table: table.assign(session=table["session"].astype("datetime64[ns]")),
        lambda table: table.set_axis([7], axis=0),
    ],
    ids=["categorical", "object", "nanoseconds", "index"],
)
def test_result_digest_ignores_how_a_table_is_coded(tables, recode):
    """Categories, text types, units of time and the index say nothing about what happened."""
    assert result_digest(recode(tables.fills), tables.equity) == result_digest(tables.fills, tables.equity)


def test_result_digest_sees_every_bit(tables):
    """The next float64, another symbol, one fill less: each is another result."""
    equity = tables.equity.assign(cash=np.nextafter(tables.equity["cash"].to_numpy(), np.inf))
    digests = {
        result_digest(tables.fills, tables.equity),
        result_digest(tables.fills, equity),
        result_digest(tables.fills.assign(symbol="AAB"), tables.equity),
        result_digest(tables.fills[:0], tables.equity),
    }

    assert len(digests) == 4


@pytest.mark.parametrize("fills", [[BUY], []], ids=["one fill", "no fills"])
def test_tables_come_back_as_they_were_written(tmp_path, fills):
    """Parquet gives back every column, dtype and null, and the digest with them; categories where there are rows."""
    written = run_of([1000.0, 1010.0], fills=fills, benchmark=[1000.0, 1001.0])
    written.write(tmp_path)

    read = Tables.read(tmp_path)

    for field in fields(Tables):
        table = getattr(written, field.name)
        pd.testing.assert_frame_equal(getattr(read, field.name), table, check_categorical=len(table) > 0)
    assert result_digest(read.fills, read.equity) == result_digest(written.fills, written.equity)
