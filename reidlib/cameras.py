"""The cameras of the toy networks: what each looks at, from where, and how it sees colour and sharpness."""

from dataclasses import dataclass
from random import Random

import numpy as np
from PIL import Image, ImageFilter

CAST = 0.5  # strength of what differs between cameras: light, cast, contrast, colour; 0 makes all cameras alike
FLICKER = 0.07  # standard deviation of the exposure between pictures of one camera, in natural logarithms


@dataclass(frozen=True)
class Camera:
    """One camera: gain, cast, contrast, colour and haze of 1, (1, 1, 1), 1, 1, 0 change nothing.

    blur and grain are standard deviations, in pixels of a 64 pixel wide picture and in grey levels; light is where the
    sun stands, -1 left to 1 right; pitch looks down, in radians; views are the odds of a front, side and back view.
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


NETWORKS: dict[str, list[Camera]] = {
    # A summer market square: warm, contrasty, close; six cameras.
    "market": [
        Camera(("stalls", "plaster", "brick"), "tiles", ("crates", "sign"), 0.46, 1.05, (1.06, 1.0, 0.90),
               1.05, 1.05, 0, 0.3, 3, -0.7, 0.20, (3, 1, 2)),
        Camera(("glass", "brick", "stalls"), "tiles", ("planter", "bin"), 0.40, 0.92, (0.90, 1.0, 1.12),
               0.95, 0.90, 6, 0.4, 3, 0.6, 0.24, (2, 1, 3)),
        Camera(("hedge", "plaster", "glass"), "path", ("tree", "bench"), 0.52, 1.0, (0.98, 1.05, 0.90),
               1.10, 1.10, 0, 0.3, 4, -0.3, 0.16, (1, 3, 1)),
        Camera(("brick", "stalls", "hedge"), "asphalt", ("bicycle", "lamp"), 0.42, 0.74, (1.0, 0.96, 0.94),
               1.10, 0.95, 0, 0.5, 5, 0.7, 0.28, (2, 2, 2)),
        Camera(("plaster", "glass", "hedge"), "cobbles", ("sign", "planter"), 0.48, 1.22,
               (1.04, 1.0, 0.96), 0.90, 0.92, 10, 0.4, 3, -0.8, 0.18, (3, 1, 1)),
        Camera(("stalls", "stone", "glass"), "asphalt", ("lamp", "crates"), 0.38, 0.84,
               (0.94, 0.98, 1.10), 1.0, 0.85, 4, 0.8, 6, 0.4, 0.30, (1, 1, 3)),
    ],
    # A campus in the cold months: flat, hazy or dim light, blue, green and sodium casts, seen from higher up.
    "duke": [
        Camera(("stone", "trees", "glass"), "slabs", ("lamp", "tree"), 0.56, 0.80, (0.88, 0.98, 1.16),
               0.74, 0.66, 22, 0.7, 4, 0.2, 0.34, (1, 1, 4)),
        Camera(("trees", "stone", "cars"), "grass", ("bench", "tree"), 0.60, 0.72, (0.92, 1.08, 0.92),
               0.80, 0.70, 14, 0.8, 5, -0.2, 0.32, (4, 1, 1)),
        Camera(("stone", "brick", "trees"), "steps", ("lamp", "bin"), 0.50, 1.18, (0.96, 1.0, 1.08),
               0.66, 0.60, 34, 0.6, 3, 0.1, 0.36, (1, 3, 2)),
        Camera(("cars", "brick", "stone"), "asphalt", ("lamp", "sign"), 0.62, 0.58, (1.16, 0.98, 0.72),
               0.92, 0.70, 8, 0.9, 7, -0.5, 0.40, (2, 1, 2)),
        Camera(("glass", "stone", "trees"), "slabs", ("bicycle", "planter"), 0.44, 0.78,
               (0.84, 1.04, 1.06), 0.80, 0.62, 18, 0.6, 4, 0.5, 0.28, (1, 4, 1)),
        Camera(("trees", "brick", "glass"), "snow", ("tree", "lamp"), 0.58, 0.94, (0.90, 0.98, 1.14),
               0.70, 0.60, 26, 0.7, 3, 0.0, 0.34, (3, 1, 3)),
        Camera(("brick", "glass", "cars"), "grass", ("bicycle", "bench"), 0.52, 0.66, (1.04, 1.04, 0.82),
               0.86, 0.74, 12, 1.0, 6, 0.6, 0.38, (1, 2, 3)),
        Camera(("cars", "trees", "stone"), "snow", ("sign", "bin"), 0.64, 0.86, (0.94, 0.96, 1.12),
               0.72, 0.55, 24, 0.8, 4, -0.4, 0.36, (2, 3, 1)),
    ],
}  # fmt: skip


def develop(image: Image.Image, camera: Camera, rng: Random) -> Image.Image:
    """What the camera makes of a clean RGB picture: exposure, cast, saturation, contrast, haze, blur and grain."""
    gain = np.exp(CAST * np.log(camera.gain) + rng.gauss(0, FLICKER))
    contrast, colour = 1 + CAST * (camera.contrast - 1), 1 + CAST * (camera.colour - 1)
    luma = np.array([0.299, 0.587, 0.114])
    matrix = contrast * gain * (colour * np.eye(3) + (1 - colour) * luma)
    matrix *= (1 + CAST * (np.array(camera.cast) - 1))[:, None]
    offset = 128 * (1 - contrast) + CAST * camera.haze
    image = image.convert("RGB", tuple(np.column_stack([matrix, [offset] * 3]).ravel()))
    image = image.filter(ImageFilter.GaussianBlur(camera.blur * image.width / 64 * rng.uniform(0.7, 1.4)))
    noise = np.random.default_rng(rng.getrandbits(32)).normal(0, camera.grain, (image.height, image.width, 1))
    return Image.fromarray((np.asarray(image) + noise).clip(0, 255).astype(np.uint8))
