"""Having the backend make avatars of files, and adding them to the scene."""

import functools
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from ..errors import AddonError
from ..link.client import BackendLost, Client
from ..model import head_file, head_object, materials, properties, storage
from ..model.head_file import HeadArrays
from ..view import framing
from .jobs import Job, JobOperator, Work

TEXTURE_SIZE = 2048


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
    shapes: np.ndarray  # [136, V, 3] the head's `shape_positions`
    texture: bytes | None  # PNG


Start = Callable[[Client, Source], str]  # sends a source to the backend, and returns the id of the job that it starts


class MakeOperator(JobOperator):
    """Base of operators that make an avatar of each file that is chosen, dropped, or named by a script."""

    settings: tuple[str, ...] = ()  # what the file browser shows beside the files

    def order(self) -> tuple[list[Source], Start]:
        """Main thread: what avatars are made of, and how."""
        raise NotImplementedError

    def begin(self, context: Any) -> Work:
        sources, start = self.order()
        return functools.partial(_make, sources=sources, start=start)

    def finished(self, context: Any, result: Any) -> set[str] | None:
        _add_all(self, context, result)
        return None

    def invoke(self, context: Any, event: Any) -> set[str]:
        if self.filepath or self.files or getattr(self, "image", ""):
            return self.execute(context)
        return choose_files(self, context)

    def draw(self, context: Any) -> None:
        self.layout.use_property_split = True
        for name in self.settings:
            self.layout.prop(self, name)


def choose_files(operator: Any, context: Any) -> set[str]:
    """Open the file browser in the .blend's folder. Blender itself would propose the .blend's own name, too."""
    if bpy.data.filepath and not operator.directory:
        operator.directory = str(Path(bpy.data.filepath).parent)
    context.window_manager.fileselect_add(operator)
    return {"RUNNING_MODAL"}


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
    return [Source(name if single else title(path.stem), functools.partial(read, path), path.name) for path in paths]


def title(stem: str) -> str:
    """A file's name as a person's: grace_hopper is Grace Hopper."""
    words = stem.replace("_", " ").split()
    return " ".join(word.capitalize() if word.islower() else word for word in words)[:40] or "Avatar"


def _make(job: Job, sources: Sequence[Source], start: Start) -> list[Made | AddonError]:
    """In a thread: have the backend make each source into an avatar, and fetch it. The others go on when one fails."""
    client = job.client()
    made: list[Made | AddonError] = []
    for index, source in enumerate(sources):
        begin, built, end = (index / len(sources), (index + 0.8) / len(sources), (index + 1) / len(sources))
        try:
            job.report(begin, f"Sending {source.name}")
            description = job.follow(client, start(client, source), begin, built)
            made.append(_fetch(job, client, description, built, end))
        except AddonError as error:
            error.args = (f"{source.name}: {error}",)
            made.append(error)
            if isinstance(error, BackendLost):
                break  # the others would fare no better
    last = made[-1]
    if isinstance(last, AddonError) and all(isinstance(one, AddonError) for one in made):
        last.args = (" ".join(map(str, made)),)
        raise last  # as what it is: the report of an accident goes along
    return made


def _fetch(job: Job, client: Client, description: dict[str, Any], begin: float, end: float) -> Made:
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
    notes = tuple(str(note) for note in description.get("notes") or ())
    return Made(name, avatar_id, notes, file, head, head_object.shape_positions(head), texture)


def _add(context: Any, made: Made) -> bpy.types.Object:
    """The avatar as Blender data."""
    name = head_object.free_name(made.name)
    texture = materials.load_texture(name, made.texture) if made.texture is not None else None
    avatar = head_object.create(context, made.head, name, texture, made.shapes)
    storage.write_file(avatar, made.file)
    avatar.emo_avatar.avatar_id = made.avatar_id
    properties.initialise(avatar, "avatar")
    return avatar


def _add_all(operator: MakeOperator, context: Any, made: Sequence[Made | AddonError]) -> None:
    """Every avatar that could be made, side by side from the 3D cursor on; what went wrong is said."""
    avatars: list[bpy.types.Object] = []
    for one in made:
        if isinstance(one, AddonError):
            operator.report({"WARNING"}, str(one))
            continue
        avatar = _add(context, one)
        avatars.append(avatar)
        for note in one.notes:
            operator.report({"INFO"}, f"{avatar.name}: {note}")
    for avatar in avatars:
        avatar.select_set(True)
    framing.show_new(context, avatars)
    operator.say("Added {names}", names=", ".join(avatar.name for avatar in avatars))
