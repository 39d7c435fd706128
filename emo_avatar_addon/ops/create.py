"""Making avatars: of a portrait, of a file, of the open head; and giving an avatar's file back."""

import functools
import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from ..errors import AddonError
from ..link.client import Client
from ..model import head_file, head_object, materials, portrait, properties, storage
from ..model.head_file import N_IDENTITY, HeadArrays
from ..view import framing
from .boundary import EmoOperator
from .jobs import Job, JobOperator, Work

TEXTURE_SIZE = 2048
SPACING = 0.4  # metres between avatars that are made together
_MAX_FILE = 512 << 20  # bytes, what the backend takes


@dataclass(frozen=True)
class Source:
    """What an avatar is made of."""

    name: str  # of the avatar
    read: Callable[[], bytes]  # in the thread that does the work
    file_name: str = ""


@dataclass(frozen=True)
class Made:
    """An avatar as the backend has made it."""

    name: str
    avatar_id: str
    notes: tuple[str, ...]
    file: bytes  # .emoavatar
    head: HeadArrays
    texture: bytes | None  # PNG


def make(
    job: Job, client: Client, sources: Sequence[Source], start: Callable[[Client, Source], str]
) -> list[Made | AddonError]:
    """In a thread: have the backend make each source into an avatar, and fetch it. The others go on when one fails.

    `start` sends a source to the backend and returns the job's id.
    """
    made: list[Made | AddonError] = []
    for index, source in enumerate(sources):
        begin, built, end = (index / len(sources), (index + 0.8) / len(sources), (index + 1) / len(sources))
        try:
            job.report(begin, f"Sending {source.name}")
            description = job.follow(client, start(client, source), begin, built)
            made.append(fetch(job, client, description, built, end))
        except AddonError as error:
            made.append(AddonError(f"{source.name}: {error}"))
    if all(isinstance(one, AddonError) for one in made):
        raise AddonError(" ".join(str(error) for error in made))
    return made


def fetch(job: Job, client: Client, description: dict[str, Any], begin: float, end: float) -> Made:
    """In a thread: all that Blender needs of an avatar that the backend holds."""
    avatar_id, name = str(description["id"]), str(description.get("name") or "Avatar")
    job.report(begin, f"Fetching {name}")
    file = client.avatar_file(avatar_id)
    if hashlib.sha256(file).hexdigest() != avatar_id:
        raise AddonError("The avatar's file was damaged on its way: try again.")
    head = head_file.head_from_message(*client.head(avatar_id))
    job.report((begin + end) / 2, f"Painting {name}")
    texture = client.texture(avatar_id, TEXTURE_SIZE) if len(head.uv) else None
    job.report(end, "")
    return Made(name, avatar_id, tuple(str(note) for note in description.get("notes") or ()), file, head, texture)


def add(context: Any, made: Made) -> bpy.types.Object:
    """The avatar as Blender data."""
    name = head_object.free_name(made.name)
    texture = materials.load_texture(name, made.texture) if made.texture is not None else None
    avatar = head_object.create(context, made.head, name, texture)
    storage.write_file(avatar, made.file)
    avatar.emo_avatar.avatar_id = made.avatar_id
    properties.initialise(avatar, "avatar")
    return avatar


def add_all(operator: bpy.types.Operator, context: Any, made: Sequence[Made | AddonError]) -> None:
    """Every avatar that could be made, side by side from the 3D cursor on; what went wrong is said."""
    avatars: list[bpy.types.Object] = []
    for one in made:
        if isinstance(one, AddonError):
            operator.report({"WARNING"}, str(one))
            continue
        avatar = add(context, one)
        avatar.location.x += SPACING * len(avatars)
        avatars.append(avatar)
        for note in one.notes:
            operator.report({"INFO"}, f"{avatar.name}: {note}")
    for avatar in avatars:
        avatar.select_set(True)
    framing.show_new(context, avatars)
    operator.report({"INFO"}, f"Added {', '.join(avatar.name for avatar in avatars)}")


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


class EMOAVATAR_OT_avatar_from_portrait(JobOperator):
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

    def begin(self, context: Any) -> Work:
        if self.image:
            image = bpy.data.images.get(self.image)
            if image is None:
                raise AddonError(f"There is no image named {self.image} in this file.")
            data = portrait.of_image(image)
            sources = [Source(self.name or _title(Path(image.name).stem), lambda: data)]
        else:
            sources = sources_of(chosen_files(self), self.name, portrait.of_file)
        refine = self.refine

        def work(job: Job) -> list[Made | AddonError]:
            return make(
                job, job.client(), sources, lambda client, one: client.start_portrait(one.read(), one.name, refine)
            )

        return work

    def finished(self, context: Any, result: Any) -> set[str] | None:
        add_all(self, context, result)
        return None

    def invoke(self, context: Any, event: Any) -> set[str]:
        return run_or_ask(self, context, event)

    def draw(self, context: Any) -> None:
        draw_settings(self.layout, self, "name", "refine")


class EMOAVATAR_OT_portrait_image(EmoOperator):
    bl_idname = "emo_avatar.portrait_image"
    bl_label = "Avatar from Image"
    bl_description = "Make an avatar of an image that is in this file already"
    bl_options = {"INTERNAL"}

    image: bpy.props.StringProperty(name="Image", description="The image that is the portrait")

    @classmethod
    def disabled_reason(cls, context: Any) -> str | None:
        if not bpy.data.images:
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
        return context.window_manager.invoke_props_dialog(self)

    def draw(self, context: Any) -> None:
        self.layout.prop_search(self, "image", bpy.data, "images")


class EMOAVATAR_OT_import_avatar(JobOperator):
    bl_idname = "emo_avatar.import_avatar"
    bl_label = "Import Avatar"
    bl_description = "Add an avatar from its .emoavatar file, or a LAM package (.zip)"
    bl_options = {"UNDO"}

    filepath: bpy.props.StringProperty(subtype="FILE_PATH", options={"SKIP_SAVE", "HIDDEN"})
    directory: bpy.props.StringProperty(subtype="DIR_PATH", options={"SKIP_SAVE", "HIDDEN"})
    files: bpy.props.CollectionProperty(type=bpy.types.OperatorFileListElement, options={"SKIP_SAVE", "HIDDEN"})
    filter_glob: bpy.props.StringProperty(default="*.emoavatar;*.zip", options={"SKIP_SAVE", "HIDDEN"})
    name: bpy.props.StringProperty(
        name="Name", description="What the avatar is called; empty is its own name", options={"SKIP_SAVE"}
    )

    def begin(self, context: Any) -> Work:
        sources = sources_of(chosen_files(self), self.name, _avatar_file)
        name = self.name

        def work(job: Job) -> list[Made | AddonError]:
            return make(
                job, job.client(), sources, lambda client, one: client.start_import(one.read(), name, one.file_name)
            )

        return work

    def finished(self, context: Any, result: Any) -> set[str] | None:
        add_all(self, context, result)
        return None

    def invoke(self, context: Any, event: Any) -> set[str]:
        return run_or_ask(self, context, event)

    def draw(self, context: Any) -> None:
        draw_settings(self.layout, self, "name")


class EMOAVATAR_OT_save_avatar_file(EmoOperator):
    bl_idname = "emo_avatar.save_avatar_file"
    bl_label = "Save Avatar File"
    bl_description = "Write the avatar that this .blend holds as an .emoavatar file, for other files and programs"
    bl_options = {"REGISTER"}

    filepath: bpy.props.StringProperty(subtype="FILE_PATH", options={"SKIP_SAVE"})
    filter_glob: bpy.props.StringProperty(default="*.emoavatar", options={"SKIP_SAVE", "HIDDEN"})
    check_existing: bpy.props.BoolProperty(default=True, options={"SKIP_SAVE", "HIDDEN"})

    @classmethod
    def disabled_reason(cls, context: Any) -> str | None:
        avatar = properties.active_avatar(context)
        if avatar is None:
            return "Select an avatar"
        if storage.read_file(avatar) is None:
            return "An open head has no avatar file; it is in the .blend as it is"
        return None

    def run(self, context: Any) -> set[str] | None:
        data = storage.read_file(properties.active_avatar(context)) or b""
        path = Path(bpy.path.abspath(self.filepath)).with_suffix(".emoavatar")
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            temporary.write_bytes(data)
            temporary.replace(path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise AddonError(f"{path.name} cannot be written: {error.strerror or error}.") from error
        self.report({"INFO"}, f"Saved {path.name} ({len(data) / 1e6:.1f} MB)")
        return None

    def invoke(self, context: Any, event: Any) -> set[str]:
        self.filepath = bpy.path.clean_name(properties.active_avatar(context).name) + ".emoavatar"
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}


class EMOAVATAR_FH_portrait(bpy.types.FileHandler):
    bl_idname = "EMOAVATAR_FH_portrait"
    bl_label = "Avatar from Portrait"
    bl_import_operator = "emo_avatar.avatar_from_portrait"
    bl_file_extensions = ";".join(portrait.SUFFIXES)

    @classmethod
    def poll_drop(cls, context: Any) -> bool:
        return context.area is not None and context.area.type == "VIEW_3D"


class EMOAVATAR_FH_avatar(bpy.types.FileHandler):
    bl_idname = "EMOAVATAR_FH_avatar"
    bl_label = "Import Avatar"
    bl_import_operator = "emo_avatar.import_avatar"
    bl_file_extensions = ".emoavatar;.zip"

    @classmethod
    def poll_drop(cls, context: Any) -> bool:
        return context.area is not None and context.area.type in {"VIEW_3D", "OUTLINER"}


def open_head_missing(context: Any) -> str | None:
    """Why the active avatar's identity cannot be changed; None when it can."""
    avatar = properties.active_avatar(context)
    if avatar is None or avatar.emo_avatar.kind != "open":
        return "Select an open head"
    return None


def chosen_files(operator: Any) -> list[Path]:
    """The files that the file browser, a drop or a script has given an operator."""
    names = [element.name for element in operator.files if element.name]
    if operator.directory and names:
        return [Path(bpy.path.abspath(operator.directory)) / name for name in names]
    if not operator.filepath:
        raise AddonError("Choose a file.")
    return [Path(bpy.path.abspath(operator.filepath))]


def sources_of(paths: Sequence[Path], name: str, read: Callable[[Path], bytes]) -> list[Source]:
    """One source a file; a given name goes to a single one."""
    for path in paths:
        if not path.is_file():
            raise AddonError(f"There is no file {path.name} in {path.parent.name or path.parent}.")
    single = len(paths) == 1 and name
    return [Source(name if single else _title(path.stem), functools.partial(read, path), path.name) for path in paths]


def run_or_ask(operator: Any, context: Any, event: Any) -> set[str]:
    """Run with what a drop or a script has given; without it open the file browser."""
    if operator.filepath or operator.files or getattr(operator, "image", ""):
        return operator.execute(context)
    context.window_manager.fileselect_add(operator)
    return {"RUNNING_MODAL"}


def draw_settings(layout: Any, operator: Any, *names: str) -> None:
    """An operator's settings, as the file browser's sidebar shows them."""
    layout.use_property_split = True
    for name in names:
        layout.prop(operator, name)


def _avatar_file(path: Path) -> bytes:
    try:
        if path.stat().st_size > _MAX_FILE:
            raise AddonError(f"{path.name} is larger than {_MAX_FILE >> 20} MB, which no avatar is.")
        return path.read_bytes()
    except OSError as error:
        raise AddonError(f"{path.name} cannot be read: {error.strerror or error}.") from error


def _title(stem: str) -> str:
    """A file's name as a person's: grace_hopper is Grace Hopper."""
    words = stem.replace("_", " ").split()
    return " ".join(word.capitalize() if word.islower() else word for word in words)[:40] or "Avatar"


CLASSES = (
    EMOAVATAR_OT_add_open_head,
    EMOAVATAR_OT_random_person,
    EMOAVATAR_OT_avatar_from_portrait,
    EMOAVATAR_OT_portrait_image,
    EMOAVATAR_OT_import_avatar,
    EMOAVATAR_OT_save_avatar_file,
    EMOAVATAR_FH_portrait,
    EMOAVATAR_FH_avatar,
)
