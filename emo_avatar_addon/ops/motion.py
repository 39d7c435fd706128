"""The motion track under an avatar's emotions."""

import io
import zipfile
from pathlib import Path
from typing import Any

import bpy

from .. import safetensors
from ..errors import AddonError
from ..model import storage
from ..model.properties import LAST_FRAME
from ..timeline import driving, evaluation
from ..timeline.motion import Motion
from . import jobs
from .avatar import AvatarOperator, active, reason_without_avatar
from .making import choose_files

_MAX_BYTES = 512 << 20


class EMOAVATAR_OT_import_motion(jobs.JobOperator):
    bl_idname = "emo_avatar.import_motion"
    bl_label = "Import Motion"
    bl_description = (
        "Drive the active avatar with a recorded performance: a FLAME npz, a LAM motion folder or its zip, a Live Link "
        "Face CSV, or ARKit weights as JSON. Emotion keys lie on top"
    )
    bl_options = {"REGISTER", "UNDO"}

    filepath: bpy.props.StringProperty(subtype="FILE_PATH", options={"SKIP_SAVE"})
    directory: bpy.props.StringProperty(subtype="DIR_PATH", options={"SKIP_SAVE", "HIDDEN"})
    filter_glob: bpy.props.StringProperty(default="*.npz;*.csv;*.json;*.zip", options={"HIDDEN"})
    fps: bpy.props.FloatProperty(
        name="Frame Rate",
        description="Of the recording, where the file does not say; 0 to find out",
        min=0.0,
        max=1000.0,
    )

    @classmethod
    def disabled_reason(cls, context: Any) -> str | None:
        return reason_without_avatar(context) or super().disabled_reason(context)

    def invoke(self, context: Any, event: Any) -> set[str]:
        return choose_files(self, context)

    def begin(self, context: Any) -> jobs.Work:
        avatar = active(context)
        path = Path(bpy.path.abspath(self.filepath))
        self._avatar = avatar.name
        self._name = path.name
        identity = "open" if avatar.emo_avatar.kind == "open" else avatar.emo_avatar.avatar_id
        kept = storage.read_file(avatar)
        fps = self.fps or None

        def work(job: jobs.Job) -> Any:
            job.report(0.0, "Reading the motion")
            data, name = _read(path)
            client = job.client()
            job.report(0.3, "Carrying the motion over to the avatar")
            files = {identity: lambda: kept} if kept else None
            return client.motion(data, name, identity, fps, files)

        return work

    def finished(self, context: Any, result: Any) -> None:
        arrays, document = result
        avatar = bpy.data.objects.get(self._avatar)
        if avatar is None:
            raise AddonError(f"{self._avatar} is gone: import the motion again.")
        try:
            motion = Motion.from_arrays(arrays, document.get("fps", 0))
        except (ValueError, TypeError) as error:
            raise AddonError(f"{self._name} cannot drive an avatar: {error}.") from error
        if not len(motion):
            raise AddonError(f"{self._name} holds no frames.")
        notes = [str(note) for note in document.get("notes", [])]
        document = {"fps": motion.fps, "name": self._name, "notes": notes}
        storage.write_motion(avatar, safetensors.pack(motion.arrays(), document))
        evaluation.mark(avatar)
        self.report({"INFO"}, driving.motion_sentence(context.scene, avatar))
        for note in notes:
            self.report({"WARNING"}, note)


class EMOAVATAR_OT_remove_motion(AvatarOperator):
    bl_idname = "emo_avatar.remove_motion"
    bl_label = "Remove Motion"
    bl_description = "Take the motion track away from the avatar; emotion keys stay"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def avatar_reason(cls, context: Any, avatar: bpy.types.Object) -> str | None:
        return None if storage.has_motion(avatar) else "The avatar has no motion track"

    def run(self, context: Any) -> None:
        avatar = active(context)
        storage.write_motion(avatar, None)
        evaluation.mark(avatar)


class EMOAVATAR_OT_fit_range(AvatarOperator):
    bl_idname = "emo_avatar.fit_range"
    bl_label = "Set Scene Range"
    bl_description = "End the scene where the motion track ends"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def avatar_reason(cls, context: Any, avatar: bpy.types.Object) -> str | None:
        return None if storage.has_motion(avatar) else "The avatar has no motion track"

    def run(self, context: Any) -> None:
        scene, end = context.scene, driving.motion_end(context.scene, active(context))
        if not scene.frame_start <= end <= LAST_FRAME:
            raise AddonError(f"The motion track ends on frame {end}: change its offset or speed, or the scene's start.")
        scene.frame_end = end


def _read(path: Path) -> tuple[bytes, str]:
    """The file, or the folder as a zip. `AddonError` when it cannot be read."""
    try:
        if not path.is_dir():
            if path.stat().st_size > _MAX_BYTES:
                raise AddonError(f"{path.name} is larger than 512 MB: no motion is that long.")
            return path.read_bytes(), path.name
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            for file in sorted(file for file in path.rglob("*") if file.suffix in (".npz", ".json")):
                archive.write(file, file.relative_to(path).as_posix())
                if out.tell() > _MAX_BYTES:
                    raise AddonError(f"{path.name} holds more than 512 MB: choose the motion's own folder.")
        return out.getvalue(), f"{path.name}.zip"
    except OSError as error:
        raise AddonError(f"{path.name or path} cannot be read: {error.strerror}.") from error


CLASSES = (EMOAVATAR_OT_import_motion, EMOAVATAR_OT_remove_motion, EMOAVATAR_OT_fit_range)
