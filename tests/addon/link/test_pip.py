"""What pip prints becomes progress and reasons."""

import pytest
from emo_avatar_addon.link import pip


@pytest.mark.parametrize(
    ("printed", "said"),
    [
        ("ERROR: No matching distribution found for torch==2.13.0", "torch==2.13.0 does not exist for this Python"),
        ("NameResolutionError: Failed to resolve", "the package index cannot be reached"),
        ("PermissionError: [Errno 13] Permission denied: 'x'", "a file may not be written"),
        ("something else", "something else"),
    ],
)
def test_pips_words_become_a_reason(printed, said):
    assert said in pip.reason("Downloading", ["first", printed])


def test_progress_follows_pips_raw_output(tmp_path):
    progress = pip.Progress("Downloading", 100.0, tmp_path)
    assert not progress.take("  Downloading torch-2.13.0+cpu-cp311-manylinux.whl (80.0 MB)")
    assert progress.doing == "Downloading torch (80.0 MB)"
    assert progress.take("Progress 40000000 of 80000000") and progress.fraction == pytest.approx(0.24)
    assert progress.take("Progress 80000000 of 80000000") and progress.fraction == pytest.approx(0.48)
    progress.take("  Using cached numpy-2.4.6-cp311.whl (10.0 MB)")
    assert progress.fraction == pytest.approx(0.54)
    progress.take("Installing collected packages: a, b, c")
    assert progress.doing == "Unpacking 3 packages"
    assert progress.fraction == pytest.approx(0.6)
    for name in "ab":
        (tmp_path / "lib/python3.11/site-packages" / f"{name}-1.0.dist-info").mkdir(parents=True)
    assert progress.fraction == pytest.approx(0.6 + 0.4 * 2 / 3)


@pytest.mark.parametrize(("version", "kind"), [("23.2.1", "off"), ("24.0", "off"), ("24.1", "raw"), ("26.3", "raw")])
def test_older_pips_are_not_asked_for_what_they_lack(tmp_path, version, kind):
    (tmp_path / "Lib/site-packages" / f"pip-{version}.dist-info").mkdir(parents=True)
    assert pip.raw_progress(tmp_path) == ("--progress-bar", kind)
