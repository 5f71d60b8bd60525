"""Windows that overlap: which base each of them speaks for."""

import numpy as np
import pytest

from basewise.data.tiles import Tiles


def test_a_number_a_reader_can_check():
    np.testing.assert_array_equal(
        Tiles(width=10, overlap=4).cut(23),
        [[0, 10, 0, 8], [6, 16, 8, 14], [12, 22, 14, 17], [13, 23, 17, 23]],
    )


@pytest.mark.parametrize("width, overlap", [(10, 0), (10, 4), (10, 9), (7, 3), (1, 0)])
@pytest.mark.parametrize("b", [0, 1, 6, 7, 10, 11, 16, 29, 30, 31])
def test_every_base_is_spoken_for_once_and_has_context(width, overlap, b):
    found = Tiles(width=width, overlap=overlap).cut(b)
    assert sum(last - first for _, _, first, last in found) == b
    np.testing.assert_array_equal(np.append(0, found[:, 3]), np.append(found[:, 2], b))
    assert (found[:, 1] - found[:, 0] == min(width, b)).all()
    for start, end, first, last in found:
        assert 0 <= start <= first <= last <= end <= b
        assert start == 0 or first - start >= overlap // 2
        assert end == b or end - last >= overlap // 2


def test_windows_that_would_stand_still_are_refused():
    with pytest.raises(ValueError, match=r"overlap = 8 with width = 8: windows would not move on"):
        Tiles(width=8, overlap=8)
