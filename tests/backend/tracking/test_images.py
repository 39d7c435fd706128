"""Every kind of file that a user may hand over: read as it should look, or refused in one sentence."""

import contextlib
import io

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from emo_avatar.errors import UserError
from emo_avatar.tracking.images import ORIENTATIONS, REFUSED_PIXELS, WORKING_PIXELS, read_photo


def encoded(image, format, **options):
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def off(a, b):
    """Mean absolute difference in steps of 1/255."""
    return np.abs(a.astype(float) - b.astype(float)).mean()


@pytest.fixture(scope="module")
def small(astronaut):  # 160 x 120: not square, so that a wrong turn shows
    return Image.fromarray(astronaut[:240, 100:420]).resize((160, 120))


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF"])
def test_common_formats(small, format):
    photo = read_photo(encoded(small, format))
    assert photo.rgb.shape == (120, 160, 3) and photo.rgb.dtype == np.uint8
    assert off(photo.rgb, np.asarray(small)) < 8, "palette of GIF included"
    assert photo.notes == ()


def test_a_file_with_an_unusual_name(small, tmp_path):
    path = tmp_path / "Ångström 肖像 (1) 🙂.jpeg"
    small.save(path)
    assert off(read_photo(path).rgb, read_photo(str(path)).rgb) == 0


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(small, orientation):
    stored = small
    if orientation > 1:  # what a camera stores when it is held so: the inverse turn
        inverse = {6: 8, 8: 6}.get(orientation, orientation)
        stored = small.transpose(ORIENTATIONS[inverse])
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert off(read_photo(encoded(stored, "PNG", exif=exif)).rgb, np.asarray(small)) == 0


def test_damaged_exif_costs_no_picture(small):
    data = encoded(small, "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff" + bytes(range(64)))
    assert read_photo(data).rgb.shape == (120, 160, 3)


def test_palette_with_transparency(small):
    paletted = small.quantize(64)
    index = int(np.asarray(paletted)[0, 0])
    photo = read_photo(encoded(paletted, "PNG", transparency=index))
    clear = np.asarray(paletted) == index
    assert (photo.rgb[clear] == 128).all()
    assert "transparent" in " ".join(photo.notes)


def test_an_opaque_alpha_channel_goes_unmentioned(small):
    photo = read_photo(encoded(small.convert("RGBA"), "PNG"))
    assert off(photo.rgb, np.asarray(small)) == 0 and photo.notes == ()


def test_half_transparency_is_laid_over_grey(small):
    half = small.convert("RGBA")
    half.putalpha(128)
    expected = np.asarray(small) * (128 / 255) + 128 * (127 / 255)
    assert off(read_photo(encoded(half, "PNG")).rgb, expected) < 1


@pytest.mark.parametrize("mode", ["L", "LA", "1", "I;16", "F"])
def test_grey_pictures_of_any_depth(small, mode):
    grey = np.asarray(small.convert("L"))
    image = {
        "L": lambda: Image.fromarray(grey),
        "LA": lambda: Image.fromarray(grey).convert("LA"),
        "1": lambda: small.convert("1"),
        "I;16": lambda: Image.fromarray(grey.astype(np.uint16) * 257),
        "F": lambda: Image.fromarray(grey.astype(np.float32) / 255),
    }[mode]()
    photo = read_photo(encoded(image, "TIFF" if mode == "F" else "PNG"))
    tolerance = 100 if mode == "1" else 0.01  # dithered
    assert off(photo.rgb, np.repeat(grey[..., None], 3, 2)) < tolerance
    assert abs(photo.rgb.mean() - grey.mean()) < 2


def test_cmyk_without_and_with_a_profile(small):
    assert off(read_photo(encoded(small.convert("CMYK"), "JPEG", quality=95)).rgb, np.asarray(small)) < 4
    lab_like = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    photo = read_photo(encoded(small.convert("CMYK"), "JPEG", quality=95, icc_profile=lab_like))
    assert off(photo.rgb, np.asarray(small)) < 4
    assert "colour profile" in " ".join(photo.notes), "an RGB profile says nothing about CMYK"


def test_a_wide_gamut_profile_is_converted_to_srgb(small):
    """A profile whose red and green are swapped: only a reader that applies it gets the colours right."""
    swapped = Image.fromarray(np.asarray(small)[..., [1, 0, 2]])
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = profile.index(b"rXYZ", 128), profile.index(b"gXYZ", 128)
    profile[red : red + 4], profile[green : green + 4] = b"gXYZ", b"rXYZ"
    photo = read_photo(encoded(swapped, "PNG", icc_profile=bytes(profile)))
    assert off(photo.rgb, np.asarray(small)) < 2


def test_animation_gives_its_first_frame(small):
    frames = [small.convert("L").point([i] * 256) for i in (10, 200, 100)]
    photo = read_photo(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert abs(photo.rgb.mean() - 10) < 2
    assert photo.notes == ("The file has several frames; the first was used.",)


def test_fifty_megapixels_are_reduced():
    large = Image.linear_gradient("L").resize((8660, 5774)).convert("RGB")
    photo = read_photo(encoded(large, "JPEG", quality=30))
    height, width, _ = photo.rgb.shape
    assert 0.9 * WORKING_PIXELS < height * width < 1.01 * WORKING_PIXELS
    assert width / height == pytest.approx(8660 / 5774, rel=1e-3)
    assert photo.rgb[0].mean() < 5 and photo.rgb[-1].mean() > 250
    assert photo.notes == (f"The photo is large (8660 x 5774); it was read at {width} x {height}.",)


def test_a_decompression_bomb_is_refused_unread():
    side = int(REFUSED_PIXELS**0.5) + 10
    with pytest.raises(UserError, match="megapixels"):
        read_photo(encoded(Image.new("1", (side, side)), "PNG"))


def test_arrays(small):
    rgb = np.asarray(small)
    for array in (
        rgb,
        rgb.astype(np.uint16) * 257,
        rgb / 255.0,
        np.dstack([rgb, np.full(rgb.shape[:2], 255, np.uint8)]),
    ):
        assert off(read_photo(array).rgb, rgb) == 0
    assert read_photo(rgb[..., 0]).rgb.shape == rgb.shape


@pytest.mark.parametrize("array", [np.zeros((4, 4, 2)), np.zeros(9), np.zeros((0, 5, 3)), np.full((4, 4), np.nan)])
def test_arrays_that_are_no_pictures(array):
    with pytest.raises(UserError):
        read_photo(array)


def refusal(source):
    with pytest.raises(UserError) as caught:
        read_photo(source)
    sentence = str(caught.value)
    assert sentence.endswith(".") and "\n" not in sentence
    return sentence


def test_refusals_name_the_file_and_the_remedy(small, tmp_path):
    def written(name, data):
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    assert "no file" in refusal(tmp_path / "none.png")
    assert "folder" in refusal(tmp_path)
    assert "is empty" in refusal(written("empty.jpg", b""))
    assert "notes.jpg cannot be read as a picture" in refusal(written("notes.jpg", b"Dear diary, " * 99))
    assert "as a picture" in refusal(written("drawing.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"))
    assert "export it as JPEG" in refusal(written("phone.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64)))


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_truncated_files_are_refused(small, format):
    data = encoded(small, format)
    assert "damaged" in refusal(data[: len(data) // 2])


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_no_damage_raises_anything_but_a_sentence(small, data):
    original = encoded(
        small.resize((24, 18)), data.draw(st.sampled_from(["JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP"]))
    )
    damaged = bytearray(original)
    for _ in range(data.draw(st.integers(1, 8))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(UserError):
        assert read_photo(bytes(damaged)).rgb.ndim == 3
