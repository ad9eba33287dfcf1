from datetime import date

import pytest
from pydantic import ValidationError

from pipeline import config
from pipeline.options import Options


@pytest.fixture
def tree():
    """Return the defaults as a dict of values."""
    return config.load(None, (), {}).model_dump()


def test_options_can_be_made_from_values(tree):
    """Python callers give numbers and dates, and get the same options as a file gives."""
    assert Options(**tree) == config.load(None, (), {})
    tree["data"] |= {"symbols": ("A", "B"), "start": date(2020, 1, 2)}

    assert Options(**tree) == config.load(None, ("data.symbols=[A, B]", "data.start=2020-01-02"), {})


def test_options_are_never_changed(tree):
    """A stage cannot change what another stage was told."""
    options = Options(**tree)

    with pytest.raises(ValidationError, match="frozen"):
        options.trading.cash = 5


def test_options_have_no_defaults():
    """conf/base.yaml is the one place where defaults stand."""
    with pytest.raises(ValidationError) as caught:
        Options()

    assert {error["type"] for error in caught.value.errors()} == {"missing"}


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("trading", "cash", 0),
        ("trading", "cash", float("inf")),
        ("trading", "lot", -1),
        ("trading", "leverage", 2),
        ("data", "end", date(1800, 1, 1)),
        ("data", "symbols", ()),
        ("scheduler", "workers", 0),
    ],
)
def test_options_check_themselves(tree, section, key, value):
    """What a file may not state, Python may not either."""
    tree["data"]["start"] = date(2000, 1, 1)
    tree[section][key] = value

    with pytest.raises(ValidationError):
        Options(**tree)


@pytest.mark.parametrize(
    ("method", "value", "is_fine"),
    [
        ("value", 1e6, True),
        ("shares", 100, True),
        ("fraction", 1, True),
        ("fraction", 1.01, False),
        ("fraction", 0, False),
        ("shares", None, False),
        ("equal", None, True),
        ("weight", 0.5, False),
        ("all_in", 1, False),
    ],
)
def test_sizing_value_suits_the_method(tree, method, value, is_fine):
    """Three methods need a value, three take none, and a fraction is at most 1."""
    tree["trading"]["sizing"] = {"method": method, "value": value}

    if is_fine:
        assert Options(**tree).trading.sizing.value == value
    else:
        with pytest.raises(ValidationError):
            Options(**tree)
