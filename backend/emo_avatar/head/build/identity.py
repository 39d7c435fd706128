"""Identity: a principal-component space of MakeHuman's adults."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from emo_avatar.head.build.lips import Seal
from emo_avatar.head.build.makehuman import TARGETS, MakeHuman
from emo_avatar.head.data import N_SHAPE

N_PEOPLE = 1000  # each is also used mirrored, so that the mean is symmetric and components are even or odd
METRES = 0.1  # per decimetre
FACE_HEIGHT = 6.3  # dm; skin above the larynx is aligned between people

RACES = ("african", "asian", "caucasian")
GENDERS = ("female", "male")
AGES = ("young", "old")
LEVELS = ("min", "average", "max")  # of muscle and weight

REACH_QUANTILE, REACH_OF_NORMAL = 0.99, 2.576  # a standard normal draw stays within 2.576 in 99 of 100 cases

# Standard deviation of the sliders, by folder. At MakeHuman's full range (1) faces become caricatures.
LOCAL_SIGMA = {
    "head": 0.17,
    "forehead": 0.20,
    "eyebrows": 0.20,
    "eyes": 0.17,
    "nose": 0.15,
    "mouth": 0.15,
    "ears": 0.20,
    "chin": 0.17,
    "cheek": 0.18,
    "neck": 0.10,
    "asym": 0.05,
}
SIDE_SIGMA = 0.03  # difference between left and right of the same slider

# Left out: sliders that break the surface, move the head as a whole, or read as caricature at any strength.
EXCLUDED = (
    "ear-shape-pointed",
    "head-trans",
    "head-scale-vert",
    "head-angle",
    "head-square",
    "head-triangular",
    "head-invertedtriangular",
    "head-diamond",
    "head-rectangular",
    "measure-neck",
    "neck-trans",
    "neck-scale-vert",
    "neck-double",
    "asymm-",
    "eye-trans-in",
    "nose-hump",
    "nose-greek",
    "nose-flaring",
    "nose-septumangle",
    "nose-compression",
    "mouth-dimples",
    "mouth-laugh-lines",
    "mouth-philtrum",
    "chin-cleft",
    "chin-jaw-drop",
)
OPPOSITES = (
    ("decr", "incr"),
    ("down", "up"),
    ("in", "out"),
    ("backward", "forward"),
    ("compress", "uncompress"),
    ("concave", "convex"),
    ("left", "right"),
)


@dataclass(frozen=True)
class Slider:
    """A two-sided modifier of MakeHuman."""

    negative: str  # target below TARGETS
    positive: str | None
    sigma: float
    key: str  # shared by the left and the right slider of a pair
    sided: bool


@dataclass(frozen=True)
class IdentitySpace:
    """Mean and components of the aligned base mesh, in the head's space (metres, origin in the middle of the head)."""

    mean: np.ndarray  # [N, 3]; rows of base vertices that no part uses are 0
    components: np.ndarray  # [N, 3, 300] scaled so that a standard normal beta reaches as far as people do
    scale: float  # mean factor from the base mesh (dm) to the head (m)
    explained: np.ndarray  # [300] cumulative share of the variance


def sliders(mh: MakeHuman) -> list[Slider]:
    """The local modifiers: pairs of opposite targets, or single ones."""
    opposite = dict(OPPOSITES) | {b: a for a, b in OPPOSITES}
    found = []
    for folder, sigma in LOCAL_SIGMA.items():
        names = mh.target_names(f"{TARGETS}/{folder}")
        done = set()
        for name in names:
            if name in done or any(word in f"{folder}/{name}" for word in EXCLUDED):
                continue
            stem, _, end = name.rpartition("-")
            other = f"{stem}-{opposite[end]}" if end in opposite else None
            partner = other if other in names else None
            done |= {name, partner}
            sided = name[:2] in ("l-", "r-")
            key = f"{folder}/{name[2:] if sided else name}"
            found.append(Slider(f"{folder}/{name}", partner and f"{folder}/{partner}", sigma, key, sided))
    return found


def _macro_targets() -> dict[tuple[str, ...], str]:
    races: dict[tuple[str, ...], str] = {
        (r, g, a): f"macrodetails/{r}-{g}-{a}" for r in RACES for g in GENDERS for a in AGES
    }
    builds: dict[tuple[str, ...], str] = {
        (g, a, m, w): f"macrodetails/universal-{g}-{a}-{m}muscle-{w}weight"
        for g in GENDERS
        for a in AGES
        for m in LEVELS
        for w in LEVELS
    }
    return races | builds


def _levels(x: float) -> dict[str, float]:
    return {"min": max(0.0, 1 - 2 * x), "average": 1 - abs(2 * x - 1), "max": max(0.0, 2 * x - 1)}


def _macro_weights(rng: np.random.Generator, macros: dict[tuple[str, ...], str]) -> list[float]:
    """A random adult, young ones more often; gender mostly near either end, ancestry mixed."""
    male = rng.beta(0.7, 0.7)
    old = np.clip(rng.choice([rng.normal(0.06, 0.08), rng.uniform(0, 0.6)]), 0, 0.65)
    race = dict(zip(RACES, rng.dirichlet([0.9] * 3), strict=True))
    muscle, weight = (_levels(float(np.clip(rng.normal(0.5, 0.17), 0, 1))) for _ in range(2))
    gender, age = {"female": 1 - male, "male": male}, {"young": 1 - old, "old": old}

    def of(key: tuple[str, ...]) -> float:
        if len(key) == 3:
            return race[key[0]] * gender[key[1]] * age[key[2]]
        return gender[key[0]] * age[key[1]] * muscle[key[2]] * weight[key[3]]

    return [of(key) for key in macros]


def _slider_weights(rng: np.random.Generator, local: list[Slider]) -> tuple[np.ndarray, np.ndarray]:
    negative, positive = np.zeros(len(local)), np.zeros(len(local))
    drawn: dict[str, float] = {}
    for i, slider in enumerate(local):
        value = drawn.setdefault(slider.key, rng.normal(0, slider.sigma))
        if slider.sided:
            value += rng.normal(0, SIDE_SIGMA)
        if slider.positive is None or value < 0:
            negative[i] = np.clip(value if slider.positive is None else -value, 0, 1)
        else:
            positive[i] = min(1.0, value)
    return negative, positive


def _similarity(source: np.ndarray, goal: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Scale, rotation and translation that take ``source [n, 3]`` to ``goal`` in the least-squares sense (Umeyama)."""
    source_mean, goal_mean = source.mean(0), goal.mean(0)
    a, b = source - source_mean, goal - goal_mean
    u, s, vt = np.linalg.svd(a.T @ b)
    rotation = (u @ vt).T
    scale = s.sum() / (a**2).sum()
    return scale, rotation, goal_mean - scale * rotation @ source_mean


def _align(people: np.ndarray, rigid: np.ndarray, rounds: int = 3) -> float:
    """Generalised Procrustes analysis in place on ``people [n, v, 3]`` over the vertices ``rigid``; the mean scale."""
    mean = people[:, rigid].mean(0, dtype=np.float64)
    size = np.linalg.norm(mean - mean.mean(0))
    total = np.ones(len(people))
    for _ in range(rounds):
        centre = mean.mean(0)
        mean = centre + (mean - centre) * size / np.linalg.norm(mean - centre)
        for n, person in enumerate(people):
            scale, rotation, translation = _similarity(person[rigid].astype(np.float64), mean)
            people[n] = scale * person @ rotation.T + translation
            total[n] *= scale
        mean = people[:, rigid].mean(0, dtype=np.float64)
    return float(total.mean())


def sample_people(mh: MakeHuman, used: np.ndarray, rng: np.random.Generator) -> np.ndarray:  # -> [2 n, used, 3] dm
    """Random adults and their mirror images, restricted to the base vertices ``used`` (closed under mirroring)."""
    macros, local = _macro_targets(), sliders(mh)

    def load(name: str | None) -> np.ndarray:
        return mh.target(f"{TARGETS}/{name}")[used] if name else np.zeros((len(used), 3))

    targets = np.stack(
        [load(name) for name in macros.values()] + [load(s.negative) for s in local] + [load(s.positive) for s in local]
    )
    weights = np.stack(
        [np.concatenate([_macro_weights(rng, macros), *_slider_weights(rng, local)]) for _ in range(N_PEOPLE)]
    )
    people = mh.vertices[used] + np.tensordot(weights, targets, 1)
    partner = np.searchsorted(used, mh.mirror[used])
    return np.concatenate([people, people[:, partner] * [-1, 1, 1]]).astype(np.float32)


def build_identity(
    mh: MakeHuman,
    used: np.ndarray,  # [U] base vertices, sorted, closed under mirroring
    surface: np.ndarray,  # [S] base vertices whose variance counts, among the used ones
    seal: Seal,  # applied to every person
    seed: int,
    progress: Callable[[float, str], None],
) -> IdentitySpace:
    """Sample people, align them, and take principal components.

    The components are found on the skin and carried to all ``used`` vertices, so that everything inside the head
    follows.
    """
    progress(0.05, "sampling identities")
    people = sample_people(mh, used, np.random.default_rng(seed))
    progress(0.25, "aligning identities")
    scale = METRES * _align(people, np.flatnonzero(mh.vertices[used, 1] > FACE_HEIGHT))
    operator = seal.operator[used][:, used].astype(np.float32)
    people = METRES * np.stack([operator @ person for person in people])
    progress(0.4, "principal components")
    skin = people[:, np.searchsorted(used, surface)]
    face = skin.mean(0)[mh.vertices[surface, 1] > FACE_HEIGHT]
    origin = np.array([0, *((face.max(0) + face.min(0)) / 2)[1:]])
    mean = people.mean(0, dtype=np.float64)

    deviation = (skin - skin.mean(0)).reshape(len(people), -1).astype(np.float64)
    variance, vectors = np.linalg.eigh(deviation @ deviation.T)
    variance, vectors = variance[::-1], vectors[:, ::-1]
    kept = variance[:N_SHAPE] > 1e-9 * variance[0]
    directions = (people - mean.astype(np.float32)).reshape(len(people), -1).T @ vectors[:, :N_SHAPE]
    # Ages and sexes make some coordinates nearly two-valued; a normal draw of the same variance would leave their
    # range.
    coordinates = vectors[:, :N_SHAPE] * np.sqrt(len(people) - 1)  # [people, 300], unit variance
    reach = np.quantile(np.abs(coordinates), REACH_QUANTILE, axis=0) / REACH_OF_NORMAL
    directions = directions * kept * np.minimum(reach, 1) / np.sqrt(len(people) - 1)
    directions *= np.sign(directions[np.abs(directions).argmax(0), np.arange(N_SHAPE)] + 1e-30)

    full_mean = np.zeros_like(mh.vertices)
    full_mean[used] = mean - origin + scale * seal.offset[used]
    components = np.zeros((*mh.vertices.shape, N_SHAPE))
    components[used] = directions.reshape(len(used), 3, N_SHAPE)
    explained = np.cumsum(variance[:N_SHAPE]) / variance.clip(0).sum()
    return IdentitySpace(full_mean, components, scale, explained)
