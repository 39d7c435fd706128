"""The open head: the avatar that comes with the extension, and who it is."""

import os
from typing import Any

import bpy
import numpy as np

from ..model import head_file, head_object, materials, properties
from ..model.head_file import N_IDENTITY
from ..view import framing
from .boundary import EmoOperator


def random_identity(seed: int, variety: float) -> np.ndarray:  # [20]
    """A person drawn from those that the open head was made of; `variety` 1 is as different as people are."""
    return np.random.default_rng(seed).normal(size=N_IDENTITY).clip(-2.5, 2.5) * variety


class EMOAVATAR_OT_add_open_head(EmoOperator):
    bl_idname = "emo_avatar.add_open_head"
    bl_label = "Add Open Head"
    bl_description = "Add the head that comes with the extension; it needs no backend until emotions are keyed"
    bl_options = {"REGISTER", "UNDO"}

    name: bpy.props.StringProperty(name="Name", description="What the new avatar is called", default="Person")
    random: bpy.props.BoolProperty(name="Random Person", description="Let chance make the person", default=False)
    seed: bpy.props.IntProperty(name="Seed", description="Another number is another person", min=0, default=1)
    variety: bpy.props.FloatProperty(
        name="Variety", description="How far the person is from the average head",
        min=0.0, max=1.5, default=1.0, subtype="FACTOR",
    )  # fmt: skip
    identity: bpy.props.FloatVectorProperty(
        name="Identity", description="The main ways in which heads differ; 0 is the average head",
        size=N_IDENTITY, min=-5.0, max=5.0, soft_min=-3.0, soft_max=3.0,
    )  # fmt: skip

    def run(self, context: Any) -> set[str] | None:
        identity = random_identity(self.seed, self.variety) if self.random else np.array(self.identity)
        name = head_object.free_name(self.name.strip() or "Person")
        texture = materials.load_texture(name, head_file.OPEN_HEAD_TEXTURE)
        avatar = head_object.create(context, head_file.open_head().with_identity(identity), name, texture)
        avatar.emo_avatar.identity = identity
        properties.initialise(avatar, "open")
        framing.show_new(context, [avatar])
        return None

    def draw(self, context: Any) -> None:
        layout = self.layout
        layout.use_property_split = True
        layout.prop(self, "name")
        layout.prop(self, "random")
        if self.random:
            layout.prop(self, "seed")
            layout.prop(self, "variety")
        else:
            column = layout.column(align=True)
            for index in range(N_IDENTITY):
                column.prop(self, "identity", index=index, text=f"Identity {index + 1}", slider=True)


class EMOAVATAR_OT_random_person(EmoOperator):
    bl_idname = "emo_avatar.random_person"
    bl_label = "Random Person"
    bl_description = "Give the open head the identity of a person that chance makes"
    bl_options = {"REGISTER", "UNDO"}

    seed: bpy.props.IntProperty(name="Seed", description="Another number is another person", min=0, default=1)
    variety: bpy.props.FloatProperty(
        name="Variety", description="How far the person is from the average head; 0 is the average head itself",
        min=0.0, max=1.5, default=1.0, subtype="FACTOR",
    )  # fmt: skip

    @classmethod
    def disabled_reason(cls, context: Any) -> str | None:
        return open_head_missing(context)

    def run(self, context: Any) -> set[str] | None:
        properties.active_avatar(context).emo_avatar.identity = random_identity(self.seed, self.variety)
        return None

    def invoke(self, context: Any, event: Any) -> set[str]:
        self.seed = int.from_bytes(os.urandom(2), "little")
        return self.execute(context)


def open_head_missing(context: Any) -> str | None:
    """Why the active avatar's identity cannot be changed; None when it can."""
    avatar = properties.active_avatar(context)
    if avatar is None or avatar.emo_avatar.kind != "open":
        return "Select an open head"
    return None


CLASSES = (EMOAVATAR_OT_add_open_head, EMOAVATAR_OT_random_person)
