"""Numbers of things, in the words that go with them."""

import pytest

from pipeline.words import counted


@pytest.mark.parametrize(
    ("number", "told"),
    [(0, "0 stored bars"), (1, "1 stored bar"), (2, "2 stored bars"), (12_590, "12,590 stored bars")],
)
def test_one_thing_is_singular(number, told):
    """And thousands are grouped."""
    assert counted(number, "stored bar") == told
