"""Which numbers of threads a fit shows: few enough to measure, and always the one that was asked for."""

import pytest

from edgewright.fit.search import thread_counts


@pytest.mark.parametrize(
    ("most", "expected"),
    [
        (1, [1]),
        (2, [1, 2]),
        (4, [1, 2, 3, 4]),
        (6, [1, 2, 3, 4, 6]),
        (8, [1, 2, 3, 4, 8]),
        (12, [1, 2, 3, 4, 8, 12]),
        (64, [1, 2, 3, 4, 8, 16, 32, 64]),
    ],
)
def test_thread_counts(most, expected):
    assert thread_counts(most) == expected
