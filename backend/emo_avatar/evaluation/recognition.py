"""Are the emotions recognised? Faces as two networks classify them.

Both had a say in the recipes (`emo_avatar.training.audience`), on the first five captioned people and on invented ones
of training seeds; all others are new to them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image

from emo_avatar.avatar.avatar import Avatar
from emo_avatar.backbones.make import Backbone
from emo_avatar.data.portraits import captioned_portraits
from emo_avatar.emotion.apply import apply_emotions
from emo_avatar.evaluation.held_out import Case
from emo_avatar.evaluation.image import over
from emo_avatar.evaluation.recognisers import LABELS, Recogniser, load_recognisers
from emo_avatar.export.performance import perform
from emo_avatar.export.pictures import picture, to_uint8
from emo_avatar.head.data import HeadData, load_head, open_head
from emo_avatar.head.model import HeadModel
from emo_avatar.motion.flame_sequence import FRAME_FIELDS, FlameSequence
from emo_avatar.motion.timeline import emotion_weights
from emo_avatar.render.camera import Camera
from emo_avatar.render.shading import shade
from emo_avatar.tracking.landmarks import detect_faces

CROP_SIZE = 192  # px, above what either network takes in
N_MESH = 468  # landmarks of the face; the irises, which follow, lie inside them
YAWS = (0.0, -10.0, 10.0)  # degrees
SIZE = 512  # px
BACKGROUND = (0.5, 0.5, 0.5)
HEAD_DISTANCE = 1.0  # metres; the open head then fills most of the picture
PATH_SIZE, PATH_WINDOW = 320, 5  # px; steps of a path over which a recogniser's flutter is averaged
UNSEEN = "no face"  # column of the confusion matrix for pictures in which no face is found
# On pictures of people who really show them these reach 90 and 88 %.
TARGETS = {"face-api": 0.88, "fer": 0.80}
WEAK = 0.5  # an emotion recognised less often than this is named as failing


@dataclass(frozen=True)
class LabelledFace:
    """A picture that should show an emotion."""

    subject: str
    emotion: str  # one of LABELS
    rgb: np.ndarray  # [H, W, 3] uint8


@dataclass(frozen=True)
class Recognition:
    """What one recogniser made of a set of faces."""

    recogniser: str
    confusion: np.ndarray  # [7, 8] int, rows as in LABELS, columns as in LABELS and then UNSEEN

    rows: ClassVar = LABELS
    columns: ClassVar = (*LABELS, UNSEEN)

    @property
    def accuracy(self) -> float:
        return float(np.trace(self.confusion) / max(self.confusion.sum(), 1))

    @property
    def target(self) -> float:
        return TARGETS[self.recogniser]

    @property
    def recall(self) -> dict[str, float]:
        """How often each emotion is recognised as itself."""
        shown = np.maximum(self.confusion.sum(1), 1)
        return {label: float(self.confusion[i, i] / shown[i]) for i, label in enumerate(LABELS)}

    @property
    def failing(self) -> tuple[str, ...]:
        return tuple(label for label, recall in self.recall.items() if recall < WEAK)

    def to_json(self) -> dict[str, Any]:
        return {
            "recogniser": self.recogniser,
            "accuracy": self.accuracy,
            "target": self.target,
            "passed": self.accuracy >= self.target,
            "recall": self.recall,
            "failing": self.failing,
            "columns": self.columns,
            "confusion": self.confusion.tolist(),
        }


def total(results: Iterable[tuple[Recognition, ...]]) -> tuple[Recognition, ...]:
    """The results of several subjects, which the same recognisers judged, as one."""
    return tuple(
        Recognition(same[0].recogniser, np.sum([result.confusion for result in same], axis=0))
        for same in zip(*results, strict=True)
    )


def recognise(
    faces: Iterable[LabelledFace], recognisers: Sequence[Recogniser] | None = None
) -> tuple[Recognition, ...]:
    """Classify every face with every recogniser, each on the crop it is used to."""
    recognisers = recognisers or load_recognisers()
    confusion = np.zeros((len(recognisers), len(LABELS), len(LABELS) + 1), int)
    for face in faces:
        row = LABELS.index(face.emotion)
        for i, probabilities in enumerate(probabilities_of(face.rgb, recognisers)):
            seen = len(LABELS) if probabilities is None else int(probabilities.argmax())
            confusion[i, row, seen] += 1
    return tuple(Recognition(r.name, c) for r, c in zip(recognisers, confusion, strict=True))


def probabilities_of(
    rgb: np.ndarray, recognisers: Sequence[Recogniser]
) -> list[np.ndarray | None]:  # [H, W, 3] uint8 -> R x [7]
    """What each recogniser makes of the largest face in a picture; None when there is no face."""
    found = detect_faces(rgb)
    if not found:
        return [None] * len(recognisers)
    return [r(face_crop(rgb, found[0].points, r.margin))[0].numpy() for r in recognisers]


def face_crop(rgb: np.ndarray, landmarks: np.ndarray, margin: float) -> torch.Tensor:  # -> [1, 3, S, S] in [0, 1]
    """The square around the landmarks' box, ``margin`` times its longer side; what lies off the picture is black."""
    low, high = landmarks[:N_MESH, :2].min(0), landmarks[:N_MESH, :2].max(0)
    centre, half = (low + high) / 2, margin * (high - low).max() / 2
    box = np.round([*(centre - half), *(centre + half)]).astype(int)
    square = Image.fromarray(rgb).crop(tuple(box)).resize((CROP_SIZE, CROP_SIZE), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(square)).permute(2, 0, 1)[None].float() / 255


def portrait_faces() -> list[LabelledFace]:
    """The captioned portraits of real-looking people: what the recognisers make of faces that are known to be right."""
    return [LabelledFace(p.person, p.emotion, p.rgb) for p in captioned_portraits() if p.emotion in LABELS]


def avatar_faces(
    avatar: Avatar,
    yaws: Sequence[float] = YAWS,
    size: int = SIZE,
    geometry: bool = True,
    appearance: bool = True,
) -> Iterator[LabelledFace]:
    """An avatar's neutral face and six emotions at full weight, from the front and from either side."""
    for label in LABELS:
        gaussians = avatar.pose(perform(avatar, emotions={label: 1.0}, geometry=geometry, appearance=appearance))
        for yaw in yaws:
            yield LabelledFace(avatar.name, label, picture(gaussians, avatar.camera(yaw=yaw, size=size), BACKGROUND))


def people_faces(
    people: Iterable[Case], backbone: Backbone, geometry: bool = True, appearance: bool = True
) -> Iterator[LabelledFace]:
    """The same of avatars made from photographs of invented people."""
    for case in people:
        avatar = backbone.make(case.portrait, open_head())[0]
        yield from avatar_faces(avatar, geometry=geometry, appearance=appearance)


def head_faces(yaws: Sequence[float] = YAWS, size: int = SIZE) -> Iterator[LabelledFace]:
    """The open head's neutral face and six emotions at full weight, as the textured mesh."""
    head = load_head()
    weights = np.stack([emotion_weights({label: 1.0}) for label in LABELS])  # [7, 6]
    for label, vertices in zip(LABELS, emotional_vertices(head, weights), strict=True):
        for yaw in yaws:
            yield LabelledFace(head.name, label, head_picture(head, vertices, yaw, size))


def emotional_vertices(head: HeadData, weights: np.ndarray) -> np.ndarray:  # [N, 6] -> [N, V, 3]
    """Still faces of a head under emotion weights, each by itself, not as frames of one motion."""
    model = HeadModel(head)
    shown = []
    for row in weights:
        sequence = apply_emotions(head, FlameSequence.still(1), row[None])
        with torch.inference_mode():
            pose = {name: torch.from_numpy(getattr(sequence, name)) for name in FRAME_FIELDS}
            shown.append(model(**pose).vertices[0].numpy())
    return np.stack(shown)


def head_picture(head: HeadData, vertices: np.ndarray, yaw: float, size: int) -> np.ndarray:  # [size, size, 3] uint8
    """A posed head as a textured mesh on grey."""
    middle = head.v_template[head.regions["face"]].mean(axis=0)
    rgba = shade(head, vertices, Camera.orbit(middle, HEAD_DISTANCE, yaw=yaw, size=size), rest=head.v_template)
    return to_uint8(over(rgba[..., :3], rgba[..., 3] / 255))


def largest_reversal(values: np.ndarray) -> float:  # [N]
    """How far a curve that should rise ever falls back below where it has been; 0 when it is monotone."""
    return float((np.maximum.accumulate(values) - values).max())


def path_pictures(head: HeadData, weights: np.ndarray) -> Iterator[np.ndarray]:  # [N, 6] -> N x [H, W, 3] uint8
    """A path of emotions on the mesh of a head."""
    return (head_picture(head, vertices, 0.0, PATH_SIZE) for vertices in emotional_vertices(head, weights))


def path_reversals(pictures: Iterable[np.ndarray], path: tuple[str, ...]) -> dict[str, tuple[float, float]]:
    """How monotone the ends of a path of emotions are to each recogniser: the largest reversals of two probabilities.

    Over the first third of ``pictures`` the probability of the first emotion should fall, over the last third that of
    the last one should rise. Probabilities are averaged over `PATH_WINDOW` steps.
    """
    recognisers = load_recognisers()
    seen = [probabilities_of(picture, recognisers) for picture in pictures]
    third, kernel = len(seen) // 3, np.full(PATH_WINDOW, 1 / PATH_WINDOW)
    reversals = {}
    for i, recogniser in enumerate(recognisers):
        curves = np.array([np.zeros(len(LABELS)) if p[i] is None else p[i] for p in seen])  # [N, 7]
        leaving = np.convolve(curves[:third, LABELS.index(path[0])], kernel, "valid")
        arriving = np.convolve(curves[-third:, LABELS.index(path[-1])], kernel, "valid")
        reversals[recogniser.name] = (largest_reversal(leaving[::-1]), largest_reversal(arriving))
    return reversals
