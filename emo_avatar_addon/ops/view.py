"""How the scene shows splats: their own colours, and among Cycles' or EEVEE's objects."""

from typing import Any

from ..view import colours, compositing
from ..view.engine import ENGINE
from .boundary import EmoOperator


class EMOAVATAR_OT_use_standard_view(EmoOperator):
    bl_idname = "emo_avatar.use_standard_view"
    bl_label = "Show True Colours"
    bl_description = (
        "Set the scene's view transform to Standard. Splats hold the photograph's own colours, which AgX and Filmic "
        "would make paler; lights in the scene are then shown without their softening"
    )
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def disabled_reason(cls, context: Any) -> str | None:
        return None if colours.altered(context.scene) else "The scene already shows colours as they are"

    def run(self, context: Any) -> set[str] | None:
        settings = context.scene.view_settings
        settings.view_transform = "Standard"
        settings.look = "None"
        settings.exposure, settings.gamma, settings.use_curve_mapping = 0.0, 1.0, False
        return None


class EMOAVATAR_OT_composite_splats(EmoOperator):
    bl_idname = "emo_avatar.composite_splats"
    bl_label = "Composite with Scene"
    bl_description = (
        "Set up nodes that put the avatars' splats into the Cycles or EEVEE render, before and behind its objects by "
        "depth, in their own colours. Press again after adding avatars or changing the view transform"
    )
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def disabled_reason(cls, context: Any) -> str | None:
        if context.scene.render.engine == ENGINE:
            return "This scene renders splats alone: choose Cycles or EEVEE first"
        if not any(compositing.is_avatar(thing) for thing in context.view_layer.objects):
            return "There is no avatar with splats in this view layer"
        return None if context.scene.camera is not None else "There is no camera to render from"

    def run(self, context: Any) -> set[str] | None:
        splats = compositing.set_up(context)
        self.report({"INFO"}, f"F12 now renders the splats of the scene {splats.name} too, and composites them")
        return None


CLASSES = (EMOAVATAR_OT_use_standard_view, EMOAVATAR_OT_composite_splats)
