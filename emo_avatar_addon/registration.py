"""Everything that the extension registers with Blender, in order; unregistering is the exact reverse."""

import functools
import importlib
from collections.abc import Callable
from types import ModuleType

import bpy

# Modules of this package. Each has `CLASSES` (a tuple), or `register()` and `unregister()`, or both.
FEATURES = (
    "translations",
    "mainloop",
    "preferences",
    "model.properties",
    "model.identity",
    "model.migration",
    "ops.boundary",
    "ops.jobs",
    "ops.backend",
    "ops.open_head",
    "ops.portraits",
    "ops.avatar_files",
    "ops.deleting",
    "timeline.handlers",
    "ops.emotions",
    "ops.presets",
    "ops.pad",
    "ops.motion",
    "ops.bake",
    "view.settings",
    "view.engine",
    "view.overlay",
    "ops.view",
    "ops.export",
    "ops.framing",
    "ui.jobs",
    "ui.main",
    "ui.create",
    "ui.emotions",
    "ui.motion",
    "ui.bake",
    "ui.view",
    "ui.export",
    "ui.backend",
)

_undo: list[Callable[[], object]] = []  # of what is registered now, in order


def register() -> None:
    """Register every feature; when one fails, what was registered is taken back before its exception goes on."""
    try:
        for name in FEATURES:
            _register_feature(importlib.import_module(f".{name}", __package__))
    except BaseException:
        unregister()
        raise


def unregister() -> None:
    """Take back what `register` did, last first: all of it, and then the first failure is raised, if there was one."""
    failures = []
    while _undo:
        try:
            _undo.pop()()
        except Exception as failure:
            failures.append(failure)
    if failures:
        raise failures[0]


def _register_feature(module: ModuleType) -> None:
    for cls in getattr(module, "CLASSES", ()):
        bpy.utils.register_class(cls)
        _undo.append(functools.partial(bpy.utils.unregister_class, cls))
    if hasattr(module, "register"):
        module.register()
        _undo.append(module.unregister)
