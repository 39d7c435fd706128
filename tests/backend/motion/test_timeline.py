"""The emotion timeline: Blender's curves, the file, and what it says of broken files."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emo_avatar.errors import UserError
from emo_avatar.motion.curves import Key, evaluate
from emo_avatar.motion.timeline import EMOTIONS, EmotionTimeline, emotion_weights

values = st.floats(0, 1)
handles = st.none() | st.tuples(st.floats(-1e4, 1e4), st.floats(-10, 10))


@st.composite
def curves(draw):
    frames = draw(st.lists(st.floats(-1000, 1000), min_size=0, max_size=6, unique=True).map(sorted))
    interpolation = st.sampled_from(("constant", "linear", "bezier"))
    return tuple(Key(f, draw(values), draw(interpolation), draw(handles), draw(handles)) for f in frames)


@st.composite
def timelines(draw):
    start = draw(st.integers(-100, 100))
    names = draw(st.lists(st.sampled_from(EMOTIONS), unique=True))
    return EmotionTimeline(
        draw(st.floats(1, 120)), start, start + draw(st.integers(0, 50)), {name: draw(curves()) for name in names}
    )


@given(timelines())
def test_files_round_trip(timeline):
    again = EmotionTimeline.from_json(json.loads(json.dumps(timeline.to_json())))
    assert again.curves == {name: timeline.curves[name] for name in EMOTIONS if name in timeline.curves}
    assert np.array_equal(again.sample(), timeline.sample())


@given(timelines())
def test_samples_stay_within_bounds(timeline):
    weights = timeline.sample()
    assert weights.shape == (len(timeline), 6) and weights.dtype == np.float32
    assert weights.min() >= 0 and weights.max() <= 1


@given(curves())
def test_curves_pass_through_their_keys(keys):
    frames = np.array([key.frame for key in keys])
    assert np.allclose(evaluate(keys, frames), [key.value for key in keys], atol=1e-6)


def cubic(p, t):
    return p[0] * (1 - t) ** 3 + 3 * p[1] * (1 - t) ** 2 * t + 3 * p[2] * (1 - t) * t**2 + p[3] * t**3


def test_bezier_is_the_cubic_through_its_handles():
    keys = (Key(1, 0.1, "bezier", handle_right=(9, 0.9)), Key(21, 0.7, handle_left=(17, -0.2)))
    t = np.linspace(0, 1, 50)
    frames, expected = cubic((1, 9, 17, 21), t), cubic((0.1, 0.9, -0.2, 0.7), t)
    assert np.allclose(evaluate(keys, frames), expected, atol=1e-9)


def test_handles_beyond_the_next_key_do_not_turn_time_back():
    keys = (Key(0, 0, "bezier", handle_right=(40, 0.0)), Key(10, 1, handle_left=(-30, 1.0)))
    curve = evaluate(keys, np.linspace(0, 10, 200))
    assert (np.diff(curve) >= -1e-9).all() and curve[0] == pytest.approx(0) and curve[-1] == pytest.approx(1)


def test_default_handles_ease_in_and_out_as_blenders():
    keys = (Key(0, 0, "bezier"), Key(30, 1, "bezier"))
    t = np.linspace(0, 1, 31)
    # Blender's default: level handles a third of the interval long, for which time is linear in t
    assert np.allclose(evaluate(keys, 30 * t), 3 * t**2 - 2 * t**3, atol=1e-9)


def test_default_handles_do_not_overshoot_and_pass_smoothly():
    keys = tuple(Key(f, v, "bezier") for f, v in ((0, 0.0), (10, 0.3), (12, 0.9), (30, 1.0), (40, 0.2)))
    frames = np.linspace(0, 40, 4001)
    curve = evaluate(keys, frames)
    assert curve.min() >= -1e-9 and curve.max() <= 1 + 1e-9
    slope = np.gradient(curve, frames)
    at_keys = [np.searchsorted(frames, key.frame) for key in keys[1:-1]]
    # a clamped handle may break the slope, but not by a visible corner
    assert max(abs(slope[i + 2] - slope[i - 2]) for i in at_keys) < 0.15


def test_interpolation_belongs_to_the_segment_after_its_key():
    keys = (Key(1, 0.2, "constant"), Key(11, 0.8, "linear"), Key(21, 0.0, "constant"))
    sampled = evaluate(keys, np.array([0.0, 1, 6, 10.99, 11, 16, 21, 99]))
    assert np.allclose(sampled, [0.2, 0.2, 0.2, 0.2, 0.8, 0.4, 0, 0])


def test_constant_and_named_weights():
    weights = emotion_weights({"happy": 0.8, "neutral": 1.0, "fear": 0.1})
    timeline = EmotionTimeline.constant(weights, 7, 24)
    assert np.allclose(timeline.sample(), np.tile([0.8, 0, 0, 0, 0.1, 0], (7, 1)))
    for bad in ({"joy": 1}, {"happy": 1.2}, {"happy": float("nan")}):
        with pytest.raises(UserError):
            emotion_weights(bad)


def document(**changes):
    return {"version": 1, "fps": 30, "frame_start": 1, "frame_end": 120, "emotions": {}} | changes


def happy(**changes):
    return document(emotions={"happy": [{"frame": 12, "value": 0.5} | changes]})


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ([], "one JSON object"),
        (document(version=2), "version 2"),
        (document(fps=0), "fps"),
        (document(fps=-30), "fps"),
        (document(fps=float("nan")), "fps"),
        (document(fps="30"), "fps"),
        (document(frame_start=5, frame_end=1), "frames 5 to 1"),
        (document(frame_end=10**9 - 1), "frames 1 to"),
        (document(frame_end=1.5), "whole number"),
        (document(frame_end=10**400), "frame_end"),
        (document(emotions=[]), "emotions"),
        (document(emotions={"joyful": []}), "joyful"),
        (document(emotions={"happy": {}}), "happy should be a list"),
        (document(emotions={"happy": [3]}), "happy: a key"),
        (happy(value=1.5), "happy, frame 12: the value is 1.5"),
        (happy(value=-0.1), "happy, frame 12"),
        (happy(value=None), "happy, frame 12: the value"),
        (happy(value=True), "happy, frame 12: the value"),
        (happy(frame=float("inf")), "happy: the frame of a key"),
        (happy(interpolation="ease"), "happy, frame 12: interpolation 'ease'"),
        (happy(interpolation=["linear"]), "happy, frame 12: interpolation"),
        (happy(handle_left=[1]), "happy, frame 12: handle_left"),
        (happy(handle_right=[1, "x"]), "happy, frame 12: handle_right"),
        (document(emotions={"sad": [{"frame": 2, "value": 0}, {"frame": 2.0, "value": 1}]}), "two keys at frame 2"),
    ],
)
def test_broken_timelines_say_what_is_wrong(tmp_path, broken, said):
    path = tmp_path / "timeline.json"
    path.write_text(json.dumps(broken))
    with pytest.raises(UserError, match=said):
        EmotionTimeline.read(path)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b"[" * 100_000, b'{"version": 1, "version"'])
def test_no_json_at_all(tmp_path, content):
    path = tmp_path / "timeline.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match="timeline.json"):
        EmotionTimeline.read(path)
    with pytest.raises(UserError, match="nowhere"):
        EmotionTimeline.read(tmp_path / "nowhere.json")


def test_the_example_of_the_documentation(tmp_path):
    path = tmp_path / "timeline.json"
    path.write_text(
        '\ufeff{"version":1,"fps":30,"frame_start":1,"frame_end":120,"emotions":'
        '{"happy":[{"frame":61,"value":1.0},{"frame":1,"value":0.0,"interpolation":"linear"}]}}',
        encoding="utf-8",
    )
    timeline = EmotionTimeline.read(path)
    weights = timeline.sample()
    assert weights.shape == (120, 6)
    assert weights[0, 0] == 0 and weights[30, 0] == pytest.approx(0.5) and weights[119, 0] == 1
    assert not weights[:, 1:].any()
    timeline.write(tmp_path / "again.json")
    assert EmotionTimeline.read(tmp_path / "again.json") == timeline
