"""The UV network's training: what a batch is, that it learns from it, and that it can be killed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from emo_avatar.backbones.portrait.prepared import prepare_head
from emo_avatar.backbones.uv.learned import load_network, places_of
from emo_avatar.data.studio import draw_setting
from emo_avatar.head.data import open_head
from emo_avatar.training.run import RunSettings
from emo_avatar.training.uv import FELT, DrawUV, Source, UVBatch, UVTask, UVTraining, studied, train_uv

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
    added = np.abs(felt.change)[felt.seen]
    assert np.median(added) < 0.1  # the same person in the same light
    assert np.percentile(added, 99) > 0.02


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


def test_without_emotion_all_is_neutral(sources: Path):
    batch = DrawUV(UVTraining(people=1, size=64), sources)(0, 0)
    assert [colours.weights.any() for colours in batch.colours] == [False]


def test_kept_photographs_show_all_moods(sources: Path):
    settings = UVTraining(emotion=True, people=1, size=64, kept=1)
    first, again = (DrawUV(settings, sources)(step, 0) for step in (0, 1))
    assert first.view is None and len(first.colours) == 1 + FELT
    np.testing.assert_array_equal(first.colours[0].change, again.colours[0].change)
    kept = DrawUV(settings, sources).kept(0, 0, first.source)
    assert [int(np.argmax(colours.weights)) for colours in kept[1:7]] == list(range(6))
    assert np.count_nonzero(kept[7].weights) == 2


def test_kept_photographs_leave_what_is_said_at_neutral(sources: Path):
    """Nothing in them asks for sizes and opacities, which would drift."""
    settings = UVTraining(emotion=True, people=1, size=64, kept=1)
    task = UVTask(settings, sources)
    with torch.no_grad():
        task.model.head.weight.normal_(0, 0.01, generator=torch.Generator().manual_seed(0))
    maps, places, photo = torch.zeros(1, 7, 256, 256), torch.zeros(1, 256, 256, 2), torch.zeros(1, 4, 256, 256)
    say = lambda: task.model.decode(task.model.encode(maps, places, photo).expand(2), torch.eye(7)[:2, 1:])  # noqa: E731
    with torch.no_grad():
        before = say()
    optimiser = torch.optim.AdamW(task.model.parameters(), 1e-2)
    (loss,) = task.loss(DrawUV(settings, sources)(0, 0)).values()
    loss.backward()
    optimiser.step()
    with torch.no_grad():
        neutral, felt = say() - before
    assert not neutral.any()
    assert felt[:3].any() and not felt[3:].any()


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
