"""Official FLAME files: parity with smplx, and pickles that are no FLAME files at all."""

import io
import os
import pickle
import shutil
import sys
import types
import zipfile
from functools import partial

import numpy as np
import pytest
import smplx
import torch

from emo_avatar.errors import UserError
from emo_avatar.head.data import load_head, save_head
from emo_avatar.head.inert_pickle import array_of, read_pickle
from emo_avatar.head.model import HeadModel
from emo_avatar.head.official import read_official

DRAWS = 200
TOLERANCE = 1e-5  # metres


@pytest.fixture
def chumpy(monkeypatch):
    """Just enough of chumpy for smplx to unpickle a FLAME file; the package itself does not install on Python 3.11."""

    class Ch:
        def __array__(self, *args, **kwargs):
            return np.array(self.x, *args)

        def __getitem__(self, key):
            return np.array(self)[key]

        @property
        def shape(self):
            return np.array(self).shape

    class Select(Ch):
        def __array__(self, *args, **kwargs):
            return np.array(self.a).ravel()[self.idxs].reshape(self.preferred_shape)

    for name, attributes in (("chumpy", {}), ("chumpy.ch", {"Ch": Ch}), ("chumpy.reordering", {"Select": Select})):
        module = types.ModuleType(name)
        module.__dict__.update(attributes)
        monkeypatch.setitem(sys.modules, name, module)


def smplx_model(path, folder, extension):
    shutil.copy(path, folder / f"FLAME_NEUTRAL.{extension}")
    landmarks = {"lmk_face_idx": np.zeros(51, np.int64), "lmk_b_coords": np.full((51, 3), 1 / 3)}
    (folder / "flame_static_embedding.pkl").write_bytes(pickle.dumps(landmarks))
    return smplx.FLAME(str(folder), ext=extension, num_betas=300, num_expression_coeffs=100, batch_size=DRAWS // 4)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("extension", ["pkl", "npz"])
def test_parity_with_smplx(tmp_path, request, chumpy, extension):
    path = request.getfixturevalue({"pkl": "flame_pickle", "npz": "flame_npz"}[extension])
    theirs = smplx_model(path, tmp_path, extension)
    head, notes = read_official(path)
    save_head(head, tmp_path / "ours.npz")
    ours = HeadModel(load_head(tmp_path / "ours.npz"))
    assert notes == (f"{path.name} holds no texture coordinates: the head has none.",)
    g = torch.Generator().manual_seed(0)
    worst = 0.0
    for _ in range(4):
        p = {
            name: scale * torch.randn(DRAWS // 4, width, generator=g)
            for name, width, scale in (
                ("shape", 300, 1.0), ("expression", 100, 1.0), ("rotation", 3, 0.5), ("neck_pose", 3, 0.4),
                ("jaw_pose", 3, 0.3), ("eyes_pose", 6, 0.4), ("translation", 3, 0.2),
            )
        }  # fmt: skip
        with torch.no_grad():
            expected = theirs(
                betas=p["shape"],
                expression=p["expression"],
                global_orient=p["rotation"],
                neck_pose=p["neck_pose"],
                jaw_pose=p["jaw_pose"],
                leye_pose=p["eyes_pose"][:, :3],
                reye_pose=p["eyes_pose"][:, 3:],
                transl=p["translation"],
            ).vertices
            worst = max(worst, (ours(**p).vertices - expected).abs().max().item())
    assert worst < TOLERANCE


def test_eyeballs_are_found_wherever_they_are(flame_npz, open_head):
    head, _ = read_official(flame_npz)
    for name in ("eye_left", "eye_right"):
        eyeball = head.v_template[head.part(name)]
        assert len(eyeball) == open_head.part(name).sum()
        assert np.ptp(eyeball, axis=0).max() < 0.04
    assert head.v_template[head.part("eye_left"), 0].mean() > head.v_template[head.part("eye_right"), 0].mean()


def test_texture_coordinates_are_kept(tmp_path, official_arrays):
    arrays = official_arrays | {"J_regressor": official_arrays["J_regressor"].toarray()}
    n_faces = len(arrays["f"])
    arrays |= {"vt": np.random.default_rng(0).random((500, 2)), "ft": np.arange(3 * n_faces).reshape(-1, 3) % 500}
    np.savez(tmp_path / "FLAME.npz", **arrays)
    head, notes = read_official(tmp_path / "FLAME.npz")
    assert notes == () and head.uv.shape == (500, 2) and head.uv_faces.shape == (n_faces, 3)


def test_a_wrapped_sparse_regressor_in_an_npz_is_read_without_unpickling(tmp_path, official_arrays):
    np.savez(tmp_path / "FLAME.npz", **official_arrays)  # numpy pickles the scipy matrix into an array of objects
    head, _ = read_official(tmp_path / "FLAME.npz")
    assert np.allclose(head.J_regressor, official_arrays["J_regressor"].toarray(), atol=1e-7)


# --- hostile files ---------------------------------------------------------------------------------------------------


class Call:
    """Pickles as a call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def protocol2(*opcodes):
    return b"\x80\x02" + b"".join(opcodes) + b"."


SHELL = "touch went-off"
HOSTILE = {
    "os.system": pickle.dumps(Call(os.system, SHELL)),
    "posix.system in protocol 0": b"cposix\nsystem\n(S'" + SHELL.encode() + b"'\ntR.",
    "builtins.eval": pickle.dumps(Call(eval, "open('went-off', 'w')"), protocol=0),
    "builtins.exec in protocol 5": pickle.dumps(Call(exec, "open('went-off', 'w')"), protocol=5),
    "partial": pickle.dumps(partial(os.system, SHELL)),
    "torch": pickle.dumps(Call(torch.load, "went-off")),
    "subprocess": protocol2(b"csubprocess\nPopen\n(U\x05touchU\x08went-off\x86tR"),
    "getattr": protocol2(b"c__builtin__\ngetattr\n(cos\nsystem\nU\x08__call__tR"),
    "dotted name": protocol2(b"cnumpy\nndarray.__class__\n"),
    "nested in a model": pickle.dumps({"v_template": [{"deep": (Call(os.system, SHELL),)}]}),
    "in a memo": protocol2(b"cos\nsystem\nq\x010h\x01U\x0etouch went-off\x85R"),
    "stack global": b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x0etouch went-off\x85R.",
    "stack global from the memo": b"\x80\x04\x8c\x02os\x94\x8c\x06system\x94000h\x00h\x01\x93.",
    "inst": b"(S'touch went-off'\nios\nsystem\n.",
    "obj": protocol2(b"(cos\nsystem\nU\x0etouch went-offo"),
    "newobj_ex": b"\x80\x04cos\nsystem\n)}\x92.",
    "build": protocol2(b"cnumpy\nndarray\n}U\x0c__setstate__cos\nsystem\nsb"),
    "persistent id": protocol2(b"U\x02idQ"),
    "persistent id in protocol 0": b"Pid\n.",
    "extension": protocol2(b"\x82\x01"),
    "out-of-band buffer": b"\x80\x05\x97.",
    "numpy's own pickle loader": protocol2(b"cnumpy\nload\n(U\x01xtR"),
    "numpy testing": protocol2(b"cnumpy.testing._private.utils\nruncstring\n(U\x01xU\x01ytR"),
    "chumpy's optimiser called": protocol2(b"cchumpy.utils\nos.system\n(U\x0etouch went-offtR"),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_pickles_run_nothing(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.pkl").write_bytes(content)
    modules = set(sys.modules)
    with pytest.raises(UserError, match="model.pkl"):
        read_official("model.pkl")
    assert os.listdir(tmp_path) == ["model.pkl"]
    assert set(sys.modules) == modules, "nothing is imported at a pickle's wish"


@pytest.mark.parametrize(
    "name", ["os.system", "posix.system in protocol 0", "builtins.eval", "partial", "stack global"]
)
def test_refusals_name_what_was_asked_for(tmp_path, name):
    (tmp_path / "model.pkl").write_bytes(HOSTILE[name])
    asked = {"os.system": "posix.system|nt.system", "partial": "functools.partial", "stack global": "os.system"}
    with pytest.raises(UserError, match=asked.get(name, name.split(" ")[0].replace("builtins", "__builtin__"))):
        read_official(tmp_path / "model.pkl")


def test_the_tests_bite(tmp_path, monkeypatch):
    """The same bytes do run under Python's own unpickler."""
    monkeypatch.chdir(tmp_path)
    for name in ("os.system", "in a memo", "stack global", "inst"):
        pickle.loads(HOSTILE[name])
        assert (tmp_path / "went-off").exists(), name
        (tmp_path / "went-off").unlink()


def test_objects_in_an_npz_are_refused(tmp_path, monkeypatch, official_arrays):
    monkeypatch.chdir(tmp_path)
    arrays = official_arrays | {"J_regressor": np.array([Call(os.system, SHELL)], dtype=object)}
    np.savez("FLAME.npz", **arrays)
    with pytest.raises(UserError, match="posix.system|nt.system"):
        read_official("FLAME.npz")
    assert os.listdir(tmp_path) == ["FLAME.npz"]


def array_pickle(shape, code, data, fortran="\x89"):
    """A pickled array with whatever shape, type and bytes."""
    made = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR"
    dtype = (
        b"cnumpy\ndtype\n(U"
        + bytes([len(code)])
        + code.encode()
        + b"K\x00K\x01tR(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    )
    dimensions = b"(" + b"".join(b"\x8a\x08" + int(n).to_bytes(8, "little", signed=True) for n in shape) + b"t"
    return made + b"(K\x01" + dimensions + dtype + fortran.encode("latin-1") + b"U" + bytes([len(data)]) + data + b"tb"


@pytest.mark.parametrize(
    "value",
    [
        array_pickle((1 << 40,), "f8", bytes(8)),
        array_pickle((-1, -1), "f8", bytes(8)),
        array_pickle((1,), "O8", bytes(8)),  # bytes that pose as a pointer
        array_pickle((1,), "V8", bytes(8)),
        array_pickle((1,), "f8" * 20, bytes(8)),
        b"](" + b"](K\x01K\x02e" * 3 + b"e",
        b"]q\x01h\x01a",  # a list that contains itself
        b"cscipy.sparse.csc\ncsc_matrix\n)\x81}(U\x06_shapeJ\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86ub",
        b"cchumpy.ch\nCh\n)\x81q\x01}U\x01xh\x01sb",  # an array that is itself
        b"cchumpy.ch_ops\nadd\n)\x81}b",
        b"U\x04text",
        b"N",
    ],
)
def test_arrays_that_are_none(value):
    with pytest.raises(UserError, match="thing"):
        array_of(read_pickle(io.BytesIO(protocol2(value)), "thing"), "thing")


@pytest.mark.parametrize(
    "content",
    [b"", b"hello", b"\x80\x02", b"\x80\x02(", b"\x80\x02t.", b"\x80\x02h\x05.", b"(" * 1000, bytes(range(256))],
)
def test_damaged_pickles(tmp_path, content):
    (tmp_path / "model.pkl").write_bytes(content)
    with pytest.raises(UserError, match="model.pkl"):
        read_official(tmp_path / "model.pkl")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_python_3_pickles_of_every_protocol(protocol):
    data = {"a": np.arange(6.0).reshape(2, 3), "b": [1, 2.5], "c": np.float32(3), "d": np.asfortranarray(np.eye(3, 2))}
    read = read_pickle(io.BytesIO(pickle.dumps(data, protocol)), "data")
    for name, value in data.items():
        assert np.array_equal(array_of(read[name], name), value), name


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"v_template": None}, "lacks v_template"),
        ({"posedirs": np.zeros((10, 3, 36))}, "posedirs has dimensions"),
        ({"v_template": "nan"}, "v_template has values that are not finite"),
        ({"f": "beyond"}, "f points outside"),
        ({"kintree_table": np.zeros((2, 24), np.int64)}, "other joints"),
        ({"shapedirs": "few"}, "5 shape and expression components"),
        ({"weights": "complex"}, "weights"),
    ],
)
def test_models_that_are_no_flame(tmp_path, official_arrays, changes, said):
    arrays = official_arrays | {"J_regressor": official_arrays["J_regressor"].toarray()}
    broken = {
        "nan": lambda a: np.full_like(a, np.nan),
        "beyond": lambda a: a + len(arrays["v_template"]),
        "few": lambda a: a[:, :, :5],
        "complex": lambda a: a.astype(complex),
    }
    for name, change in changes.items():
        if change is None:
            del arrays[name]
        else:
            arrays[name] = broken[change](arrays[name]) if isinstance(change, str) else change
    np.savez(tmp_path / "FLAME.npz", **arrays)
    with pytest.raises(UserError, match=said):
        read_official(tmp_path / "FLAME.npz")


def test_files_that_are_not_there_or_nothing_at_all(tmp_path):
    with pytest.raises(UserError, match="cannot be opened"):
        read_official(tmp_path / "nowhere.pkl")
    with zipfile.ZipFile(tmp_path / "empty.npz", "w") as archive:
        archive.writestr("readme.txt", "x")
    with pytest.raises(UserError, match="no FLAME model"):
        read_official(tmp_path / "empty.npz")
    (tmp_path / "list.pkl").write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(UserError, match="no FLAME model"):
        read_official(tmp_path / "list.pkl")
