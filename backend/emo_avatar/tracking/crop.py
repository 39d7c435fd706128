"""The face of a photograph, found and cut out: which face, which way up, and a square around it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from emo_avatar.errors import UserError
from emo_avatar.tracking.images import Photo
from emo_avatar.tracking.landmarks import FaceLandmarks, detect_faces, refine_face
from emo_avatar.tracking.topology import CHIN, FOREHEAD

CROP_SIZE = 512  # px
CROP_SCALE = 2.35  # crop side over the larger side of the landmarks' box: hair and shoulders are in
RAISE = 0.02  # of the crop's side; the landmarks end at the forehead, so the middle of the head lies higher
MIN_FACE = 48  # px, larger side of the landmarks' box; below it eyes and lips are a few pixels
SMALL_FACE = 160  # px; below it the crop is enlarged more than 1.4 times and looks soft
RIVAL = 0.6  # a second face at least this large, relative to the largest, is worth a word
SURE = 0.01  # of a face's size; upright faces reach 0.006, faces seen in upside-down ones 0.04
MAX_ASPECT = 16  # longer pictures would take minutes to search
MIN_TILE = 128  # px; the detector wants faces of a tenth of the picture, so smaller ones are looked for in tiles


@dataclass(frozen=True)
class PortraitCrop:
    """A square cut-out around one face."""

    rgb: np.ndarray  # [512, 512, 3] uint8
    inside: np.ndarray  # [512, 512] bool, False where the photo ends and its edge was repeated
    centre: np.ndarray  # [2] px in the crop, middle of the face
    face_side: float  # px in the crop, larger side of the box around the landmarks
    other_faces: np.ndarray  # [N, 4] boxes x0, y0, x1, y1 of further faces, px in the crop
    notes: tuple[str, ...]


def crop_portrait(photo: Photo) -> PortraitCrop:
    """Cut the largest face out of a photo, turned upright by quarter turns when it lies on its side.

    Raises ``UserError`` when there is no face or the largest one is too small.
    """
    height, width = photo.rgb.shape[:2]
    if min(height, width) < MIN_FACE:
        raise UserError(f"The picture is only {width} x {height} pixels; choose one with a larger face.")
    if max(height, width) > MAX_ASPECT * min(height, width):
        raise UserError(f"The picture is very long ({width} x {height} pixels); crop it to the person.")
    rgb, faces, turns = _find_faces(photo.rgb)
    notes = list(photo.notes)
    if turns:
        how = {1: "a quarter turn to the left", 2: "upside down", 3: "a quarter turn to the right"}[turns]
        notes.append(f"The picture was turned {how} so that the face is upright.")
    face, others = faces[0], faces[1:]
    side = _side(face)
    if side < MIN_FACE:
        raise UserError(
            f"The face is only {side:.0f} pixels high; choose a photo in which it has at least {MIN_FACE} (better 300)."
        )
    if side < SMALL_FACE:
        notes.append(f"The face is small ({side:.0f} pixels); the avatar will look soft.")
    if others:
        where = _where(face, others)
        rival = " Another one is about as large." if _side(others[0]) > RIVAL * side else ""
        notes.append(f"{len(faces)} faces were found; the largest, {where}, was taken.{rival}")
    x0, y0, x1, y1 = face.box
    length = CROP_SCALE * side
    corner = np.array([(x0 + x1) / 2, (y0 + y1) / 2 - RAISE * length]) - length / 2
    crop, inside = _cut(rgb, corner, length)
    scale = CROP_SIZE / length
    other_boxes = np.array([other.box for other in others]).reshape(-1, 4)
    return PortraitCrop(
        crop,
        inside,
        (np.array([(x0 + x1) / 2, (y0 + y1) / 2]) - corner) * scale,
        side * scale,
        (other_boxes - np.tile(corner, 2)) * scale,
        tuple(notes),
    )


def _side(face: FaceLandmarks) -> float:
    x0, y0, x1, y1 = face.box
    return float(max(x1 - x0, y1 - y0))


def _where(face: FaceLandmarks, others: list[FaceLandmarks]) -> str:
    x = (face.box[0] + face.box[2]) / 2
    rest = np.array([(other.box[0] + other.box[2]) / 2 for other in others])
    if (x < rest).all():
        return "on the left of the picture"
    return "on the right of the picture" if (x > rest).all() else "between the others"


def _find_faces(rgb: np.ndarray) -> tuple[np.ndarray, list[FaceLandmarks], int]:
    """The picture turned so that its largest face is upright, its faces (largest first), and the quarter turns
    (counter-clockwise) that it took."""
    for search in (detect_faces, _detect_in_tiles):
        candidates = []
        for turns in (0, 1, 3, 2):
            turned = np.ascontiguousarray(np.rot90(rgb, turns))
            faces = search(turned)
            if not faces or _quarter_turns(faces[0]) != 0:
                continue
            doubt = _doubt(turned, faces[0])
            if doubt < SURE:
                return turned, faces, turns
            candidates.append((doubt, turned, faces, turns))
        if candidates:
            return min(candidates, key=lambda candidate: candidate[0])[1:]
    raise UserError("No face was found in the picture; choose a photo that shows one face from the front.")


def _doubt(rgb: np.ndarray, face: FaceLandmarks) -> float:
    """How far the detector contradicts itself on the mirrored face, as a fraction of the face's size.

    It sees faces in upside-down ones too, but seldom the same in the mirror.
    """
    height, width = rgb.shape[:2]
    x0, y0, x1, y1 = face.box
    side = _side(face)
    left, top = max(0, int(x0 - side)), max(0, int(y0 - side))
    window = rgb[top : min(height, int(y1 + side)), left : min(width, int(x1 + side))]
    again = refine_face(window, np.array([(x0 + x1) / 2 - left, (y0 + y1) / 2 - top]))
    return np.inf if again is None else again.doubt / side


def _quarter_turns(face: FaceLandmarks) -> int:
    """Counter-clockwise quarter turns of the picture that bring the forehead above the chin."""
    x, y = (face.points[CHIN] - face.points[FOREHEAD])[:2]
    return round(np.arctan2(-x, y) / (np.pi / 2)) % 4


def _detect_in_tiles(rgb: np.ndarray) -> list[FaceLandmarks]:
    """Faces too small for the whole picture, or in a picture too long: overlapping squares, coarse to fine."""
    height, width = rgb.shape[:2]
    for parts in (1, 2, 4):
        tile = min(height, width) // parts
        if tile < MIN_TILE and parts > 1:
            break
        found = []
        for y in _starts(height, tile):
            for x in _starts(width, tile):
                corner = np.array([x, y, 0], np.float32)
                for face in detect_faces(rgb[y : y + tile, x : x + tile]):
                    found.append(FaceLandmarks(face.points + corner, face.blendshapes))
        if found:
            return _distinct(sorted(found, key=_side, reverse=True))
    return []


def _starts(length: int, tile: int) -> list[int]:
    """Where tiles begin that cover a length with half overlap."""
    steps = int(np.ceil((length - tile) / (tile / 2))) if length > tile else 0
    return [round(i * (length - tile) / max(steps, 1)) for i in range(steps + 1)]


def _distinct(faces: list[FaceLandmarks]) -> list[FaceLandmarks]:
    kept: list[FaceLandmarks] = []
    for face in faces:
        centre = face.points[:, :2].mean(0)
        if all(np.linalg.norm(centre - k.points[:, :2].mean(0)) > _side(k) / 2 for k in kept):
            kept.append(face)
    return kept


def _cut(rgb: np.ndarray, corner: np.ndarray, length: float) -> tuple[np.ndarray, np.ndarray]:
    """A square at sub-pixel position, resampled to CROP_SIZE; and where it lies inside the picture."""
    height, width = rgb.shape[:2]
    first = np.floor(corner).astype(int)
    last = np.ceil(corner + length).astype(int)
    rows = np.clip(np.arange(first[1], last[1]), 0, height - 1)
    columns = np.clip(np.arange(first[0], last[0]), 0, width - 1)
    box = (*(corner - first), *(corner - first + length))
    window = Image.fromarray(rgb[rows][:, columns])
    crop = window.resize((CROP_SIZE, CROP_SIZE), Image.Resampling.BICUBIC, box=box)
    x, y = corner[:, None] + (np.arange(CROP_SIZE) + 0.5) * (length / CROP_SIZE)
    inside = ((y >= 0) & (y < height))[:, None] & ((x >= 0) & (x < width))
    return np.array(crop), inside
