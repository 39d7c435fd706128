from dataclasses import replace

import numpy as np
import pytest
import torch

from emo_avatar.avatar.lam_head import flame_head
from emo_avatar.avatar.lam_import import import_lam
from emo_avatar.head.arkit import arkit_weights, flame_from_arkit
from emo_avatar.head.model import HeadModel
from emo_avatar.head.surface import Surface
from emo_avatar.motion.flame_sequence import FlameSequence


@pytest.fixture(scope="module")
def rig(sample_path):
    return import_lam(sample_path).avatar.rig


@pytest.fixture(scope="module")
def head(rig):
    return flame_head(rig, "sample")


def outer_skin(head):
    return head.part("skin") & ~head.regions["mouth_bag"] & ~head.regions["eye_sockets"] & ~head.regions["collar"]


def test_the_neutral_head_lies_on_the_package_s_mesh(rig, head):
    distance = Surface(rig.vertices, rig.faces).closest(head.v_template[outer_skin(head)].astype(float)).distance
    assert np.quantile(distance, 0.95) < 2e-4  # metres
    eyes = (head.J_regressor @ head.v_template)[3:]
    assert np.abs(eyes - [eye.center for eye in rig.eyes]).max() < 5e-3


@pytest.mark.parametrize("unit", ["jawOpen", "mouthSmileLeft", "eyeBlinkRight", "browInnerUp"])
def test_the_same_numbers_move_the_same_places(rig, head, unit):
    expression, jaw, eyes = flame_from_arkit(rig.head, arkit_weights(**{unit: 0.7})[None])
    pose = {"expression": expression, "jaw_pose": jaw, "eyes_pose": eyes}
    with torch.no_grad():
        ours = HeadModel(head)(**{name: torch.from_numpy(value) for name, value in pose.items()}).vertices[0].numpy()
    theirs = rig.mesh(replace(FlameSequence.still(1), **pose))[0] - rig.vertices
    skin = outer_skin(head)
    places = Surface(rig.vertices, rig.faces).closest(head.v_template[skin].astype(float))
    theirs = places.of(theirs, rig.faces)
    ours = (ours - head.v_template)[skin]
    similarity = (ours * theirs).sum() / np.sqrt((ours**2).sum() * (theirs**2).sum())
    assert similarity > 0.7  # the two artists who shaped the units saw faces differently
    assert np.abs(ours).max() > 2e-3
