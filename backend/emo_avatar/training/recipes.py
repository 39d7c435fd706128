"""Learning the emotion recipes from photographs, by analysis and synthesis with one and the same landmarker.

The landmarker under-reports what it sees: a sneer moves its landmarks by a quarter of the way, a raised inner brow by
two fifths, a raised cheek not at all. So its landmarks are never read as geometry. Each ARKit unit is drawn on the open
head and shown to the landmarker, which tells how that unit looks *to it*; then every photographed emotion is explained
as a bounded mixture of units that looks the same to it as the photograph does. What it is blind to stays as the FACS
prototype of the emotion has it. And nobody's neutral face is quite neutral: what a person habitually wears is added
back to what their emotions show beside it. At last every recipe is tuned to be understood (`training.audience`).
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.optimize import lsq_linear

from emo_avatar.data.portraits import captioned_portraits
from emo_avatar.emotion.recipes import RECIPES_PATH, RECIPES_VERSION
from emo_avatar.evaluation.recognisers import Recogniser, load_recognisers
from emo_avatar.files import write_text
from emo_avatar.head.arkit import arkit_weights
from emo_avatar.head.data import ARKIT_NAMES, HeadData, load_head
from emo_avatar.head.facs import arkit_from_facs, facs_code
from emo_avatar.head.model import HeadModel, vertices_under_units
from emo_avatar.motion.timeline import EMOTIONS
from emo_avatar.render.camera import Camera
from emo_avatar.render.shading import shade
from emo_avatar.tracking.landmarks import FaceLandmarks, detect_faces
from emo_avatar.tracking.topology import (
    FACE_OVAL,
    INNER_LIPS,
    IRISES,
    LEFT_BROW,
    LEFT_EYE,
    N_LANDMARKS,
    OUTER_LIPS,
    RIGHT_BROW,
    RIGHT_EYE,
    index_mask,
)
from emo_avatar.training.audience import Player, troupe, tuned
from emo_avatar.training.eye_region import height_rates, heights, with_clear_eyes

Progress = Callable[[float, str], None]

AUDIENCE = ("face-api", "fer")
LOOKING = 0.1  # share of the work that is done before the first emotion

# EMFACS (Friesen and Ekman 1983) at the apex, A trace to E maximum.
PROTOTYPES = {
    "happy": "6E+7B+12E+25C+26A",
    "sad": "1E+4A+15E+17A",
    "angry": "4E+5B+7B+9C+15D+17B+23C+24B",
    "disgust": "9E+10E+6C+4B+7B+15C+17A",
    "fear": "1E+2A+4C+5E+15C+16C+20E+25D+26B",
    "surprised": "1E+2E+5E+26E",
}
# Full weight goes beyond what the people in the photographs did, for geometry has to speak without their wrinkles;
# how far, was found by looking at avatars beside the photographs.
APEX = {"happy": 1.05, "sad": 2.2, "angry": 2.2, "disgust": 1.7, "fear": 1.65, "surprised": 1.15}
LOWERING = 1.5  # times as far as the people's may brows and lids come down; farther, they hide the eyes
CAPTIONS = {"surprised": ("surprised", "shocked")}  # others: their own name
# Units that emotions do not consist of, or that the landmarker confuses with turning the head.
LEFT_OUT = (
    "eyeLookDown", "eyeLookIn", "eyeLookOut", "eyeLookUp", "jaw", "jawForward", "mouth", "mouthClose", "cheekPuff",
    "tongueOut",
)  # fmt: skip
# Units that could explain away what others do (a raised corner of the mouth): only where the prototype has them.
SUSPECT = ("mouthSmile", "mouthDimple", "mouthPress", "mouthShrugUpper")
# How far a unit of the open head goes before it looks wrong; found by looking.
MOST = {
    "browDown": 1.3, "browInnerUp": 2.0, "browOuterUp": 1.6, "eyeBlink": 0.3, "eyeSquint": 0.8, "eyeWide": 1.8,
    "jawOpen": 0.7, "mouthFrown": 1.8, "mouthFunnel": 0.5, "mouthPucker": 0.4, "mouthShrugLower": 0.8,
    "mouthShrugUpper": 0.3, "mouthSmile": 1.4, "mouthStretch": 1.6, "mouthUpperUp": 1.25, "noseSneer": 1.6,
}  # fmt: skip
MOST_OTHERWISE = 1.2
# How far a weight may stray from its prior, where the prototype has the unit and where it has not, if the landmarker
# sees all of the unit; in proportion less if it sees less.
BELIEF, DOUBT = 0.6, 0.2
LANDMARK_NOISE = 0.003  # metres, of landmarks and of the assumption that all faces move like the open head
INDEPENDENT_LANDMARKS = 60  # the detector's errors are correlated: its 468 points tell as much as so many
PROBE = 0.4  # weight by which a unit is varied to see what it looks like
SIZE, FOV, DISTANCE = 448, 18.0, 1.0  # px, degrees, metres
BACKGROUND = 0.6  # grey
STYLES = 2  # of each emotion
LEAST_VISIBILITY = 0.05  # of a unit; a spread of zero would divide by zero
LEAST = 0.02  # weights below this are not worth writing down

_BROWS, _EYES, _LIPS = RIGHT_BROW + LEFT_BROW, RIGHT_EYE + LEFT_EYE, OUTER_LIPS + INNER_LIPS


def _importance() -> np.ndarray:  # [478]
    """How much each landmark says about an expression."""
    importance = np.full(N_LANDMARKS, 0.5)
    for group, value in ((_LIPS, 1.0), (_BROWS, 1.5), (_EYES, 1.5), (FACE_OVAL, 0.2), (IRISES, 0.0)):
        importance[index_mask(group)] = value
    return importance


def _stability(points: np.ndarray) -> np.ndarray:  # [478, 3] head frame -> [478]
    """How well each landmark stays with the skull."""
    stability = np.ones(N_LANDMARKS)
    for group, value in ((_LIPS, 0.02), (_BROWS, 0.05), (_EYES, 0.2), (FACE_OVAL, 0.1), (IRISES, 0.0)):
        stability[index_mask(group)] = value
    nose_base = 2
    stability[points[:, 1] < points[nose_base, 1]] *= 0.05  # the lower face moves with the jaw
    return stability


IMPORTANCE = _importance()


class Synthesis:
    """The open head as the landmarker sees it."""

    def __init__(self, head: HeadData) -> None:
        if head.landmarks478 is None:
            raise ValueError(f"The head {head.name} has no landmarks to compare with the landmarker's.")
        self._head, self._model, self._embedding = head, HeadModel(head), head.landmarks478
        eyes = head.part("eye_left") | head.part("eye_right")
        middle_of_face = head.v_template[eyes].mean(0) - (0, 0.03, 0)
        self._camera = Camera.orbit(middle_of_face, DISTANCE, fov=FOV, size=SIZE)
        self.neutral = self._seen(np.zeros(len(ARKIT_NAMES), np.float32))  # [478, 3] metres

    def displacement(self, weights: np.ndarray) -> np.ndarray:  # [52] -> [478, 2] metres
        """How the landmarks move from neutral, as seen, when ARKit ``weights`` are shown."""
        return displacement(self.neutral, self._seen(weights), self.neutral)

    def visibility(self, unit: np.ndarray, seen: np.ndarray) -> float:  # [52], [478, 2] -> 0 to 1
        """The share of a unit's true motion, of which ``seen`` is the landmarker's idea, that it reports."""
        true = (self.landmarks(unit) - self.landmarks(np.zeros_like(unit)))[:, :2] * IMPORTANCE[:, None]
        return float(np.clip((true * seen).sum() / (true**2).sum(), 0.0, 1.0))

    def landmarks(self, weights: np.ndarray) -> np.ndarray:  # [52] -> [478, 3] metres
        """Where the landmarks truly are."""
        corners = self._vertices(weights)[self._head.faces[self._embedding.faces]]  # [478, 3, 3]
        return (corners * self._embedding.barycentric[..., None]).sum(1)

    def _vertices(self, weights: np.ndarray) -> np.ndarray:  # [52] -> [V, 3]
        return vertices_under_units(self._head, self._model, weights)

    def _seen(self, weights: np.ndarray) -> np.ndarray:  # [52] -> [478, 3] metres
        drawn = shade(self._head, self._vertices(weights), self._camera, rest=self._head.v_template)
        metres_per_pixel = 2 * DISTANCE * np.tan(np.radians(FOV) / 2) / SIZE
        return metres_per_pixel * upright(_face_on(_over_grey(drawn), "the open head").points)


def learn_recipes(
    output: Path = RECIPES_PATH,
    progress: Progress = lambda fraction, doing: None,
    audience: Collection[str] = AUDIENCE,
) -> None:
    """Learn all recipes from the captioned portraits and write them as JSON.

    ``audience`` names the recognisers that they are tuned for (`training.audience`); nobody: they are not.
    """
    recognisers = [r for r in load_recognisers() if r.name in audience] if audience else []
    players = troupe(lambda done: progress(LOOKING * done, "gathering people")) if recognisers else []
    progress(LOOKING, "looking at portraits")
    faces = {(p.person, p.emotion): _face_on(p.rgb, f"{p.person}, {p.emotion}") for p in captioned_portraits()}
    people = sorted({person for person, _ in faces})
    synthesis = Synthesis(load_head())
    habits = resting_habits([faces[person, "neutral"] for person in people])  # [P, 52]
    worn = [synthesis.displacement(habit) for habit in habits]
    recipes = {}
    for i, emotion in enumerate(EMOTIONS):
        share = functools.partial(_share, progress, i, emotion)
        share(0.0)
        shown, names = [], []
        for caption in CAPTIONS.get(emotion, (emotion,)):
            for person, habit in zip(people, worn, strict=True):
                before, after = (upright(faces[person, name].points) for name in ("neutral", caption))
                shown.append(habit + displacement(before, after, synthesis.neutral))
                names.append(f"{person} {caption}")
        weights = exaggerated(explain(shown, emotion, synthesis), shown, emotion, synthesis)
        if players:
            weights = _tuned(weights, emotion, players, recognisers, share)
        recipes[emotion] = styles(weights, names)
    document = {
        "version": RECIPES_VERSION,
        "learnt_from": people,
        "tuned_for": [r.name for r in recognisers],
        "emotions": recipes,
    }
    write_text(output, json.dumps(document, indent=1) + "\n")


def _share(progress: Progress, emotion: int, name: str, done: float) -> None:
    progress(LOOKING + (1 - LOOKING) * (emotion + done) / len(EMOTIONS), name)


def _tuned(
    weights: np.ndarray,
    emotion: str,
    players: list[Player],
    recognisers: list[Recogniser],
    progress: Callable[[float], None],
) -> np.ndarray:  # [N, 52] -> [N, 52]
    """All styles moved as their mean is moved when an audience is to understand it."""
    stems, units = symmetric_units()
    of_units = units.T / units.sum(1)  # [52, S]
    mean, most = weights.mean(0) @ of_units, most_of(stems)
    after = tuned(mean, emotion, prototype(emotion, units), stems, units, most, players, recognisers, progress)
    return np.clip(weights @ of_units + after - mean, 0, np.maximum(most, mean)) @ units


def resting_habits(neutral: list[FaceLandmarks]) -> np.ndarray:  # [P, 52]
    """What each person's neutral face wears beyond the others': the excess of its scores over the median person's."""
    stems, units = symmetric_units()
    scores = np.stack([face.blendshapes for face in neutral])
    excess = np.maximum(scores - np.median(scores, axis=0), 0)
    both_sides = excess @ units.T / units.sum(1)  # [P, S]
    return (both_sides @ units).astype(np.float32)


def explain(shown: list[np.ndarray], emotion: str, synthesis: Synthesis) -> np.ndarray:  # N x [478, 2] -> [N, 52]
    """ARKit weights that look to the landmarker as each of the photographs of an emotion does.

    Linear around the emotion's prototype: minimise the landmarks' misfit plus the squared distance from the prototype,
    between zero and the most that each unit takes.
    """
    stems, units = symmetric_units()  # [S, 52]
    prior = prototype(emotion, units)
    most = most_of(stems) / APEX[emotion]
    most[[stem in SUSPECT and prior[i] == 0 for i, stem in enumerate(stems)]] = 0
    prior = np.minimum(prior, most)

    def look(mixture: np.ndarray) -> np.ndarray:  # [S] -> [478, 2]
        return synthesis.displacement((mixture @ units).astype(np.float32))

    looks, spread = [], []
    for unit, row in enumerate(units):
        more, less = prior.copy(), prior.copy()
        more[unit] += PROBE
        less[unit] = max(less[unit] - PROBE, 0)
        looks.append((look(more) - look(less)) / (more[unit] - less[unit]))
        visibility = synthesis.visibility(row.astype(np.float32), looks[-1])
        spread.append(max(visibility, LEAST_VISIBILITY) * (BELIEF if prior[unit] > 0 else DOUBT))
    confidence = np.sqrt(IMPORTANCE * INDEPENDENT_LANDMARKS / IMPORTANCE.sum()) / LANDMARK_NOISE  # [478]
    jacobian = (np.array(looks) * confidence[:, None]).reshape(len(stems), -1).T  # [956, S]
    design = np.concatenate([jacobian, np.diag(1 / np.array(spread))])
    offset = (look(prior) * confidence[:, None]).ravel() - jacobian @ prior
    mixtures = []
    for photograph in shown:
        wanted = (photograph * confidence[:, None]).ravel() - offset
        mixtures.append(lsq_linear(design, np.concatenate([wanted, prior / spread]), (0, most + 1e-6)).x)
    return np.array(mixtures) @ units


def exaggerated(
    weights: np.ndarray, shown: list[np.ndarray], emotion: str, synthesis: Synthesis
) -> np.ndarray:  # [N, 52], N x [478, 2] -> [N, 52]
    """Full weight of what each photograph shows, with brows and lids little nearer to the eyes than they are there."""
    stems, units = symmetric_units()
    yielding = np.array([stem.startswith(("brow", "eye", "nose")) for stem in stems])
    may_rise = yielding & (prototype(emotion, units) > 0)
    rates = height_rates(synthesis.landmarks, units)
    rest = heights(synthesis.neutral)
    full = APEX[emotion] * weights @ units.T / units.sum(1)  # [N, S]
    cleared = []
    for mixture, photograph in zip(full, shown, strict=True):
        lowered = np.minimum(heights(synthesis.neutral[:, :2] + photograph) / rest - 1, 0)
        at_least = 1 + LOWERING * lowered - rates[:, ~yielding] @ mixture[~yielding]
        most = np.where(may_rise, most_of(stems), mixture)[yielding]
        mixture[yielding] = with_clear_eyes(mixture[yielding], at_least, rates[:, yielding], most)
        cleared.append(mixture)
    return np.array(cleared) @ units


def prototype(emotion: str, units: np.ndarray) -> np.ndarray:  # [S, 52] -> [S]
    """What FACS says of an emotion, in symmetric units."""
    return (units * arkit_from_facs(facs_code(PROTOTYPES[emotion]))).max(1)


def most_of(stems: tuple[str, ...]) -> np.ndarray:  # [S]
    """How far each unit may go."""
    return np.array([MOST.get(stem, MOST_OTHERWISE) for stem in stems])


def symmetric_units() -> tuple[tuple[str, ...], np.ndarray]:  # S stems, [S, 52]
    """The units that emotions are made of, left and right as one: nobody's lopsidedness is a recipe."""
    both_sides = dict.fromkeys(name.removesuffix("Left").removesuffix("Right") for name in ARKIT_NAMES)
    stems = tuple(stem for stem in both_sides if stem not in LEFT_OUT)
    return stems, np.stack([arkit_weights(**{stem: 1.0}) for stem in stems])


def styles(weights: np.ndarray, names: list[str]) -> list[dict]:  # [N, 52]
    """The photographs in `STYLES` groups that look alike (Ward's clustering), each averaged."""
    group = fcluster(linkage(weights, "ward"), STYLES, "maxclust")
    strength = np.linalg.norm(weights.mean(0))
    found = []
    for label in np.unique(group):
        members = np.flatnonzero(group == label)
        mean = weights[members].mean(0)
        found.append(
            {
                "style": ", ".join(names[i] for i in members),
                "share": round(len(members) / len(weights), 3),
                "intensity": round(float(np.linalg.norm(mean) / strength), 3),
                "weights": {n: round(float(w), 3) for n, w in zip(ARKIT_NAMES, mean, strict=True) if w >= LEAST},
            }
        )
    return sorted(found, key=lambda style: -style["share"])


def displacement(before: np.ndarray, after: np.ndarray, rest: np.ndarray) -> np.ndarray:  # [478, 3] each -> [478, 2]
    """How landmarks moved on the face, in the scale and orientation of ``rest``, with the head's own motion removed."""
    neutral = _moved(before, _similarity(before, rest, IMPORTANCE))
    expressive = _moved(after, _similarity(after, neutral, _stability(rest)))
    return (expressive - neutral)[:, :2]


def upright(landmarks: np.ndarray) -> np.ndarray:  # [478, 3] px -> [478, 3] with y up and z towards the viewer
    return landmarks.astype(np.float64) * (1, -1, -1)


def _similarity(
    source: np.ndarray, target: np.ndarray, weights: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray]:  # [N, 3], [N, 3], [N]
    """Scale, rotation and translation that bring source to target (Umeyama 1991), weighted."""
    a, b = np.average(source, 0, weights), np.average(target, 0, weights)
    u, s, vt = np.linalg.svd(((source - a) * weights[:, None]).T @ (target - b))
    s[2] *= np.sign(np.linalg.det(u @ vt))
    u[:, 2] *= np.sign(np.linalg.det(u @ vt))
    rotation = u @ vt
    scale = s.sum() / (weights[:, None] * (source - a) ** 2).sum()
    return scale, rotation, b - scale * a @ rotation


def _moved(points: np.ndarray, similarity: tuple[float, np.ndarray, np.ndarray]) -> np.ndarray:
    scale, rotation, translation = similarity
    return scale * points @ rotation + translation


def _over_grey(rgba: np.ndarray) -> np.ndarray:  # [H, W, 4] -> [H, W, 3] uint8
    alpha = rgba[..., 3:] / 255
    return np.round(rgba[..., :3] * alpha + 255 * BACKGROUND * (1 - alpha)).astype(np.uint8)


def _face_on(rgb: np.ndarray, what: str) -> FaceLandmarks:
    faces = detect_faces(rgb)
    if not faces:
        raise ValueError(f"The landmarker finds no face on {what}.")
    return faces[0]
