"""A two-dimensional control: valence to the right, arousal upwards; the six sliders follow."""

import math
from typing import Any

import blf
import bpy
import gpu
import gpu.state
from gpu_extras.batch import batch_for_shader

from ..model.properties import active_avatar
from ..timeline import circumplex, keyframes
from ..translations import sentence
from .avatar import AvatarOperator, active, autokey

_RADIUS = 110  # pixels, before the interface's scale
_NEUTRAL = 0.03  # of the radius, about the middle
_STILL = 3  # pixels that the pointer may be off where it was put
_RING = 64  # corners of a circle


class EMOAVATAR_OT_pad(AvatarOperator):
    bl_idname = "emo_avatar.pad"
    bl_label = "Emotion Pad"
    bl_description = (
        "Drag between feelings: pleasant to the right, unpleasant to the left, aroused above, calm below, neutral in "
        "the middle. Writes the six sliders"
    )
    bl_options = {"REGISTER", "UNDO", "BLOCKING"}

    valence: bpy.props.FloatProperty(name="Valence", description="Unpleasant to pleasant", min=-1.0, max=1.0)
    arousal: bpy.props.FloatProperty(name="Arousal", description="Calm to aroused", min=-1.0, max=1.0)

    _before: list[float]
    _origin: tuple[float, float]
    _from: tuple[int, int] | None  # where the pointer has been put: what the sliders say, but for its whole pixels
    _handle: Any

    def run(self, context: Any) -> None:
        avatar = active(context)
        keyframes.set_weights(avatar, circumplex.weights(self.valence, self.arousal))
        autokey(context, avatar)

    def invoke(self, context: Any, event: Any) -> set[str]:
        if context.area is None or context.area.type != "VIEW_3D":
            return self.execute(context)
        window = next(region for region in context.area.regions if region.type == "WINDOW")
        self._before = keyframes.weights(active(context))
        self.valence, self.arousal = circumplex.point(self._before)
        reach = _RADIUS * context.preferences.system.ui_scale
        left, right = free_span(context.area)
        x = min(max(event.mouse_x, left + 1.3 * reach), right - 1.3 * reach) - window.x
        y = min(max(event.mouse_y - window.y, 1.3 * reach), window.height - 1.3 * reach)
        self._origin = (window.x + x, window.y + y)
        # The pointer stands on what the sliders say, so that nothing jumps.
        self._from = round(self._origin[0] + self.valence * reach), round(self._origin[1] + self.arousal * reach)
        context.window.cursor_warp(*self._from)
        context.workspace.status_text_set(sentence("Click or Enter: keep the feeling.   Esc: as it was before"))
        self._handle = bpy.types.SpaceView3D.draw_handler_add(
            _draw, (self, context.area.as_pointer(), (x, y), reach), "WINDOW", "POST_PIXEL"
        )
        context.window_manager.modal_handler_add(self)
        context.area.tag_redraw()
        return {"RUNNING_MODAL"}

    def modal(self, context: Any, event: Any) -> set[str]:
        avatar = active_avatar(context)
        if avatar is None or event.type in {"ESC", "RIGHTMOUSE"}:
            if avatar is not None:
                keyframes.set_weights(avatar, self._before)
            self._end(context)
            return {"CANCELLED"}
        if event.type == "MOUSEMOVE":
            if self._from is not None and math.dist(self._from, (event.mouse_x, event.mouse_y)) < _STILL:
                return {"RUNNING_MODAL"}
            self._from = None
            reach = _RADIUS * context.preferences.system.ui_scale
            x, y = (event.mouse_x - self._origin[0]) / reach, (event.mouse_y - self._origin[1]) / reach
            far = math.hypot(x, y)
            keep = 0.0 if far < _NEUTRAL else 1 / max(far, 1.0)
            self.valence, self.arousal = x * keep, y * keep
            keyframes.set_weights(avatar, circumplex.weights(self.valence, self.arousal))
            context.area.tag_redraw()
        elif (event.type == "LEFTMOUSE" and event.value in {"PRESS", "RELEASE"}) or event.type in {
            "RET",
            "NUMPAD_ENTER",
        }:
            autokey(context, avatar)
            self._end(context)
            return {"FINISHED"}
        return {"RUNNING_MODAL"}

    def cancel(self, context: Any) -> None:
        self._end(context)

    def _end(self, context: Any) -> None:
        bpy.types.SpaceView3D.draw_handler_remove(self._handle, "WINDOW")
        context.workspace.status_text_set(None)
        if context.area is not None:
            context.area.tag_redraw()


def free_span(area: Any) -> tuple[int, int]:
    """Where the 3D view of an area is not covered by its toolbar and sidebar: left and right, window pixels."""
    left, right = area.x, area.x + area.width
    shown = {"TOOLS": area.spaces.active.show_region_toolbar, "UI": area.spaces.active.show_region_ui}
    for region in area.regions:
        if shown.get(region.type):
            if region.x + region.width / 2 < area.x + area.width / 2:  # either can be flipped to the other side
                left = max(left, region.x + region.width)
            else:
                right = min(right, region.x)
    return left, right


def _draw(pad: EMOAVATAR_OT_pad, area: int, centre: tuple[float, float], reach: float) -> None:
    if bpy.context.area.as_pointer() != area:
        return
    theme = bpy.context.preferences.themes[0].user_interface.wcol_menu_back
    x, y = centre
    gpu.state.blend_set("ALPHA")
    _shape("TRI_FAN", [centre, *_circle(centre, 1.22 * reach)], (*theme.inner[:3], 0.85))
    _shape("LINE_STRIP", _circle(centre, reach), (0.6, 0.6, 0.6, 0.9))
    _shape("LINE_STRIP", _circle(centre, reach / 2), (0.6, 0.6, 0.6, 0.35))
    _shape("LINES", [(x - reach, y), (x + reach, y), (x, y - reach), (x, y + reach)], (0.6, 0.6, 0.6, 0.35))
    blf.size(0, 11 * bpy.context.preferences.system.ui_scale)
    blf.color(0, *theme.text, 1.0)
    for name, degrees in (*circumplex.ANGLES.items(), ("calm", circumplex.CALM)):
        name, turn = bpy.app.translations.pgettext_iface(name.title()), math.radians(degrees)
        width, height = blf.dimensions(0, name)
        blf.position(
            0, x + 0.78 * reach * math.cos(turn) - width / 2, y + 0.86 * reach * math.sin(turn) - height / 2, 0
        )
        blf.draw(0, name)
    at = (x + pad.valence * reach, y + pad.arousal * reach)
    _shape("LINES", [centre, at], (1.0, 1.0, 1.0, 0.5))
    _shape("TRI_FAN", [at, *_circle(at, 6)], (1.0, 0.62, 0.2, 1.0))
    gpu.state.blend_set("NONE")


def _circle(centre: tuple[float, float], radius: float) -> list[tuple[float, float]]:
    turns = (2 * math.pi * i / _RING for i in range(_RING + 1))
    return [(centre[0] + radius * math.cos(t), centre[1] + radius * math.sin(t)) for t in turns]


def _shape(kind: str, points: list[tuple[float, float]], colour: tuple[float, ...]) -> None:
    shader = gpu.shader.from_builtin("UNIFORM_COLOR")
    shader.uniform_float("color", colour)
    batch_for_shader(shader, kind, {"pos": points}).draw(shader)


def _get(manager: bpy.types.WindowManager) -> tuple[float, float]:
    """The pad's point, as long as the sliders are where it has put them."""
    avatar = active_avatar(bpy.context)
    if avatar is None:
        return 0.0, 0.0
    now = keyframes.weights(avatar)
    x, y = manager.get(_POINT, (0.0, 0.0))
    if max(abs(a - b) for a, b in zip(now, circumplex.weights(x, y), strict=True)) < 1e-4:
        return x, y
    return circumplex.point(now)


def _set(manager: bpy.types.WindowManager, value: tuple[float, float]) -> None:
    avatar = active_avatar(bpy.context)
    if avatar is not None and avatar.library is None:
        manager[_POINT] = value
        keyframes.set_weights(avatar, circumplex.weights(*value))
        autokey(bpy.context, avatar)


_POINT = "emo_avatar_pad_point"

CLASSES = (EMOAVATAR_OT_pad,)


def register() -> None:
    bpy.types.WindowManager.emo_avatar_pad = bpy.props.FloatVectorProperty(
        name="Valence and Arousal",
        description="Unpleasant to pleasant, and calm to aroused: one point that writes the six emotion sliders",
        size=2, min=-1.0, max=1.0, precision=2, get=_get, set=_set, options={"SKIP_SAVE"},
    )  # fmt: skip


def unregister() -> None:
    del bpy.types.WindowManager.emo_avatar_pad
