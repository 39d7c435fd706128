from emo_avatar.cli import app

app()
