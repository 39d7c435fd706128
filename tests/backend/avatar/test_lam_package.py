"""LAM packages: every way of writing the same avatar reads the same, and what cannot be used says why."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from emo_avatar.avatar import lam_archive
from emo_avatar.avatar.lam_package import LamPackage, LamSplats, read_lam_package
from emo_avatar.errors import UserError
from emo_avatar.head.data import ARKIT_NAMES


@pytest.fixture(scope="module")
def sample(sample_path: Path) -> LamPackage:
    return read_lam_package(sample_path)


def assert_same(package: LamPackage, expected: LamPackage, atol: float = 1e-6) -> None:
    for name in ("vertices", "faces", "targets"):
        assert np.array_equal(getattr(package, name), getattr(expected, name)), name
    for f in fields(LamSplats):
        assert np.allclose(getattr(package.splats, f.name), getattr(expected.splats, f.name), atol=atol), f.name
    assert np.allclose(package.chain.pivots, expected.chain.pivots, atol=1e-4)
    assert np.allclose(package.chain.weights, expected.chain.weights, atol=atol)


def test_the_sample(sample: LamPackage) -> None:
    assert len(sample.vertices) == 20_018
    assert sample.chain.names == ("neckLower", "neckUpper", "head")
    assert sample.notes == ("The package has no tongueOut; these units do nothing.",)
    assert not sample.targets[ARKIT_NAMES.index("tongueOut")].any()
    blink = sample.targets[ARKIT_NAMES.index("eyeBlinkLeft")]
    moved = sample.vertices[np.linalg.norm(blink, axis=1) > 0.005]
    assert (moved[:, 0] > 0.01).all(), "the subject's left is +x"
    assert (blink[np.linalg.norm(blink, axis=1) > 0.005, 1] < 0).mean() > 0.9, "a lid closes downwards"
    assert 0 <= sample.splats.colors.min() <= sample.splats.colors.max() <= 1


# Other ways of writing the same avatar -------------------------------------------------------------------------------


def shuffle_targets(w) -> None:
    order = np.random.default_rng(0).permutation(len(w.primitive["targets"]))
    names = w.mesh["extras"]["targetNames"]
    w.primitive["targets"] = [w.primitive["targets"][i] for i in order]
    w.mesh["extras"]["targetNames"] = [names[i] for i in order]
    w.extra["avatar/bsData.json"] = b'{"names": ["jawOpen"], "frames": []}'


def name_targets_like_other_exporters(w) -> None:
    short = {"Left": "_L", "Right": "_R"}
    names = w.mesh["extras"].pop("targetNames")
    for long, suffix in short.items():
        names = [name.removesuffix(long) + suffix if name.endswith(long) else name for name in names]
    w.primitive["extras"] = {"targetNames": [f"blendShape1.{name}" for name in names]}
    w.primitive["extras"]["targetNames"][-1] = w.primitive["extras"]["targetNames"][-1].upper()


def dense_targets(w) -> None:
    for target in w.primitive["targets"]:
        target["POSITION"] = w.add(w.array(target["POSITION"]))


def wide_indices(w) -> None:
    w.primitive["indices"] = w.add(w.array(w.primitive["indices"]).astype(np.uint32))


def interleaved_positions(w) -> None:
    positions = w.array(w.primitive["attributes"]["POSITION"])
    index = w.add(np.concatenate([positions, np.ones((len(positions), 1), np.float32)], axis=1))
    w.document["accessors"][index]["type"] = "VEC3"
    w.document["bufferViews"][-1]["byteStride"] = 16
    w.primitive["attributes"]["POSITION"] = index


def eight_influences(w) -> None:
    attributes = w.primitive["attributes"]
    joints, weights = w.array(attributes["JOINTS_0"]), w.array(attributes["WEIGHTS_0"])
    first, second = np.array([1, 1, 0, 0]), np.array([0, 0, 1, 1])
    attributes["WEIGHTS_0"] = w.add((weights * first).astype(np.float32))
    attributes["JOINTS_1"] = w.add(joints)
    attributes["WEIGHTS_1"] = w.add((weights * second).astype(np.float32))


def sixteen_bit_weights(w) -> None:
    attributes = w.primitive["attributes"]
    weights = w.array(attributes["WEIGHTS_0"])
    attributes["WEIGHTS_0"] = w.add(np.round(weights * 65535).astype(np.uint16), normalized=True)


def another_skeleton(w) -> None:
    """More joints than a byte counts, in front, and names as Mixamo gives them."""
    added = 300 - len(w.skin["joints"])
    first = len(w.document["nodes"])
    w.document["nodes"] += [{"name": f"helper{i}"} for i in range(added)]
    bind = w.array(w.skin["inverseBindMatrices"])
    identity = np.tile(np.eye(4, dtype=np.float32).reshape(1, 16), (added, 1))
    w.skin["inverseBindMatrices"] = w.add(np.concatenate([identity, bind]))
    w.skin["joints"] = [*range(first, first + added), *w.skin["joints"]]
    attributes = w.primitive["attributes"]
    attributes["JOINTS_0"] = w.add(w.array(attributes["JOINTS_0"]).astype(np.uint16) + np.uint16(added))
    renamed = {"neckLower": "mixamorig:Neck", "neckUpper": "mixamorig:Neck1", "head": "mixamorig:Head"}
    for node in w.document["nodes"]:
        node["name"] = renamed.get(node.get("name"), node.get("name"))
    head = next(node for node in w.document["nodes"] if node["name"] == "mixamorig:Head")
    w.document["nodes"].append({"name": "mixamorig:HeadTop_End"})
    head["children"] = [*head["children"], len(w.document["nodes"]) - 1]


def deep_folder(w) -> None:
    w.folder = "export/2025/avatar/"
    w.extra = {"__MACOSX/export/2025/avatar/._skin.glb": b"\0\5\x16\7", "export/.DS_Store": b"", "readme.txt": b"hi"}


def windows_folder(w) -> None:
    w.folder = "My Avatars\\p2\\"


@pytest.mark.parametrize(
    "change",
    [
        shuffle_targets,
        name_targets_like_other_exporters,
        dense_targets,
        wide_indices,
        interleaved_positions,
        eight_influences,
        sixteen_bit_weights,
        another_skeleton,
        deep_folder,
        windows_folder,
    ],
)
def test_reads_the_same_avatar_however_it_was_written(change, workshop, sample, tmp_path: Path) -> None:
    change(workshop)
    assert_same(read_lam_package(workshop.write(tmp_path / "a.zip")), sample, atol=3e-5)


@pytest.mark.parametrize("options", [{"byte_order": ">"}, {"text": True}], ids=["big-endian", "ascii"])
def test_reads_every_kind_of_ply(options, workshop, sample, zipped) -> None:
    members = {"skin.glb": workshop.skin_glb(), "offset.ply": workshop.offset_ply(**options)}
    assert_same(read_lam_package(zipped(members)), sample, atol=1e-5)


def test_reads_a_folder_and_gzipped_files(workshop, sample, tmp_path: Path) -> None:
    folder = tmp_path / "somebody" / "avatar"
    folder.mkdir(parents=True)
    (folder / "skin.glb").write_bytes(workshop.skin_glb())
    (folder / "offset.ply.gz").write_bytes(gzip.compress(workshop.offset_ply(), 1))
    assert_same(read_lam_package(tmp_path / "somebody"), sample)


def test_colours_that_are_spherical_harmonics_are_told_from_plain_ones(workshop, sample, tmp_path: Path) -> None:
    for i in range(3):
        workshop.table[f"f_dc_{i}"] = (workshop.table[f"f_dc_{i}"] - 0.5) / 0.28209479177387814
    package = read_lam_package(workshop.write(tmp_path / "a.zip"))
    assert np.allclose(package.splats.colors, sample.splats.colors, atol=1e-5)
    assert any("spherical harmonics" in note for note in package.notes)


def test_a_missing_unit_is_said_and_does_nothing(workshop, tmp_path: Path) -> None:
    gone = workshop.mesh["extras"]["targetNames"].index("cheekPuff")
    del workshop.mesh["extras"]["targetNames"][gone], workshop.primitive["targets"][gone]
    package = read_lam_package(workshop.write(tmp_path / "a.zip"))
    assert not package.targets[ARKIT_NAMES.index("cheekPuff")].any()
    assert any("cheekPuff, tongueOut" in note for note in package.notes)


# What cannot be used -------------------------------------------------------------------------------------------------


def set_column(name: str, value: float) -> Callable:
    def change(w) -> None:
        w.table[name] = value

    return change


def not_finite(w) -> None:
    w.table["x"][7] = np.nan
    w.table["scale_1"][9] = np.inf


def no_rotation(w) -> None:
    for i in range(4):
        w.table[f"rot_{i}"][:3] = 0


def far_off(w) -> None:
    w.table["x"] += 0.05


def fewer_gaussians(w) -> None:
    w.table = w.table[:20_000]


def no_names(w) -> None:
    del w.mesh["extras"]


def flame_targets(w) -> None:
    w.mesh["extras"]["targetNames"] = [f"exp{i}" for i in range(51)]


def no_targets(w) -> None:
    del w.primitive["targets"]


def nameless_bones(w) -> None:
    for node in w.document["nodes"]:
        node.pop("name", None)


def unbound(w) -> None:
    for node in w.document["nodes"]:
        node.pop("skin", None)


def weights_of_nobody(w) -> None:
    n = len(w.table)
    w.primitive["attributes"]["WEIGHTS_0"] = w.add(np.zeros((n, 4), np.float32))


def joints_of_nobody(w) -> None:
    n = len(w.table)
    w.primitive["attributes"]["JOINTS_0"] = w.add(np.full((n, 4), 900, np.uint16))


def looping_skeleton(w) -> None:
    """Not a fault in itself: the loop must end, and the weights make the file unusable."""
    nodes = w.document["nodes"]
    head = next(i for i, node in enumerate(nodes) if node.get("name") == "head")
    nodes[nodes[head]["children"][0]].setdefault("children", []).append(head)
    weights_of_nobody(w)


def short_target(w) -> None:
    w.primitive["targets"][0]["POSITION"] = w.add(np.zeros((10, 3), np.float32))


def sparse_beyond_the_end(w) -> None:
    target = w.document["accessors"][w.primitive["targets"][0]["POSITION"]]
    indices = w.add(np.full((target["sparse"]["count"], 1), 60_000, np.uint16))
    target["sparse"]["indices"] = {
        "bufferView": w.document["accessors"][indices]["bufferView"],
        "componentType": 5123,
    }


def huge_count(w) -> None:
    w.document["accessors"][w.primitive["targets"][0]["POSITION"]]["count"] = 10**12


def view_beyond_the_end(w) -> None:
    w.document["bufferViews"][0]["byteOffset"] = len(w.binary) - 10


def negative_offset(w) -> None:
    w.document["accessors"][w.primitive["attributes"]["POSITION"]]["byteOffset"] = -4


def triangles_beyond_the_end(w) -> None:
    w.primitive["indices"] = w.add(np.full((30, 1), 50_000, np.uint16))


def compressed(w) -> None:
    w.document["extensionsRequired"] = ["KHR_draco_mesh_compression"]


def centimetres(w) -> None:
    positions = w.array(w.primitive["attributes"]["POSITION"])
    w.primitive["attributes"]["POSITION"] = w.add(positions * np.float32(100))


def wrong_kinds(w) -> None:
    w.document["meshes"] = {"a": 1}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (set_column("opacity", 6.9), "broken export: its median opacity is 1.00"),
        (set_column("opacity", -6.9), "nearly all of its Gaussians are transparent"),
        (set_column("scale_0", -4.6051702), "broken export: its Gaussians are 10.0 mm large"),
        (far_off, "broken export: its Gaussians lie 5. mm off"),
        (not_finite, "2 numbers of its Gaussians are not finite"),
        (no_rotation, "3 Gaussians have no rotation"),
        (fewer_gaussians, "20,000 Gaussians but skin.glb has 20,018 vertices"),
        (no_names, "does not name its 51 morph targets"),
        (flame_targets, "only 0 of the 52 ARKit targets"),
        (no_targets, "no morph targets"),
        (nameless_bones, "no bone named neck or head"),
        (unbound, "bound to no skeleton"),
        (weights_of_nobody, "20,018 vertices follow no bone"),
        (joints_of_nobody, "skin weights do not match its skeleton"),
        (looping_skeleton, "follow no bone"),
        (short_target, "has 10 elements, not 20,018"),
        (sparse_beyond_the_end, "points past its 20,018 elements"),
        (huge_count, "not a readable VEC3"),
        (view_beyond_the_end, "cut short or damaged"),
        (negative_offset, "a buffer view cannot be read"),
        (triangles_beyond_the_end, "triangles do not match its vertices"),
        (compressed, "compressed .KHR_draco_mesh_compression.; export it without"),
        (centimetres, "must be a head in metres"),
        (wrong_kinds, '"meshes" is no list'),
    ],
)
def test_refuses_with_the_reason(change, reason: str, workshop, tmp_path: Path) -> None:
    change(workshop)
    path = workshop.write(tmp_path / "a.zip")
    with pytest.raises(UserError, match=reason):
        read_lam_package(path)


@pytest.mark.parametrize("kept", [0.99, 0.5, 0.01])
@pytest.mark.parametrize("member", ["skin.glb", "offset.ply"])
def test_refuses_files_that_are_cut_short(member: str, kept: float, workshop, zipped) -> None:
    members = {"skin.glb": workshop.skin_glb(), "offset.ply": workshop.offset_ply()}
    members[member] = members[member][: int(kept * len(members[member]))]
    with pytest.raises(UserError, match=f"{member} is cut short|{member} is no|{member} is damaged"):
        read_lam_package(zipped(members))


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({}, "holds no skin.glb and offset.ply"),
        ({"a/skin.glb": b""}, "holds no offset.ply"),
        ({f"{folder}/{name}": b"" for folder in "ab" for name in ("skin.glb", "offset.ply")}, r"several avatars .a, b"),
        ({"skin.glb": b"", "offset.ply": b""}, "skin.glb is not a binary glTF file"),
        ({"skin.glb": b"glTF" + bytes(100), "offset.ply": b""}, "glTF version 0"),
    ],
)
def test_refuses_archives_without_a_package(members: dict[str, bytes], reason: str, zipped) -> None:
    with pytest.raises(UserError, match=reason):
        read_lam_package(zipped(members))


def test_refuses_whatever_is_no_archive(tmp_path: Path) -> None:
    (tmp_path / "photo.zip").write_bytes(b"\x89PNG not a zip")
    (tmp_path / "empty").mkdir()
    for name, reason in (
        ("nothing.zip", "does not exist"),
        ("photo.zip", "not a readable zip archive"),
        ("empty", "holds no skin.glb and offset.ply"),
    ):
        with pytest.raises(UserError, match=reason):
            read_lam_package(tmp_path / name)


def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lam_archive, "_MAX_BYTES", 1 << 20)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("skin.glb", bytes(8 << 20))
        archive.writestr("offset.ply", b"ply")
    honest, lying = tmp_path / "honest.zip", tmp_path / "lying.zip"
    honest.write_bytes(stream.getvalue())
    # The same archive, whose directory claims that the file is small.
    lying.write_bytes(stream.getvalue().replace(struct.pack("<I", 8 << 20), struct.pack("<I", 100)))
    gzipped = tmp_path / "gzipped"
    gzipped.mkdir()
    (gzipped / "skin.glb.gz").write_bytes(gzip.compress(bytes(8 << 20), 1))
    (gzipped / "offset.ply").write_bytes(b"ply")
    for path, reason in (
        (honest, "would unpack to 8,388,608 bytes"),
        (lying, "not a readable zip|larger than"),
        (gzipped, "larger than"),
    ):
        with pytest.raises(UserError, match=reason):
            read_lam_package(path)


def test_an_encrypted_archive_is_refused(workshop, tmp_path: Path) -> None:
    path = workshop.write(tmp_path / "a.zip")
    data = bytearray(path.read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.find(signature)
        while at >= 0:
            data[at + flags] |= 1
            at = data.find(signature, at + 4)
    path.write_bytes(data)
    with pytest.raises(UserError, match="encrypted"):
        read_lam_package(path)
