"""AlignGAN: RGB-infrared re-identification by joint pixel and feature alignment (Wang et al., ICCV 2019)."""

from reidlib.systems.aligngan.recipe import AlignGANRecipe
from reidlib.systems.aligngan.system import PHASES, AlignGAN

__all__ = ["PHASES", "SYSTEM", "AlignGAN", "AlignGANRecipe"]

SYSTEM = AlignGAN
