"""An imported LAM avatar: neutral is the package's own picture, every part moves as a face does, files keep it."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_erosion
from scipy.spatial.transform import Rotation

from emo_avatar.avatar.avatar import Avatar
from emo_avatar.avatar.files import load_avatar, save_avatar
from emo_avatar.avatar.gaussians import Gaussians, sh_from_rgb
from emo_avatar.avatar.lam import LamRig
from emo_avatar.avatar.lam_halo import figure as figure_of
from emo_avatar.avatar.lam_import import import_lam
from emo_avatar.avatar.lam_package import read_lam_package
from emo_avatar.emotion.apply import apply_emotions
from emo_avatar.head.arkit import arkit_weights, flame_from_arkit
from emo_avatar.motion.flame_sequence import FlameSequence
from emo_avatar.motion.timeline import EMOTIONS
from emo_avatar.render.rasterize import rasterize

WHITE = (1.0, 1.0, 1.0)


@pytest.fixture(scope="module")
def avatar(sample_path: Path) -> Avatar:
    return import_lam(sample_path).avatar


def performance(avatar: Avatar, **units: float) -> FlameSequence:
    """One frame with the named ARKit units."""
    expression, jaw, eyes = flame_from_arkit(avatar.rig.head, arkit_weights(**units)[None])
    return replace(FlameSequence.still(1), expression=expression, jaw_pose=jaw, eyes_pose=eyes)


def picture(avatar: Avatar, sequence: FlameSequence, yaw: float = 0.0, size: int = 256) -> torch.Tensor:
    return rasterize(avatar.pose(sequence), avatar.camera(yaw=yaw, size=size), WHITE).rgb.clamp(0, 1)


def _teeth(avatar: Avatar) -> slice:
    mouth = avatar.rig.mouth
    return slice(mouth.first + len(mouth.wall_depth), avatar.rig.backing.first)


def test_neutral_is_the_packages_picture_without_its_halo(avatar: Avatar, sample_path: Path) -> None:
    package = read_lam_package(sample_path)
    shift = avatar.rig.vertices.mean(axis=0) - package.vertices.mean(axis=0)
    splats = package.splats
    raw = Gaussians(
        *(torch.from_numpy(a) for a in (package.vertices + splats.offsets + shift, splats.quats, splats.scales)),
        torch.from_numpy(splats.opacities),
        sh_from_rgb(torch.from_numpy(splats.colors)),
    )
    camera = avatar.camera(size=384)
    theirs, ours = rasterize(raw, camera, WHITE), rasterize(avatar.pose(FlameSequence.still(1)), camera, WHITE)
    figure = theirs.alpha > 0.5
    error = (theirs.rgb - ours.rgb)[figure]
    assert -10 * torch.log10(error.square().mean()) > 32, "the figure itself is as its authors show it"
    assert ours.alpha[~figure].mean() < 0.5 * theirs.alpha[~figure].mean(), "what surrounds it is gone"
    rows = torch.nonzero(figure.any(dim=1))
    assert rows.min() > 0.01 * 384 and figure[-1].any(), "the topknot has air above it, the bust reaches the edge"


def test_neutral_hides_the_inside_of_the_mouth(avatar: Avatar) -> None:
    neutral = avatar.pose(FlameSequence.still(1))
    n = len(avatar.rig.vertices)
    assert torch.allclose(neutral.means[:n], avatar.gaussians.means[:n], atol=1e-5)
    assert torch.allclose(neutral.scales[:n], avatar.gaussians.scales[:n], rtol=1e-3)
    assert (neutral.opacities[n : avatar.rig.backing.first] < 1 / 255).all()


def test_an_open_mouth_shows_teeth_and_a_dark_inside(avatar: Avatar) -> None:
    n, mouth = len(avatar.rig.vertices), avatar.rig.mouth
    assert mouth is not None
    posed = avatar.pose(performance(avatar, jawOpen=0.5, mouthUpperUp=0.6))
    wall = slice(n, n + len(mouth.wall_depth))
    teeth = slice(wall.stop, len(posed))
    assert (posed.opacities[wall] > 0.9).float().mean() > 0.5
    assert (posed.opacities[teeth] > 0.9).sum() > 100
    colour = posed.sh[:, 0] * 0.28209479 + 0.5
    shown = posed.opacities[teeth] > 0.9
    assert colour[teeth][shown].mean() > 2 * colour[wall].mean()
    # In the picture: the middle of the mouth turns dark, where neutral has lips.
    camera = avatar.camera(size=256)
    pixels, _ = camera.project(posed.means[wall].numpy())
    x, y = np.median(pixels, axis=0).astype(int)
    opened, closed = picture(avatar, performance(avatar, jawOpen=0.7)), picture(avatar, FlameSequence.still(1))
    assert opened[y + 2 : y + 8, x - 4 : x + 4].mean() < 0.25 < closed[y + 2 : y + 8, x - 4 : x + 4].mean()


def test_lower_teeth_go_with_the_jaw_and_upper_ones_stay(avatar: Avatar) -> None:
    mouth, teeth = avatar.rig.mouth, _teeth(avatar)
    moved = avatar.pose(performance(avatar, jawOpen=0.5)).means[teeth] - avatar.gaussians.means[teeth]
    lower = torch.from_numpy(mouth.jaw_share) > 0.5
    assert moved[~lower].norm(dim=1).max() < 1e-5
    assert moved[lower][:, 1].max() < -0.005 and moved[lower].norm(dim=1).max() < 0.04


def test_from_the_side_nothing_shows_through_the_face_and_from_the_front_nothing_has_changed(avatar: Avatar) -> None:
    neutral, first = avatar.pose(FlameSequence.still(1)), avatar.rig.backing.first
    bare = Gaussians(*(getattr(neutral, f.name)[:first] for f in fields(Gaussians)))
    camera = avatar.camera(size=256)
    change = rasterize(neutral, camera, WHITE).rgb - rasterize(bare, camera, WHITE).rgb
    assert -10 * torch.log10(change.square().mean()) > 37

    side = avatar.camera(yaw=60, size=256)
    before, after = (rasterize(gaussians, side).alpha for gaussians in (bare, neutral))
    figure = torch.from_numpy(binary_erosion(figure_of(before.numpy()), iterations=6))
    assert (after[figure] < 0.9).sum() < 0.5 * (before[figure] < 0.9).sum()
    assert (after > 0.5).sum() < 1.05 * (before > 0.5).sum(), "the outline stays"


def test_the_layer_below_the_skin_goes_with_the_face(avatar: Avatar) -> None:
    rig, sequence = avatar.rig, performance(avatar, mouthSmile=1.0)
    moved = (avatar.pose(sequence).means - avatar.gaussians.means)[rig.backing.first :]
    surface = torch.from_numpy(rig.mesh(sequence)[0] - rig.vertices)[rig.backing.vertices]
    assert surface.norm(dim=1).max() > 0.003
    assert torch.allclose(moved, surface, atol=1e-4)


def test_eyeballs_turn_rigidly_with_the_gaze(avatar: Avatar) -> None:
    gaze = np.array([[0.1, 0.3, 0.0, 0.1, 0.3, 0.0]], np.float32)
    posed = avatar.pose(replace(FlameSequence.still(1), eyes_pose=gaze))
    left = avatar.rig.eyes[0]
    ball = left.members[left.share == 1]
    before = avatar.gaussians.means[ball].numpy() - left.center
    expected = Rotation.from_rotvec(gaze[0, :3]).apply(before)
    assert np.allclose(posed.means[ball].numpy() - left.center, expected, atol=1e-5)
    iris = ball[before[:, 2] > 0.008]
    assert (posed.means[iris] - avatar.gaussians.means[iris])[:, 0].mean() > 0.002, "looks to the subject's left"


def test_closed_lids_hide_the_eyeballs(avatar: Avatar) -> None:
    posed = avatar.pose(performance(avatar, eyeBlinkLeft=1.0))
    left, right = avatar.rig.eyes
    assert posed.opacities[left.members[left.share == 1]].max() < 1 / 255
    assert torch.equal(posed.opacities[right.members], avatar.gaussians.opacities[right.members])


def test_the_head_turns_and_the_bust_keeps_still(avatar: Avatar) -> None:
    turn = np.array([[0.0, 0.4, 0.0]], np.float32)
    posed = avatar.pose(replace(FlameSequence.still(1), neck_pose=turn))
    held, carried = avatar.rig.chain_weights.sum(axis=1) < 0.02, avatar.rig.chain_weights[:, -1] > 0.999
    assert held.sum() > 20
    assert torch.allclose(posed.means[held], avatar.gaussians.means[held], atol=2e-3)
    before, after = (g.means[carried].numpy().astype(float) for g in (avatar.gaussians, posed))
    fitted, _ = Rotation.align_vectors(after - after.mean(0), before - before.mean(0))
    assert np.allclose(fitted.as_rotvec(), turn[0], atol=0.02)


def test_a_wide_turn_takes_the_bust_along(avatar: Avatar) -> None:
    posed = avatar.pose(replace(FlameSequence.still(1), rotation=np.array([[0.0, 1.2, 0.0]], np.float32)))
    carried = avatar.rig.chain_weights[:, -1] > 0.999
    before, after = (g.means[carried].numpy().astype(float) for g in (avatar.gaussians, posed))
    fitted, _ = Rotation.align_vectors(after - after.mean(0), before - before.mean(0))
    assert np.allclose(fitted.as_rotvec(), [0, 1.2, 0], atol=0.03)
    held = avatar.rig.chain_weights.sum(axis=1) < 0.02
    assert (posed.means[held] - avatar.gaussians.means[held]).norm(dim=1).mean() > 0.02


def test_the_mesh_is_the_surface_below_the_splats(avatar: Avatar) -> None:
    sequence = replace(
        performance(avatar, mouthSmile=1.0, jawOpen=0.3),
        neck_pose=np.array([[0.1, 0.2, 0.0]], np.float32),
        translation=np.array([[0.0, 0.0, 0.5]], np.float32),
    )
    mesh = avatar.rig.mesh(sequence)
    assert mesh.shape == (1, len(avatar.rig.vertices), 3)
    posed, n = avatar.pose(sequence), len(avatar.rig.vertices)
    from_surface = (posed.means[:n] - torch.from_numpy(mesh[0])).norm(dim=1)
    at_rest = (avatar.gaussians.means[:n] - torch.from_numpy(avatar.rig.vertices)).norm(dim=1)
    rigid = avatar.rig.chain_weights[:n, -1] > 0.999  # elsewhere blended bones shorten distances
    rigid[np.concatenate([eye.members for eye in avatar.rig.eyes])] = False
    assert torch.allclose(from_surface[rigid], at_rest[rigid], atol=2e-4)


def test_every_emotion_changes_the_face_and_no_two_alike(avatar: Avatar) -> None:
    pictures = [picture(avatar, FlameSequence.still(1))]
    for i in range(len(EMOTIONS)):
        weights = np.zeros((1, len(EMOTIONS)), np.float32)
        weights[0, i] = 1.0
        pictures.append(picture(avatar, apply_emotions(avatar.rig.head, FlameSequence.still(1), weights)))
    flat = torch.stack(pictures).reshape(len(pictures), -1)
    distance = torch.cdist(flat, flat) / flat.shape[1] ** 0.5
    assert distance[~torch.eye(len(pictures), dtype=torch.bool)].min() > 0.01
    assert all(torch.isfinite(p).all() for p in pictures)


def test_playing_is_posing_every_frame(avatar: Avatar) -> None:
    frames = [performance(avatar, jawOpen=0.1 * i) for i in range(3)]
    joined = {name: np.concatenate([getattr(f, name) for f in frames]) for name in ("expression", "jaw_pose")}
    sequence = replace(FlameSequence.still(3), **joined)
    for i, played in enumerate(avatar.play(sequence)):
        assert torch.equal(played.means, avatar.pose(sequence, i).means)
        assert torch.allclose(played.means, avatar.pose(frames[i]).means, atol=1e-4)


def test_a_file_keeps_the_avatar(avatar: Avatar, tmp_path: Path) -> None:
    path = tmp_path / "a.emoavatar"
    assert save_avatar(avatar, path) < 6_000_000
    loaded = load_avatar(path)
    assert isinstance(loaded.rig, LamRig)
    turn = np.array([[0.1, 0.2, 0.0]], np.float32)
    sequence = replace(performance(avatar, mouthSmile=1.0, jawOpen=0.3), neck_pose=turn)
    assert torch.allclose(loaded.pose(sequence).means, avatar.pose(sequence).means, atol=3e-5)
    assert (picture(loaded, sequence) - picture(avatar, sequence)).abs().mean() < 1e-3


def test_arrays_that_do_not_fit_are_refused(avatar: Avatar) -> None:
    settings, arrays = avatar.rig.pack()
    n = len(avatar.gaussians)
    for change in (
        {"faces": arrays["faces"] + n},
        {"targets": arrays["targets"][:, :10]},
        {"follow": arrays["follow"][:10]},
        {"chain_weights": arrays["chain_weights"][:-1]},
        {"eyes.0.members": arrays["eyes.0.members"] - n},
        {"mouth.upper": arrays["mouth.upper"] + n},
        {"mouth.jaw_share": arrays["mouth.jaw_share"].repeat(2)},
        {"backing.vertices": arrays["backing.vertices"] + n},
        {"backing.vertices": arrays["backing.vertices"].repeat(2)},
    ):
        with pytest.raises(ValueError):
            LamRig.unpack(settings, {**arrays, **change}, n)


def test_a_package_without_eyeballs_still_blinks_and_looks(workshop, tmp_path: Path) -> None:
    """Eyes that are one piece with the skin, as in packages that were re-exported by hand."""
    package = read_lam_package(workshop.write(tmp_path / "a.zip"))
    faces = package.faces
    centers = package.vertices[faces].mean(axis=1)
    seam = int(np.abs(centers - [0.0, 1.60, 0.1]).sum(axis=1).argmin())
    pupils = np.array([[0.0305, 1.6916, 0.0800], [-0.0308, 1.6918, 0.0785]])
    eyes = [np.linalg.norm(package.vertices - pupil, axis=1).argmin() for pupil in pupils]
    bridge = np.array([[faces[seam, 0], faces[seam, 1], eye] for eye in eyes])
    workshop.primitive["indices"] = workshop.add(np.concatenate([faces, bridge]).reshape(-1, 1).astype(np.uint32))
    imported = import_lam(workshop.write(tmp_path / "b.zip"))
    assert imported.avatar.rig.eyes == ()
    assert any("no separate eyeballs" in note for note in imported.notes)
    assert torch.isfinite(picture(imported.avatar, performance(imported.avatar, eyeBlink=1.0, eyeLookUp=0.5))).all()


def test_teeth_are_white_in_a_dark_face(avatar: Avatar, workshop, tmp_path: Path) -> None:
    """White is what the eyeballs show of the portrait's light, whatever the skin's colour."""
    x, y, z = (workshop.array(workshop.primitive["attributes"]["POSITION"])[:, i] for i in range(3))
    eyes = (
        np.minimum(*(np.sqrt((x - s * 0.0306) ** 2 + (y - 1.6917) ** 2 + (z - 0.0657) ** 2) for s in (1, -1))) < 0.0165
    )
    for i in range(3):
        workshop.table[f"f_dc_{i}"][~eyes] *= 0.3
    dark = import_lam(workshop.write(tmp_path / "a.zip")).avatar
    brightest = [float((a.gaussians.sh[_teeth(a)] * 0.28209479 + 0.5).amax()) for a in (avatar, dark)]
    assert brightest[1] == pytest.approx(brightest[0], abs=0.05)
