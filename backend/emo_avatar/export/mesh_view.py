"""Pictures of an avatar's mesh: as skin where it is the open head's, as clay where nothing more is known of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from emo_avatar.avatar.avatar import Avatar
from emo_avatar.export.pictures import Colour, to_uint8
from emo_avatar.motion.flame_sequence import FlameSequence
from emo_avatar.motion.read import OPEN_HEAD
from emo_avatar.render.camera import Camera
from emo_avatar.render.mesh import rasterize_mesh, vertex_normals
from emo_avatar.render.shading import shade

BATCH = 16  # frames whose vertices are in memory at a time
CLAY = np.array([0.72, 0.66, 0.60])  # display sRGB, fully lit
LIGHT = np.array([-0.35, 0.45, 0.82])  # in camera space as seen: right, up, towards the viewer
AMBIENT = 0.35
SUPERSAMPLING = 2


def render_mesh_frames(
    avatar: Avatar,
    sequence: FlameSequence,
    camera: Camera,
    background: Colour | None = None,  # None: transparent
) -> Iterator[np.ndarray]:  # T x [H, W, 4 or 3] uint8
    """Every frame of a sequence as a picture of the mesh, RGBA when there is no background."""
    rest = avatar.rig.mesh(FlameSequence.still(1))[0]  # [V, 3] against which skin wrinkles
    for start in range(0, len(sequence), BATCH):
        for vertices in avatar.rig.mesh(sequence.slice(start, start + BATCH)):
            yield _over(_draw(avatar, vertices, camera, rest), background)


def _draw(avatar: Avatar, vertices: np.ndarray, camera: Camera, rest: np.ndarray) -> np.ndarray:  # -> [H, W, 4] uint8
    head = avatar.rig.head
    if head.name == OPEN_HEAD and avatar.rig.faces is head.faces:
        return shade(head, vertices, camera, rest)
    return clay(vertices, avatar.rig.faces, camera)


def clay(vertices: np.ndarray, faces: np.ndarray, camera: Camera) -> np.ndarray:  # -> [H, W, 4] uint8, straight alpha
    """A mesh in one colour under a light beside the camera."""
    large = replace(
        camera,
        K=camera.K * np.array([[SUPERSAMPLING], [SUPERSAMPLING], [1]]),
        width=camera.width * SUPERSAMPLING,
        height=camera.height * SUPERSAMPLING,
    )
    fragments = rasterize_mesh(vertices, faces, large)
    normals = fragments.interpolate(vertex_normals(vertices, faces) @ camera.viewmat[:3, :3].T, faces)
    normals *= np.array([1, -1, -1])  # OpenCV's camera looks along z with y down; the light is given as one sees it
    normals *= np.sign(normals[..., 2:])  # inner sides are lit like outer ones
    lit = np.clip(normals @ (LIGHT / np.linalg.norm(LIGHT)), 0, 1)
    alpha = fragments.covered[..., None].astype(float)
    blocks = (camera.height, SUPERSAMPLING, camera.width, SUPERSAMPLING, -1)
    premultiplied = (alpha * CLAY * (AMBIENT + (1 - AMBIENT) * lit)[..., None]).reshape(blocks).mean((1, 3))
    coverage = alpha.reshape(blocks).mean((1, 3))
    return to_uint8(np.concatenate([premultiplied / np.maximum(coverage, 1e-6), coverage], axis=2))


def _over(rgba: np.ndarray, background: Colour | None) -> np.ndarray:  # [H, W, 4] uint8
    if background is None:
        return rgba
    colour, alpha = rgba[..., :3] / 255, rgba[..., 3:] / 255
    return to_uint8(colour * alpha + np.asarray(background) * (1 - alpha))
