"""Other languages: the dictionaries are well formed and complete, and Blender takes them."""

import ast
import importlib
import re
from pathlib import Path

import bpy
import pytest
from bl_ext.user_default.emo_avatar.emo_avatar_addon import registration, translations

PACKAGE = registration.__package__
SOURCES = Path(registration.__file__).parent
SHOWN_BY = {"text", "heading"}  # keywords of what layouts show
SAID_BY = {"paragraph", "say", "sentence", "AddonError"}  # functions whose arguments are sentences
COMPLETE = 0.95  # of the words: a few may be newer than the translation


@pytest.mark.parametrize("locale", translations.dictionaries())
def test_dictionaries(locale):
    words = translations.dictionaries()[locale]
    assert re.fullmatch(r"[a-z]{2,3}(_[A-Z]{2,4})?(@[a-z]+)?", locale) and len(words) > 50
    for english, word in words.items():
        assert word.strip() == word != "", english
        assert english.endswith("...") == word.endswith("..."), english
        assert sorted(re.findall(r"{.*?}", english)) == sorted(re.findall(r"{.*?}", word)), english


@pytest.mark.parametrize("locale", translations.dictionaries())
def test_dictionaries_are_complete(locale):
    wanted = registered() | written()
    assert len(wanted) > 300
    missing = sorted(wanted - translations.dictionaries()[locale].keys())
    assert len(missing) <= (1 - COMPLETE) * len(wanted), missing


def registered():
    """Names and tooltips of all that is registered with Blender."""
    found = set()
    for name in registration.FEATURES:
        for cls in getattr(importlib.import_module(f"{PACKAGE}.{name}"), "CLASSES", ()):
            rna = getattr(cls, "bl_rna", None)
            if issubclass(cls, bpy.types.Operator):
                rna = getattr(bpy.ops.emo_avatar, cls.bl_idname.partition(".")[2]).get_rna_type()
                found |= {cls.bl_label, cls.bl_description}
            elif issubclass(cls, bpy.types.Panel):
                found.add(cls.bl_label)
            own = [base for base in cls.__mro__[1:] if hasattr(base, "bl_rna")][0].bl_rna.properties.keys()
            for prop in rna.properties if rna is not None else ():
                if prop.identifier in own or prop.is_hidden or prop.name == prop.identifier:
                    continue
                items = prop.enum_items_static if prop.type == "ENUM" else ()
                found |= {
                    prop.name,
                    prop.description,
                    *(text for item in items for text in (item.name, item.description)),
                }
    return {text for text in found if re.search("[A-Za-z]", text)}


def written():
    """Labels and sentences in the sources, but for those that are put together while they are said."""
    found = set()
    for file in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                function = getattr(node.func, "attr", getattr(node.func, "id", ""))
                shown = [keyword.value for keyword in node.keywords if keyword.arg in SHOWN_BY]
                shown += node.args if function in SAID_BY else []
            elif isinstance(node, ast.Return) and node.value is not None:
                shown = [node.value]
            else:
                continue
            found |= {text for part in shown for text in constants(part)}
    return {
        text for text in found if re.fullmatch(r"[A-Z{].*[a-z}.]", text, re.DOTALL) and (" " in text or "." not in text)
    }


def constants(node):
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from constants(node.body)
        yield from constants(node.orelse)


def test_blender_shows_them():
    if not bpy.app.build_options.international:
        pytest.skip("this Blender is built without translations")
    view = bpy.context.preferences.view
    before = view.language
    try:
        view.language, view.use_translate_interface = "de_DE", True
        assert bpy.app.translations.pgettext_iface("Set Up Backend") == "Backend einrichten"
        assert translations.sentence("Added {names}", names="Ann") == "Ann hinzugefügt"
        with pytest.raises(RuntimeError, match="Einen Avatar auswählen"):
            bpy.ops.emo_avatar.clear()
    finally:
        view.language = before
