"""What a run cost, as its report shows it."""

import pytest

from pipeline.results.costs import MOST_PARTITIONS, lanes, stage_rows, traffic

STAGES = {"open": 0.5, "signals": 2.0}
MONITOR = {
    "stages": {
        "signals": {
            "cpu_seconds": 3.5,
            "cpu_utilisation": 0.875,
            "gil_contention": 0.25,
            "memory_mb": 200.0,
            "peak_memory_mb": 250.0,
            "workers_peak_memory_mb": 90.0,
            "read_bytes": 3 * 2**20,
            "bars_per_second": 1_500_000,
        }
    },
    "signals": {"bars_bytes": 100 * 2**20, "sent_bytes": 2**20, "received_bytes": 3 * 2**20},
    "partitions": {
        "worker": ["a/10/Main", "a/11/Main", "a/10/Main"],
        "began": [0.0, 0.5, 1.0],
        "seconds": [1.0, 1.5, 0.25],
        "symbols": ["A..C", "D..F", "G"],
        "count": [3, 3, 1],
        "bars": [3_000, 4_000, 500],
    },
}


def test_a_row_for_each_stage():
    """Bytes are MB, rates millions, bars of the chart percent of the longest stage; what was not taken is None."""
    opened, signals = stage_rows({"stages": STAGES, "monitor": MONITOR})

    assert (opened["name"], opened["width"], opened["cpu"], opened["read"]) == ("open", 25.0, None, None)
    assert (signals["width"], signals["cpu"], signals["cores"], signals["gil"]) == (100.0, 3.5, 0.875, 0.25)
    assert (signals["memory"], signals["peak"], signals["worker"]) == (200.0, 250.0, 90.0)
    assert (signals["read"], signals["rate"]) == (3.0, 1.5)


def test_a_lane_for_each_worker():
    """Boxes lie where the partitions were in time, of 2 s in all; workers are told apart by what differs in them."""
    first, second = lanes({"monitor": MONITOR})

    assert (first["worker"], second["worker"]) == ("process 10", "process 11")
    assert [(task["left"], task["width"]) for task in first["tasks"]] == [(0.0, 50.0), (50.0, 12.5)]
    assert second["tasks"] == [{"left": 25.0, "width": 75.0, "title": "D..F: 3 symbols, 4,000 bars, 1.500 s"}]


@pytest.mark.parametrize(
    ("workers", "labels"),
    [
        (["h/1/t"], ["this process"]),
        (["h/1/strategy_0", "h/1/strategy_1"], ["thread strategy_0", "thread strategy_1"]),
        (["h/1/t", "i/1/t"], ["host h", "host i"]),
        (["h/1/Main", "h/2/Main"], ["process 1", "process 2"]),
    ],
)
def test_workers_are_named_by_what_differs(workers, labels):
    """One process needs no number, one machine no name."""
    many = len(workers)
    columns = {"began": [0.0] * many, "seconds": [1.0] * many, "symbols": ["A"] * many}
    run = {"monitor": {"partitions": {"worker": workers, "count": [1] * many, "bars": [1] * many, **columns}}}

    assert [lane["worker"] for lane in lanes(run)] == labels


def test_the_longest_partitions_are_drawn():
    """Thousands of boxes of a pixel help nobody."""
    many = 5_000
    partitions = {
        "worker": ["a/1/t"] * many,
        "began": [float(number) for number in range(many)],
        "seconds": [0.5 + (number == 4_321) for number in range(many)],
        "symbols": [f"S{number}" for number in range(many)],
        "count": [1] * many,
        "bars": [1] * many,
    }
    (lane,) = lanes({"monitor": {"partitions": partitions}})

    assert len(lane["tasks"]) == MOST_PARTITIONS
    assert "S4321" in lane["tasks"][0]["title"]


def test_traffic_is_beside_what_did_not_travel():
    """1 MB out, 3 MB in, of 100 MB of bars."""
    assert traffic({"monitor": MONITOR}) == (
        "1.00 MB sent, 3.00 MB received: 4.0% of the 100.0 MB of bars, which workers read themselves"
    )
    within = {"signals": {"bars_bytes": 2**20, "sent_bytes": 0, "received_bytes": 0}}
    assert traffic({"monitor": within}) == "none: the 1.0 MB of bars were read where they were used"


@pytest.mark.parametrize("run", [{"stages": {}}, {"stages": {}, "monitor": None}], ids=["older", "empty"])
def test_a_record_of_an_older_version_shows_what_it_has(run):
    """No monitor: no figures, no error."""
    assert (stage_rows(run), lanes(run), traffic(run)) == ([], [], None)
