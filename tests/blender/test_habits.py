"""What Blender's own interface keeps to, and so every operator, panel and property of the extension does."""

import importlib
import re

import bpy
import pytest
from bl_ext.user_default.emo_avatar.emo_avatar_addon import registration
from bl_ext.user_default.emo_avatar.emo_avatar_addon.ops.boundary import EmoOperator

PACKAGE = registration.__package__
CLASSES = [
    cls
    for name in registration.FEATURES
    for cls in getattr(importlib.import_module(f"{PACKAGE}.{name}"), "CLASSES", ())
]
OPERATORS = [cls for cls in CLASSES if issubclass(cls, bpy.types.Operator)]
PANELS = [cls for cls in CLASSES if issubclass(cls, bpy.types.Panel)]
HOLDERS = [cls for cls in CLASSES if not issubclass(cls, bpy.types.Panel | bpy.types.Menu)]
SMALL_WORDS = {"a", "and", "as", "at", "by", "for", "from", "in", "of", "on", "or", "the", "to", "under", "with"}


def name(cls):
    return cls.__name__


@pytest.mark.parametrize("operator", OPERATORS, ids=name)
def test_operators(operator):
    assert issubclass(operator, EmoOperator), "outside of the exception boundary"
    assert re.fullmatch(r"emo_avatar\.[a-z0-9]+(_[a-z0-9]+)*", operator.bl_idname)
    assert operator.__name__ == "EMOAVATAR_OT_" + operator.bl_idname.removeprefix("emo_avatar.")
    assert_title(operator.bl_label)
    assert_tooltip(operator.bl_description)


@pytest.mark.parametrize("panel", PANELS, ids=name)
def test_panels(panel):
    assert re.match(r"EMOAVATAR_PT_[a-z_]+$", panel.__name__)
    assert_title(panel.bl_label)
    if panel.bl_space_type == "VIEW_3D" and panel.bl_region_type == "UI":
        assert panel.bl_category == "Emo Avatar"


@pytest.mark.parametrize("holder", HOLDERS, ids=name)
def test_properties(holder):
    base = next(base for base in holder.__mro__[1:] if hasattr(base, "bl_rna"))
    inherited = {"rna_type", "name", "bl_idname", *base.bl_rna.properties.keys()}
    for prop in holder.bl_rna.properties:
        if prop.identifier in inherited or prop.is_hidden or prop.identifier.startswith("filter_"):
            continue
        assert prop.name and prop.name != prop.identifier, f"{prop.identifier} has no name"
        assert_tooltip(prop.description, prop.identifier)


def assert_title(text):
    for word in re.findall(r"[A-Za-z]+", text)[1:]:
        assert word[0].isupper() or word in SMALL_WORDS, f"{text!r} is not in title case"


def assert_tooltip(text, what=""):
    assert text, f"{what} has no tooltip"
    assert not text.endswith("."), f"{what}: Blender's tooltips end without a full stop: {text!r}"
    assert text[0].isupper() or not text[0].isalpha(), text
