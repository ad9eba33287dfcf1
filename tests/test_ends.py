"""New rows follow from the end of a symbol's history as they would from the whole of it."""

from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.bars.assembly import assemble
from pipeline.bars.ends import ENDS, End, ends_table, follow, whole_ends
from pipeline.bars.rows import FILED_ROWS

MONDAY = datetime(2020, 1, 6)  # noqa: DTZ001 - sessions have no zone
RATIOS = ("factor", "adjusted_close")
PRICE = st.sampled_from([10.0, 10.25, 9.99, 31.17, 0.05, 22.5, 4.4])
ROW = st.fixed_dictionaries(
    {
        "close": PRICE,
        "up": st.sampled_from([1.0] * 6 + [1.2, 3.0]),
        "down": st.sampled_from([1.0] * 6 + [1.2, 3.0]),
        "dividend": st.sampled_from([0.0] * 6 + [0.25]),
        "split": st.sampled_from([1.0] * 8 + [2.0]),
        "factor": st.sampled_from([1.0, 1.0, 1.0, 1.25, 1.2500001]),
        "adjusted_close": st.sampled_from([10.0, 9.98, 10.25, 5.0, 31.17]),
    }
)
GIVEN = st.sampled_from([(), ("factor",), ("adjusted_close",), RATIOS])


def table(rows, given_ratios, gaps=()):
    full = []
    for number, row in enumerate(rows):
        bar = {"symbol": "A", "line": number + 2, "file": 0, "volume": 1.0}
        bar |= dict.fromkeys(("session", "time"), MONDAY + timedelta(number))
        bar |= {"open": row["close"], "high": row["close"] * row.get("up", 1.0)}
        bar["low"] = row["close"] / row.get("down", 1.0)
        bar |= {name: value for name, value in row.items() if name not in {"up", "down"}}
        bar |= {name: None for name in RATIOS if name not in given_ratios or number in gaps}
        full.append(bar)
    return pa.Table.from_pylist(full, schema=FILED_ROWS)


def arrays(rows: pa.Table) -> dict[str, np.ndarray]:
    names = ("high", "low", "close", *RATIOS, "dividend", "split")
    found = {name: rows[name].fill_null(np.nan).to_numpy() for name in names}
    return found | {name: rows[name].to_numpy() for name in ("session", "time")}


def columns(ends: list[End]) -> dict[str, np.ndarray]:
    stored = ends_table({str(number): end for number, end in enumerate(ends)})
    return {name: stored[name].to_numpy() for name in ENDS.names[1:]}


@given(
    histories=st.lists(
        st.tuples(st.lists(ROW, min_size=2, max_size=12), st.integers(1, 11), GIVEN, st.booleans()),
        min_size=1,
        max_size=4,
    )
)
def test_rows_follow_as_if_all_were_assembled(histories):
    """Factor, end and notes of what follows are those of the whole history, bit for bit, of many symbols at once."""
    before, rows, wholes, counts = [], [], [], []
    for history, wanted, ratios, acts in histories:
        quiet = history if acts else [row | {"dividend": 0.0, "split": 1.0} for row in history]
        whole = table(quiet, ratios)
        cut = min(wanted, len(whole) - 1)
        before.append(assemble("A", whole.slice(0, cut), ["a"], []).end)
        wholes.append(assemble("A", whole, ["a"], []))
        rows.append(whole.slice(cut))
        counts.append(len(whole) - cut)
    starts = np.cumsum([0, *counts])
    found = follow(columns(before), arrays(pa.concat_tables(rows)), starts)

    for number, whole in enumerate(wholes):
        if found.can[number]:
            factor = whole.bars["factor"].to_pylist()[-counts[number] :]
            assert found.factor[starts[number] : starts[number + 1]].tolist() == factor
            end = End(**{name: values[number].item() for name, values in found.ends.items()})
            assert ends_table({"A": end}).equals(ends_table({"A": whole.end})) or has_nan_alike(end, whole.end)
            assert end.notes("A", len(whole.bars)) == whole.notes


def has_nan_alike(one: End, other: End) -> bool:
    pairs = zip(vars(one).values(), vars(other).values(), strict=True)
    return all(a == b or (np.isnan(a) and np.isnan(b)) for a, b in pairs)


def test_plain_nights_are_followed():
    """A quiet row, a dividend and a vendor's step all follow; nothing is left to the slow way."""
    quiet = {"close": 10.0, "dividend": 0.0, "split": 1.0, "factor": 1.0, "adjusted_close": 10.0}
    cases = [
        ([quiet, quiet], ()),
        ([quiet, quiet | {"dividend": 0.5}], ()),  # the first action, where no ratio is given
        ([quiet | {"split": 2.0}, quiet, quiet | {"dividend": 0.5}], RATIOS),
        ([quiet, quiet | {"factor": 2.0}], ("factor",)),
        ([quiet, quiet | {"adjusted_close": 9.0}], ("adjusted_close",)),
    ]
    for rows, ratios in cases:
        whole = table(rows, ratios)
        end = assemble("A", whole.slice(0, len(rows) - 1), ["a"], []).end
        assert follow(columns([end]), arrays(whole.slice(len(rows) - 1)), np.array([0, 1])).can.tolist() == [True]


def test_what_changes_the_past_is_not_followed():
    """The first action beside a ratio, a ratio that goes missing, and a session that is not new need all rows."""
    quiet = {"close": 10.0, "dividend": 0.0, "split": 1.0, "factor": 1.0, "adjusted_close": 10.0}
    whole = table([quiet, quiet, quiet | {"dividend": 0.5}], ("adjusted_close",))
    end = assemble("A", whole.slice(0, 2), ["a"], []).end
    gap = table([quiet, quiet, quiet], ("adjusted_close",), gaps=[2])
    gone = assemble("A", gap, ["a"], []).end

    for state, rows in ((end, whole.slice(2)), (end, gap.slice(2)), (end, whole.slice(1, 1)), (gone, whole.slice(2))):
        assert follow(columns([state]), arrays(rows), np.array([0, 1])).can.tolist() == [False]


def test_ends_of_an_earlier_version_count_no_strays():
    """Stores keep them as a table; its last three columns are new."""
    known = {"ratio": 1.0, "run": 1.0}  # NaN is equal to nothing
    whole = ends_table({"A": End(1, 2, 3.0, 4.0, 0, **known, strays=5, stray_day=6, stray=0.7)})
    old = whole.drop_columns(["strays", "stray_day", "stray"])

    assert whole_ends(whole).equals(whole)
    assert whole_ends(old).equals(ends_table({"A": End(1, 2, 3.0, 4.0, 0, **known)}))


@pytest.mark.parametrize("split", [1e6, 1e-6])
def test_a_factor_beyond_all_reason_is_not_followed(split):
    """Splits that come to more than 1e100, or less than 1e-100, are refused with all rows, as a whole ingest does."""
    row = {"close": 10.0, "dividend": 0.0, "split": split, "factor": None, "adjusted_close": None}
    whole = table([row] * 18, ())
    end = assemble("A", whole.slice(0, 16), ["a"], []).end  # 15 steps: 1e90 or 1e-90
    one, two = (follow(columns([end]), arrays(whole.slice(16, rows)), np.array([0, rows])) for rows in (1, 2))

    assert end.factor == pytest.approx(split**15)
    assert (one.can.tolist(), two.can.tolist()) == ([True], [False])
    assert assemble("A", whole.slice(0, 17), ["a"], []).end.factor == pytest.approx(split**16)
    assert assemble("A", whole, ["a"], []).end is None
