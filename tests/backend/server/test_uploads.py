from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emo_avatar.server.uploads import MAX_NAME, safe_file_name, safe_title


@pytest.mark.parametrize(
    ("given_name", "kept"),
    [
        ("Anna (2).zip", "Anna (2).zip"),
        ("/home/anna/Bild.JPG", "Bild.JPG"),
        (r"C:\Users\anna\Zoë.png", "Zoë.png"),
        ("../../etc/passwd", "passwd"),
        ("", "default"),
        ("..", "default"),
        ("a\x00b\nc.zip", "a_b_c.zip"),
        ("CON", "_CON"),
        ("aux.zip", "_aux.zip"),
        ("contact.zip", "contact.zip"),
        ("a:b*c?.zip", "a_b_c_.zip"),
    ],
)
def test_file_names_keep_what_the_user_knows_them_by(given_name, kept):
    assert safe_file_name(given_name, "default") == kept


@given(st.text(max_size=300))
def test_any_name_can_be_written(name):
    kept = safe_file_name(name, "default")
    assert 0 < len(kept) <= MAX_NAME + 1
    assert Path("folder", kept).parent == Path("folder")
    assert kept not in (".", "..")
    assert kept.isprintable()
    kept.encode()


@given(st.text(max_size=300))
def test_titles_are_one_printable_line(name):
    title = safe_title(name, "Avatar")
    assert 0 < len(title) <= MAX_NAME
    assert title.isprintable()
    title.encode()
