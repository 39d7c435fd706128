import numpy as np
import pytest
from PIL import Image

from emo_avatar import assets
from emo_avatar.head.data import load_head
from emo_avatar.tracking.portrait import track_portrait


@pytest.fixture(scope="session")
def open_head():
    return load_head()


@pytest.fixture(scope="session")
def astronaut():  # [512, 512, 3] uint8
    return np.array(Image.open(assets.fetch("astronaut.png")).convert("RGB"))


@pytest.fixture(scope="session")
def tracked_astronaut(astronaut, open_head):
    return track_portrait(astronaut, open_head)
