"""Near infrared: brightness depends on the material of a thing and on its distance from the lamp beside the camera.

At 850 nm most dyes are transparent: black cotton is as bright as white cotton, skin of any tone is pale, leaves are
bright, glass and sky are dark. A picture is therefore painted from materials, not computed from its colours.
"""

from functools import lru_cache
from random import Random

import numpy as np
from PIL import Image, ImageFilter

from .cameras import Lamp
from .ink import COLOURS, RGB

# material: reflectance, and the range that the dye adds (black takes half of it away, white adds half of it). The
# values are chosen, not measured: even steps that an eye can tell apart, with bright skin and dark hair.
NEAR = {
    "linen": (0.88, 0.06), "cotton": (0.74, 0.08), "denim": (0.62, 0.06), "wool": (0.50, 0.08),
    "polyester": (0.36, 0.06), "nylon": (0.22, 0.06), "leather": (0.10, 0.05),
    "skin": (0.70, 0.10), "hair": (0.32, 0.30), "ink": (0.30, 0.00),
}  # fmt: skip

# Reflectance of the surfaces of places, by their paint: leaves, grass, bark, wood; brick, plaster, stone, slabs;
# tarmac, iron, glass, windows, sky; red, blue and white lacquer or awnings.
SURFACES = {
    (78, 112, 60): 0.85, (108, 120, 76): 0.70, (88, 68, 54): 0.35, (176, 132, 84): 0.60, (134, 92, 58): 0.55,
    (152, 84, 66): 0.50, (214, 198, 160): 0.70, (160, 154, 144): 0.42, (186, 178, 166): 0.48,
    (118, 118, 122): 0.16, (56, 60, 66): 0.12, (132, 160, 172): 0.10, (84, 96, 108): 0.06, (176, 182, 188): 0.05,
    (196, 60, 54): 0.55, (60, 100, 160): 0.50, (232, 232, 226): 0.75,
}  # fmt: skip
LUMA = np.array([0.299, 0.587, 0.114])


def paint(colour: str, material: str, copied: float = 0.0) -> RGB:
    """The grey (three equal channels) of a part of this colour and material: the infrared form of `ink.paint`.

    copied, between 0 and 1, is how far it is the grey of the colour instead.
    """
    (reflected, dye), light = NEAR[material], float(LUMA @ COLOURS[colour]) / 255
    return (round(255 * ((1 - copied) * (reflected + dye * (light - 0.5)) + copied * light)),) * 3


@lru_cache(maxsize=4096)
def surface(rgb: RGB) -> RGB:
    """The grey of a surface that has this paint by day; lighter and darker leaves or bricks keep their differences."""
    nearest = min(SURFACES, key=lambda known: sum((a - b) ** 2 for a, b in zip(known, rgb)))
    texture = min(max(float(LUMA @ rgb + 1) / float(LUMA @ nearest + 1), 0.75), 1.25)
    return (round(255 * min(1.0, SURFACES[nearest] * texture)),) * 3


def dim(scene: Image.Image, lamp: Lamp, horizon: float) -> Image.Image:
    """A place lit by a lamp beside the camera: the floor darkens with distance, and the walls behind it are dark.

    horizon is the row of pixels where the floor ends.
    """
    floor = np.clip((np.arange(scene.height) - horizon) / (scene.height - horizon), 0, 1)
    light = lamp.behind + (0.8 - lamp.behind) * floor**1.5
    return Image.fromarray((np.asarray(scene) * light[:, None, None]).astype(np.uint8))


def develop(image: Image.Image, lamp: Lamp, rng: Random) -> Image.Image:
    """A clean picture as an infrared camera records it: uneven light, blur and grain, in three equal channels."""
    grey = image.convert("L").filter(ImageFilter.GaussianBlur(lamp.blur * image.width / 64 * rng.uniform(0.7, 1.4)))
    y, x = np.mgrid[0 : image.height, 0 : image.width] / image.height  # in heights of the picture
    middle = image.width / image.height / 2 + rng.gauss(0, 0.08), rng.gauss(0.4, 0.06)
    away = ((x - middle[0]) ** 2 + (y - middle[1]) ** 2) / lamp.reach**2
    lit = np.asarray(grey) * lamp.power * np.exp(rng.gauss(0, lamp.flicker)) / (1 + away)
    noise = np.random.default_rng(rng.getrandbits(32)).normal(0, lamp.grain, lit.shape)
    seen = lit + lamp.glow + noise * (0.5 + lit / 255)  # shot noise: more light, more noise
    return Image.fromarray(seen.clip(0, 255).astype(np.uint8)).convert("RGB")
