"""The head model against smplx's own linear blend skinning, and what training and tracking rely on."""

import numpy as np
import pytest
import torch
from smplx.lbs import lbs

from emo_avatar.head.data import PARENTS, load_head
from emo_avatar.head.model import HeadModel, rotation_matrices

TOLERANCE = 1e-5  # metres


@pytest.fixture(scope="module")
def data():
    return load_head()


@pytest.fixture(scope="module")
def model(data):
    return HeadModel(data)


def random_parameters(batch, seed=0, angle=0.4):
    g = torch.Generator().manual_seed(seed)

    def normal(width, scale):
        return torch.randn(batch, width, generator=g) * scale

    return {
        "shape": normal(300, 1.0),
        "expression": normal(100, 1.0),
        "rotation": normal(3, angle),
        "neck_pose": normal(3, angle),
        "jaw_pose": normal(3, angle),
        "eyes_pose": normal(6, angle),
        "translation": normal(3, 0.2),
    }


def smplx_vertices(data, p):
    pose = torch.cat([p[k] for k in ("rotation", "neck_pose", "jaw_pose", "eyes_pose")], dim=1)
    vertices, joints = lbs(
        torch.cat([p["shape"], p["expression"]], dim=1),
        pose,
        torch.as_tensor(data.v_template),
        torch.as_tensor(data.shapedirs),
        torch.as_tensor(data.posedirs).reshape(-1, 36).T,
        torch.as_tensor(data.J_regressor),
        torch.tensor(PARENTS),
        torch.as_tensor(data.weights),
    )
    return vertices + p["translation"][:, None], joints + p["translation"][:, None]


def test_agrees_with_smplx(data, model):
    p = random_parameters(40)
    with torch.no_grad():
        vertices, joints = smplx_vertices(data, p)
        ours = model(**p)
    assert (ours.vertices - vertices).abs().max() < TOLERANCE
    assert (ours.joints - joints).abs().max() < TOLERANCE


def test_joint_transforms_move_the_rest_joints_and_skin_the_eyes(data, model):
    p = random_parameters(3)
    with torch.no_grad():
        posed = model(**p)
        rest = model(shape=p["shape"], expression=p["expression"])
    homogeneous = torch.cat([rest.joints, torch.ones(3, 5, 1)], dim=2)
    moved = (posed.joint_transforms @ homogeneous[..., None])[..., :3, 0]
    assert (moved - posed.joints).abs().max() < TOLERANCE
    left_eye = torch.as_tensor(data.part("eye_left"))
    carried = rest.vertices[:, left_eye] @ posed.joint_transforms[:, 3, :3, :3].transpose(1, 2)
    carried = carried + posed.joint_transforms[:, 3, None, :3, 3]
    assert (carried - posed.vertices[:, left_eye]).abs().max() < TOLERANCE


def test_single_arguments_serve_a_whole_batch(model):
    p = random_parameters(5)
    one = {name: value[:1] for name, value in p.items()}
    mixed = one | {"jaw_pose": p["jaw_pose"]}
    expanded = {name: value.expand(5, -1) for name, value in mixed.items()}
    with torch.no_grad():
        assert torch.allclose(model(**mixed).vertices, model(**expanded).vertices, atol=1e-6)
        assert model().vertices.shape == (1, len(model.v_template), 3)


def test_a_baked_identity_is_the_same_person(data, model):
    p = random_parameters(4)
    shape = p.pop("shape")[:1]
    offset = 0.001 * torch.randn(1, data.n_vertices, 3, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        person = model.for_identity(shape, offset)
        expected = model(shape=shape, static_offset=offset, **p)
        baked = person(**p)
    assert (baked.vertices - expected.vertices).abs().max() < TOLERANCE
    assert (baked.joints - expected.joints).abs().max() < TOLERANCE
    assert torch.equal(model.v_template, torch.as_tensor(data.v_template)), "baking must not change the original"


def test_gradients_are_finite_at_rest_and_agree_with_the_unchunked_path(model):
    p = {name: torch.zeros_like(value).requires_grad_() for name, value in random_parameters(2).items()}
    vertices = model(**p).vertices
    (vertices * torch.linspace(0, 1, vertices.numel()).view_as(vertices)).sum().backward()
    assert all(torch.isfinite(value.grad).all() and value.grad.abs().sum() > 0 for value in p.values())
    q = random_parameters(70)
    with torch.no_grad():
        fast = model(**q).vertices
    slow = model(**{name: value.requires_grad_() for name, value in q.items()}).vertices
    assert torch.allclose(fast, slow, atol=1e-6)


@pytest.mark.parametrize("magnitude", [0.0, 1e-7, 1e-4, 1e-3, 1.0, 3.0])
def test_rotation_matrices_are_rotations_with_the_right_derivative(magnitude):
    axis = torch.randn(50, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    v = magnitude * axis / axis.norm(dim=1, keepdim=True)
    R = rotation_matrices(v)
    generator = torch.stack([torch.cross(v, e.expand(50, 3), dim=1) for e in torch.eye(3, dtype=v.dtype)], dim=2)
    assert torch.allclose(R, torch.matrix_exp(generator), atol=1e-9)
    jacobian = torch.autograd.functional.jacobian(rotation_matrices, v[0])
    step = 1e-6
    numeric = torch.stack(
        [
            (rotation_matrices(v[0] + step * e) - rotation_matrices(v[0] - step * e)) / (2 * step)
            for e in torch.eye(3, dtype=v.dtype)
        ],
        dim=-1,
    )
    assert torch.allclose(jacobian, numeric, atol=1e-6)


def test_runs_in_double_precision_too(model, data):
    double = HeadModel(data).double()
    p = {name: value.double() for name, value in random_parameters(2).items()}
    with torch.no_grad():
        assert (double(**p).vertices - model(**random_parameters(2)).vertices).abs().max() < TOLERANCE


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_agrees(model, data):
    p = random_parameters(8)
    with torch.no_grad():
        there = HeadModel(data).cuda()(**{name: value.cuda() for name, value in p.items()}).vertices.cpu()
        assert (there - model(**p).vertices).abs().max() < TOLERANCE


def test_numpy_input_stays_untouched(data):
    template = data.v_template.copy()
    with torch.no_grad():
        HeadModel(data).v_template.add_(1.0)
    assert np.array_equal(data.v_template, template)
