"""The tables: what is compared with what, and that a better avatar wins."""

import json
import math

import numpy as np
import pytest
from typer.testing import CliRunner

from emo_avatar.backbones.make import Backbone
from emo_avatar.cli import app
from emo_avatar.cli.boundary import print_json
from emo_avatar.cli.evaluate import FIRST_HELD_OUT, FIRST_OF_TABLES
from emo_avatar.errors import UserError
from emo_avatar.evaluation.held_out import ANYWHERE, FIRST_SEED, cases
from emo_avatar.evaluation.likeness import Likeness, likeness, sighting, truth
from emo_avatar.evaluation.tables import (
    Table,
    Variant,
    emotion_transfer,
    fill,
    gains,
    markdown_table,
    rows_of_gains,
    self_reenactment,
)
from emo_avatar.head.data import open_head
from emo_avatar.motion.timeline import EMOTIONS
from emo_avatar.training.geometry import FIRST_HELD_OUT_SEED


@pytest.fixture(scope="module")
def case():
    (one,) = cases(1, instants=1, size=192)
    return one


@pytest.fixture(scope="module")
def tables(case):
    quick = Backbone("uv", learned=False, refine=0)
    build = lambda portrait: quick.make(portrait, open_head())[0]  # noqa: E731
    variants = [Variant("still", build, False, False), Variant("moved", build, True, False)]
    return fill({"transfer": emotion_transfer, "self": self_reenactment}, variants, [case])


def test_cases_are_held_out_and_the_same_every_time(case):
    (again,) = cases(1, instants=1, size=192)
    assert case.subject.seed == FIRST_SEED >= FIRST_HELD_OUT_SEED
    assert np.array_equal(case.source.rgb, again.source.rgb) and case.instants == again.instants
    neutral, angry = case.shot(case.instants[0], None), case.shot(case.instants[0], EMOTIONS.index("angry"))
    assert np.array_equal(neutral.setting.camera.viewmat, angry.setting.camera.viewmat)
    assert np.abs(neutral.vertices - angry.vertices).max() > 1e-3
    assert np.array_equal(case.driving(case.instants[0]).expression, neutral.frame.expression)


def test_a_recorded_person_stays_before_one_camera(case):
    (harder,) = cases(1, instants=1, size=192, first=FIRST_SEED + 1, protocol=ANYWHERE)
    assert np.array_equal(case.setting.camera.viewmat, case.source.setting.camera.viewmat)
    assert not np.array_equal(harder.setting.camera.viewmat, harder.source.setting.camera.viewmat)
    assert not case.source.weights.any() and harder.source.weights.any()


def test_a_picture_is_most_like_itself(case):
    true = truth(case.shot(case.instants[0], None))
    same = likeness(true, true)
    assert same.psnr == float("inf") and same.ssim == pytest.approx(1) and same.lpips == pytest.approx(0, abs=1e-6)
    assert same.csim == pytest.approx(1, abs=1e-5) and same.aed == 0 and same.apd == 0
    other = likeness(truth(case.shot(case.instants[0], EMOTIONS.index("surprised"))), true)
    assert other.psnr < 40 and other.csim < 0.99 and other.aed > 0.05
    background = true.rgb[0, 0]
    assert np.array_equal(background, [128, 128, 128])


def test_without_a_face_there_is_no_identity():
    blank = sighting(np.full((96, 96, 3), 128, np.uint8))
    compared = likeness(blank, blank)
    assert np.isnan(compared.csim) and np.isnan(compared.aed)
    assert Likeness.mean([compared, Likeness(1, 1, 1, 0.5, 1, 1)]).csim == 0.5


def test_moving_the_face_brings_it_nearer_to_the_truth(tables):
    transfer, own = tables
    assert transfer.frames == len(EMOTIONS) and own.frames == 1 + len(EMOTIONS)
    assert transfer.rows["moved"].aed < transfer.rows["still"].aed
    assert transfer.rows["moved"].lpips < transfer.rows["still"].lpips
    assert own.rows["moved"] == own.rows["still"]  # nothing is to be added to a performance that has its emotion


def test_tables_as_text():
    table = Table("t", {"a": Likeness(20, 0.9, 0.1, 0.5, 0.2, 0.01), "b": Likeness(21, 0.8, 0.2, 0.6, 0.3, 0.01)}, 3)
    text = markdown_table(*table.rows_of_text(best="**{}**"))
    assert text.splitlines()[0] == "| t | PSNR | SSIM | LPIPS | CSIM | AED | APD |"
    assert "| a | 20.00 | **0.9000** | **0.1000** | 0.5000 | **0.2000** | **0.0100** |" in text
    assert table.to_json()["rows"]["b"]["psnr"] == 21


def test_what_emotion_gains_is_told_beside_what_is_asked():
    without, felt = Likeness(28.5, 0.9, 0.05, 0.75, 0.2, 0.01), Likeness(30.0, 0.9, 0.045, 0.9, 0.08, 0.01)
    gained = gains(Table("t", {"uv": without, "uv + emotion": felt, "lam-s": without}, 3))
    assert list(gained) == ["uv"] and gained["uv"].psnr == pytest.approx(1.5)
    header, psnr, lpips, csim, aed = rows_of_gains(gained)
    assert header[2:] == ["uv"] and psnr[2] == "+1.50 dB" and csim[2] == "+0.150"
    assert lpips[2] == "0.900 of it, missed" and aed == ["AED", "at most 0.460 of it", "0.400 of it"]
    assert gained["uv"].to_json()["passed"] is False


def test_nobody_whom_the_command_judges_was_trained_with():
    assert (FIRST_HELD_OUT, FIRST_OF_TABLES) == (FIRST_HELD_OUT_SEED, FIRST_SEED)
    result = CliRunner().invoke(app, ["evaluate", "transfer", "--seed", str(FIRST_HELD_OUT - 1)])
    assert result.exit_code != 0


def test_json_has_no_words_for_what_is_no_number(capsys):
    print_json({"a": [math.nan, 1.5, (math.inf, 2)], "b": None, "c": "NaN"})
    assert json.loads(capsys.readouterr().out) == {"a": [None, 1.5, [None, 2]], "b": None, "c": "NaN"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [({"name": "nerf"}, "choose one of uv"), ({"name": "lam"}, "LAM-20K"), ({"weights": "w"}, "takes no --weights")],
)
def test_backbones_that_cannot_be_are_refused(arguments, said):
    with pytest.raises(UserError, match=said):
        Backbone(**arguments)
