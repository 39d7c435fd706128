"""The person cut out of the crop: MODNet's matte, cleaned of everything that is not this person.

Ke et al., "MODNet: Real-Time Trimap-Free Portrait Matting via Objective Decomposition" (2022).
"""

from __future__ import annotations

import functools

import numpy as np
import onnxruntime
from PIL import Image, ImageDraw
from scipy import ndimage

from emo_avatar import assets
from emo_avatar.tracking.crop import CROP_SIZE, PortraitCrop
from emo_avatar.tracking.topology import FACE_OVAL

# MODNet sees detail at the crop's own size and judges better what is a person at half of it: bright things behind a
# head (a flag's star above a cap) are in the fine matte only. Both must agree, up to the width of a strand of hair.
COARSE_SIZE, AGREEMENT_REACH = 256, 4  # px, px of the crop
SOLID, TRACE = 0.5, 0.04  # matte values that are surely person, and that are at all
BEHIND_REACH, PERSON_REACH = 24.0, 6.0  # px, over which the colours behind a gap and around it are taken
BEHIND_RATIO = 0.5  # of the distance to the person's colours, within which a colour is the background's
FACE_REACH = 0.33  # of the face's size, around its middle: there are no gaps in a face
FACE_INSET = 4.0  # px from the outline of the landmarks, which errs, to where a face surely begins, and as many to fade
FACE_LOST = 0.15  # share of a face without which a matte has failed
HOLE_AREA = 400  # px; larger gaps in the matte are background seen through (an arm akimbo, a loop of hair)
# In larger sides of the box around a face's landmarks: radius of a head with its hair, half the width of shoulders.
HEAD_REACH, SHOULDER_REACH = 0.75, 1.5
BESIDE = 0.7  # a face of at least this size, relative to ours, is beside ours rather than behind
THREADS = 1  # the head is fitted meanwhile


def fine_matte(crop: PortraitCrop) -> np.ndarray:  # [512, 512] float32, 0 to 1
    """What MODNet takes for people, in detail."""
    return _modnet(crop.rgb, CROP_SIZE)


def coarse_matte(crop: PortraitCrop) -> np.ndarray:  # [512, 512] float32, 0 to 1
    """The same without detail and with fewer errors, in a quarter of the time."""
    return _modnet(crop.rgb, COARSE_SIZE)


def cleaned_matte(
    crop: PortraitCrop, fine: np.ndarray, coarse: np.ndarray, points: np.ndarray
) -> np.ndarray:  # [512, 512] float32
    """Opacity of the person whose face the crop is about; 0 beyond the photo's edges and on other people's heads.

    ``points [478, 2]`` are the face's landmarks: a pale face before a bright wall is a person, too.
    """
    face = _face(points)
    if (fine[face == 1] < SOLID).sum() > FACE_LOST * (face == 1).sum():
        fine = np.maximum(fine, coarse)  # what loses a face loses the hair around it, too
    matte = np.where(ndimage.binary_dilation(coarse > SOLID, _disc(AGREEMENT_REACH)), fine, 0.0)
    matte = np.maximum(matte, face)
    matte = np.where(crop.inside & ~_others(crop), matte, 0.0)
    matte = _connected(matte, crop.centre)
    return _without_holes(matte, crop).astype(np.float32)


@functools.cache
def _session() -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # others need the cores
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(assets.fetch("modnet.onnx")), options, providers=["CPUExecutionProvider"])


def _modnet(rgb: np.ndarray, size: int) -> np.ndarray:  # [512, 512] float32
    image = Image.fromarray(rgb)
    if size != CROP_SIZE:
        image = image.resize((size, size), Image.Resampling.BOX)
    x = np.asarray(image, np.float32).transpose(2, 0, 1)[None] / 127.5 - 1
    matte = _session().run(None, {"input": x})[0][0, 0]
    if size != CROP_SIZE:
        matte = np.asarray(Image.fromarray(matte).resize((CROP_SIZE, CROP_SIZE), Image.Resampling.BILINEAR))
    return matte


def _face(points: np.ndarray) -> np.ndarray:  # [478, 2] px -> [512, 512]
    """1 well inside the outline of a face, fading to 0 towards it."""
    drawing = Image.new("L", (CROP_SIZE, CROP_SIZE))
    ImageDraw.Draw(drawing).polygon([(float(x), float(y)) for x, y in points[list(FACE_OVAL), :2]], fill=255)
    inset = ndimage.distance_transform_edt(np.asarray(drawing) > 0)
    return np.clip((inset - FACE_INSET) / FACE_INSET, 0, 1)


def _disc(radius: int) -> np.ndarray:
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    return x * x + y * y <= radius * radius


def _others(crop: PortraitCrop) -> np.ndarray:  # [512, 512] bool
    """Pixels that are nearer to another person than to ours, each measured by the size of the face.

    Someone about as large stands beside ours and has shoulders of their own, so distances are to the line from the face
    downwards; someone smaller stands behind, where ours hides all but the head.
    """
    y, x = np.mgrid[:CROP_SIZE, :CROP_SIZE] + 0.5
    theirs = np.zeros((CROP_SIZE, CROP_SIZE), bool)
    for x0, y0, x1, y1 in crop.other_faces:
        centre, side = np.array([(x0 + x1) / 2, (y0 + y1) / 2]), max(x1 - x0, y1 - y0)
        beside = side > BESIDE * crop.face_side
        own = _distance(x, y, crop.centre, beside) / crop.face_side
        distance = _distance(x, y, centre, beside) / side
        theirs |= (distance < (SHOULDER_REACH if beside else HEAD_REACH)) & (distance < own)
    return theirs


def _distance(x: np.ndarray, y: np.ndarray, centre: np.ndarray, downwards: bool) -> np.ndarray:
    """Distance to a point, or to the line from it straight down."""
    below = y - centre[1]
    return np.hypot(x - centre[0], np.minimum(below, 0) if downwards else below)


def _connected(matte: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Only what hangs together with the face."""
    labels, _ = ndimage.label(matte > SOLID)
    column, row = np.clip(centre.astype(int), 0, CROP_SIZE - 1)
    face = labels[row, column]
    if face == 0:  # the matte fails on the face itself: keep it as it is
        return matte
    traces, _ = ndimage.label(matte > TRACE)
    return np.where(traces == traces[row, column], matte, 0.0)


def _without_holes(matte: np.ndarray, crop: PortraitCrop) -> np.ndarray:
    """Small gaps enclosed by the person are errors of the matte, unless they show what is behind: between curls, or
    through the far glass of spectacles."""
    enclosed = ndimage.binary_fill_holes(matte > SOLID) & (matte <= SOLID)
    labels, n = ndimage.label(enclosed)
    every = np.arange(n + 1)
    area = ndimage.sum_labels(enclosed, labels, every)
    y, x = np.ogrid[:CROP_SIZE, :CROP_SIZE]
    on_face = np.hypot(x - crop.centre[0], y - crop.centre[1]) < FACE_REACH * crop.face_side
    open_ = enclosed & ~on_face & _like_behind(crop.rgb / np.float32(255), matte, crop.inside)
    shows_behind = ndimage.sum_labels(open_, labels, every) > area / 2
    return np.where(enclosed & ((area < HOLE_AREA) & ~shows_behind)[labels], 1.0, matte)


def _like_behind(rgb: np.ndarray, matte: np.ndarray, inside: np.ndarray) -> np.ndarray:  # [H, W] bool
    """Pixels whose colour is much nearer to the background's around than to the person's."""
    apart = []
    for chosen, reach in ((inside & (matte < TRACE), BEHIND_REACH), (matte > 0.9, PERSON_REACH)):
        weight = ndimage.gaussian_filter(chosen.astype(np.float32), reach)
        mean = ndimage.gaussian_filter(rgb * chosen[..., None], (reach, reach, 0)) / np.maximum(weight, 1e-6)[..., None]
        apart.append(np.where(weight > 1e-4, np.linalg.norm(rgb - mean, axis=2), np.inf))
    behind, person = apart
    return behind < BEHIND_RATIO * person
