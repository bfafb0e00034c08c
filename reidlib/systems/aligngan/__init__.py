"""AlignGAN: RGB-infrared re-identification by joint pixel and feature alignment (Wang et al., ICCV 2019)."""

from reidlib.systems.aligngan.system import AlignGAN as AlignGAN

SYSTEM = AlignGAN
