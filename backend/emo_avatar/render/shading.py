"""The mesh view: a textured head in soft studio light, without a GPU.

Light bleeds through skin, so that the terminator is wider in red; crevices are darkened from the depth buffer and the
mouth by how far one looks into it; the key light casts soft shadows; pores and lip lines of the texture stand in
relief.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from functools import lru_cache

import numba
import numpy as np
from PIL import Image
from scipy.spatial import cKDTree

from emo_avatar.head.data import HeadData, texture_path, wrinkle_path
from emo_avatar.render.camera import Camera
from emo_avatar.render.eye_shading import EYES, eye_light
from emo_avatar.render.lighting import (
    GROUND,
    KEY,
    LAMPS,
    SKY,
    ViewAxes,
    bilinear,
    displayed,
    linear,
    lit_share,
    openness,
)
from emo_avatar.render.mesh import MeshFragments, rasterize_mesh
from emo_avatar.render.strain import shortening
from emo_avatar.render.subdivision import SmoothMesh, smooth_mesh

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

CREVICE = (0.78, 1.0, 1.06)  # exponents of occlusion by colour: light that skin hides stays red
MOUTH_DEPTH = 0.028  # metres from the lips over which light falls to 1 / e
FILM, FILM_SHARE = 0.65, 0.22  # the oily film on skin: its roughness against the skin's, its share of the shine
RELIEF = 0.0012  # metres by which white stands above black in the texture: its dark specks are pores
FOLDS_BETWEEN = (0.04, 0.30)  # compression of the skin at which folds appear and are fully drawn
FOLD_DEPTH, FOLD_SHADE = 0.0012, 0.45  # metres; share of the sky that a full fold hides
STEEPEST = 0.5  # slope of all relief

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
    scale = np.array([[SUPERSAMPLING], [SUPERSAMPLING], [1]], np.float32)
    large = Camera(camera.viewmat, camera.K * scale, camera.width * SUPERSAMPLING, camera.height * SUPERSAMPLING)
    vertices = np.asarray(vertices, np.float64)
    if rest is None:
        folding = np.zeros((len(vertices), 3))
    else:
        folding = _folding(np.asarray(rest, np.float64), vertices, head.faces)
    mesh = smooth_mesh(head, vertices)
    fragments = rasterize_mesh(mesh.vertices, mesh.faces, large)
    colour = np.zeros((large.height, large.width, 3), np.float32)
    # Tone-mapped before averaging, so that a highlight does not outshine its neighbours in the pixel.
    colour[fragments.covered] = displayed(_light(head, mesh, large, fragments, folding))
    blocks = (camera.height, SUPERSAMPLING, camera.width, SUPERSAMPLING)
    alpha = fragments.covered.reshape(blocks).mean((1, 3))[..., None]
    colour = colour.reshape(*blocks, 3).mean((1, 3)) / np.maximum(alpha, 1e-6)
    return np.round(255 * np.concatenate([colour, alpha], -1)).astype(np.uint8)


def _folding(rest: np.ndarray, vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:  # -> [V, 3] in [0, 1]
    """How far the folds of the skin are drawn, by their run: level, upright, slanted."""
    low, high = FOLDS_BETWEEN
    return np.clip((shortening(rest, vertices, faces) - low) / (high - low), 0, 1)


def _light(
    head: HeadData,
    mesh: SmoothMesh,
    camera: Camera,
    fragments: MeshFragments,
    folding: np.ndarray,  # [V, 3] in [0, 1]
) -> np.ndarray:
    """Linear light ``[N, 3]`` of the covered pixels, row by row."""
    vertices = mesh.vertices[: head.n_vertices]
    covered = fragments.covered
    face = fragments.face[covered]
    part = head.face_part[mesh.parent[face]]
    axes = ViewAxes.of(camera)
    attributes = np.c_[mesh.vertices, mesh.normals, mesh.refine(np.c_[_mouth_depth(head), folding, _materials(head)])]
    seen = fragments.interpolate(attributes, mesh.faces)[covered]
    points, normal, mouth_depth, material = seen[:, :3], seen[:, 3:6], seen[:, 6], seen[:, 10:]
    outward = (camera.position - points).astype(np.float32)
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-6)
    a, b, c = (mesh.vertices[mesh.faces[:, k]] for k in range(3))
    back = (np.cross(b - a, c - a) * (camera.position - a)).sum(1) < 0  # [F]
    normal = np.where(back[face][:, None], -normal, normal)

    texture = open_head_texture() if head.name == "open" else None
    if texture is None:
        plain = np.array([PLAIN_PARTS.get(name, PLAIN_SKIN) for name in head.part_names], np.float32)
        albedo = linear(plain)[part]
    else:
        uv = fragments.interpolate(mesh.uv, mesh.uv_faces)[covered]
        albedo = bilinear(texture, uv)
        fold = (seen[:, 7:10] * bilinear(open_head_wrinkles(), uv)).max(1)
    open_share = openness(fragments, normal, camera) * np.exp(-mouth_depth / MOUTH_DEPTH)
    casts = head.face_part != (head.part_names.index("lashes") if "lashes" in head.part_names else -1)
    lit = lit_share(vertices, head.faces, casts, points, normal, axes.direction(KEY))
    if texture is not None:
        height = RELIEF * np.sqrt(albedo[:, 1]) - FOLD_DEPTH * fold
        normal = _in_relief(normal, height, part == head.part_names.index("skin"), fragments, camera, axes)
        open_share = open_share * (1 - FOLD_SHADE * fold)
    light = _reflect(
        albedo,
        material,
        normal,
        outward,
        open_share,
        lit,
        np.stack([axes.direction(lamp) for lamp in LAMPS]),
        np.array([lamp.colour for lamp in LAMPS], np.float32),
        LAMPS.index(KEY),
        axes.up,
        np.array(SKY, np.float32),
        np.array(GROUND, np.float32),
        np.array(CREVICE, np.float32),
    )
    for name in EYES:
        if name in head.part_names:
            own = part == head.part_names.index(name)
            light[own] = eye_light(
                head, name, vertices, axes, texture, points[own], outward[own], open_share[own], lit[own]
            )
    return light


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


def _in_relief(
    normal: np.ndarray,  # [N, 3]
    height: np.ndarray,  # [N] metres above the smooth surface
    is_skin: np.ndarray,  # [N] bool
    fragments: MeshFragments,
    camera: Camera,
    axes: ViewAxes,
) -> np.ndarray:  # [N, 3]
    """Normals tilted by the relief of the skin."""
    covered = fragments.covered
    image = np.full(covered.shape, np.nan, np.float32)
    image[covered] = np.where(is_skin, height, np.nan)
    down, across = np.gradient(image)
    slope = np.stack([across[covered], down[covered]], 1)
    slope *= (float(camera.K[0, 0]) / fragments.depth[covered])[:, None]
    slope = np.nan_to_num(np.clip(slope, -STEEPEST, STEEPEST), copy=False)  # beside other parts the relief ends
    tilted = normal - slope[:, :1] * axes.right + slope[:, 1:] * axes.up
    return (tilted / np.linalg.norm(tilted, axis=1, keepdims=True)).astype(np.float32)


@numba.njit(cache=True, nogil=True)
def _trowbridge_reitz(n_dot_h, roughness):
    a2 = roughness**4
    spread = n_dot_h * n_dot_h * (a2 - 1) + 1
    return a2 / (np.pi * spread * spread)


@numba.njit(cache=True, nogil=True)
def _reflect(albedo, material, normal, outward, open_share, lit, towards, colours, key, up, sky, ground, crevice):
    """Light ``[N, 3]`` off a surface: wrapped diffuse light and two specular lobes (Trowbridge-Reitz, Schlick).

    ``towards, colours [L, 3]`` are the lamps, of which ``key`` alone casts shadows (``lit [N]``).
    """
    light = np.empty_like(albedo)
    hidden = np.empty(3)  # what occlusion leaves of direct light
    for i in range(albedo.shape[0]):
        nx, ny, nz = normal[i, 0], normal[i, 1], normal[i, 2]
        ox, oy, oz = outward[i, 0], outward[i, 1], outward[i, 2]
        facing = max(nx * ox + ny * oy + nz * oz, 0.05)
        roughness, reflectance = material[i, 3], material[i, 4]
        above = 0.5 + 0.5 * (nx * up[0] + ny * up[1] + nz * up[2])
        for c in range(3):
            ambient = above * sky[c] + (1 - above) * ground[c]
            hidden[c] = open_share[i] ** (0.5 * crevice[c])
            light[i, c] = albedo[i, c] * ambient * hidden[c] * hidden[c]
        for k in range(towards.shape[0]):
            lx, ly, lz = towards[k, 0], towards[k, 1], towards[k, 2]
            cosine = nx * lx + ny * ly + nz * lz
            reach = lit[i] if k == key else 1.0
            hx, hy, hz = ox + lx, oy + ly, oz + lz
            size = np.sqrt(hx * hx + hy * hy + hz * hz) + 1e-6
            n_dot_h = max((nx * hx + ny * hy + nz * hz) / size, 0.0)
            o_dot_h = min(max((ox * hx + oy * hy + oz * hz) / size, 0.0), 1.0)
            fresnel = reflectance + (1 - reflectance) * (1 - o_dot_h) ** 5
            lobes = (1 - FILM_SHARE) * _trowbridge_reitz(n_dot_h, roughness)
            lobes += FILM_SHARE * _trowbridge_reitz(n_dot_h, FILM * roughness)
            visible = max(cosine, 0.0) / (4 * facing * max(cosine, 0.2))
            shine = lobes * fresnel * visible * open_share[i] * reach
            for c in range(3):
                wrap = material[i, c]
                spread = max((cosine + wrap) / (1 + wrap), 0.0) ** (1 + wrap) * hidden[c]
                if reach < 1.0:  # light that enters beside a shadow's edge leaves inside it, redder
                    spread *= reach ** (1 / (1 + 1.5 * wrap))
                light[i, c] += (albedo[i, c] * spread + shine) * colours[k, c]
    return light
