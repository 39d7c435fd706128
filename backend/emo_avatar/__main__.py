"""``python -m emo_avatar``: the command line, for whoever knows the interpreter and not where scripts lie."""

from emo_avatar.cli import app

app()
