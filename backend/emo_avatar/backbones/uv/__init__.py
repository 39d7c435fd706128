"""The UV backbone: a photograph projected onto a head's canonical surface, one Gaussian per texel.

After Zhang et al., who predict Gaussian attributes in the UV space of a head from projected image features. Here the
attributes are analytic (`attributes`), a network in that UV space adds what it has learned (`learned`), and the
photograph refines them.
"""

from emo_avatar.backbones.uv.build import REFINE_STEPS, build_avatar
from emo_avatar.backbones.uv.learned import default_network

__all__ = ["REFINE_STEPS", "build_avatar", "default_network"]
