"""The interface in other languages.

Each `LOCALE.json` beside this file, named as Blender names its languages, maps English words of the interface to
another language. What it does not hold stays English; Blender shows it where the user has chosen that language.
"""

import json
from pathlib import Path

import bpy

_CONTEXTS = ("*", "Operator")  # of labels and of buttons


def dictionaries() -> dict[str, dict[str, str]]:
    """English to another language, by locale."""
    files = sorted(Path(__file__).parent.glob("*.json"))
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in files}


def sentence(template: str, **values: object) -> str:
    """A sentence in the user's language, with `values` where the English one has `{names}`."""
    said = bpy.app.translations.pgettext_iface(template)
    return said.format(**values) if values else said


def register() -> None:
    bpy.app.translations.register(
        __package__,
        {
            locale: {(context, english): word for english, word in words.items() for context in _CONTEXTS}
            for locale, words in dictionaries().items()
        },
    )


def unregister() -> None:
    bpy.app.translations.unregister(__package__)
