"""One dialog for every export. Where it goes, and whether it fits there, is checked before the work begins."""

import functools
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from bpy.props import BoolProperty, EnumProperty, FloatProperty, FloatVectorProperty, IntProperty, StringProperty

from ..errors import AddonError
from ..export import native, pictures, splats, takes
from ..export.flame_npz import write_flame_npz
from ..export.formats import FORMATS, Format, estimated_bytes, sample_times, targets
from ..export.targets import check_target, whole_file
from ..timeline import evaluation
from ..view import source
from .jobs import Job, JobOperator, Work

MOST_FRAMES = 20_000  # what the backend takes at once
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

    # --- the work

    def begin(self, context: Any) -> Work:
        kind, scene = FORMATS[self.format], context.scene
        avatars = self._chosen(context, kind)
        self._fps = self.fps if self.own_fps else scene.render.fps / scene.render.fps_base
        times = self._times(scene)
        self._paths = targets(kind, Path(bpy.path.abspath(self.filepath)), [avatar.name for avatar in avatars])
        width, height = takes.picture_size(scene)
        vertices = sum(len(avatar.emo_avatar.head.data.vertices) for avatar in avatars if avatar.emo_avatar.head)
        needed = estimated_bytes(kind, len(times), vertices=vertices, pixels=width * height)
        # Of a file, not of a folder, the file browser has shown in red that it would be replaced
        overwrite = self.overwrite or (self._browsed and len(self._paths) == 1 and not kind.is_folder)
        for path in self._paths:
            check_target(path, folder=kind.is_folder, overwrite=overwrite, needed=needed)
        self.needs_backend = kind.backend
        if kind.backend:
            source.want_backend(context)
        if not evaluation.settle():
            for sentence in filter(None, map(evaluation.trouble, avatars)):
                self.report({"WARNING"}, f"The last evaluated motion is exported: {sentence}")
        self._takes = takes.empty_takes(avatars, times)
        self._pictures = takes.Pictures([], []) if kind.camera else None
        ids = [take.avatar_id for take in self._takes]
        background, shown_at = tuple(self.background), scene.frame_current_final

        def work(job: Job) -> None:
            share = BACKEND_SHARE if kind.backend else 1.0
            client = job.client() if kind.backend else None
            if client is not None and kind.name == "PLY":
                splats.check_room(client, ids, len(times), self._paths)
            try:
                self._sample(context, job, share)
            finally:
                source.in_main_thread(lambda: takes.go_to(scene, shown_at))
            if client is None:
                return  # the rest is for the main thread
            if kind.name == "PLY":
                splats.export(client, job, self._takes, self._paths, self._fps, share)
            elif self._pictures is not None and kind.name == "MP4":
                pictures.export_video(client, job, self._pictures, self._paths[0], self._fps, background, share)
            elif self._pictures is not None:
                pictures.export_sequence(kind.name, client, job, self._pictures, self._paths[0], share)

        return work

    def finished(self, context: Any, result: None) -> set[str] | None:
        kind = FORMATS[self.format]
        if kind.name == "FLAME":
            for take, path in zip(self._takes, self._paths, strict=True):
                with whole_file(path) as temporary:
                    write_flame_npz(temporary, take.poses(), fps=self._fps, identity=_identity(take.avatar))
        elif not kind.backend:
            start = round(self._takes[0].times[0])
            with whole_file(self._paths[0]) as temporary:
                native.export(context, kind.name, temporary, self._takes, self._fps, start)
        names = ", ".join(path.name for path in self._paths)
        self.report({"INFO"}, f"Exported {len(self._takes[0].times)} frames at {self._fps:g} fps: {names}")
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

    def _times(self, scene: Any) -> list[float]:
        start, end = scene.frame_start, scene.frame_end
        if self.frames == "CUSTOM":
            start, end = self.frame_start, self.frame_end
        elif self.frames == "PREVIEW" and scene.use_preview_range:
            start, end = scene.frame_preview_start, scene.frame_preview_end
        if end < start:
            raise AddonError(f"The last frame, {end}, comes before the first, {start}: exchange them.")
        times = sample_times(start, end, scene.render.fps / scene.render.fps_base, self._fps)
        if len(times) > MOST_FRAMES:
            raise AddonError(f"{len(times)} frames are too many for one export; {MOST_FRAMES} is the most.")
        return times

    def _sample(self, context: Any, job: Job, share: float) -> None:
        """Every frame, some at a time in the main thread, which looks after the user in between."""
        row, total = 0, len(self._takes[0].times)
        while row < total:
            row = source.in_main_thread(functools.partial(takes.sample_some, context, self._takes, row, self._pictures))
            job.report(share * row / total, f"Frame {row} of {total}")


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


def _identity(avatar: Any) -> Any:
    """An open head's identity; a person's is in the template that the numbers belong to."""
    return np.array(avatar.emo_avatar.identity) if avatar.emo_avatar.kind == "open" else np.zeros(0)


CLASSES = (EMOAVATAR_OT_export,)
