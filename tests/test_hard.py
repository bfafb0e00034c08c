"""The query that the notebooks share: found by its person and camera, the first one elsewhere."""

import numpy as np
import pytest

import reidlib as rl


def shots(pids, camids):
    names = np.array([f"{i}.jpg" for i in range(len(pids))])
    return rl.Shots("some/query", rl.project(), names, np.array(pids, np.int64), np.array(camids, np.int64))


@pytest.mark.parametrize(
    ("pids", "camids", "position"),
    [([48, 720, 720], [6, 5, 6], 2), ([48, 720], [6, 5], 0), ([3], [1], 0)],
)
def test_the_hard_query_is_that_of_its_person_and_camera_or_the_first(pids, camids, position):
    assert rl.hard_query(shots(pids, camids)) == position


def test_without_queries_there_is_no_hard_one():
    with pytest.raises(ValueError, match="some/query has no queries"):
        rl.hard_query(shots([1], [1])[:0])
