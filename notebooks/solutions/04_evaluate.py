"""Solutions to the exercises of notebook 4. Try them yourself first; the checks say what is wrong."""

import numpy as np

import reidlib as rl


def evaluate(similarity, q_pids, q_camids, g_pids, g_camids):
    """CMC at 1 to G, an array (G,), and mAP, of similarities (Q, G), by Market-1501's protocol."""
    cmc, aps = np.zeros(len(g_pids)), []
    for row, pid, camid in zip(similarity, q_pids, q_camids):
        order = np.argsort(-row)
        kept = (g_pids[order] != -1) & ~((g_pids[order] == pid) & (g_camids[order] == camid))
        ranks = 1 + np.flatnonzero(g_pids[order][kept] == pid)
        if len(ranks):
            cmc[ranks[0] - 1 :] += 1
            aps.append(np.mean(np.arange(1, len(ranks) + 1) / ranks))
    return cmc / len(aps), np.mean(aps)


rl.exercise("evaluation.evaluate", evaluate)


def expanded(dist, i, k):
    """The k-reciprocal neighbours of image i, grown once: a set of images, with i itself; dist (N, N)."""

    def reciprocal(i, k):
        near = np.argsort(dist)[:, : k + 1].tolist()
        return {j for j in near[i] if i in near[j]}

    start = reciprocal(i, k)
    grown = set(start)
    for j in start:
        small = reciprocal(j, round(k / 2))
        if len(small & start) > 2 / 3 * len(small):
            grown |= small
    return grown


rl.exercise("evaluation.expanded", expanded)


def people_interval(ap, pids, rng):
    """The 95 % interval of mAP, by resampling people: low and high; ap and pids (Q,)."""
    people, person = np.unique(pids, return_inverse=True)
    total, count = np.bincount(person, ap), np.bincount(person)
    means = []
    for _ in range(2000):
        drawn = rng.integers(0, len(people), len(people))
        means.append(total[drawn].sum() / count[drawn].sum())
    return tuple(np.quantile(means, (0.025, 0.975)))


rl.exercise("evaluation.people_interval", people_interval)
