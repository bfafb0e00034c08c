"""Solutions to the exercises of notebook 7. Try them yourself first; the checks say what is wrong."""

import numpy as np
import torch

import reidlib as rl


def draw_gallery(pids, camids, cameras, most, rng):
    """Up to `most` images of each person in each of the cameras, drawn at random: positions in pids (N,)."""
    drawn = []
    for camera in cameras:
        for pid in np.unique(pids[camids == camera]):
            images = np.flatnonzero((pids == pid) & (camids == camera))
            drawn.append(rng.permutation(images)[:most])
    return np.concatenate(drawn)


rl.exercise("infrared.draw_gallery", draw_gallery)


def people_rank(pids, camids, pid, camid):
    """The rank that SYSU-MM01's CMC counts, of a list from the nearest on: pids (N,), camids (N,); 0 if not in it."""
    place = {2: "room 2", 3: "room 2"}
    people = []
    for person, camera in zip(pids, camids):
        if place.get(camera, camera) != place.get(camid, camid) and person not in people:
            people.append(person)
    return people.index(pid) + 1 if pid in people else 0


rl.exercise("infrared.people_rank", people_rank)


def one_channel(images, channel):
    """Bytes (B, H, W, 3) and, for each image, -1 (as it is), 0, 1, 2 (that channel) or 3 (grey): bytes (B, H, W, 3)."""
    grey = (images.float() @ torch.tensor([0.299, 0.587, 0.114])).round().byte()
    done = images.clone()
    for i, c in enumerate(channel):
        if c >= 0:
            done[i] = (grey[i] if c == 3 else images[i, ..., c])[..., None]
    return done


rl.exercise("infrared.one_channel", one_channel)
