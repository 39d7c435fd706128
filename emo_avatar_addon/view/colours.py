"""What a scene's colour management does to splats, whose colours are finished: the photograph's own."""

from typing import Any

PLAIN = ("Standard", "Raw")
# View transforms, and the colour spaces of pictures that have gone through them: what is in such a space comes out of
# the view transform as it went in. Blender has them for textures with baked colours.
UNDOING = {"AgX": "AgX Base sRGB", "Filmic": "Filmic sRGB", "Khronos PBR Neutral": "Khronos PBR Neutral sRGB"}


def altered(scene: Any) -> bool:
    """Whether the scene shows other colours than the splats' own."""
    return scene.view_settings.view_transform not in PLAIN or _adjusted(scene.view_settings)


def altered_composited(scene: Any) -> bool:
    """Whether it does so where nodes undo the view transform."""
    return scene.view_settings.view_transform not in (*PLAIN, *UNDOING) or _adjusted(scene.view_settings)


def _adjusted(settings: Any) -> bool:
    looks = settings.look not in ("None", "") or settings.use_curve_mapping
    return looks or settings.exposure != 0 or settings.gamma != 1
