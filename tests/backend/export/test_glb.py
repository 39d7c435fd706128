import io
from pathlib import Path

import numpy as np
import pygltflib
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from emo_avatar.avatar.avatar import Avatar
from emo_avatar.avatar.gaussians import SH_C0
from emo_avatar.data.speech import utterance
from emo_avatar.export.glb import linear_from_srgb, split_at_seams, write_glb
from emo_avatar.export.morphs import morph_animation
from emo_avatar.export.performance import perform
from emo_avatar.motion.timeline import EmotionTimeline

SIZES = {"SCALAR": 1, "VEC2": 2, "VEC3": 3}
TYPES = {5126: "<f4", 5125: "<u4"}


class ReadBack:
    """A GLB read with an independent library."""

    def __init__(self, path: Path) -> None:
        self.gltf = pygltflib.GLTF2().load(path)
        self.primitive = self.gltf.meshes[0].primitives[0]

    def accessor(self, index: int) -> np.ndarray:
        accessor = self.gltf.accessors[index]
        view = self.gltf.bufferViews[accessor.bufferView]
        width = SIZES[accessor.type]
        data = np.frombuffer(
            self.gltf.binary_blob(), TYPES[accessor.componentType], accessor.count * width, view.byteOffset
        )
        assert view.byteOffset % 4 == 0
        return data.reshape(accessor.count, width) if width > 1 else data

    def faces(self) -> np.ndarray:  # [F, 3]
        return self.accessor(self.primitive.indices).reshape(-1, 3)

    def frames(self) -> tuple[np.ndarray, np.ndarray]:  # [T] seconds, [T, V, 3]
        """Played as the glTF specification says."""
        sampler = self.gltf.animations[0].samplers[0]
        times = self.accessor(sampler.input)
        weights = self.accessor(sampler.output).reshape(len(times), -1)
        targets = np.stack([self.accessor(target["POSITION"]) for target in self.primitive.targets])
        assert self.gltf.meshes[0].extras["targetNames"][: len(targets)] and weights.shape[1] == len(targets)
        return times, self.accessor(self.primitive.attributes.POSITION) + np.einsum("tk,kvc->tvc", weights, targets)


def worn_faces(avatar: Avatar) -> np.ndarray:  # [F, 3]
    """The triangles that the file has: all but the lashes, which are in the texture."""
    head = avatar.rig.head
    return head.faces[~head.part("lashes")[head.faces].any(axis=1)]


@pytest.fixture(scope="module")
def written(painted_avatar: Avatar, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """A GLB of two seconds of cheerful, then sad speech; and the mesh of every frame [T, V, 3]."""
    path = tmp_path_factory.mktemp("glb") / "avatar.glb"
    keys = {
        "happy": [{"frame": 1, "value": 1.0}, {"frame": 30, "value": 0.0}],
        "sad": [{"frame": 30, "value": 0.0}, {"frame": 48, "value": 1.0}],
    }
    timeline = EmotionTimeline.from_json({"version": 1, "fps": 24, "frame_start": 1, "frame_end": 48, "emotions": keys})
    sequence = perform(painted_avatar, utterance("What a lovely day it was", 2.0, 24.0), timeline)
    write_glb(path, painted_avatar, sequence, lambda *_: None, resolution=256)
    return path, painted_avatar.rig.mesh(sequence)


def test_plays_the_vertices_of_the_sequence(written: tuple[Path, np.ndarray], painted_avatar: Avatar) -> None:
    path, meant = written
    glb = ReadBack(path)
    times, frames = glb.frames()
    np.testing.assert_allclose(times, np.arange(48) / 24, atol=1e-6)
    # glTF's vertices are split at texture seams, but the triangles keep their order.
    shown = frames[:, glb.faces()]  # [T, F, 3, 3]
    assert np.linalg.norm(shown - meant[:, worn_faces(painted_avatar)], axis=-1).max() <= 1e-4
    assert np.ptp(meant, axis=0).max() > 0.005  # it did move


def test_is_small_and_states_bounds(written: tuple[Path, np.ndarray]) -> None:
    path, _ = written
    glb = ReadBack(path)
    assert path.stat().st_size < 6e6
    position = glb.gltf.accessors[glb.primitive.attributes.POSITION]
    np.testing.assert_allclose(position.min, glb.accessor(glb.primitive.attributes.POSITION).min(axis=0))
    assert np.abs(glb.accessor(glb.gltf.animations[0].samplers[0].output)).max() <= 1 + 1e-6


def test_opens_in_trimesh(written: tuple[Path, np.ndarray], painted_avatar: Avatar) -> None:
    path, _ = written
    (mesh,) = trimesh.load(path, process=False).geometry.values()
    assert len(mesh.faces) == len(worn_faces(painted_avatar))
    assert mesh.visual.uv.shape == (len(mesh.vertices), 2)


def test_wears_its_colours_in_the_right_places(written: tuple[Path, np.ndarray], painted_avatar: Avatar) -> None:
    """The texture at the middle of a triangle of the face has the colour that is painted there."""
    path, _ = written
    glb = ReadBack(path)
    view = glb.gltf.bufferViews[glb.gltf.images[0].bufferView]
    jpeg = glb.gltf.binary_blob()[view.byteOffset : view.byteOffset + view.byteLength]
    texture = np.asarray(Image.open(io.BytesIO(jpeg))) / 255
    uv = glb.accessor(glb.primitive.attributes.TEXCOORD_0)[glb.faces()].mean(axis=1)  # [F, 2]
    column, row = np.clip((uv * texture.shape[0]).astype(int), 0, texture.shape[0] - 1).T
    head = painted_avatar.rig.head
    face = head.regions["face"][worn_faces(painted_avatar)].all(axis=1)
    worn = ~head.part("lashes")[head.faces].any(axis=1)
    painted = painted_avatar.gaussians.sh[worn, 0].numpy() * SH_C0 + 0.5  # one Gaussian on each triangle, in order
    assert np.median(np.abs(texture[row, column] - painted)[face]) < 0.02


def test_a_still_is_a_mesh_without_animation(painted_avatar: Avatar, tmp_path: Path) -> None:
    path = tmp_path / "still.glb"
    write_glb(path, painted_avatar, perform(painted_avatar), lambda *_: None, resolution=64)
    glb = ReadBack(path)
    assert not glb.gltf.animations and not glb.primitive.targets
    np.testing.assert_allclose(
        glb.accessor(glb.primitive.attributes.POSITION)[glb.faces()],
        painted_avatar.rig.head.v_template[worn_faces(painted_avatar)],
        atol=1e-5,
    )


@settings(max_examples=25, deadline=None)
@given(
    frames=st.integers(1, 12), vertices=st.integers(1, 20), tolerance=st.sampled_from([1e-4, 1e-2, 1.0]),
    seed=st.integers(0, 2**16),
)  # fmt: skip
def test_morph_error_is_bounded_and_true(frames: int, vertices: int, tolerance: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    base = rng.normal(size=(vertices, 3))
    moved = base + rng.normal(scale=0.1, size=(frames, vertices, 3))
    animation = morph_animation(base, moved, tolerance)
    shown = animation.base + np.einsum("tk,kvc->tvc", animation.weights, animation.targets)
    error = np.linalg.norm(shown - moved, axis=2).max()
    assert error <= tolerance + 1e-5
    assert error == pytest.approx(animation.error, abs=1e-5)
    assert len(animation.targets) <= frames
    if tolerance == 1.0:
        assert len(animation.targets) == 0


def test_seams_split_vertices_and_nothing_else() -> None:
    faces = np.array([[0, 1, 2], [2, 1, 3]])
    uv = np.array([[0, 0], [1, 0], [0, 1], [1, 1], [0.5, 0.5]])
    vertex_of, split, coordinates = split_at_seams(faces, np.array([[0, 1, 2], [4, 1, 3]]), uv)
    assert len(vertex_of) == 5  # vertex 2 has two places in the texture
    np.testing.assert_array_equal(vertex_of[split], faces)
    np.testing.assert_array_equal(coordinates[split[1]], uv[[4, 1, 3]])


def test_linear_light() -> None:
    np.testing.assert_allclose(
        linear_from_srgb(np.array([0.0, 0.02, 0.5, 1.0])), [0, 0.00154799, 0.21404114, 1], atol=1e-6
    )
