"""A picture that shows how well a portrait was tracked."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from emo_avatar.head.data import N_SHAPE, HeadData
from emo_avatar.head.surface import vertex_normals
from emo_avatar.render.camera import Camera
from emo_avatar.render.mesh import MeshFragments, rasterize_mesh
from emo_avatar.tracking.landmark_model import landmark_points
from emo_avatar.tracking.portrait import TrackedPortrait

PANEL = 640  # px
CLOSE_UP_SCALE = 1.25  # side of the close-up, in larger sides of the landmarks' box
MESH_OPACITY, CUTOUT_BACKGROUND = 0.65, (0.1, 0.5, 0.3)
ORBIT_FOV, ORBIT_DISTANCE = 20.0, 1.1  # degrees, metres
DEPTH_STEP = 0.006  # metres between neighbouring pixels that make a contour
LIGHT = np.array([0.25, 0.35, 0.9])  # towards the light, world
BACKGROUND = 0.35
DETECTED, FITTED, CONTOUR, BORDER = (80, 255, 80), (255, 70, 70), (255, 230, 60), (90, 220, 255)
REGION_BORDERS = ("lips", "lids", "brows")


def tracking_sheet(portrait: TrackedPortrait, head: HeadData) -> np.ndarray:  # [2 * PANEL, 3 * PANEL, 3] uint8
    """Landmarks, mesh contours and mesh shading over the photo; the matte, and the mesh from 45 and 90 degrees.

    Detected landmarks are green and fitted ones red; depth contours of the mesh are yellow and borders of its
    regions and parts blue.
    """
    vertices = portrait.vertices(head)
    whole = (0.0, 0.0, float(portrait.camera.width))
    close_up = _close_up(portrait)
    camera = _window(portrait.camera, whole)
    drawn = ~np.isin(
        head.face_part, [i for i, name in enumerate(head.part_names) if name == "lashes"]
    )  # they hide lids
    fragments = rasterize_mesh(vertices, head.faces, camera, drawn)
    photo = _cut(portrait.rgb, whole)
    shaded = _shaded(vertices, head, fragments)
    over = np.where(fragments.covered[..., None], (1 - MESH_OPACITY) * photo + MESH_OPACITY * shaded, photo)
    alpha = _cut(portrait.matte, whole)[..., None]
    cutout = photo * alpha + np.array(CUTOUT_BACKGROUND) * (1 - alpha)
    face = _cut(portrait.rgb, close_up)
    face_camera = _window(portrait.camera, close_up)
    landmarks = _with_landmarks(face, face_camera, close_up, portrait, vertices, head)
    contours = _with_contours(face, rasterize_mesh(vertices, head.faces, face_camera, drawn), head)
    neutral = head.v_template + head.shapedirs[:, :, :N_SHAPE] @ portrait.shape + portrait.static_offset
    sides = []
    for yaw in (45.0, 90.0):
        orbit = Camera.orbit(neutral.mean(0), ORBIT_DISTANCE, yaw=yaw, fov=ORBIT_FOV, size=PANEL)
        sides.append(_shaded(neutral, head, rasterize_mesh(neutral, head.faces, orbit, drawn)))
    rows = [np.concatenate(row, axis=1) for row in ((landmarks, contours, over), (cutout, *sides))]
    return (np.clip(np.concatenate(rows), 0, 1) * 255).astype(np.uint8)


def _close_up(portrait: TrackedPortrait) -> tuple[float, float, float]:
    """Left, top and side of a square around the face, px in the crop."""
    low, high = portrait.landmarks.min(0), portrait.landmarks.max(0)
    side = CLOSE_UP_SCALE * float((high - low).max())
    x, y = (low + high) / 2 - side / 2
    return float(x), float(y), side


def _cut(image: np.ndarray, window: tuple[float, float, float]) -> np.ndarray:  # [PANEL, PANEL, ...] 0 to 1
    x, y, side = window
    box = (x, y, x + side, y + side)
    values = np.asarray(
        Image.fromarray(image).transform((PANEL, PANEL), Image.Transform.EXTENT, box, Image.Resampling.BICUBIC)
    )
    return values / 255.0 if image.dtype == np.uint8 else values


def _window(camera: Camera, window: tuple[float, float, float]) -> Camera:
    """The camera that sees a square of another camera's picture."""
    x, y, side = window
    K = camera.K.copy()
    K[:2, 2] -= (x, y)
    K[:2] *= PANEL / side
    return Camera(camera.viewmat, K, PANEL, PANEL)


def _shaded(vertices: np.ndarray, head: HeadData, fragments: MeshFragments) -> np.ndarray:  # [H, W, 3]
    normal = fragments.interpolate(vertex_normals(vertices, head.faces), head.faces)
    normal /= np.maximum(np.linalg.norm(normal, axis=2, keepdims=True), 1e-9)
    light = 0.25 + 0.75 * np.clip(normal @ (LIGHT / np.linalg.norm(LIGHT)), 0, 1)
    return np.repeat(np.where(fragments.covered, light, BACKGROUND)[..., None], 3, axis=2)


def _with_landmarks(
    photo: np.ndarray,
    camera: Camera,
    window: tuple[float, float, float],
    portrait: TrackedPortrait,
    vertices: np.ndarray,
    head: HeadData,
) -> np.ndarray:
    fitted = camera.project(landmark_points(head, vertices))[0]
    detected = (portrait.landmarks - window[:2]) * (PANEL / window[2])
    image = Image.fromarray((photo * 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for (x, y), (u, v) in zip(fitted, detected, strict=True):
        draw.line((x, y, u, v), fill=FITTED)
        draw.ellipse((u - 1, v - 1, u + 1, v + 1), fill=DETECTED)
    return np.asarray(image, np.float32) / 255


def _with_contours(photo: np.ndarray, fragments: MeshFragments, head: HeadData) -> np.ndarray:
    depth = np.where(fragments.covered, fragments.depth, 10.0)
    step = ndimage.maximum_filter(depth, 2) - ndimage.minimum_filter(depth, 2) > DEPTH_STEP
    label = np.where(fragments.covered, head.face_part[fragments.face].astype(int) + 1, 0)
    for i, name in enumerate(REGION_BORDERS):
        if name in head.regions:
            inside = fragments.interpolate(head.regions[name].astype(np.float32)[:, None], head.faces)[..., 0] > 0.5
            label = label + inside * 100 * (i + 1)
    border = ndimage.maximum_filter(label, 2) != ndimage.minimum_filter(label, 2)
    image = photo.copy()
    image[border] = np.array(BORDER) / 255
    image[step] = np.array(CONTOUR) / 255
    return image
