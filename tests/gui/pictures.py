"""The user guide's pictures, of the screenshots that the tests leave: `python tests/gui/pictures.py`."""

from pathlib import Path

from PIL import Image

REPOSITORY = Path(__file__).parents[2]
SHOTS, GUIDE = REPOSITORY / "build" / "gui-5.2", REPOSITORY / "docs" / "images" / "guide"
EDITOR = (2, 50, 1312, 900)  # the 3D view with its sidebar: left, upper, right, lower
WINDOW = (2, 50, 1312, 978)  # and the timeline
PICTURES = {
    "01-panel": EDITOR,
    "03-progress": WINDOW,
    "04-avatar": EDITOR,
    "06-frame-25": WINDOW,
    "08-render": (0, 20, 1600, 998),
    "09-backend-lost": WINDOW,
    "10-pad": EDITOR,
    "12-two": EDITOR,
}
WIDTH = 1000

if __name__ == "__main__":
    for name, box in PICTURES.items():
        with Image.open(SHOTS / f"{name}.png") as shot:
            part = shot.convert("RGB").crop(box)
        part = part.resize((WIDTH, round(WIDTH * part.height / part.width)), Image.Resampling.LANCZOS)
        part.save(GUIDE / f"{name}.jpg", quality=80, optimize=True, progressive=True)
