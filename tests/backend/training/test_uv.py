"""The UV network's training: what a batch is, that it learns from it, and that it can be killed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from emo_avatar.backbones.portrait.prepared import prepare_head
from emo_avatar.backbones.uv.learned import load_network, places_of
from emo_avatar.backbones.uv.network import GAIN
from emo_avatar.data.studio import draw_setting
from emo_avatar.head.data import open_head
from emo_avatar.training.run import RunSettings
from emo_avatar.training.uv import UVTask, mean_response, train_uv
from emo_avatar.training.uv_lessons import FELT, Colours, DrawUV, Source, UVBatch, UVTraining, studied

from .. import gsplat_double
from ..devices import GPU, OneDevice

SETTINGS = UVTraining(emotion=True, people=1, size=64, kept=1)


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> Path:
    """One person, understood once for all tests."""
    folder = UVTask(SETTINGS, tmp_path_factory.mktemp("training") / "uv.sources").draw.folder
    DrawUV(SETTINGS, folder).lesson(0, 0)
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
    assert [c.weights.tolist() for c in other.colours] != [c.weights.tolist() for c in batch.colours]


def test_pairs_differ_in_emotion_alone(batch: UVBatch):
    neutral, *others = batch.colours
    assert not neutral.weights.any() and len(others) == FELT
    for felt in others:
        added = np.abs(felt.change)[felt.seen]
        assert felt.weights.any()
        assert np.median(added) < 0.1  # the same person in the same light
        assert np.percentile(added, 99) > 0.02


def test_a_lesson_shows_all_moods_and_a_picture_of_one(sources: Path, batch: UVBatch):
    lesson = DrawUV(SETTINGS, sources).lesson(0, 0)
    assert [int(np.argmax(colours.weights)) for colours in lesson.colours[1:7]] == list(range(6))
    assert np.count_nonzero(lesson.colours[7].weights) == 2
    np.testing.assert_array_equal(lesson.colours[lesson.of].weights, batch.colours[batch.of].weights)
    assert lesson.view.covered.any() and lesson.view.rgb.shape == (64, 64, 3)


def test_what_is_kept_is_what_was_drawn(sources: Path, tmp_path: Path):
    """Photographed anew, lesson and source are those on disk."""
    again, kept = DrawUV(SETTINGS, tmp_path).lesson(0, 0), DrawUV(SETTINGS, sources).lesson(0, 0)
    np.testing.assert_array_equal(again.source.maps.colour, kept.source.maps.colour)
    np.testing.assert_array_equal(again.view.rgb, kept.view.rgb)
    np.testing.assert_array_equal(again.colours[3].change, kept.colours[3].change)


def test_the_maps_of_emotions_begin_as_their_mean(batch: UVBatch):
    """By strength, of both halves of the face, where a place was seen often enough."""
    n = len(prepare_head(open_head()).texels)
    weights, seen, change = np.zeros(6, np.float32), np.ones(n, bool), np.full((n, 3), (0.1, 0, -0.1), np.float32)
    weights[2] = 0.5
    angry = replace(batch, colours=(Colours(weights, change, seen), Colours(weights, np.zeros_like(change), ~seen)))
    maps = mean_response([angry] * 6)
    assert maps.shape == (6, 3, 256, 256) and not maps[[0, 1, 3, 4, 5]].any()
    wanted = np.broadcast_to(np.array([0.2, 0, -0.2])[:, None, None], (3, 256, 256))  # at full strength
    np.testing.assert_allclose(GAIN * np.tanh(maps[2]), wanted, atol=1e-3)
    assert not mean_response([angry]).any()  # seen once is not known


def test_the_mood_of_the_portrait_adds_nothing_to_itself(sources: Path):
    """What the photo shows already is not to be shown twice."""
    person, source = studied(0), Source.read(sources / "0.npz")
    neutral = person.felt(0, np.zeros(6, np.float32))
    setting = replace(draw_setting(np.random.default_rng(0), person.subject, 128, 10), light=person.setting.light)
    _, again = person.colours(person.rig(source), source, [neutral, person.portrayed], setting)
    texels = prepare_head(open_head()).texels
    places = places_of(prepare_head(open_head()), source.maps, texels.face, texels.barycentric)
    shown = again.seen & (places.hidden.numpy() == 0) & (places.reach.numpy() > 0.9)
    assert shown.sum() > 1000
    assert np.median(np.abs(again.change[shown])) < 0.01


def test_emotion_is_measured_on_skin_alone(sources: Path):
    """Brows, pores and freckles are the photo's to show: no target of emotion has them in it."""
    person = studied(0)
    albedo, even = person.subject.look.albedo, person.bare.look.albedo
    steps = [np.abs(np.diff(np.log(x + 0.01), axis=0)).mean() for x in (albedo, even)]
    assert steps[1] < 0.5 * steps[0]


def test_without_emotion_all_is_neutral(sources: Path, tmp_path: Path):
    batch = DrawUV(UVTraining(people=1, size=64, kept=1), tmp_path)(0, 0)
    assert [colours.weights.any() for colours in batch.colours] == [False]


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
    output = sources.parent.with_suffix(".safetensors")
    settings = RunSettings(steps=2, minutes=0.0, ema=0.9)
    assert not train_uv(output, SETTINGS, settings)
    assert load_network(output).head.weight.any()
    assert output.with_suffix(".checkpoint").exists()
    assert train_uv(output, SETTINGS, RunSettings(steps=2, ema=0.9), resume=True)
    assert not output.with_suffix(".checkpoint").exists()


def test_a_step_stays_on_its_device(sources: Path, batch: UVBatch, monkeypatch: pytest.MonkeyPatch):
    gsplat_double.install(monkeypatch)
    task = UVTask(SETTINGS, sources.parent)
    task.model.to(GPU)
    with OneDevice():
        terms = task.loss(batch)
        sum(terms.values()).backward()
    assert {term.device for term in terms.values()} == {GPU}
