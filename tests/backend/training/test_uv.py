"""The UV network's training: what a batch is, that it learns from it, and that it can be killed."""

from pathlib import Path

import numpy as np
import pytest
import torch

from emo_avatar.backbones.uv.learned import load_network
from emo_avatar.training.run import RunSettings
from emo_avatar.training.uv import DrawUV, Source, UVBatch, UVTask, UVTraining, train_uv

SETTINGS = UVTraining(emotion=True, people=1, size=64)


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> Path:
    """One person, understood once for all tests."""
    folder = tmp_path_factory.mktemp("training") / "uv.sources"
    folder.mkdir()
    DrawUV(SETTINGS, folder).source(0)
    return folder


@pytest.fixture(scope="module")
def batch(sources: Path) -> UVBatch:
    return DrawUV(SETTINGS, sources)(0, 0)


def test_a_step_is_always_the_same(sources: Path, batch: UVBatch):
    again, other = (DrawUV(SETTINGS, sources)(step, 0) for step in (0, 1))
    np.testing.assert_array_equal(batch.view.rgb, again.view.rgb)
    for one, two in zip(batch.colours, again.colours, strict=True):
        np.testing.assert_array_equal(one.change, two.change)
        np.testing.assert_array_equal(one.weights, two.weights)
    assert not np.array_equal(batch.view.rgb, other.view.rgb)


def test_pairs_differ_in_emotion_alone(batch: UVBatch):
    neutral, felt = batch.colours
    assert not neutral.weights.any() and felt.weights.any()
    both = neutral.seen & felt.seen
    difference = np.abs(neutral.change - felt.change)[both]
    assert np.median(difference) < 0.1  # the same person in the same light
    assert np.percentile(difference, 99) > 0.02


def test_without_emotion_all_is_neutral(sources: Path):
    batch = DrawUV(UVTraining(people=1, size=64), sources)(0, 0)
    assert [colours.weights.any() for colours in batch.colours] == [False]


def test_kept_photographs_show_all_moods(sources: Path):
    settings = UVTraining(emotion=True, people=1, size=64, kept=1)
    first, again = (DrawUV(settings, sources)(step, 0) for step in (0, 1))
    assert first.view is None and len(first.colours) == 7
    assert [int(np.argmax(colours.weights)) for colours in first.colours[1:]] == list(range(6))
    for one, two in zip(first.colours, again.colours, strict=True):
        np.testing.assert_array_equal(one.change, two.change)
    assert {"completion", "emotion"} <= set(UVTask(settings, sources).loss(first))


def test_photographs_show_what_the_avatar_shows(batch: UVBatch):
    """Where a photograph shows texels, their colours are not far from it: geometry and camera agree."""
    colours = batch.colours[0]
    assert 0.05 < colours.seen.mean() < 0.9
    assert np.median(np.abs(colours.change[colours.seen])) < 0.25


def test_sources_survive_the_file(sources: Path, tmp_path: Path):
    source = Source.read(sources / "0.npz")
    source.write(tmp_path / "copy.npz")
    again = Source.read(tmp_path / "copy.npz")
    np.testing.assert_array_equal(source.maps.colour, again.maps.colour)
    np.testing.assert_array_equal(source.means, again.means)


def test_learns_a_batch_by_heart(sources: Path, batch: UVBatch):
    torch.manual_seed(0)
    task = UVTask(SETTINGS, sources)
    optimiser = torch.optim.Adam(task.model.parameters(), 2e-3)
    losses = []
    for _ in range(12):
        terms = task.loss(batch)
        total = torch.stack(list(terms.values())).sum()
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        losses.append({name: term.item() for name, term in terms.items()})
    assert losses[-1]["completion"] < 0.95 * losses[0]["completion"]
    assert sum(losses[-1].values()) < sum(losses[0].values())


def test_stops_on_time_and_goes_on(sources: Path):
    output = sources.with_name("uv.safetensors")
    settings = RunSettings(steps=2, minutes=0.0, ema=0.9)
    assert not train_uv(output, SETTINGS, settings)
    assert load_network(output).head.weight.any()
    assert output.with_suffix(".checkpoint").exists()
    assert train_uv(output, SETTINGS, RunSettings(steps=2, ema=0.9), resume=True)
    assert not output.with_suffix(".checkpoint").exists()
