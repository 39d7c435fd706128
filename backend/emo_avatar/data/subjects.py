"""Invented people as they can be photographed: a person, the head that is theirs, and how it looks."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import torch

from emo_avatar.avatar.personal import personal_head
from emo_avatar.data.clothes import fit_clothes
from emo_avatar.data.hair import FittedHair, fit_hair
from emo_avatar.data.looks import Look, draw_look
from emo_avatar.data.persons import Person, draw_person
from emo_avatar.emotion.recipes import load_recipes
from emo_avatar.head.data import HeadData, open_head
from emo_avatar.head.model import HeadModel
from emo_avatar.motion.flame_sequence import FlameSequence
from emo_avatar.render.cards import Cards


@dataclass(frozen=True, eq=False)
class Subject:
    """Somebody who can be asked to feel."""

    seed: int
    person: Person
    head: HeadData  # the identity is in its template, its identity basis is zero
    look: Look

    @functools.cached_property
    def model(self) -> HeadModel:
        """The subject's head, ready to be posed."""
        return HeadModel(self.head)

    @functools.cached_property
    def hair(self) -> tuple[FittedHair, ...]:
        """What the subject wears on skull and face, fitted to both."""
        return tuple(fit_hair(style, self.head) for style in self.look.hair)

    @functools.cached_property
    def clothes(self) -> Cards:
        """What the subject wears below the collar."""
        return fit_clothes(self.look.clothes, self.head)

    def posed(self, sequence: FlameSequence) -> tuple[np.ndarray, np.ndarray]:
        """The subject's head in every frame of a sequence, ``[T, V, 3]``, and its joints, ``[T, 5, 4, 4]``."""
        names = ("expression", "rotation", "neck_pose", "jaw_pose", "eyes_pose", "translation")
        with torch.no_grad():
            posed = self.model(**{name: torch.from_numpy(getattr(sequence, name)) for name in names})
        return posed.vertices.numpy(), posed.joint_transforms.numpy()

    def vertices(self, sequence: FlameSequence) -> np.ndarray:  # [T, V, 3] metres, world
        """The subject's head in every frame of a sequence."""
        return self.posed(sequence)[0]


def draw_subject(seed: int) -> Subject:
    """The subject of a seed; those from ``training.geometry.FIRST_HELD_OUT_SEED`` on are for judging alone."""
    head = open_head()
    person = draw_person(seed, _recipes())
    offset = np.zeros_like(head.v_template)
    return Subject(seed, person, personal_head(head, person.shape, offset), draw_look(seed))


_recipes = functools.cache(load_recipes)
