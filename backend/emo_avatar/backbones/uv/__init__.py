"""The UV backbone: a photograph projected onto a head's canonical surface, one Gaussian per texel.

After Zhang et al., who predict Gaussian attributes in the UV space of a head from projected image features; here the
attributes are analytic (`attributes`), and refined against the photograph.
"""

from emo_avatar.backbones.uv.build import REFINE_STEPS, build_avatar

__all__ = ["REFINE_STEPS", "build_avatar"]
