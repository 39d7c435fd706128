"""Inside the mouth: teeth, tongue and the cavity in colours that go with the photograph."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
from scipy.ndimage import distance_transform_edt
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from emo_avatar.backbones.portrait.masks import grown, polygon_mask
from emo_avatar.backbones.portrait.prepared import PreparedHead
from emo_avatar.backbones.portrait.splats import Layer, Splats, flat_splats
from emo_avatar.backbones.portrait.view import MeshView, distance_to, surface_at_pixels
from emo_avatar.backbones.uv.maps import painted_colour
from emo_avatar.tracking.topology import INNER_LIPS, MOUTH_CORNERS

ENAMEL, DENTINE = np.array([0.92, 0.84, 0.75]), np.array([0.86, 0.71, 0.55])
PLAIN = {  # for heads without a texture
    "upper_teeth": ENAMEL,
    "lower_teeth": ENAMEL,
    "tongue": np.array([0.58, 0.27, 0.26]),
    "mouth_bag": np.array([0.32, 0.11, 0.10]),
}
WHITE_SKIN = (
    0.62  # mean of a face that is lit so that enamel shows its own colour; a darker one is darker for two reasons
)
LIGHT_RANGE = (0.75, 1.1)
GREY_SKIN, COLOURED_SKIN = 0.02, 0.10  # red over blue: in a photo without colours the mouth has none, either
# Metres from the lips over which light falls to 1 / e in a mouth that stands open; what the lips keep off is added when
# they move (`emo_avatar.avatar.mouth`). Wet enamel and a tongue that lies up catch more of it.
FALL, TEETH_FALL, TONGUE_FALL = 0.020, 0.200, 0.040
GUM_REDNESS = 0.15  # of red over green from which the paint of a dental arch is gum
# How dark it is where neighbouring teeth meet, and metres from there over which it is; likewise under the gum's edge.
CREVICE, CREVICE_REACH, GUM_SHADE, NECK = 0.60, 0.0008, 0.25, 0.0025
ARCH_FALL = 0.020  # metres behind the incisors over which the cheeks leave 1 / e of the light
LOWER_LIGHT = 0.55  # lower teeth stand in the shade of the upper ones, and lean back under the light
CROWN = 0.0030  # metres by which teeth are taller than those of the mesh: a smile shows little gum
BLUSH = np.array([1.0, 1.4, 1.5])  # exponents of light in the mouth, which comes back from red walls
WET, WET_SHADE = 0.0035, 0.65  # metres inside the lips that still have their colour, a little darker
# The dark between lips: metres from a corner of the mouth and, where they touch, from the line between them, and of the
# lips' brightness, which is less where the landmarks do not expect it.
CORNER, SEAM, GAP_BRIGHTNESS, ANYWHERE = 0.012, 0.0025, 0.8, 0.65
# It goes on beside the corners: metres from one of them, and from where to tell how bright skin is there; of that.
BESIDE_CORNER, AROUND_CORNER, SHADE_OF_CORNER = 0.005, 0.012, 0.75
MIDDLE, TOUCHING = (13, 14), 0.04  # of the inner lips; widths of the mouth by which lips that touch may be apart
OPEN = 0.03  # least area inside the lips, of the squared width of the mouth, for a mouth to count as open
TOOTH_BRIGHTNESS = 0.6  # of the skin's: darker pixels between the lips are gaps, tongue or cavity
BEFORE_TONGUE = 0.0005  # metres
BEHIND_LIPS = 0.006  # metres, for teeth that the fitted head does not have where the photo shows some
CROWDED = 24  # texels of other teeth are among so many nearest ones wherever teeth meet
SIGMA, THICKNESS = 0.65, 0.25  # pixels


def lip_gap(
    prepared: PreparedHead, face: np.ndarray, points: np.ndarray, rgb: np.ndarray, landmarks: np.ndarray
) -> np.ndarray:  # [N], [N, 3], [N, 3], [478, 3] metres -> [N] bool
    """Which coloured points on triangles of the lips, near the corners of the mouth, show the dark between the lips."""
    lips = (prepared.on_face["lips"] & prepared.outer)[face]
    if not lips.any():
        return lips
    brightness = rgb.mean(1)
    near = distance_to(landmarks[list(MOUTH_CORNERS)], points) < CORNER
    gap: np.ndarray = lips & near & (brightness < GAP_BRIGHTNESS * np.median(brightness[lips]))
    return gap


def mark_gap(details: Splats, prepared: PreparedHead, landmarks: np.ndarray) -> Splats:  # [478, 3] metres
    """Know the pixels that show the dark between the lips, which is gone as soon as they part."""
    gap = lip_gap(prepared, details.face, details.means, details.rgb, landmarks)
    gap |= _closed_line(prepared, details, landmarks)
    return replace(details, layer=np.where(gap & (details.layer == Layer.DETAIL), Layer.GAP, details.layer))


def _closed_line(prepared: PreparedHead, details: Splats, landmarks: np.ndarray) -> np.ndarray:  # [N] bool
    """Which pixels show the line between lips that touch, all along it and on beside the corners."""
    lips = (prepared.on_face["lips"] & prepared.outer)[details.face]
    corners, (upper, lower) = landmarks[list(MOUTH_CORNERS)], landmarks[list(MIDDLE)]
    if not lips.any() or np.linalg.norm(upper - lower) > TOUCHING * np.linalg.norm(corners[0] - corners[1]):
        return np.zeros(len(details), bool)
    brightness, outline = details.rgb.mean(1), landmarks[list(INNER_LIPS)]
    t = np.linspace(0, 1, 9)[:-1, None, None]
    line = ((1 - t) * outline + t * np.roll(outline, -1, axis=0)).reshape(-1, 3)
    near = distance_to(line, details.means) < SEAM
    dark = brightness < np.where(near, GAP_BRIGHTNESS, ANYWHERE) * np.median(brightness[lips])
    to_corner = distance_to(corners, details.means)
    skin = (prepared.on_face["face"] & prepared.outer)[details.face] & ~lips & (to_corner < AROUND_CORNER)
    beside = skin & (to_corner < BESIDE_CORNER)
    if beside.any():
        beside &= brightness < SHADE_OF_CORNER * np.median(brightness[skin])
    gap: np.ndarray = (lips & dark) | beside
    return gap


def visible_teeth(rgb: np.ndarray, landmarks: np.ndarray, skin: np.ndarray) -> np.ndarray:  # [H, W] bool
    """The pixels between the lips that show teeth; none for a closed mouth. ``skin [3]`` is the typical skin colour."""
    outline = landmarks[list(INNER_LIPS)]
    between = polygon_mask(rgb.shape, outline)
    if between.sum() < OPEN * np.ptp(outline[:, 0]) ** 2:
        return np.zeros(rgb.shape[:2], bool)
    tooth = rgb.mean(2) > TOOTH_BRIGHTNESS * skin.mean()
    tooth &= rgb[..., 0] - rgb[..., 2] < 1.2 * (skin[0] - skin[2])  # lips are redder than teeth
    return tooth & grown(between, 1)


def teeth_splats(
    prepared: PreparedHead, vertices: np.ndarray, view: MeshView, rgb: np.ndarray, tooth: np.ndarray
) -> list[Splats]:
    """The photo's teeth as pixels on the upper teeth, which do not move with the lips that frame them."""
    faces = np.flatnonzero(prepared.on_face.get("upper_teeth", np.zeros(len(view.faces), bool)))
    if not tooth.any() or not len(faces):
        return []
    fragments = MeshView.of(vertices, view.faces, view.camera, prepared.on_face["upper_teeth"]).fragments
    interior = MeshView.of(vertices, view.faces, view.camera, prepared.interior).fragments
    depth = fragments.depth
    if fragments.covered[tooth].any():
        row, column = distance_transform_edt(~fragments.covered, return_distances=False, return_indices=True)
        depth = depth[row, column]
    else:
        lips = view.camera.project(vertices[prepared.head.regions["lips"]])[1].mean()
        depth = np.full(depth.shape, lips + BEHIND_LIPS)
    depth = np.minimum(depth, interior.depth - BEFORE_TONGUE)
    row, column = np.nonzero(tooth)
    points, u, v = surface_at_pixels(depth, row, column, view.camera, SIGMA)
    nearest = faces[cKDTree(vertices[view.faces[faces]].mean(1)).query(points)[1]]
    thickness = np.full(len(row), THICKNESS * view.metres_per_pixel)
    return [flat_splats(nearest, points, (u, v), thickness, np.full(len(row), 0.995), rgb[row, column], Layer.SHEET)]


def mouth_colours(
    prepared: PreparedHead, colour: np.ndarray, skin: np.ndarray, teeth: np.ndarray | None
) -> np.ndarray:  # [N, 3], [3], [3] or None -> [N, 3]
    """Fill in the texels of teeth, tongue and mouth bag: as they are painted on the head, in the light of the photo.

    Teeth that the photo shows lend their colour to the rest.
    """
    texels, head = prepared.texels, prepared.head
    inside, painted, lips, depth, nearest = _interior(prepared)
    if not len(inside):
        return colour
    light = float(np.clip(np.sqrt(skin.mean() / WHITE_SKIN), *LIGHT_RANGE))
    coloured = np.clip((skin[0] - skin[2] - GREY_SKIN) / (COLOURED_SKIN - GREY_SKIN), 0, 1)
    completed = colour.copy()
    for name in PLAIN:
        own = prepared.on_face.get(name, np.zeros(len(head.faces), bool))[texels.face[inside]]
        tint = light if teeth is None or not name.endswith("teeth") else teeth / ENAMEL
        reach = TEETH_FALL if name.endswith("teeth") else TONGUE_FALL if name == "tongue" else FALL
        base = painted[own]
        if name == "lower_teeth":
            base = LOWER_LIGHT * base
        base = base.mean(-1, keepdims=True) + coloured * (base - base.mean(-1, keepdims=True))
        completed[inside[own]] = np.clip(tint * base * np.exp(-depth[own] / reach)[:, None], 0, 1)
    # The cavity starts at the lips in their colour.
    bag = prepared.on_face["mouth_bag"][texels.face[inside]]
    wet = np.exp(-0.5 * (depth[bag] / WET) ** 2)[:, None]
    lip_colour = WET_SHADE * colour[lips[nearest[bag]]]
    completed[inside[bag]] = wet * lip_colour + (1 - wet) * completed[inside[bag]]
    return completed


@functools.lru_cache(maxsize=2)
def _interior(
    prepared: PreparedHead,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:  # [M], [M, 3], [L], [M] metres, [M]
    """What only the head decides: its texels inside the mouth and their paint, those of the lips, and how far which of
    these is from each of those."""
    texels, head = prepared.texels, prepared.head
    inside = np.flatnonzero(prepared.interior[texels.face])
    lips = np.flatnonzero(prepared.on_face["lips"][texels.face] & prepared.outer[texels.face])
    if not len(inside):
        return inside, np.empty((0, 3)), lips, np.empty(0), np.empty(0, int)
    depth, nearest = cKDTree(texels.rest[lips]).query(texels.rest[inside])
    texture = painted_colour(head, texels.face[inside], texels.barycentric[inside])
    painted = np.zeros((len(inside), 3))
    for name, plain in PLAIN.items():
        own = prepared.on_face.get(name, np.zeros(len(head.faces), bool))[texels.face[inside]]
        paint = plain if texture is None else texture[own]
        painted[own] = tooth_colours(prepared, inside[own], paint) if name.endswith("teeth") else paint
    return inside, painted, lips, depth, nearest


def tooth_colours(prepared: PreparedHead, own: np.ndarray, painted: np.ndarray) -> np.ndarray:
    """The texels ``own [M]`` of one dental arch as single teeth: enamel, warmer at the neck, dark where teeth meet.

    ``painted [M, 3] or [3]`` tells gum from teeth. The spaces between the teeth of the mesh are too narrow to be empty.
    """
    texels, faces = prepared.texels, prepared.head.faces
    painted = np.broadcast_to(painted, (len(own), 3))
    gum = painted[:, 0] - painted[:, 1] > GUM_REDNESS
    if gum.all():
        return painted
    used = faces[np.unique(texels.face[own])]
    ends = np.stack([used, np.roll(used, 1, axis=1)]).reshape(2, -1)
    n = prepared.head.n_vertices
    piece = connected_components(coo_matrix((np.ones(ends.shape[1]), ends), (n, n)), directed=False)[1]
    tooth = piece[faces[texels.face[own], 0]]
    rest = texels.rest[own]
    nearest, order = cKDTree(rest[~gum]).query(rest, CROWDED)
    other = tooth[~gum][order] != tooth[~gum][order[:, 0], None]
    to_tooth = np.where(other, nearest, np.inf).min(1)
    to_tooth = np.sqrt(np.maximum(to_tooth**2 - nearest[:, 0] ** 2, 0))  # along the arch
    gum &= nearest[:, 0] > CROWN
    to_gum = cKDTree(rest[gum]).query(rest)[0] if gum.any() else np.full(len(own), np.inf)
    neck = np.exp(-to_gum / NECK)[:, None]
    enamel = (1 - neck) * ENAMEL + neck * DENTINE
    light = 1 - CREVICE * np.exp(-((to_tooth / CREVICE_REACH) ** 2))
    light *= (1 - GUM_SHADE * neck[:, 0]) * np.exp(-(rest[:, 2].max() - rest[:, 2]) / ARCH_FALL)
    return np.where(gum[:, None], painted, light[:, None] ** BLUSH * enamel)
