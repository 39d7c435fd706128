"""Datablocks of the open file, to be found again later."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import bpy


@dataclass
class Reference:
    """Stands for a datablock where Blender's own object cannot be kept: undo moves it, another file removes it."""

    kind: str  # its collection in bpy.data
    uid: int  # of this session: a datablock of another file has another
    key: tuple[str, str | None]  # name and library, to find it by

    @classmethod
    def to(cls, thing: bpy.types.ID) -> Reference:
        """The reference to an object or a scene."""
        kind = "scenes" if isinstance(thing, bpy.types.Scene) else "objects"
        return cls(kind, thing.session_uid, _key(thing))

    def find(self) -> Any:
        """The datablock, wherever it is and whatever it is called by now; None when it is gone."""
        among = getattr(bpy.data, self.kind)
        found = among.get(self.key)
        if found is None or found.session_uid != self.uid:
            found = next((thing for thing in among if thing.session_uid == self.uid), None)
            if found is not None:
                self.key = _key(found)
        return found


def _key(thing: bpy.types.ID) -> tuple[str, str | None]:
    return thing.name, thing.library.filepath if thing.library else None
