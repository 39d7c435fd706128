"""Where in space the pixels beside the head lie."""

from dataclasses import replace

import numpy as np

from emo_avatar import assets
from emo_avatar.backbones.portrait.prepared import prepare_head
from emo_avatar.backbones.portrait.view import MeshView
from emo_avatar.backbones.uv.segmentation import SKIN, segment
from emo_avatar.backbones.uv.sheets import sheet_of
from emo_avatar.head.data import load_head
from emo_avatar.tracking.portrait import track_portrait


def test_what_is_skin_for_certain_beside_the_head_is_beside_the_head():
    """A hand, or the far brow of a turned head: neither hair nor clothing, whose depths it has no share in."""
    head = load_head()
    prepared = prepare_head(head)
    portrait = track_portrait(assets.fetch("astronaut.png"), head)
    view = MeshView.of(portrait.vertices(head), head.faces, portrait.camera, prepared.opaque & ~prepared.interior)
    rgb = portrait.rgb / np.float32(255)
    labels = segment(rgb, portrait.matte, portrait.landmarks, view, prepared.on_face)
    certain = labels.probability.copy()
    certain[::2] = np.eye(3)[SKIN]
    depth = sheet_of(view, portrait.matte, replace(labels, probability=certain), head).front[portrait.matte > 0.3]
    nearest, farthest = np.quantile(view.fragments.depth[view.covered], (0.0, 1.0))
    assert depth.min() > nearest - 0.15 and depth.max() < farthest + 0.15
