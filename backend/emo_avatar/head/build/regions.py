"""Named regions of the skin, from MakeHuman's masks, UV islands and targets."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from emo_avatar.head.build.expression import arkit_target
from emo_avatar.head.build.makehuman import TARGETS, MakeHuman
from emo_avatar.head.build.parts import Assembly
from emo_avatar.head.build.topology import HeadCut

LID_SHARE = 0.2  # of the largest displacement of a blink, from which skin counts as lid
NOSE_SHARE = 0.15  # of the largest displacement of the nose's size targets
COLLAR_BAND = 0.010  # metres from the rim

# The hairline: height above the eyes (metres) by azimuth from the front (degrees), round the forehead, down the
# temple before the ear, over the ear and down to the nape.
HAIRLINE_AZIMUTH = (0, 25, 42, 55, 66, 74, 82, 95, 108, 125, 145, 180)
HAIRLINE_HEIGHT = (0.072, 0.071, 0.062, 0.042, 0.012, -0.010, 0.022, 0.030, 0.000, -0.040, -0.052, -0.056)

# The brow's midline from its head to its tail: millimetres from the centre of the eye, outwards and up.
BROW_OUTWARD = np.array([-18.0, -11.0, -2.0, 8.0, 15.0, 21.0]) * 1e-3
BROW_UP = np.array([14.5, 17.5, 20.0, 21.0, 19.0, 15.0]) * 1e-3
BROW_HALF_WIDTH = 0.006  # metres, generous: the region that moves with a brow


def _by_texture(mh: MakeHuman, quads: np.ndarray, mask: str) -> np.ndarray:  # -> [N] bool
    """Vertices of some quads on the white of one of MakeHuman's masks."""
    white = mh.mask(mask) > 0.5
    height, width = white.shape
    uv = mh.uv[mh.uv_quads[quads]]
    column = (uv[..., 0] * width).astype(int).clip(0, width - 1)
    row = ((1 - uv[..., 1]) * height).astype(int).clip(0, height - 1)
    inside = np.zeros(len(mh.vertices), bool)
    inside[mh.quads[quads]] = white[row, column]
    return inside


def _only_of(mh: MakeHuman, quads: np.ndarray, cut: HeadCut) -> np.ndarray:  # -> [N] bool
    """Vertices of some quads that no other quad of the skin uses."""
    inside = np.zeros(len(mh.vertices), bool)
    inside[mh.quads[quads]] = True
    inside[mh.quads[np.setdiff1d(cut.skin, quads)]] = False
    return inside


def brow_distance(points: np.ndarray, eyes: np.ndarray) -> np.ndarray:  # [n, 3], [2, 3] -> [n] metres
    """Distance in the frontal plane from the midline of the nearer brow."""
    line = np.stack([BROW_OUTWARD, BROW_UP], 1)
    fine = np.linspace(0, len(line) - 1, 100)
    line = np.stack([np.interp(fine, np.arange(len(line)), line[:, c]) for c in (0, 1)], 1)
    distances = []
    for eye in eyes:
        offset = (points - eye)[:, :2] * [np.sign(eye[0]), 1]
        distances.append(cKDTree(line).query(offset)[0])
    return np.minimum(*distances)


def build_regions(
    mh: MakeHuman,
    cut: HeadCut,
    head: Assembly,
    template: np.ndarray,  # [V, 3] metres
    of_upper_lip: np.ndarray,  # [N] bool, base vertices nearer to the upper lip than to the lower
) -> dict[str, np.ndarray]:  # name -> [V] bool
    """Regions of the skin; every other part is in none of them."""
    base = np.unique(mh.quads[cut.skin])  # the skin's first vertices, in this order
    points = template[: len(base)]
    eyes = np.stack([template[head.of(name)].mean(0) for name in ("eye_left", "eye_right")])

    def textured(mask: str) -> np.ndarray:  # -> [S] bool
        return _by_texture(mh, cut.skin, mask)[base]

    def moved_by(*targets: np.ndarray) -> np.ndarray:  # -> [S] share of the largest displacement
        size = np.max([np.linalg.norm(t[base], axis=1) for t in targets], axis=0)
        return size / size.max()

    bag = _only_of(mh, cut.mouth_bag, cut)[base]
    sockets = _only_of(mh, np.concatenate(cut.eye_sockets), cut)[base]
    inside = bag | sockets

    lips = textured("lips") & ~inside
    margin = textured("eyelids")
    blink = moved_by(arkit_target(mh, "eyeBlinkLeft"), arkit_target(mh, "eyeBlinkRight"))
    lids = ((blink > LID_SHARE) | margin) & ~inside
    upper = np.zeros(len(base), bool)
    for eye in eyes:  # the slit runs through the corners of the eye
        beside = np.sign(eye[0]) * points[:, 0] > 0
        rim = np.flatnonzero(margin & beside)
        corners = points[rim[[points[rim, 0].argmin(), points[rim, 0].argmax()]]]
        slit = np.interp(points[:, 0], corners[:, 0], corners[:, 1])
        upper |= beside & (points[:, 1] > slit)
    nose_targets = [mh.target(f"{TARGETS}/nose/nose-scale-{axis}-incr") for axis in ("horiz", "vert", "depth")]
    nose = (moved_by(*nose_targets) > NOSE_SHARE) & ~inside

    ears = textured("ears")
    height = points[:, 1] - eyes[:, 1].mean()
    azimuth = np.degrees(np.arctan2(np.abs(points[:, 0]), points[:, 2]))
    haired = (height > np.interp(azimuth, HAIRLINE_AZIMUTH, HAIRLINE_HEIGHT)) & ~ears & ~inside
    face = textured("face") & ~haired & ~inside
    elsewhere = ~(face | haired | ears | inside | lips | lids)
    below_ears = height < HAIRLINE_HEIGHT[HAIRLINE_AZIMUTH.index(108)]
    rim = points[np.isin(base, cut.collar)]

    regions = {
        "lips": lips,
        "upper_lip": lips & of_upper_lip[base],
        "lower_lip": lips & ~of_upper_lip[base],
        "lids": lids,
        "upper_lids": lids & upper,
        "lower_lids": lids & ~upper,
        "brows": (brow_distance(points, eyes) < BROW_HALF_WIDTH) & (points[:, 2] > 0) & ~inside & ~lids,
        "scalp": haired | (elsewhere & ~below_ears),
        "neck": elsewhere & below_ears,
        "face": face,
        "ears": ears,
        "nose": nose,
        "collar": cKDTree(rim).query(points)[0] < COLLAR_BAND,
        "mouth_bag": bag,
        "eye_sockets": sockets,
    }
    masks = {name: np.zeros(len(template), bool) for name in regions}
    for name, mask in regions.items():
        masks[name][: len(base)] = mask
    masks["collar"] |= head.of("skin") & (np.arange(len(template)) >= len(base))  # the cap below the rim
    return masks
