"""Solutions to the exercises of notebook 1. Try them yourself first; the checks say what is wrong."""

import numpy as np

import reidlib as rl


def true_matches(pid, camid, pids, camids):
    """Which gallery images are matches of a query, and which are ignored: two boolean arrays (G,)."""
    same, here = pids == pid, camids == camid
    return same & ~here, (same & here) | (pids == -1)


rl.exercise("data.true_matches", true_matches)


def pk_batch(pids, p, k, rng):
    """A batch of p identities with k images each: positions in pids, (p * k,), an identity's images in a row."""
    batch = []
    for pid in rng.choice(np.unique(pids), p, replace=False):
        images = np.flatnonzero(pids == pid)
        batch.append(rng.choice(images, k, replace=len(images) < k))
    return np.concatenate(batch)


rl.exercise("data.pk_batch", pk_batch)


def split_people(pids, camids, rng):
    """Half of the people to train, the others to query and gallery: the name of each image's part, (N,)."""
    people = rng.permutation(np.unique(pids))
    parts = np.where(np.isin(pids, people[: len(people) // 2]), "train", "gallery").astype("<U7")
    for pid in people[len(people) // 2 :]:
        mine = pids == pid
        for camid in np.unique(camids[mine]):
            image = np.flatnonzero(mine & (camids == camid))[0]
            parts[image] = "query"
            asked, left = camids[mine & (parts == "query")], camids[mine & (parts == "gallery")]
            if not all((left != camera).any() for camera in asked):  # some query would have no match
                parts[image] = "gallery"
    return parts


rl.exercise("data.split_people", split_people)
