"""The cameras of the toy networks: what each looks at, its view, and how it renders colour and sharpness."""

from dataclasses import dataclass, field, replace
from random import Random

import numpy as np
from PIL import Image, ImageFilter

FLICKER = 0.06  # standard deviation of the exposure between pictures of one camera, in natural logarithms


@dataclass(frozen=True)
class Lamp:
    """The infrared lamp of a camera that works in the dark, and how that camera records the reflected light.

    power: exposure in the middle of the beam; reach: distance at which it has halved, in heights of a picture; behind:
    share of the light that reaches the walls; glow: black level; blur, grain: as of a `Camera`; flicker: as `FLICKER`.
    """

    power: float = 1.0
    reach: float = 0.7
    behind: float = 0.4
    glow: float = 8.0
    blur: float = 0.5
    grain: float = 7.0
    flicker: float = 0.1


@dataclass(frozen=True)
class Camera:
    """One camera. gain, cast, contrast, colour and haze of 1, (1, 1, 1), 1, 1 and 0 change nothing.

    blur and grain are standard deviations, in pixels of a picture 64 pixels wide and in grey levels. light is the
    position of the sun, -1 left to 1 right. pitch is the angle at which the camera looks down, in radians. views are
    the odds of a front, a side and a back view. A camera with a lamp records near infrared and no colour: `infrared`.
    """

    walls: tuple[str, ...]
    floor: str
    props: tuple[str, ...]
    horizon: float = 0.45  # where the floor ends, in statures above the feet
    gain: float = 1.0
    cast: tuple[float, float, float] = (1.0, 1.0, 1.0)
    contrast: float = 1.0
    colour: float = 1.0
    haze: float = 0.0
    blur: float = 0.35
    grain: float = 3.0
    light: float = -0.6
    pitch: float = 0.2
    views: tuple[float, float, float] = (1.0, 1.0, 1.0)
    lamp: Lamp | None = field(default=None, repr=False)  # not in the repr, which seeds the furnishing of a place


# The room of cameras 2 (by day) and 3 (in the dark) of the network "sysu".
ROOM = Camera(("shelves", "door", "lockers"), "tiles", ("cabinet", "chair", "planter"), horizon=0.44, pitch=0.26,
              views=(2, 1, 2), light=0.5, gain=0.94, cast=(0.97, 1.0, 1.05), contrast=0.96,
              colour=0.92, haze=3, blur=0.45, grain=2.4)  # fmt: skip


NETWORKS: dict[str, list[Camera]] = {
    # A summer market square: bright, crisp, close; six cameras.
    "market": [
        Camera(("stalls", "plaster", "brick"), "tiles", ("crates", "sign"), horizon=0.46, pitch=0.2,
               views=(3, 1, 2), light=-0.7, gain=1.01, cast=(1.02, 1.00, 0.97), contrast=1.02,
               colour=1.02, haze=0, blur=0.30, grain=1.8),
        Camera(("glass", "brick", "stalls"), "tiles", ("planter", "bin"), horizon=0.4, pitch=0.24,
               views=(2, 1, 3), light=0.6, gain=0.98, cast=(0.97, 1.00, 1.04), contrast=0.98,
               colour=0.97, haze=2, blur=0.40, grain=1.8),
        Camera(("hedge", "plaster", "glass"), "path", ("tree", "bench"), horizon=0.52, pitch=0.16,
               views=(1, 3, 1), light=-0.3, gain=1.00, cast=(0.99, 1.02, 0.97), contrast=1.03,
               colour=1.03, haze=0, blur=0.30, grain=2.4),
        Camera(("brick", "stalls", "hedge"), "asphalt", ("bicycle", "lamp"), horizon=0.42, pitch=0.28,
               views=(2, 2, 2), light=0.7, gain=0.91, cast=(1.00, 0.99, 0.98), contrast=1.03,
               colour=0.98, haze=0, blur=0.50, grain=3.0),
        Camera(("plaster", "glass", "hedge"), "cobbles", ("sign", "planter"), horizon=0.48, pitch=0.18,
               views=(3, 1, 1), light=-0.8, gain=1.06, cast=(1.01, 1.00, 0.99), contrast=0.97,
               colour=0.98, haze=3, blur=0.40, grain=1.8),
        Camera(("stalls", "stone", "glass"), "asphalt", ("lamp", "crates"), horizon=0.38, pitch=0.3,
               views=(1, 1, 3), light=0.4, gain=0.95, cast=(0.98, 0.99, 1.03), contrast=1.0,
               colour=0.95, haze=1, blur=0.80, grain=3.6),
    ],
    # A campus in the cold months: flat, hazy or dim, in blue, green and sodium light, from higher up.
    "duke": [
        Camera(("stone", "trees", "glass"), "slabs", ("lamp", "tree"), horizon=0.56, pitch=0.34,
               views=(1, 1, 4), light=0.2, gain=0.82, cast=(0.91, 1.01, 1.10), contrast=0.83,
               colour=0.74, haze=13, blur=0.59, grain=2.0),
        Camera(("trees", "stone", "cars"), "grass", ("bench", "tree"), horizon=0.6, pitch=0.32,
               views=(4, 1, 1), light=-0.2, gain=0.80, cast=(0.91, 1.04, 1.06), contrast=0.84,
               colour=0.75, haze=11, blur=0.64, grain=2.4),
        Camera(("stone", "brick", "trees"), "steps", ("lamp", "bin"), horizon=0.5, pitch=0.36,
               views=(1, 3, 2), light=0.1, gain=0.88, cast=(0.92, 1.02, 1.10), contrast=0.83,
               colour=0.73, haze=14, blur=0.54, grain=1.7),
        Camera(("cars", "brick", "stone"), "asphalt", ("lamp", "sign"), horizon=0.62, pitch=0.4,
               views=(2, 1, 2), light=-0.5, gain=0.78, cast=(0.95, 1.01, 1.04), contrast=0.86,
               colour=0.75, haze=10, blur=0.69, grain=3.0),
        Camera(("glass", "stone", "trees"), "slabs", ("bicycle", "planter"), horizon=0.44, pitch=0.28,
               views=(1, 4, 1), light=0.5, gain=0.81, cast=(0.91, 1.03, 1.09), contrast=0.84,
               colour=0.74, haze=11, blur=0.54, grain=2.0),
        Camera(("trees", "brick", "glass"), "snow", ("tree", "lamp"), horizon=0.58, pitch=0.34,
               views=(3, 1, 3), light=0.0, gain=0.84, cast=(0.91, 1.01, 1.10), contrast=0.83,
               colour=0.73, haze=13, blur=0.59, grain=1.7),
        Camera(("brick", "glass", "cars"), "grass", ("bicycle", "bench"), horizon=0.52, pitch=0.38,
               views=(1, 2, 3), light=0.6, gain=0.80, cast=(0.94, 1.03, 1.05), contrast=0.86,
               colour=0.76, haze=11, blur=0.73, grain=2.7),
        Camera(("cars", "trees", "stone"), "snow", ("sign", "bin"), horizon=0.64, pitch=0.36,
               views=(2, 3, 1), light=-0.4, gain=0.83, cast=(0.92, 1.01, 1.10), contrast=0.83,
               colour=0.72, haze=13, blur=0.64, grain=2.0),
    ],
    # As SYSU-MM01: two rooms, room 2 in the dark, a gate, a garden, a passage in the dark. Lit rooms are warm or cold.
    "sysu": [
        Camera(("door", "lockers", "door"), "slabs", ("chair", "bin"), horizon=0.42, pitch=0.24,
               views=(2, 1, 2), light=-0.4, gain=0.96, cast=(1.06, 1.00, 0.93), contrast=0.98,
               colour=0.95, haze=2, blur=0.40, grain=2.2),
        ROOM,
        replace(ROOM, lamp=Lamp(power=1.08, behind=0.5, reach=0.8, blur=0.5, grain=6)),
        Camera(("stone", "cars", "glass"), "slabs", ("lamp", "bicycle"), horizon=0.48, pitch=0.22,
               views=(3, 1, 2), light=-0.7, gain=1.03, cast=(1.00, 1.00, 1.00), contrast=1.02,
               colour=1.00, haze=1, blur=0.35, grain=1.8),
        Camera(("hedge", "trees", "brick"), "path", ("tree", "bench"), horizon=0.52, pitch=0.2,
               views=(2, 2, 2), light=0.6, gain=0.92, cast=(0.97, 1.03, 0.97), contrast=1.0,
               colour=0.97, haze=3, blur=0.45, grain=2.4),
        Camera(("brick", "hedge", "plaster"), "asphalt", ("bicycle", "planter"), horizon=0.46, pitch=0.3,
               views=(2, 1, 2), lamp=Lamp(behind=0.32, reach=0.65, blur=0.65, grain=8, flicker=0.14)),
    ],
}  # fmt: skip


def develop(image: Image.Image, camera: Camera, rng: Random, strength: float = 1.0) -> Image.Image:
    """A clean RGB picture as the camera records it: exposure, cast, saturation, contrast, haze, blur and grain.

    strength: of what the camera does to light and colour: 0 nothing, 2 twice as much.
    """
    gain = np.exp(strength * np.log(camera.gain) + rng.gauss(0, FLICKER))
    contrast, colour = 1 + strength * (camera.contrast - 1), 1 + strength * (camera.colour - 1)
    luma = np.array([0.299, 0.587, 0.114])
    matrix = contrast * gain * (colour * np.eye(3) + (1 - colour) * luma)
    matrix *= (1 + strength * (np.array(camera.cast) - 1))[:, None]
    offset = 128 * (1 - contrast) + strength * camera.haze
    image = image.convert("RGB", tuple(np.column_stack([matrix, [offset] * 3]).ravel()))
    image = image.filter(ImageFilter.GaussianBlur(camera.blur * image.width / 64 * rng.uniform(0.7, 1.4)))
    noise = np.random.default_rng(rng.getrandbits(32)).normal(0, camera.grain, (image.height, image.width, 1))
    return Image.fromarray((np.asarray(image) + noise).clip(0, 255).astype(np.uint8))
