"""One dialog for every export. Where it goes, and whether it fits there, is checked before the work begins."""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty, FloatVectorProperty, IntProperty, StringProperty

from ..errors import AddonError
from ..export import native, pictures, splats, takes
from ..export.flame_npz import write_flame_npz
from ..export.formats import FORMATS, Format, estimated_bytes, sample_times, targets
from ..export.targets import check_target, reserve, whole_file
from ..model.reference import Reference
from ..timeline import evaluation, playing
from ..ui.text import paragraph
from ..view import source
from .jobs import Job, JobOperator, Work

MOST_FRAMES = 20_000  # what the backend takes at once
NO_WAY_BACK = (
    "Esc cancels while the frames are sampled. After that Blender's own exporter writes, which cannot be cancelled."
)
BACKEND_SHARE = 0.3  # of the progress bar, for sampling, when the backend goes on from there


class ExportSettings:
    """The dialog."""

    filepath: StringProperty(subtype="FILE_PATH", options={"SKIP_SAVE"})
    filter_glob: StringProperty(options={"HIDDEN", "SKIP_SAVE"})
    check_existing: BoolProperty(default=True, options={"HIDDEN", "SKIP_SAVE"})
    format: EnumProperty(
        name="Format",
        items=[(each.name, each.label, each.description) for each in FORMATS.values()],
        default="FLAME",
    )
    avatars: EnumProperty(
        name="Avatars",
        items=(
            ("ACTIVE", "Active", "The avatar that is active"),
            ("SELECTED", "Selected", "Every avatar of which something is selected"),
            ("ALL", "All", "Every avatar of this view layer"),
        ),
        default="ACTIVE",
    )
    frames: EnumProperty(
        name="Frames",
        items=(
            ("SCENE", "Scene Range", "From the scene's first to its last frame"),
            ("PREVIEW", "Preview Range", "The preview range where there is one, else the scene's"),
            ("CUSTOM", "Custom", "From one frame to another"),
        ),
    )
    frame_start: IntProperty(name="Start", default=1)
    frame_end: IntProperty(name="End", default=250)
    own_fps: BoolProperty(
        name="Other Frame Rate", description="Sample at another rate than the scene's; the speed stays the same"
    )
    fps: FloatProperty(name="Frame Rate", default=30.0, min=1.0, max=240.0, precision=3)
    background: FloatVectorProperty(
        name="Background", subtype="COLOR_GAMMA", size=3, default=(0.2, 0.2, 0.2), min=0.0, max=1.0
    )
    overwrite: BoolProperty(
        name="Overwrite", description="Replace the file, or the numbered files of the folder, when they exist"
    )


class EMOAVATAR_OT_export(ExportSettings, JobOperator):
    bl_idname = "emo_avatar.export"
    bl_label = "Export Avatars"
    bl_description = "Write avatars and what they do as FLAME, Alembic, USD, glTF, FBX, splats, pictures or video"
    bl_options = {"REGISTER"}

    _browsed = False

    @classmethod
    def disabled_reason(cls, context: Any) -> str | None:
        return None if avatars_of(context, "ALL") else "There is no avatar in this view layer"

    def invoke(self, context: Any, event: Any) -> set[str]:
        if not self.filepath:
            name = Path(bpy.data.filepath).stem if bpy.data.filepath else "avatar"
            self.filepath = bpy.path.ensure_ext(name, FORMATS[self.format].suffix)
        if not avatars_of(context, self.avatars):
            self.avatars = "ALL"
        scene = context.scene
        self.frame_start, self.frame_end = scene.frame_start, scene.frame_end
        self.fps = scene.render.fps / scene.render.fps_base
        self._browsed = True
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def check(self, context: Any) -> bool:
        """Blender asks after each change in the file browser whether anything else has changed."""
        path = Path(self.filepath)
        base = path.with_suffix("") if path.suffix.lower() in {f.suffix for f in FORMATS.values()} else path
        wanted = str(base) + FORMATS[self.format].suffix if base.name else self.filepath
        changed = wanted != self.filepath
        self.filepath = wanted
        return changed

    def draw(self, context: Any) -> None:
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        layout.prop(self, "format")
        layout.prop(self, "avatars")
        layout.prop(self, "frames")
        if self.frames == "CUSTOM":
            column = layout.column(align=True)
            column.prop(self, "frame_start")
            column.prop(self, "frame_end")
        layout.prop(self, "own_fps")
        if self.own_fps:
            layout.prop(self, "fps")
        if self.format == "MP4":
            layout.prop(self, "background")
        layout.prop(self, "overwrite")
        if FORMATS[self.format].native:
            paragraph(layout, context, NO_WAY_BACK, "INFO")

    # --- the work

    def begin(self, context: Any) -> Work:
        kind, scene = FORMATS[self.format], context.scene
        avatars = self._chosen(context, kind)
        fps = self.fps if self.own_fps else scene.render.fps / scene.render.fps_base
        times = self._times(scene, fps)
        paths = targets(kind, Path(bpy.path.abspath(self.filepath)), [avatar.name for avatar in avatars])
        width, height = takes.picture_size(scene)
        vertices = _vertices(context, avatars)
        needed = estimated_bytes(kind, len(times), vertices=vertices, pixels=width * height)
        # Of a file, not of a folder, the file browser has shown in red that it would be replaced
        overwrite = self.overwrite or (self._browsed and len(paths) == 1 and not kind.is_folder)
        for path in paths:
            check_target(path, folder=kind.is_folder, overwrite=overwrite, needed=needed)
        self.needs_backend = kind.backend
        if kind.backend:
            source.want_backend(context)
        if not evaluation.settle():
            for why in filter(None, map(playing.trouble, avatars)):
                self.say("The last evaluated motion is exported: {why}", "WARNING", why=why)
        stage = takes.Stage(
            scene=Reference.to(scene),
            layer=context.view_layer.name,
            takes=[takes.Take.of(avatar, times) for avatar in avatars],
            pictures=takes.Pictures([], []) if kind.camera else None,
        )
        return functools.partial(_record, Order(kind, stage, paths, fps, needed, tuple(self.background)))

    def finished(self, context: Any, result: Any) -> set[str] | None:
        _write(context, result)
        names = ", ".join(path.name for path in result.paths)
        self.say(
            "Exported {count} frames at {fps} fps: {names}",
            count=len(result.stage.times),
            fps=f"{result.fps:g}",
            names=names,
        )
        return None

    def _chosen(self, context: Any, kind: Format) -> list[Any]:
        avatars = avatars_of(context, self.avatars)
        if not avatars:
            which = {"ACTIVE": "active", "SELECTED": "selected"}.get(self.avatars, "there")
            raise AddonError(f"No avatar is {which}: choose another setting of Avatars.")
        lacking = native.missing(kind.name)
        if lacking is not None:
            raise AddonError(lacking)
        if kind.backend:
            bare = [avatar.name for avatar in avatars if avatar.emo_avatar.kind != "avatar"]
            if bare:
                raise AddonError(f"{bare[0]} is an open head and has no splats: export its mesh instead.")
        if kind.camera and context.scene.camera is None:
            raise AddonError("There is no camera to take pictures with: add one, or make one active.")
        return avatars

    def _times(self, scene: Any, fps: float) -> list[float]:
        start, end = scene.frame_start, scene.frame_end
        if self.frames == "CUSTOM":
            start, end = self.frame_start, self.frame_end
        elif self.frames == "PREVIEW" and scene.use_preview_range:
            start, end = scene.frame_preview_start, scene.frame_preview_end
        if end < start:
            raise AddonError(f"The last frame, {end}, comes before the first, {start}: exchange them.")
        times = sample_times(start, end, scene.render.fps / scene.render.fps_base, fps)
        if len(times) > MOST_FRAMES:
            raise AddonError(f"{len(times)} frames are too many for one export; {MOST_FRAMES} is the most.")
        return times


@dataclass(frozen=True)
class Order:
    """What is exported, without the operator that was asked to."""

    kind: Format
    stage: takes.Stage
    paths: list[Path]
    fps: float
    needed: int  # bytes, roughly
    background: tuple[float, ...]  # sRGB, of a video


def _record(order: Order, job: Job) -> Order:
    """In a thread: sample the frames, and write what the backend takes part in."""
    kind, stage = order.kind, order.stage
    if not kind.backend:
        stage.record(job, 1.0)
        job.report(1.0, "Blender writes the file and cannot be interrupted" if kind.native else "")
        return order
    client = job.client()
    if kind.name == "PLY":
        splats.check_room(client, [take.avatar_id for take in stage.takes], len(stage.times), order.paths)
    stage.record(job, BACKEND_SHARE)
    if kind.name == "PLY":
        splats.export(client, job, stage.takes, order.paths, order.fps, BACKEND_SHARE)
    elif stage.pictures is not None and kind.name == "MP4":
        path, background = order.paths[0], order.background
        pictures.export_video(client, job, stage.pictures, path, order.fps, background, BACKEND_SHARE)
    elif stage.pictures is not None:
        pictures.export_sequence(kind.name, client, job, stage.pictures, order.paths[0], BACKEND_SHARE)
    return order


def _write(context: Any, order: Order) -> None:
    """Main thread: write what has been sampled, but for what the backend has written already."""
    if order.kind.name == "FLAME":
        for take, path in zip(order.stage.takes, order.paths, strict=True):
            with whole_file(path) as temporary:
                write_flame_npz(temporary, take.poses(), fps=order.fps, identity=take.identity)
    elif order.kind.native:
        with whole_file(order.paths[0]) as temporary:
            for folder in (
                order.paths[0].parent,
                Path(bpy.app.tempdir),
            ):  # USD is packed in the one and moved to the other
                reserve(folder, order.needed)
            start = round(order.stage.times[0])
            native.export(context, order.kind.name, temporary, order.stage.takes, order.fps, start)


def _vertices(context: Any, avatars: list[Any]) -> int:
    """How many the head meshes have together, with what modifiers add."""
    depsgraph = context.evaluated_depsgraph_get()
    heads = [avatar.emo_avatar.head for avatar in avatars if avatar.emo_avatar.head is not None]
    return sum(len(head.evaluated_get(depsgraph).data.vertices) for head in heads)


def avatars_of(context: Any, which: str) -> list[Any]:
    """The avatars of the view layer: "ALL", or those of which the armature or head is "SELECTED" or "ACTIVE"."""
    found = []
    for thing in context.view_layer.objects:
        if thing.type != "ARMATURE" or thing.emo_avatar.kind == "none":
            continue
        parts = {thing, thing.emo_avatar.head}
        chosen = {
            "ALL": True,
            "SELECTED": any(part is not None and part.select_get() for part in parts),
            "ACTIVE": context.view_layer.objects.active in parts,
        }
        if chosen[which]:
            found.append(thing)
    return found


CLASSES = (EMOAVATAR_OT_export,)
