import pytest

from emo_avatar import assets


@pytest.fixture(autouse=True, scope="package")
def without_makehuman():
    """People as they are drawn where MakeHuman's files cannot be fetched; a test that wants them asks for them."""
    patch = pytest.MonkeyPatch()
    patch.setattr("emo_avatar.data.looks.is_there", lambda: False)
    yield
    patch.undo()


@pytest.fixture(scope="session")
def makehuman_files():
    """Skips where MakeHuman's files, a download of 89 MB, have not been fetched yet."""
    if not assets.is_intact(assets.find("makehuman/base.json")):
        pytest.skip("`emo-avatar assets fetch makehuman/base.json` has not been run here.")
