"""The extension's NumPy FLAME against the backend's HeadModel."""

import numpy as np
import pytest
import torch
from emo_avatar_addon.model import flame
from emo_avatar_addon.model.head_file import HeadArrays, load_open_head

from emo_avatar.head.data import HeadData, load_head
from emo_avatar.head.model import HeadModel

FRAMES = 6


@pytest.fixture(scope="module")
def data() -> HeadData:
    return load_head()


@pytest.fixture(scope="module")
def head() -> HeadArrays:
    return load_open_head()


@pytest.fixture
def identity(rng: np.random.Generator) -> np.ndarray:  # [20]
    return rng.normal(size=20).astype(np.float32)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def random_pose(rng: np.random.Generator, frames: int) -> dict[str, np.ndarray]:
    return {
        "expression": rng.normal(size=(frames, 100)).astype(np.float32),
        "jaw_pose": rng.normal(scale=0.2, size=(frames, 3)).astype(np.float32),
        "neck_pose": rng.normal(scale=0.4, size=(frames, 3)).astype(np.float32),
        "rotation": rng.normal(scale=1.0, size=(frames, 3)).astype(np.float32),
        "translation": rng.normal(scale=0.3, size=(frames, 3)).astype(np.float32),
        "eyes_pose": rng.normal(scale=0.3, size=(frames, 6)).astype(np.float32),
    }


def model_output(data: HeadData, pose: dict[str, np.ndarray], identity: np.ndarray):
    shape = np.zeros((1, 300), np.float32)
    shape[0, :20] = identity
    tensors = {name: torch.as_tensor(value) for name, value in pose.items()}
    return HeadModel(data)(shape=torch.as_tensor(shape), **tensors)


def test_vertices_are_head_models(data, head, identity, rng):
    pose = random_pose(rng, FRAMES)
    expected = model_output(data, pose, identity).vertices.numpy()
    found = flame.vertices(head.with_identity(identity), flame.Poses(**pose))
    assert np.abs(found - expected).max() < 2e-6
    assert np.ptp(expected, axis=0).max() > 0.1  # the frames do differ


def test_joint_transforms_are_head_models(data, head, identity, rng):
    pose = random_pose(rng, FRAMES)
    expected = model_output(data, pose, identity).joint_transforms.numpy()
    found = flame.joint_transforms(flame.kinematics(head.with_identity(identity)), flame.Poses(**pose))
    np.testing.assert_allclose(found, expected, atol=2e-6)


def test_bones_and_shape_keys_of_rig_values_make_the_same_head(data, head, identity, rng):
    """What Blender does with the values: bones turn about their rest places, shape keys add, skinning blends."""
    pose = random_pose(rng, FRAMES)
    person = head.with_identity(identity)
    kinematics = flame.kinematics(person)
    values = flame.rig_values(kinematics, flame.Poses(**pose))
    expected = model_output(data, pose, identity).vertices.numpy()
    for t in range(FRAMES):
        world = []
        for joint, parent in enumerate(flame.PARENTS):
            rest = np.eye(4)
            rest[:3, :3], rest[:3, 3] = flame.BONE_AXES[joint], kinematics.joints[joint]
            basis = np.eye(4)
            w, *xyz = values.quaternions[t, joint].astype(float)
            angle = 2 * np.arctan2(np.linalg.norm(xyz), w)
            basis[:3, :3] = flame.rotation_matrices(np.array(xyz) / max(np.linalg.norm(xyz), 1e-12) * angle)
            basis[:3, 3] = values.locations[t, joint]
            local = rest @ basis @ np.linalg.inv(rest)
            world.append(local if parent < 0 else world[parent] @ local)
        directions = np.concatenate([person.expression_dirs, person.posedirs], axis=2)
        points = person.v_template + directions @ values.shape_keys[t]
        blended = np.tensordot(person.weights, np.stack(world)[:, :3], 1)
        points = (blended[..., :3] @ points[..., None])[..., 0] + blended[..., 3]
        assert np.abs(points - expected[t]).max() < 2e-6


def test_bones_point_where_the_rig_says():
    for axes in flame.BONE_AXES:
        np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-12)
        assert np.linalg.det(axes) > 0
    np.testing.assert_array_equal(flame.BONE_AXES[1][:, 1], [0, 1, 0])  # the neck up
    np.testing.assert_array_equal(flame.BONE_AXES[3][:, 1], [0, 0, 1])  # the eye forward
    assert flame.BONE_AXES[2][2, 1] > 0.7 and flame.BONE_AXES[2][1, 1] < -0.5  # the jaw to the chin
    np.testing.assert_array_equal(flame.BONE_AXES[:, :, 0], np.tile([1, 0, 0], (5, 1)))  # X nods on all of them


def test_pose_of_bones_undoes_rig_values(head, rng):
    pose = random_pose(rng, FRAMES)
    found = flame.pose_of_bones(flame.rig_values(flame.kinematics(head), flame.Poses(**pose)).quaternions)
    expected = np.stack(
        [pose["rotation"], pose["neck_pose"], pose["jaw_pose"], pose["eyes_pose"][:, :3], pose["eyes_pose"][:, 3:]],
        axis=1,
    )
    np.testing.assert_allclose(flame.rotation_matrices(found), flame.rotation_matrices(expected), atol=1e-6)


def test_only_moving_joints_are_said_to_move(head, rng):
    pose = {name: np.zeros_like(value) for name, value in random_pose(rng, FRAMES).items()}
    kinematics = flame.kinematics(head)
    assert not flame.rig_values(kinematics, flame.Poses(**pose)).moves.any()
    pose["jaw_pose"][3, 0] = 0.1
    pose["expression"] = rng.normal(size=(FRAMES, 100)).astype(np.float32)
    np.testing.assert_array_equal(
        flame.rig_values(kinematics, flame.Poses(**pose)).moves, [False, False, True, False, False]
    )
    pose["translation"][0, 2] = 0.01
    np.testing.assert_array_equal(
        flame.rig_values(kinematics, flame.Poses(**pose)).moves, [True, False, True, False, False]
    )


def test_tiny_and_no_rotations_are_finite():
    found = flame.rotation_matrices(np.array([[0.0, 0.0, 0.0], [1e-20, 0.0, 0.0], [0.0, np.pi, 0.0]]))
    np.testing.assert_allclose(found, [np.eye(3), np.eye(3), np.diag([-1.0, 1.0, -1.0])], atol=1e-12)
