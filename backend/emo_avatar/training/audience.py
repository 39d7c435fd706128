"""Recipes tuned to be understood: an emotion is what an audience takes a face for.

What photographs say of an emotion (`training.recipes`) is where the search begins and what it is held to. Avatars lack
part of what the photographs had (deep wrinkles, wet eyes), and at full weight must be read without it, by everybody and
on everybody. So a few units are moved by CMA-ES (Hansen and Ostermeier 2001) until two recognisers read the emotion on
a troupe of people, while the person stays recognisable (SFace) and the face near to what the photographs showed.

The troupe is the people that recipes are learnt from anyway, invented people of training seeds, and the open head;
whoever judges recipes has to look at others. How far a recogniser that had no say is convinced, too, is told by
tuning for one of the two alone (`learn_recipes`'s ``audience``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import cma
import numpy as np

from emo_avatar.avatar.avatar import Avatar
from emo_avatar.backbones.make import Backbone
from emo_avatar.data.portraits import PEOPLE
from emo_avatar.errors import UserError
from emo_avatar.evaluation.held_out import cases
from emo_avatar.evaluation.identity import embed_face
from emo_avatar.evaluation.portrait import standard_portraits
from emo_avatar.evaluation.recognisers import LABELS, Recogniser
from emo_avatar.evaluation.recognition import BACKGROUND, face_crop, head_picture
from emo_avatar.export.pictures import picture
from emo_avatar.head.arkit import flame_from_arkit
from emo_avatar.head.data import HeadData, open_head
from emo_avatar.head.model import HeadModel, vertices_under_units
from emo_avatar.motion.flame_sequence import FlameSequence
from emo_avatar.motion.timeline import emotion_weights
from emo_avatar.tracking.landmarks import detect_faces
from emo_avatar.tracking.portrait import track_portrait

FIRST_INVENTED, INVENTED = 900_000, 5  # seeds of people that training may use
SIZE = 320  # px
YAWS = (-10.0, 0.0, 0.0, 10.0)  # degrees; one of them for each face
SEEN_AT_ONCE = 5  # of the troupe, in one generation
POPULATION, EVALUATIONS, SEED = 10, 320, 1
STEP = 0.25  # of a weight, at first
CONVINCED = 0.8  # probability from which on more is worth nothing
UNREAD = 3.0  # cost of an emotion that is not read at all, however wrong
RECOGNISABLE, IDENTITY = 0.70, 6.0  # cosine to the own neutral face, below which what is missing costs so much
STRAY, PRIOR = 0.4, 0.8  # weight by which a unit strays from what photographs say, and its cost
REACH = 0.45  # weight that no unit strays farther by
RELEVANT = 0.1  # weight in the recipe from which on a unit is tuned
# Tuned even where neither the photographs nor the prototype have them; not the jaw where the prototype presses lips.
ALSO = (
    "browDown", "browInnerUp", "browOuterUp", "cheekSquint", "eyeSquint", "eyeWide", "jawOpen",
    "mouthFrown", "mouthFunnel", "mouthLowerDown", "mouthPress", "mouthPucker", "mouthShrugLower", "mouthStretch",
    "mouthUpperUp", "noseSneer",
)  # fmt: skip

Picture = Callable[[np.ndarray, str, float], np.ndarray]  # ARKit weights [52], emotion, yaw -> [S, S, 3] uint8


@dataclass(frozen=True, eq=False)
class Player:
    """Somebody who shows expressions to the audience."""

    show: Picture
    self: np.ndarray | None  # [128] embedding of the neutral face; None: nobody in particular


def troupe(progress: Callable[[float], None] = lambda fraction: None) -> list[Player]:
    """Avatars of the people that recipes are learnt from and of invented ones, and the open head."""
    head = open_head()
    photographs = [standard_portraits()[person] for person in PEOPLE]
    portraits: Iterator = (track_portrait(photograph, head) for photograph in photographs)
    invented = (case.portrait for case in cases(INVENTED, instants=1, first=FIRST_INVENTED))
    players = []
    for found in (portraits, invented):
        for portrait in found:
            show = _avatar(Backbone().make(portrait, head)[0])
            players.append(Player(show, _embedding(show(np.zeros(52, np.float32), "neutral", 0.0))))
            progress(len(players) / (len(photographs) + INVENTED))
    return [*players, Player(_mesh(head), None)]


def tuned(
    mixture: np.ndarray,  # [S] weights of symmetric units
    emotion: str,
    prototype: np.ndarray,  # [S]
    stems: Sequence[str],
    units: np.ndarray,  # [S, 52]
    most: np.ndarray,  # [S]
    players: Sequence[Player],
    recognisers: Sequence[Recogniser],
    progress: Callable[[float], None] = lambda fraction: None,
    evaluations: int = EVALUATIONS,
) -> np.ndarray:  # [S]
    """The mixture of units near ``mixture`` by which the audience reads the emotion best."""
    pressed = prototype[list(stems).index("mouthPress")] > 0
    also = np.isin(stems, [stem for stem in ALSO if not (pressed and stem == "jawOpen")])
    free = np.flatnonzero((mixture > RELEVANT) | (prototype > 0) | also)
    rng = np.random.default_rng(SEED)

    low, high = np.maximum(mixture - REACH, 0)[free], np.minimum(mixture + REACH, most)[free]

    def weights(x: np.ndarray) -> np.ndarray:  # [F] -> [S]
        out = mixture.copy()
        out[free] = np.clip(x, low, high)
        return out

    def cost(x: np.ndarray, seen: list[tuple[Player, float]]) -> float:
        shown = weights(x)
        face = (shown @ units).astype(np.float32)
        judged = [judgement(player, face, emotion, yaw, recognisers) for player, yaw in seen]
        strayed = (((shown - mixture)[free] / STRAY) ** 2).mean()
        outside = ((x - np.clip(x, low, high)) ** 2).sum()
        return float(np.mean(judged) + PRIOR * strayed + outside)

    search = cma.CMAEvolutionStrategy(
        mixture[free], STEP, {"popsize": POPULATION, "seed": SEED, "maxfevals": evaluations, "verbose": -9}
    )
    while not search.stop():
        chosen = rng.choice(len(players), min(SEEN_AT_ONCE, len(players)), replace=False)
        seen = [(players[i], YAWS[rng.integers(len(YAWS))]) for i in chosen]  # the same for a whole generation
        asked = search.ask()
        search.tell(asked, [cost(x, seen) for x in asked])
        progress(search.countevals / evaluations)
    return weights(search.mean)


def judgement(
    player: Player, weights: np.ndarray, emotion: str, yaw: float, recognisers: Sequence[Recogniser]
) -> float:  # weights [52]
    """What is wrong with a face that should show an emotion: that it is not read, and that it is somebody else's."""
    shown = player.show(weights, emotion, yaw)
    faces = detect_faces(shown)
    if not faces:
        return UNREAD
    landmarks, label = faces[0].points, LABELS.index(emotion)
    read = np.array([float(r(face_crop(shown, landmarks, r.margin))[0, label]) for r in recognisers])
    unread = np.clip(np.log(CONVINCED) - np.log(np.maximum(read, 1e-6)), 0, UNREAD).mean()
    if player.self is None or yaw:
        return float(unread)
    return float(unread + IDENTITY * max(RECOGNISABLE - float(embed_face(shown, landmarks) @ player.self), 0))


def _avatar(avatar: Avatar) -> Picture:
    def show(weights: np.ndarray, emotion: str, yaw: float) -> np.ndarray:
        expression, jaw, _ = flame_from_arkit(open_head(), weights)
        still = replace(
            FlameSequence.still(1),
            head=avatar.rig.head.name,
            expression=expression[None].astype(np.float32),
            jaw_pose=jaw[None].astype(np.float32),
            emotions=emotion_weights({emotion: 1.0} if emotion != "neutral" else {})[None],
        )
        return picture(avatar.pose(still), avatar.camera(yaw=yaw, size=SIZE), BACKGROUND)

    return show


def _mesh(head: HeadData) -> Picture:
    model = HeadModel(head)

    def show(weights: np.ndarray, emotion: str, yaw: float) -> np.ndarray:
        return head_picture(head, vertices_under_units(head, model, weights), yaw, SIZE)

    return show


def _embedding(rgb: np.ndarray) -> np.ndarray:  # [S, S, 3] uint8 -> [128]
    faces = detect_faces(rgb)
    if not faces:
        raise UserError("No face is found on a neutral avatar, so that recipes cannot be tuned on it.")
    return embed_face(rgb, faces[0].points)
