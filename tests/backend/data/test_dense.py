import numpy as np
import pytest
import torch

from emo_avatar.data.dense import shoot_dense
from emo_avatar.data.studio import shoot
from emo_avatar.data.synchronised_shots import draw_moment


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_splats_show_what_the_mesh_shows(device):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("There is no CUDA device here.")
    moment = draw_moment(26, 1, 96)
    weights = np.eye(6)[0]
    frame = moment.performed(weights)[1]
    mesh = shoot(moment.subject, frame, weights, moment.setting)
    dense = shoot_dense(moment.subject, frame, weights, moment.setting, device, size=384)
    inside = (mesh.alpha > 0.99) & (dense.alpha > 0.99)
    assert np.abs(mesh.alpha - dense.alpha).mean() < 0.03 and inside.mean() > 0.3
    assert -10 * np.log10(((mesh.rgb - dense.rgb)[inside] ** 2).mean()) > 22
    # Both answer to the emotion: what it changes is the same for both.
    calm = np.zeros(6)
    change = mesh.rgb - shoot(moment.subject, frame, calm, moment.setting).rgb
    dense_change = dense.rgb - shoot_dense(moment.subject, frame, calm, moment.setting, device, size=384).rgb
    assert np.corrcoef(change[inside].ravel(), dense_change[inside].ravel())[0, 1] > 0.7
