"""An avatar's mesh as an animated GLB: baked texture or vertex colours, morph targets, one animation."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from emo_avatar.avatar.avatar import Avatar
from emo_avatar.errors import UserError
from emo_avatar.export.bake import bake_colours, texel_points, texture_image, vertex_points
from emo_avatar.export.gltf import ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER, GltfBuilder
from emo_avatar.export.inner_parts import inner_colours
from emo_avatar.export.morphs import morph_animation
from emo_avatar.export.performance import perform
from emo_avatar.export.pictures import Progress, to_uint8
from emo_avatar.motion.flame_sequence import FlameSequence
from emo_avatar.render.mesh import vertex_normals

TOLERANCE = 5e-5  # metres that a vertex may be off its true path
JPEG_QUALITY = 92
LASHES = "lashes"
MAX_FRAMES = 3600  # two minutes at 30 fps; all of them are in memory at once, some 0.5 MB each
UNLIT = "KHR_materials_unlit"  # the colours hold the photograph's own light; viewers without it fall back to matte


def write_glb(
    path: Path | str, avatar: Avatar, sequence: FlameSequence, progress: Progress, resolution: int = 1024
) -> None:
    """Write the avatar's mesh and what it plays: metres, y up, facing +z, as FLAME and glTF both have it.

    Its colours are baked from renders of ``resolution`` pixels into a texture of that size, or into the vertices of a
    mesh without texture coordinates. Hair and shoulders that only the Gaussians show are not in the mesh.
    """
    if len(sequence) > MAX_FRAMES:
        raise UserError(f"{len(sequence)} frames are too many for one GLB; export {MAX_FRAMES} at most.")
    rig = avatar.rig
    builder = GltfBuilder()
    wear = _wear_texture if len(rig.head.uv) and rig.faces is rig.head.faces else _wear_vertex_colours
    skin = wear(builder, avatar, resolution, progress)
    base = rig.mesh(perform(avatar))[0]
    animation = morph_animation(base, rig.mesh(sequence), TOLERANCE)

    def attribute(values: np.ndarray, bounds: bool = False) -> int:  # [V, C]
        return builder.accessor(values[skin.vertex_of].astype("<f4"), ARRAY_BUFFER, bounds)

    primitive = {
        "attributes": {
            "POSITION": attribute(animation.base, bounds=True),
            "NORMAL": attribute(_unit_normals(base, rig.faces)),
            skin.attribute: builder.accessor(skin.values.astype("<f4"), ARRAY_BUFFER),
        },
        "indices": builder.accessor(skin.faces.astype("<u4").ravel(), ELEMENT_ARRAY_BUFFER),
        "material": skin.material,
    }
    node = builder.add("nodes", name=avatar.name, mesh=0)
    builder.add("scenes", nodes=[node])
    builder.document["scene"] = 0
    if len(animation.targets):
        primitive["targets"] = [{"POSITION": attribute(target, bounds=True)} for target in animation.targets]
        _animate(builder, node, animation.weights, sequence.fps)
    names = [f"motion_{k:02d}" for k in range(len(animation.targets))]
    builder.add("meshes", name=avatar.name, primitives=[primitive], extras={"targetNames": names})
    builder.write(path)


@dataclass(frozen=True)
class _Skin:
    """What makes the mesh look like the avatar, and the vertices that it needs."""

    vertex_of: np.ndarray  # [N] the mesh's vertex that each glTF vertex is
    faces: np.ndarray  # [F, 3]
    attribute: str  # glTF's name of `values`
    values: np.ndarray  # [N, 2 or 3]
    material: int


def _wear_texture(builder: GltfBuilder, avatar: Avatar, resolution: int, progress: Progress) -> _Skin:
    head = avatar.rig.head
    points, covered = texel_points(head.uv, head.uv_faces, resolution)
    colours = inner_colours(bake_colours(avatar, points, resolution, progress), points, head)
    image = to_uint8(texture_image(colours, covered))
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, format="JPEG", quality=JPEG_QUALITY)
    source = builder.add("images", bufferView=builder.view(stream.getvalue()), mimeType="image/jpeg")
    texture = builder.add("textures", source=source)
    worn = ~head.part(LASHES)[head.faces].any(axis=1)  # the photograph's own lashes are in the texture
    vertex_of, faces, uv = split_at_seams(head.faces[worn], head.uv_faces[worn], head.uv)
    downwards = np.column_stack([uv[:, 0], 1 - uv[:, 1]])  # as glTF counts
    return _Skin(vertex_of, faces, "TEXCOORD_0", downwards, _material(builder, baseColorTexture={"index": texture}))


def _wear_vertex_colours(builder: GltfBuilder, avatar: Avatar, resolution: int, progress: Progress) -> _Skin:
    faces = avatar.rig.faces
    vertex_of = np.arange(faces.max() + 1)
    colours = bake_colours(avatar, vertex_points(faces, len(vertex_of)), resolution, progress)
    return _Skin(vertex_of, faces, "COLOR_0", linear_from_srgb(colours), _material(builder))


def _material(builder: GltfBuilder, **surface: object) -> int:
    builder.document["extensionsUsed"] = [UNLIT]
    matte = {"metallicFactor": 0.0, "roughnessFactor": 1.0, **surface}
    return builder.add("materials", pbrMetallicRoughness=matte, doubleSided=True, extensions={UNLIT: {}})


def _animate(builder: GltfBuilder, node: int, weights: np.ndarray, fps: float) -> None:  # [T, K]
    sampler = {
        "input": builder.accessor((np.arange(len(weights)) / fps).astype("<f4"), bounds=True),
        "output": builder.accessor(weights.astype("<f4").ravel()),
        "interpolation": "LINEAR",
    }
    channel = {"sampler": 0, "target": {"node": node, "path": "weights"}}
    builder.add("animations", name="performance", channels=[channel], samplers=[sampler])


def split_at_seams(
    faces: np.ndarray,  # [F, 3]
    uv_faces: np.ndarray,  # [F, 3]
    uv: np.ndarray,  # [VT, 2]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices as glTF wants them, with one UV each: mesh vertex of each [N], faces [F, 3], uv [N, 2]."""
    pairs = np.column_stack([faces.ravel(), uv_faces.ravel()])
    unique, inverse = np.unique(pairs, axis=0, return_inverse=True)
    return unique[:, 0], inverse.reshape(-1, 3), uv[unique[:, 1]]


def _unit_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:  # [V, 3], [F, 3] -> [V, 3]
    """Vertex normals as glTF demands them: of unit length even where no triangle says which way."""
    normals = vertex_normals(vertices, faces)
    return np.where(np.linalg.norm(normals, axis=1, keepdims=True) > 0.5, normals, [0.0, 1.0, 0.0])


def linear_from_srgb(colour: np.ndarray) -> np.ndarray:  # [..., 3] in [0, 1]
    """Linear light, which glTF's vertex colours are in (IEC 61966-2-1)."""
    return np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
