"""A person and how they stand in their photograph."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from emo_avatar.avatar.personal import expression_shift, lid_shift, personal_head
from emo_avatar.head.arkit import arkit_from_flame, flame_from_arkit
from emo_avatar.head.data import HeadData
from emo_avatar.head.model import HeadModel, head_model, rotation_matrices
from emo_avatar.motion.flame_sequence import FRAME_FIELDS, FlameSequence
from emo_avatar.tracking.portrait import TrackedPortrait


@dataclass(frozen=True)
class Stance:
    """A person, and how they stand in the photo."""

    head: HeadData  # the generic one
    model: HeadModel  # of that head in this person's shape, without the offset
    shape: np.ndarray  # [300]
    static_offset: np.ndarray  # [V, 3] metres
    pose: FlameSequence  # one frame

    @classmethod
    def of(cls, portrait: TrackedPortrait, head: HeadData) -> Stance:
        """As the tracker found them."""
        values = {name: getattr(portrait, name)[None] for name in FRAME_FIELDS if hasattr(portrait, name)}
        pose = replace(FlameSequence.still(1), **values)
        model = head_model(head).for_identity(torch.from_numpy(portrait.shape))
        return cls(head, model, portrait.shape, portrait.static_offset, pose)

    @cached_property
    def neutral(self) -> np.ndarray:  # [V, 3] metres
        """The person's face at rest."""
        return self.model.v_template.numpy() + self.static_offset

    @cached_property
    def person(self) -> HeadData:
        return personal_head(self.head, self.shape, self.static_offset)

    @cached_property
    def vertices(self) -> np.ndarray:  # [V, 3] metres
        """The head in the world as the photo shows it."""
        return self.posed(self.pose)

    @property
    def units(self) -> np.ndarray:  # [52]
        """The photo's expression as ARKit weights."""
        return arkit_from_flame(self.head, self.pose.expression, self.pose.jaw_pose, self.pose.eyes_pose)[0]

    @property
    def unturned(self) -> np.ndarray:  # [V, 3] metres
        """The same face upright at the origin."""
        still = FlameSequence.still(1)
        return self.posed(replace(self.pose, rotation=still.rotation, translation=still.translation))

    def moved(self, shift: np.ndarray) -> Stance:  # [V, 3] metres, world
        """The person with a face that differs by ``shift`` where they stand.

        The shift is turned back with the head; that the jaw turns a little further is left to the next fit of the rims.
        """
        turned = rotation_matrices(torch.from_numpy(self.pose.rotation))[0].numpy()
        return replace(self, static_offset=(self.static_offset + shift @ turned).astype(np.float32))

    def relaxed(self, weights: np.ndarray) -> Stance:  # [52] ARKit
        """The same stance of a person whose neutral face has ARKit weights of this one's on it.

        What the neutral face takes over is taken from the photo's expression, so that the mesh in the photo stays.
        """
        expression, _, _ = flame_from_arkit(self.head, weights)
        offset = self.static_offset + expression_shift(self.head, expression)
        pose = replace(self.pose, expression=self.pose.expression - expression)
        return replace(self, static_offset=offset.astype(np.float32), pose=pose)

    def at_rest(self, weights: np.ndarray) -> np.ndarray:  # [52] ARKit -> [V, 3] metres
        """The neutral face, upright at the origin, with ARKit weights on it."""
        expression, jaw, eyes = flame_from_arkit(self.head, weights[None])
        return self.posed(replace(FlameSequence.still(1), expression=expression, jaw_pose=jaw, eyes_pose=eyes))

    def posed(self, pose: FlameSequence) -> np.ndarray:  # [V, 3] metres
        """The person in the first frame of a sequence.

        As a `HeadModel` of `person` has it, without making that head: what its lids travel more is an offset.
        """
        offset = self.static_offset + lid_shift(self.head, self.neutral, pose.expression[0]).astype(np.float32)
        with torch.no_grad():
            arguments = {name: torch.from_numpy(getattr(pose, name)) for name in FRAME_FIELDS}
            return self.model(static_offset=torch.from_numpy(offset)[None], **arguments).vertices[0].numpy()
