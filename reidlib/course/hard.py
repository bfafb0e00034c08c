"""The hard query that every notebook asks."""

import numpy as np

from reidlib.data.shots import Shots

PID, CAMID = 720, 6  # in the toy: a dark, blurred view from behind, with a pole in front of the person


def hard_query(query: Shots) -> int:
    """The position of the query that the notebooks compare models on; of other data sets than the toy, the first.

    It is person 720 in camera 6. Colour histograms and an untrained network fail on it, and the baseline finds it with
    each of ten seeds. Raises ValueError if there are no queries.
    """
    if not len(query):
        raise ValueError(f"{query.name} has no queries")
    return int(np.argmax((query.pids == PID) & (query.camids == CAMID)))
