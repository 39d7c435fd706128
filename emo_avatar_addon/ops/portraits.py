"""Avatars of portraits: of picture files, and of images that the .blend holds."""

from pathlib import Path
from typing import Any

import bpy

from ..errors import AddonError
from ..model import portrait
from .boundary import EmoOperator
from .making import MakeOperator, Source, Start, chosen_files, sources_of, title


class EMOAVATAR_OT_avatar_from_portrait(MakeOperator):
    bl_idname = "emo_avatar.avatar_from_portrait"
    bl_label = "Avatar from Portrait"
    bl_description = "Make an avatar of a photo of a face, or one of each photo that is chosen"
    bl_options = {"UNDO"}

    filepath: bpy.props.StringProperty(subtype="FILE_PATH", options={"SKIP_SAVE", "HIDDEN"})
    directory: bpy.props.StringProperty(subtype="DIR_PATH", options={"SKIP_SAVE", "HIDDEN"})
    files: bpy.props.CollectionProperty(type=bpy.types.OperatorFileListElement, options={"SKIP_SAVE", "HIDDEN"})
    display_type: bpy.props.EnumProperty(  # of the file browser; the number is Blender's
        items=(("THUMBNAIL", "Thumbnails", "", 3),), options={"SKIP_SAVE", "HIDDEN"}
    )
    filter_image: bpy.props.BoolProperty(default=True, options={"SKIP_SAVE", "HIDDEN"})
    filter_folder: bpy.props.BoolProperty(default=True, options={"SKIP_SAVE", "HIDDEN"})
    image: bpy.props.StringProperty(
        name="Image", description="An image of this file that is the portrait", options={"SKIP_SAVE", "HIDDEN"}
    )
    name: bpy.props.StringProperty(
        name="Name", description="What the avatar is called; empty is the picture's name", options={"SKIP_SAVE"}
    )
    refine: bpy.props.IntProperty(
        name="Refinement", description="Steps in which the avatar is brought closer to the photo; fewer are quicker",
        min=0, max=1000, soft_max=300, default=100,
    )  # fmt: skip

    backbone: bpy.props.EnumProperty(
        name="Method",
        description="How the avatar is made",
        items=(
            ("uv", "UV Gaussians", "The photo laid on the head, and what it hides completed: sharp, for most photos"),
            ("lam-s", "Small LAM", "Every Gaussian as a network sees it in the photo: soft, with fuller hair behind"),
        ),
        default="uv",
    )

    settings = ("name", "backbone", "refine")

    def order(self) -> tuple[list[Source], Start]:
        if self.image:
            image = bpy.data.images.get(self.image)
            if image is None:
                raise AddonError(f"There is no image named {self.image} in this file.")
            data = portrait.of_image(image)
            sources = [Source(self.name or title(Path(image.name).stem), lambda: data)]
        else:
            sources = sources_of(chosen_files(self), self.name, portrait.of_file)
        refine, backbone = self.refine, self.backbone
        return sources, lambda client, one: client.start_portrait(one.read(), one.name, refine, backbone)


class EMOAVATAR_OT_portrait_image(EmoOperator):
    bl_idname = "emo_avatar.portrait_image"
    bl_label = "Avatar from Image"
    bl_description = "Make an avatar of an image that is in this file already"
    bl_options = {"INTERNAL"}

    image: bpy.props.StringProperty(name="Image", description="The image that is the portrait")

    @classmethod
    def disabled_reason(cls, context: Any) -> str | None:
        if not portrait.candidates():
            return "There is no image in this file"
        return EMOAVATAR_OT_avatar_from_portrait.disabled_reason(context)

    def run(self, context: Any) -> set[str] | None:
        if not self.image:
            raise AddonError("Choose an image.")
        bpy.ops.emo_avatar.avatar_from_portrait("INVOKE_DEFAULT", image=self.image)
        return None

    def invoke(self, context: Any, event: Any) -> set[str]:
        shown = getattr(context.space_data, "image", None)
        if shown is not None:
            self.image = shown.name
            return self.execute(context)
        images = portrait.candidates()
        if len(images) == 1:
            self.image = images[0].name
        return context.window_manager.invoke_props_dialog(self)

    def draw(self, context: Any) -> None:
        self.layout.prop_search(self, "image", bpy.data, "images")


class EMOAVATAR_FH_portrait(bpy.types.FileHandler):
    bl_idname = "EMOAVATAR_FH_portrait"
    bl_label = "Avatar from Portrait"
    bl_import_operator = "emo_avatar.avatar_from_portrait"
    bl_file_extensions = ";".join(portrait.SUFFIXES)

    @classmethod
    def poll_drop(cls, context: Any) -> bool:
        return context.area is not None and context.area.type == "VIEW_3D"


CLASSES = (EMOAVATAR_OT_avatar_from_portrait, EMOAVATAR_OT_portrait_image, EMOAVATAR_FH_portrait)
