"""The 52 ARKit blendshape weights as FLAME parameters, and back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
from scipy.optimize import lsq_linear

from emo_avatar.head.data import ARKIT_NAMES, N_EXPRESSION, HeadData

# Relative weight of |w|^2 in the inverse. It decides only what the face cannot tell, such as how much of jawLeft and
# jawRight cancels (none), and biases the rest by less than this fraction.
RIDGE = 1e-7
MAX_ACTIVE_SET_STEPS = 30
# Frames solved together; bounds the [frames, 52, 52] scratch to about 20 MB.
FRAMES_AT_A_TIME = 1024


def arkit_weights(**values: float) -> np.ndarray:  # [52]
    """The weight vector with the named units set; ``mouthSmile`` without a side means left and right.

    Raises:
        KeyError: a name is neither an ARKit unit nor the stem of a left and a right one.
    """
    weights = np.zeros(len(ARKIT_NAMES), np.float32)
    for name, value in values.items():
        units = [name] if name in ARKIT_NAMES else [f"{name}Left", f"{name}Right"]
        for unit in units:
            if unit not in ARKIT_NAMES:
                raise KeyError(f"{name} is no ARKit blendshape")
            weights[ARKIT_NAMES.index(unit)] = value
    return weights


def flame_from_arkit(
    head: HeadData,
    weights: np.ndarray,  # [..., 52] usually in [0, 1], any range allowed
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # expression [..., 100], jaw [..., 3], eyes [..., 6] radians
    """FLAME parameters of ARKit weights: linear, and exact for every single unit of the open head."""
    weights = np.asarray(weights, np.float32)
    pose = weights @ head.arkit_to_pose
    return weights @ head.arkit_to_expr, pose[..., :3], pose[..., 3:]


def arkit_from_flame(
    head: HeadData,
    expression: np.ndarray,  # [T, 100] or [100]
    jaw: np.ndarray,  # [T, 3] or [3] radians
    eyes: np.ndarray,  # [T, 6] or [6] radians
    *,
    lower: float = 0.0,
    upper: float = 1.0,
) -> np.ndarray:  # [T, 52] or [52] in [lower, upper]
    """The ARKit weights whose face is closest to the given one, in metres over all vertices.

    Bounded least squares. Where several answers give the same face the smallest is returned: opposite units such as
    jawLeft and jawRight never cancel each other, and a unit that the head does not have stays at zero.
    """
    return ARKitInverse.of(head).solve(expression, jaw, eyes, lower=lower, upper=upper)


@dataclass(frozen=True)
class ARKitInverse:
    """What `arkit_from_flame` works out for a head before it solves: worth keeping when frames come one by one."""

    gram: np.ndarray  # [52, 52] m^2, of the units' vertex displacements
    projection: np.ndarray  # [109, 52] m^2, of (expression, jaw, eyes) onto the units

    @classmethod
    def of(cls, head: HeadData) -> ARKitInverse:
        units = np.concatenate([head.arkit_to_expr, head.arkit_to_pose], axis=1).astype(np.float64)  # [52, 109]
        projection = parameter_metric(head) @ units.T
        gram = units @ projection
        return cls(gram + RIDGE * np.trace(gram) / len(gram) * np.eye(len(gram)), projection)

    def solve(
        self, expression: np.ndarray, jaw: np.ndarray, eyes: np.ndarray, *, lower: float = 0.0, upper: float = 1.0
    ) -> np.ndarray:  # [T, 52] or [52]
        """As `arkit_from_flame`."""
        parameters = np.concatenate([expression, jaw, eyes], axis=-1).astype(np.float64)  # [..., 109]
        targets = parameters.reshape(-1, parameters.shape[-1]) @ self.projection  # [T, 52]
        chunks = [targets[i : i + FRAMES_AT_A_TIME] for i in range(0, len(targets), FRAMES_AT_A_TIME)]
        solved = [solve_bounded(self.gram, chunk, lower, upper) for chunk in chunks] or [np.zeros((0, len(self.gram)))]
        return np.concatenate(solved).reshape(*parameters.shape[:-1], len(self.gram)).astype(np.float32)


def parameter_metric(head: HeadData) -> np.ndarray:  # [109, 109] m^2
    """The quadratic form x^T M x: summed squared vertex displacement of a small (expression, jaw, eyes) change."""
    dirs = head.shapedirs[:, :, -N_EXPRESSION:].reshape(-1, N_EXPRESSION)
    jacobian = np.concatenate([dirs, pose_jacobian(head)], axis=1)  # [3V, 109]
    return (jacobian.T @ jacobian).astype(np.float64)


def pose_jacobian(head: HeadData) -> np.ndarray:  # [3V, 9] metres per radian
    """Vertex displacement of small jaw, left-eye and right-eye rotations of the neutral head."""
    columns = []
    for joint in (2, 3, 4):
        arm = head.v_template - head.J_regressor[joint] @ head.v_template  # [V, 3]
        correctives = head.posedirs[:, :, 9 * (joint - 1) : 9 * joint]  # [V, 3, 9] over R - I, row-major
        for axis in np.eye(3, dtype=np.float32):
            generator = np.cross(axis, np.eye(3)).T  # [3, 3], d(R - I)/d(angle) at zero
            rigid = head.weights[:, joint, None] * np.cross(axis, arm)
            columns.append((rigid + correctives @ generator.ravel().astype(np.float32)).ravel())
    return np.stack(columns, axis=1)


def solve_bounded(
    gram: np.ndarray,  # [N, N] positive definite
    targets: np.ndarray,  # [T, N]
    lower: float | np.ndarray,
    upper: float | np.ndarray,  # both broadcast to [T, N]
) -> np.ndarray:  # [T, N]
    """Minimise ``w^T gram w / 2 - target^T w`` over ``lower <= w <= upper`` for many targets at once.

    Primal-dual active set (Hintermueller, Ito and Kunisch, 2003): guess which bounds hold, solve for the rest, correct
    the guess; a handful of steps. A rare frame on which the guesses cycle is solved by bounded-variable least squares.
    """
    n = len(gram)
    w = np.linalg.solve(gram, targets.T).T
    multiplier = np.zeros_like(w)  # gradient at the bounds, positive where the upper one holds
    scale = np.diag(gram)
    pending = np.arange(len(targets))
    lower, upper = np.broadcast_to(lower, w.shape), np.broadcast_to(upper, w.shape)
    at_lower, at_upper = w < lower, w > upper
    pending = pending[(at_lower | at_upper).any(axis=1)]
    for _ in range(MAX_ACTIVE_SET_STEPS):
        if not len(pending):
            return w
        low, high = at_lower[pending], at_upper[pending]
        free = ~(low | high)
        fixed = np.where(low, lower[pending], np.where(high, upper[pending], 0.0))
        rhs = np.where(free, targets[pending] - fixed @ gram, fixed)
        system = np.where(free[:, :, None] & free[:, None, :], gram, np.eye(n))
        w[pending] = np.linalg.solve(system, rhs[..., None])[..., 0]
        multiplier[pending] = np.where(free, 0.0, targets[pending] - w[pending] @ gram)
        shifted = w[pending] + multiplier[pending] / scale
        new_low, new_high = shifted < lower[pending], shifted > upper[pending]
        at_lower[pending], at_upper[pending] = new_low, new_high
        pending = pending[((new_low != low) | (new_high != high)).any(axis=1)]
    factor = scipy.linalg.cholesky(gram)  # gram = factor^T factor
    for t in pending:
        rhs = scipy.linalg.solve_triangular(factor, targets[t], trans="T")
        w[t] = lsq_linear(factor, rhs, (lower[t], upper[t]), method="bvls").x
    return w
