"""Names, sizes and sampling of exports."""

from pathlib import Path

import pytest
from emo_avatar_addon.export.formats import FORMATS, estimated_bytes, sample_times, targets


def test_one_avatar_goes_where_the_user_said():
    assert targets(FORMATS["FLAME"], Path("/a/b.npz"), ["Ada"]) == [Path("/a/b.npz")]
    assert targets(FORMATS["FLAME"], Path("/a/b"), ["Ada"]) == [Path("/a/b.npz")]
    assert targets(FORMATS["GLTF"], Path("/a/v1.2"), ["Ada"]) == [Path("/a/v1.2.glb")]
    assert targets(FORMATS["PLY"], Path("/a/b"), ["Ada"]) == [Path("/a/b")]


def test_several_share_a_file_or_have_one_each():
    names = ["Ada", "B/o:b", "B/o:b"]
    assert targets(FORMATS["USD"], Path("/a/b.usdz"), names) == [Path("/a/b.usdz")]
    each = targets(FORMATS["FLAME"], Path("/a/b.npz"), names)
    assert each[0] == Path("/a/b_Ada.npz")
    assert len(set(each)) == 3 and all(path.parent == Path("/a") for path in each)


@pytest.mark.parametrize(
    ("scene_fps", "fps", "times"),
    [(24, 24, [1, 2, 3, 4, 5]), (24, 48, [1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5]), (30, 15, [1, 3, 5]), (25, 30, None)],
)
def test_another_rate_keeps_the_speed(scene_fps, fps, times):
    sampled = sample_times(1, 5, scene_fps, fps)
    if times is not None:
        assert sampled == pytest.approx(times)
    assert sampled[0] == 1 and 5 - scene_fps / fps < sampled[-1] <= 5 + 1e-6
    assert len(sampled) / fps == pytest.approx(5 / scene_fps, abs=1 / min(fps, scene_fps))


def test_every_format_has_an_estimate():
    for kind in FORMATS.values():
        few, many = (estimated_bytes(kind, n, vertices=5000, gaussians=100_000, pixels=10**6) for n in (1, 1000))
        assert 0 < few < many
