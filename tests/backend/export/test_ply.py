from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plyfile import PlyData

from emo_avatar.avatar.gaussians import Gaussians
from emo_avatar.export.ply import write_ply, write_ply_sequence


def random_gaussians(n: int, k: int, seed: int) -> Gaussians:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.rand(shape, generator=generator)

    return Gaussians(draw(n, 3) - 0.5, draw(n, 4) - 0.5, 1e-4 + draw(n, 3) / 50, draw(n), draw(n, k, 3) - 0.5)


def read_inria(path: Path) -> Gaussians:
    """As the reference implementation's own loader reads it."""
    vertex = PlyData.read(path)["vertex"]

    def columns(prefix: str) -> np.ndarray:  # [N, M], in the order of the numbers that end the names
        names = [p.name for p in vertex.properties if p.name.startswith(prefix)]
        columns = [vertex[name] for name in sorted(names, key=lambda name: int(name.removeprefix(prefix)))]
        return np.stack(columns, axis=1) if columns else np.zeros((len(vertex.data), 0), np.float32)

    rest = columns("f_rest_")
    rest = rest.reshape(len(rest), 3, rest.shape[1] // 3).transpose(0, 2, 1)
    sh = np.concatenate([columns("f_dc_")[:, None], rest], axis=1)
    return Gaussians(
        torch.tensor(np.stack([vertex[axis] for axis in "xyz"], axis=1)),
        torch.tensor(columns("rot_")),
        torch.tensor(columns("scale_")).exp(),
        torch.tensor(np.array(vertex["opacity"])).sigmoid(),
        torch.tensor(sh),
    )


@settings(max_examples=12, deadline=None)
@given(n=st.integers(0, 50), k=st.sampled_from([1, 4, 9, 16]), seed=st.integers(0, 2**16))
def test_reference_loader_gets_back_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, n: int, k: int, seed: int
) -> None:
    path = tmp_path_factory.mktemp("ply") / "splats.ply"
    gaussians = random_gaussians(n, k, seed)
    write_ply(path, gaussians)
    again = read_inria(path)
    torch.testing.assert_close(again.means, gaussians.means)
    torch.testing.assert_close(again.scales, gaussians.scales)
    torch.testing.assert_close(again.opacities, gaussians.opacities, atol=1e-5, rtol=0)
    torch.testing.assert_close(again.sh, gaussians.sh)
    torch.testing.assert_close(again.quats, torch.nn.functional.normalize(gaussians.quats, dim=1))


def test_extremes_stay_finite(tmp_path: Path) -> None:
    """Fully opaque, fully clear and flat Gaussians have no finite logit or logarithm of their own."""
    g = random_gaussians(3, 1, 0)
    flat = Gaussians(g.means, g.quats, torch.zeros(3, 3), torch.tensor([0.0, 1.0, 0.5]), g.sh)
    write_ply(tmp_path / "flat.ply", flat)
    data = PlyData.read(tmp_path / "flat.ply")["vertex"].data
    assert all(np.isfinite(data[name]).all() for name in data.dtype.names)


def test_a_sequence_replaces_the_one_that_was_there_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "splats.ply"
    frames = [random_gaussians(5, 1, seed) for seed in range(4)]
    write_ply_sequence(folder, frames, 4, lambda *_: None)
    (folder / "notes.txt").write_text("mine")
    write_ply_sequence(folder, frames[:2], 2, lambda *_: None)
    assert sorted(p.name for p in folder.iterdir()) == ["00001.ply", "00002.ply", "notes.txt"]
    torch.testing.assert_close(read_inria(folder / "00002.ply").means, frames[1].means)


def test_a_cancelled_sequence_leaves_the_old_one(tmp_path: Path) -> None:
    folder = tmp_path / "splats.ply"
    frames = [random_gaussians(5, 1, seed) for seed in range(3)]
    write_ply_sequence(folder, frames[:1], 1, lambda *_: None)

    def cancel(fraction: float, _: str) -> None:
        if fraction > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_ply_sequence(folder, frames, 3, cancel)
    assert [p.name for p in tmp_path.iterdir()] == ["splats.ply"]
    assert [p.name for p in folder.iterdir()] == ["00001.ply"]
