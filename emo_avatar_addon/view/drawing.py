"""Draws a picture of the splats into a viewport, as a sheet that stands in the world where the picture was taken.

Each pixel lies on its own ray: seen from the camera that took it, the picture covers the viewport pixel by pixel;
seen from one that has moved on since, it follows until the next picture is there. Depth is each pixel's own, so that
meshes and splats hide one another.
"""

from __future__ import annotations

from typing import Any

import gpu
import numpy as np

from .picture import Picture, scene_linear

# What crosses the viewport is one strip of two triangles; `at` counts from the upper left corner of the picture.
_CORNERS = ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0))

_VERTEX = """
void main()
{
  place = at;
  vec3 ray = vec3(rays.xy + rays.zw * at, 1.0);
  gl_Position = clip_from_camera * vec4(ray * plane, 1.0);
}
"""

_FRAGMENT = """
vec4 colour_at(vec2 uv)
{
  ivec2 size = textureSize(colours, 0);
  vec2 pixel = uv * vec2(size) - 0.5;
  ivec2 low = ivec2(floor(pixel));
  vec2 part = pixel - vec2(low);
  ivec2 last = size - 1;
  vec4 a = texelFetch(colours, clamp(low, ivec2(0), last), 0);
  vec4 b = texelFetch(colours, clamp(low + ivec2(1, 0), ivec2(0), last), 0);
  vec4 c = texelFetch(colours, clamp(low + ivec2(0, 1), ivec2(0), last), 0);
  vec4 d = texelFetch(colours, clamp(low + ivec2(1, 1), ivec2(0), last), 0);
  return mix(mix(a, b, part.x), mix(c, d, part.x), part.y);
}

vec3 decode(vec3 colour)
{
  vec3 low = colour / 12.92;
  vec3 high = pow((max(colour, vec3(0.0)) + 0.055) / 1.055, vec3(2.4));
  return mix(high, low, vec3(lessThanEqual(colour, vec3(0.04045))));
}

void main()
{
  vec4 colour = colour_at(place);
  ivec2 size = textureSize(depths, 0);
  float depth = texelFetch(depths, min(ivec2(place * vec2(size)), size - 1), 0).r;
  if (colour.a <= 0.0 || depth <= 0.0) {
    discard;
  }
  if (encoded > 0.5) {
    colour.rgb = decode(colour.rgb / colour.a) * colour.a;
  }
  target = colour;
  vec4 clip = clip_from_camera * vec4(vec3(rays.xy + rays.zw * place, 1.0) * depth, 1.0);
  gl_FragDepth = clamp(0.5 * clip.z / clip.w + 0.5, 0.0, 1.0);
}
"""


class Sheet:
    """The textures of one viewport's newest picture. Only for the main thread, where a GPU context is."""

    _shader: Any = None  # compiled at the first drawing, shared by all viewports

    def __init__(self) -> None:
        self._picture: Picture | None = None
        self._textures: tuple[Any, Any] | None = None
        self._batch: Any = None

    def draw(
        self,
        picture: Picture,
        clip_from_world: np.ndarray,  # [4, 4] of the viewport as it is now
        *,
        depth_test: bool,
        scene_from_linear: np.ndarray | None = None,  # [3, 3], where the viewport is in another space than Rec. 709
    ) -> None:
        """Draw over what the bound framebuffer holds, in linear light, blended by alpha; its depth is only read."""
        if Sheet._shader is None:
            Sheet._shader = _compile()
        if picture is not self._picture or self._textures is None:
            self._picture, self._textures = picture, _textures(picture, scene_from_linear)
        if self._batch is None:
            vertices = gpu.types.GPUVertFormat()
            vertices.attr_add(id="at", comp_type="F32", len=2, fetch_mode="FLOAT")
            corners = gpu.types.GPUVertBuf(vertices, len(_CORNERS))
            corners.attr_fill("at", _CORNERS)
            self._batch = gpu.types.GPUBatch(type="TRI_STRIP", buf=corners)
        shader, (colours, depths) = Sheet._shader, self._textures
        shader.bind()
        shader.uniform_float("clip_from_camera", _columns(clip_from_world @ np.linalg.inv(picture.view.viewmat)))
        shader.uniform_float("rays", rays(picture))
        shader.uniform_float("plane", plane(picture))
        shader.uniform_float("encoded", 1.0 if scene_from_linear is None else 0.0)
        shader.uniform_sampler("colours", colours)
        shader.uniform_sampler("depths", depths)
        gpu.state.blend_set("ALPHA_PREMULT")
        gpu.state.depth_test_set("LESS_EQUAL" if depth_test else "NONE")
        gpu.state.depth_mask_set(False)
        self._batch.draw(shader)
        gpu.state.depth_test_set("NONE")
        gpu.state.blend_set("NONE")


def rays(picture: Picture) -> tuple[float, float, float, float]:
    """Where the rays of pixels go at depth 1: at the upper left corner (x, y), and from there across the picture."""
    view = picture.view
    (fx, _, cx), (_, fy, cy) = view.K[:2]
    return (-cx / fx, -cy / fy, view.width / fx, view.height / fy)


def plane(picture: Picture) -> float:
    """A depth, in metres from the pinhole, in the midst of what the picture shows."""
    shown = picture.depth[::8, ::8]
    shown = np.sort(shown[shown > 0])  # np.median loads a large part of NumPy at its first call
    return float(shown[len(shown) // 2]) if len(shown) else 1.0


def _textures(picture: Picture, scene_from_linear: np.ndarray | None) -> tuple[Any, Any]:
    size = (picture.rgba.shape[1], picture.rgba.shape[0])
    if scene_from_linear is not None:
        colours, layout = scene_linear(picture.rgba, scene_from_linear), "RGBA16F"
    elif picture.rgba.dtype == np.uint8:
        colours, layout = picture.rgba.astype(np.float32) / 255, "RGBA8"
    else:
        colours, layout = np.ascontiguousarray(picture.rgba, np.float32), "RGBA16F"
    depth = np.ascontiguousarray(picture.depth, np.float32)
    return (
        gpu.types.GPUTexture(size, format=layout, data=gpu.types.Buffer("FLOAT", colours.size, colours.ravel())),
        gpu.types.GPUTexture(size, format="R32F", data=gpu.types.Buffer("FLOAT", depth.size, depth.ravel())),
    )


def _columns(matrix: np.ndarray) -> list[float]:
    """A matrix as the GPU takes it, column by column."""
    return np.asarray(matrix, np.float32).T.ravel().tolist()


def _compile() -> Any:
    between = gpu.types.GPUStageInterfaceInfo("emo_avatar_sheet")
    between.smooth("VEC2", "place")
    info = gpu.types.GPUShaderCreateInfo()
    info.vertex_in(0, "VEC2", "at")
    info.vertex_out(between)
    info.push_constant("MAT4", "clip_from_camera")
    info.push_constant("VEC4", "rays")
    info.push_constant("FLOAT", "plane")
    info.push_constant("FLOAT", "encoded")
    info.sampler(0, "FLOAT_2D", "colours")
    info.sampler(1, "FLOAT_2D", "depths")
    info.fragment_out(0, "VEC4", "target")
    if hasattr(info, "depth_write"):  # Blender 4.2 does not ask to be told
        info.depth_write("ANY")
    info.vertex_source(_VERTEX)
    info.fragment_source(_FRAGMENT)
    return gpu.shader.create_from_info(info)
