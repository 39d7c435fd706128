"""The mesh view: a textured head in soft studio light, without a GPU.

Light bleeds through skin, so that the terminator is wider in red; crevices are darkened from the depth buffer and the
mouth by how far one looks into it; the key light casts soft shadows; pores and lip lines of the texture stand in
relief.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from functools import lru_cache

import numpy as np
from PIL import Image
from scipy.spatial import cKDTree

from emo_avatar.head.data import HeadData, texture_path, wrinkle_path
from emo_avatar.render.camera import Camera
from emo_avatar.render.eye_shading import EYES, eye_light
from emo_avatar.render.light_kernels import (
    FOLDING,
    MATERIAL,
    MOUTH_DEPTH,
    NORMAL,
    POINT,
    SURFACE,
    average,
    display,
    illuminate,
    interpolate_surface,
    multiply,
    paint,
    sides,
)
from emo_avatar.render.lighting import SHADOW_SIZE, STUDIO, Light, ViewAxes, linear, shadow_camera, view_numbers
from emo_avatar.render.mesh import MeshFragments, rasterize_mesh, vertex_normals
from emo_avatar.render.splat.simd import LANES
from emo_avatar.render.splat.threads import share_out
from emo_avatar.render.strain import shortening
from emo_avatar.render.subdivision import Tessellation, as_it_is, tessellation

SUPERSAMPLING = 2


@dataclass(frozen=True)
class Material:
    """How a surface reflects light."""

    wrap_red: float  # how far light reaches beyond the terminator
    wrap_green: float
    wrap_blue: float
    roughness: float
    reflectance: float  # at normal incidence


SKIN = Material(0.34, 0.16, 0.10, 0.50, 0.025)
LIPS = Material(0.30, 0.14, 0.10, 0.36, 0.032)
SCALP = Material(0.30, 0.20, 0.15, 0.62, 0.012)  # under cropped hair
WET = Material(0.30, 0.18, 0.15, 0.24, 0.040)
HAIR = Material(0.30, 0.30, 0.30, 0.60, 0.010)
LINING = Material(0.30, 0.18, 0.15, 0.50, 0.004)  # deep in the mouth no lamp is mirrored
OF_PART = {"upper_teeth": WET, "lower_teeth": WET, "tongue": WET, "lashes": HAIR}
OF_REGION = {"lips": LIPS, "scalp": SCALP, "mouth_bag": LINING}

FOLDS_BETWEEN = (0.04, 0.30)  # compression of the skin at which folds appear and are fully drawn

# Heads without a texture are drawn in these colours (sRGB).
PLAIN_SKIN = (0.76, 0.59, 0.50)
PLAIN_PARTS = {
    "upper_teeth": (0.88, 0.85, 0.80),
    "lower_teeth": (0.84, 0.80, 0.75),
    "tongue": (0.72, 0.38, 0.37),
    "lashes": (0.13, 0.10, 0.08),
}


@lru_cache(maxsize=1)
def open_head_texture() -> np.ndarray:  # [h, w, 3] float32 linear light
    """The texture that is shipped with the open head."""
    with Image.open(texture_path()) as image:
        return linear(np.asarray(image.convert("RGB"), np.float32) / 255)


@lru_cache(maxsize=1)
def open_head_wrinkles() -> np.ndarray:  # [h, w, 3] float32 in [0, 1]
    """The map of folds that is shipped with the open head: level, upright and slanted ones."""
    with Image.open(wrinkle_path()) as image:
        return np.asarray(image.convert("RGB"), np.float32) / 255


@dataclass(frozen=True, eq=False)
class Appearance:
    """What a head looks like apart from its form; ``None`` and 1 are what the mesh view shows."""

    texture: np.ndarray | None  # [h, w, 3] linear light over the head's UV
    wrinkles: np.ndarray  # [h, w, 3] as `open_head_wrinkles`
    folding: np.ndarray | None = None  # [V, 3] how far folds are drawn, by their run; above 1 they are deeper
    absorption: np.ndarray | None = None  # [V, 3] of light, beside what the texture absorbs; negative is paler
    shine: np.ndarray | None = None  # [V] factor on what the surface mirrors
    wetness: float = 1.0  # of the eyes


@dataclass(frozen=True, eq=False)
class Samples:
    """What is seen of a head, sample by sample, several to a pixel."""

    rows: np.ndarray  # [N] int
    columns: np.ndarray  # [N] int
    light: np.ndarray  # [N', 3] linear, the last repeated to whole vectors
    depth: np.ndarray  # [H, W] metres, inf where nothing is seen


def shade(
    head: HeadData,
    vertices: np.ndarray,  # [V, 3] metres, world
    camera: Camera,
    rest: np.ndarray | None = None,  # [V, 3] the same person without expression, posed anyhow
) -> np.ndarray:
    """Draw a head as a mesh: ``[H, W, 4]`` uint8 sRGB with straight alpha.

    The open head wears its texture, and wrinkles where its skin is compressed against ``rest``; any other is drawn in
    plain colours, part by part.
    """
    folding = None
    if rest is not None:
        folding = fold_depth(shortening(np.asarray(rest, np.float64), np.asarray(vertices, np.float64), head.faces))
    look = look_of(head)
    appearance = Appearance(open_head_texture() if look.textured else None, open_head_wrinkles(), folding)
    seen = samples(look, head, vertices, supersampled(camera), appearance, STUDIO)
    picture = np.zeros((camera.height, camera.width, 4), np.uint8)
    if len(seen.rows) > 0:
        # Tone-mapped before averaging, so that a highlight does not outshine its neighbours in the pixel.
        share_out(display, seen.light.reshape(-1))
        sums = np.zeros(picture.shape, np.float32)
        average(seen.columns, seen.rows, seen.light[: len(seen.rows)], SUPERSAMPLING, sums, picture)
    return picture


def supersampled(camera: Camera) -> Camera:
    """The camera whose pixels are the samples of another's."""
    scale = np.array([[SUPERSAMPLING], [SUPERSAMPLING], [1]], np.float32)
    return Camera(camera.viewmat, camera.K * scale, camera.width * SUPERSAMPLING, camera.height * SUPERSAMPLING)


def samples(
    look: Look,
    head: HeadData,
    vertices: np.ndarray,  # [V, 3] metres, world
    camera: Camera,  # of the samples
    appearance: Appearance,
    light: Light,
    shadow: Shadow | None = None,
    shown: np.ndarray | None = None,  # [F] bool, the head's faces that are drawn
) -> Samples:
    """Light that a head in ``light`` sends to the viewer. Heads of the same topology may share a ``look``."""
    vertices = np.asarray(vertices, np.float64)
    fine, normals = look.mesh.smooth(vertices, vertex_normals(vertices, head.faces))
    attributes = look.attributes.copy()
    attributes[:, POINT : POINT + 3], attributes[:, NORMAL : NORMAL + 3] = fine, normals
    if appearance.folding is not None:
        attributes[:, FOLDING : FOLDING + 3] = look.mesh.refine(appearance.folding)
    if appearance.shine is not None:
        attributes[:, MATERIAL + 4] *= look.mesh.refine(appearance.shine)
    fragments = rasterize_mesh(fine, look.mesh.faces, camera, None if shown is None else shown[look.mesh.parent])
    rows, columns = np.nonzero(fragments.covered)
    colour = np.zeros((0, 3), np.float32)
    if len(rows) > 0:
        shadow = shadow or cast_shadow(look, head, vertices, camera, light)
        padded = _padded(rows), _padded(columns)
        colour = _light(look, head, vertices, attributes, camera, fragments, *padded, appearance, light, shadow)
    return Samples(rows, columns, colour, fragments.depth)


@dataclass(frozen=True, eq=False)
class Shadow:
    """What the key light sees."""

    camera: Camera
    depth: np.ndarray  # [S, S] metres, inf where nothing is seen


def cast_shadow(
    look: Look, head: HeadData, vertices: np.ndarray, camera: Camera, light: Light, size: int = SHADOW_SIZE
) -> Shadow:
    """The head in the eyes of the key light, ``vertices [V, 3]`` seen by ``camera``."""
    lamp = shadow_camera(vertices, ViewAxes.of(camera).direction(light.key), size)
    return Shadow(lamp, rasterize_mesh(vertices, head.faces, lamp, look.casts).depth)


def _padded(numbers: np.ndarray) -> np.ndarray:  # [N] -> [N'], whole vectors
    """The last is repeated."""
    return np.pad(numbers, (0, -len(numbers) % LANES), mode="edge")


def fold_depth(shortened: np.ndarray) -> np.ndarray:  # [V, 3] -> [V, 3] in [0, 1]
    """How far the folds of the skin are drawn where it is shortened, by their run: level, upright, slanted."""
    low, high = FOLDS_BETWEEN
    return np.clip((shortened - low) / (high - low), 0, 1)


@dataclass(frozen=True)
class Look:
    """What is the same in every picture of a head."""

    mesh: Tessellation
    attributes: np.ndarray  # [V', 16] float32; depths in the mouth and materials, the rest zero
    part: np.ndarray  # [F'] index into the names of the head's parts
    has_relief: np.ndarray  # [F'] bool
    casts: np.ndarray  # [F] bool, the head's faces that cast shadows
    textured: bool
    plain: np.ndarray  # [parts, 3] linear light, for a head without texture


@lru_cache(maxsize=4)
def look_of(head: HeadData, *, rounded: bool = True) -> Look:
    """What drawing a head needs; ``rounded`` ones are drawn with four times as many triangles."""
    mesh = tessellation(head) if rounded else as_it_is(head)
    attributes = np.zeros((head.n_vertices, SURFACE), np.float32)
    attributes[:, MOUTH_DEPTH] = _mouth_depth(head)
    attributes[:, MATERIAL : MATERIAL + 5] = _materials(head)
    part = head.face_part[mesh.parent]
    names = head.part_names
    return Look(
        mesh,
        mesh.refine(attributes),
        part,
        part == (names.index("skin") if "skin" in names else -1),
        head.face_part != (names.index("lashes") if "lashes" in names else -1),
        head.name == "open",
        linear(np.array([PLAIN_PARTS.get(name, PLAIN_SKIN) for name in names], np.float32)),
    )


def _light(
    look: Look,
    head: HeadData,
    vertices: np.ndarray,  # [V, 3]
    attributes: np.ndarray,  # [V', 16] of the finer mesh
    camera: Camera,
    fragments: MeshFragments,
    rows: np.ndarray,  # [N] of the covered pixels
    columns: np.ndarray,  # [N]
    appearance: Appearance,
    light: Light,
    shadow: Shadow,
) -> np.ndarray:
    """Linear light ``[N, 3]`` that the covered pixels show."""
    n = len(rows)
    pixels = rows * camera.width + columns
    face, barycentric = fragments.face.reshape(-1), fragments.barycentric.reshape(-1, 3)
    seen = np.empty((n, SURFACE), np.float32)
    share_out(interpolate_surface, pixels, face, barycentric, attributes, look.mesh.faces, seen)

    albedo, fold = np.empty((n, 3), np.float32), np.zeros(n, np.float32)
    height = np.full(len(face), np.nan, np.float32)
    face = face[pixels]
    part = look.part[face]
    if appearance.texture is None:
        albedo[:] = look.plain[part]
    else:
        maps = (look.mesh.uv, look.mesh.uv_faces, appearance.texture, appearance.wrinkles, look.has_relief)
        share_out(paint, pixels, fragments.face.reshape(-1), barycentric, *maps, seen, albedo, fold, height)
    if appearance.absorption is not None:
        change = look.mesh.refine(np.exp(-appearance.absorption)).astype(np.float32)
        share_out(multiply, pixels, fragments.face.reshape(-1), barycentric, change, look.mesh.faces, albedo)

    side = sides(attributes, look.mesh.faces, camera.position)
    colour, outward = np.empty((n, 3), np.float32), np.empty((n, 3), np.float32)
    open_share, lit = np.empty(n, np.float32), np.empty(n, np.float32)
    share_out(
        illuminate, view_numbers(camera, shadow.camera, light), columns.astype(np.float32), rows.astype(np.float32),
        side[face], fragments.depth, shadow.depth, height, seen, albedo, fold, colour, outward, open_share, lit,
    )  # fmt: skip
    for name in EYES:
        if name in head.part_names:
            own = np.flatnonzero(part == head.part_names.index(name))
            colour[own] = eye_light(
                head,
                name,
                vertices,
                ViewAxes.of(camera),
                appearance.texture,
                seen[own, POINT : POINT + 3],
                outward[own],
                open_share[own],
                lit[own],
                light,
                appearance.wetness,
            )
    return colour


def _materials(head: HeadData) -> np.ndarray:  # -> [V, 5]
    table = np.array([astuple(OF_PART.get(name, SKIN)) for name in head.part_names])[head.vertex_part]
    for region, material in OF_REGION.items():
        if region in head.regions:
            table[head.regions[region]] = astuple(material)
    return table


def _mouth_depth(head: HeadData) -> np.ndarray:  # -> [V] metres
    """How far from the lips the inside of the mouth lies on the resting head; 0 on everything else."""
    lips = head.regions.get("lips", np.zeros(head.n_vertices, bool))
    inside = head.regions.get("mouth_bag", np.zeros(head.n_vertices, bool)).copy()
    for name in ("upper_teeth", "lower_teeth", "tongue"):
        inside |= head.part(name)
    depth = np.zeros(head.n_vertices)
    if lips.any() and inside.any():
        depth[inside] = cKDTree(head.v_template[lips]).query(head.v_template[inside])[0]
    return depth
