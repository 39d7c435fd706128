"""Other languages: the dictionaries are well formed, and Blender takes them."""

import re
from pathlib import Path

import bpy
import pytest
from bl_ext.user_default.emo_avatar.emo_avatar_addon import registration, translations

SOURCES = Path(registration.__file__).parent


@pytest.mark.parametrize("locale", translations.dictionaries())
def test_dictionaries(locale):
    words = translations.dictionaries()[locale]
    assert re.fullmatch(r"[a-z]{2,3}(_[A-Z]{2,4})?(@[a-z]+)?", locale) and len(words) > 50
    for english, word in words.items():
        assert word.strip() == word != "", english
        assert english.endswith("...") == word.endswith("..."), english
        assert re.findall(r"{.*?}", english) == re.findall(r"{.*?}", word), english


def test_blender_shows_them():
    if not bpy.app.build_options.international:
        pytest.skip("this Blender is built without translations")
    view = bpy.context.preferences.view
    before = view.language
    try:
        view.language, view.use_translate_interface = "de_DE", True
        assert bpy.app.translations.pgettext_iface("Set Up Backend") == "Backend einrichten"
    finally:
        view.language = before
