"""Everything at once, on a photograph that comes along: what ``emo-avatar demo`` and ``make demo`` show."""

from __future__ import annotations

import html
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image

from emo_avatar import assets
from emo_avatar.avatar.files import save_avatar
from emo_avatar.backbones.make import Backbone
from emo_avatar.data.speech import utterance
from emo_avatar.export.glb import write_glb
from emo_avatar.export.npz import write_npz
from emo_avatar.export.performance import perform
from emo_avatar.export.pictures import render_frames, write_png
from emo_avatar.export.sheet import contact_sheet, paths_sheet
from emo_avatar.export.video import write_mp4
from emo_avatar.files import write_text
from emo_avatar.head.data import load_head
from emo_avatar.motion.timeline import EmotionTimeline
from emo_avatar.tracking.portrait import track_portrait

Progress = Callable[[float, str], None]

SENTENCE = "I was so happy when the morning began, and then, well, everything changed."
FPS, FRAMES = 30, 150
VIDEO_SIZE, SHEET_SIZE = 512, 256  # pixels
BACKGROUND = (0.93, 0.93, 0.94)
# Happy, neutral, sad: eased, so that the change is seen and not only its ends.
TIMELINE = {
    "version": 1,
    "fps": FPS,
    "frame_start": 1,
    "frame_end": FRAMES,
    "emotions": {
        "happy": [
            {"frame": 1, "value": 1.0, "interpolation": "constant"},
            {"frame": 45, "value": 1.0, "interpolation": "bezier"},
            {"frame": 75, "value": 0.0, "interpolation": "bezier"},
        ],
        "sad": [
            {"frame": 80, "value": 0.0, "interpolation": "bezier"},
            {"frame": 110, "value": 1.0, "interpolation": "constant"},
        ],
    },
}
SHARES = {"avatar": 0.25, "sheet": 0.15, "paths": 0.1, "video": 0.25, "glb": 0.25}  # of the whole time, roughly


def run_demo(
    folder: Path,
    device: torch.device,
    progress: Progress,
    backbone: Backbone | None = None,
    geometry: bool = True,
    appearance: bool = True,
) -> list[Path]:
    """Build the avatar, play it, export it; returns what was written.

    Emotion moves the face (``geometry``) and colours the skin (``appearance``); a sheet shows both paths apart.
    """
    done = 0.0

    def part(name: str) -> Progress:
        nonlocal done
        start, share = done, SHARES[name]
        done += share
        return lambda fraction, doing: progress(start + share * fraction, doing)

    photo = assets.fetch("astronaut.png")
    head = load_head()
    portrait = track_portrait(photo, head)
    making = backbone or Backbone()
    avatar, _ = making.make(portrait, head, name=photo.stem, device=device, progress=part("avatar"))
    save_avatar(avatar, folder / "avatar.emoavatar")
    avatar = avatar.to(device)

    timeline = EmotionTimeline.from_json(TIMELINE)
    timeline.write(folder / "timeline.json")
    speech = utterance(SENTENCE, FRAMES / FPS, FPS, avatar.rig.head)
    sequence = perform(avatar, speech, timeline, geometry=geometry, appearance=appearance)
    write_npz(folder / "sequence.npz", avatar, sequence)

    write_png(folder / "emotions.png", contact_sheet(avatar, SHEET_SIZE, part("sheet"), geometry, appearance))
    write_png(folder / "paths.png", paths_sheet(avatar, SHEET_SIZE, part("paths")))
    frames = render_frames(avatar, sequence, avatar.camera(size=VIDEO_SIZE), BACKGROUND)
    write_mp4(folder / "timeline.mp4", frames, FPS, len(sequence), part("video"))
    write_glb(folder / "avatar.glb", avatar, sequence, part("glb"))

    with Image.open(photo) as image:
        image.convert("RGB").save(folder / "portrait.png")
    write_text(folder / "index.html", _page(len(avatar.gaussians)))
    return sorted(folder.iterdir())


def _page(gaussians: int) -> str:
    files = {
        "avatar.emoavatar": "the avatar: give it to emo-avatar render, animate, export or sheet",
        "sequence.npz": "the animated FLAME sequence, as VHAP and GaussianAvatars read it",
        "avatar.glb": "the head as an animated mesh: drag it into Blender or any glTF viewer",
        "timeline.json": "the emotion keys of the video",
    }
    rows = "\n".join(f'<li><a href="{name}">{name}</a>: {html.escape(text)}</li>' for name, text in files.items())
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Emo Avatar demo</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }}
.row {{ display: flex; gap: 1rem; flex-wrap: wrap }}
.row > figure {{ flex: 1 1 20rem; margin: 0 }}
img, video {{ width: 100%; border-radius: 6px }}
figcaption {{ color: #666 }}
</style>
</head>
<body>
<h1>Emo Avatar</h1>
<p>From one photograph, an avatar of {gaussians:,} Gaussians that rides on a FLAME head.</p>
<div class="row">
<figure><img src="portrait.png" alt="portrait"><figcaption>The photograph (NASA, public domain).</figcaption></figure>
<figure><video src="timeline.mp4" controls loop muted autoplay></video>
<figcaption>Happy, neutral, sad, under the same speech motion.</figcaption></figure>
</div>
<h2>Seven emotions, three views</h2>
<img src="emotions.png" alt="contact sheet of seven emotions in three views">
<h2>The two paths of emotion</h2>
<img src="paths.png" alt="six emotions: the face moved, the skin coloured, both">
<p>Above the face alone moves, in the middle the skin alone changes, below both do.</p>
<h2>Files</h2>
<ul>
{rows}
</ul>
</body>
</html>
"""
