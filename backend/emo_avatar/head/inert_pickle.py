"""Reading pickles as data: nothing that a pickle asks for is ever imported or called.

A pickle is a program for a small stack machine that can call any function of Python. Official FLAME files are pickles
nevertheless, written by Python 2, with numpy arrays, scipy matrices and chumpy objects in them. Here the machine is run
with every call replaced by a record of it (`Recipe`); what the few admitted recipes stand for is worked out afterwards
by `array_of`, which knows numpy arrays, scipy's sparse matrices and chumpy's containers, and nothing else.
"""

from __future__ import annotations

import pickletools
import re
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from emo_avatar.errors import UserError

_NUMPY = ("numpy.core", "numpy._core")  # before and since numpy 2
_SPARSE = {f"scipy.sparse.{prefix}{kind}.{kind}_matrix": kind for prefix in ("", "_") for kind in ("csc", "csr", "coo")}
_RECONSTRUCT = {f"{core}.multiarray._reconstruct" for core in _NUMPY}
_SCALAR = {f"{core}.multiarray.scalar" for core in _NUMPY}
_FROM_BUFFER = {f"{core}.numeric._frombuffer" for core in _NUMPY}
_NEW_OBJECT = {"copy_reg._reconstructor", "copyreg._reconstructor"}  # how protocols 0 and 1 make instances
_PLAIN = {
    "numpy.ndarray", "numpy.dtype", "_codecs.encode", "collections.OrderedDict",
    "__builtin__.set", "builtins.set", "__builtin__.object", "builtins.object",
}  # fmt: skip
ADMITTED = {*_SPARSE, *_RECONSTRUCT, *_SCALAR, *_FROM_BUFFER, *_NEW_OBJECT, *_PLAIN}
CHUMPY = re.compile(r"chumpy(\.\w+)+")

DTYPE = re.compile(r"[<>=|]?(b1|[iu][1248]|f[248])")
MAX_DEPTH = 8  # of chumpy expressions; real ones have two or three levels
MAX_DENSE = 10_000_000  # entries of a sparse matrix made dense; a joint regressor has 25,115

_MARK = object()
_PUSH = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING",
    "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES",
    "BINBYTES8", "BYTEARRAY8",
}  # fmt: skip
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY: dict[str, type] = {"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_TUPLE": tuple, "EMPTY_SET": set}
_COLLECTIONS: dict[str, type] = {"TUPLE": tuple, "LIST": list, "FROZENSET": frozenset}


@dataclass(frozen=True)
class Name:
    """A class or function that the pickle names; only admitted names are ever made."""

    path: str


@dataclass(eq=False)
class Recipe:
    """A call that the pickle asks for, not made: what it names, with what, and the state it would then set."""

    path: str
    arguments: tuple[Any, ...]
    state: Any = None


def read_pickle(stream: BinaryIO, source: str) -> Any:
    """The plain data of a pickle, with a `Recipe` wherever it asks for an object.

    Raises:
        UserError: the pickle is damaged, or names anything but numpy, scipy.sparse and chumpy containers.
    """
    machine = _Machine(source)
    try:
        for opcode, argument, _ in pickletools.genops(stream):
            if opcode.name == "STOP":
                return machine.stack.pop()
            machine.step(opcode.name, argument)
    except UserError:
        raise
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, MemoryError) as error:
        raise UserError(f"{source} is a damaged pickle; get the file again from where it came from.") from error
    raise UserError(f"{source} is a damaged pickle: it has no end.")


class _Machine:
    """The pickle machine of Python's ``pickle`` module, without the power to import or call."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def step(self, name: str, argument: Any) -> None:
        stack = self.stack
        if name in _PUSH:
            stack.append(argument)
        elif name in ("PROTO", "FRAME"):
            pass
        elif name == "MARK":
            stack.append(_MARK)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _EMPTY:
            stack.append(_EMPTY[name]())
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            count = int(name[-1])
            stack[-count:] = [tuple(stack[-count:])]
        elif name == "DICT" or name in _COLLECTIONS:
            items = self._to_mark()
            stack.append(_dictionary(items) if name == "DICT" else _COLLECTIONS[name](items))
        elif name in ("APPEND", "APPENDS"):
            items = [stack.pop()] if name == "APPEND" else self._to_mark()
            _of_type(stack[-1], list).extend(items)
        elif name in ("SETITEM", "SETITEMS"):
            items = [stack.pop(), stack.pop()][::-1] if name == "SETITEM" else self._to_mark()
            container = stack[-1]
            # An OrderedDict is a recipe; its items are of no interest.
            if not isinstance(container, Recipe):
                _of_type(container, dict).update(_dictionary(items))
        elif name == "ADDITEMS":
            items = self._to_mark()
            _of_type(stack[-1], set).update(items)
        elif name == "POP":
            stack.pop()
        elif name == "POP_MARK":
            self._to_mark()
        elif name == "DUP":
            stack.append(stack[-1])
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self.memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(self.memo[argument])
        elif name == "GLOBAL":
            stack.append(self._name(*argument.split(" ", 1)))
        elif name == "STACK_GLOBAL":
            qualname, module = stack.pop(), stack.pop()
            stack.append(self._name(_of_type(module, str), _of_type(qualname, str)))
        elif name in ("REDUCE", "NEWOBJ"):
            arguments, callee = _of_type(stack.pop(), tuple), stack.pop()
            stack.append(_recipe(callee, arguments))
        elif name == "NEWOBJ_EX":
            _, arguments, callee = stack.pop(), _of_type(stack.pop(), tuple), stack.pop()
            stack.append(_recipe(callee, arguments))
        elif name in ("INST", "OBJ"):
            items = self._to_mark()
            callee = self._name(*argument.split(" ", 1)) if name == "INST" else items.pop(0)
            stack.append(_recipe(callee, tuple(items)))
        elif name == "BUILD":
            state = stack.pop()
            _of_type(stack[-1], Recipe).state = state
        else:  # persistent ids, extension codes, out-of-band buffers: none is in any FLAME file
            raise UserError(f"{self.source} uses a feature of pickles ({name}) that no head file needs; it is refused.")

    def _name(self, module: str, qualname: str) -> Name:
        path = f"{module}.{qualname}"
        if path not in ADMITTED and not CHUMPY.fullmatch(path):
            raise UserError(
                f'{self.source} is refused: it asks to run "{path}", which no FLAME model does. Nothing of it was run; '
                "get the file from its official site."
            )
        return Name(path)

    def _to_mark(self) -> list[Any]:
        start = len(self.stack) - 1
        while self.stack[start] is not _MARK:
            start -= 1
            if start < 0:
                raise ValueError("no mark on the stack")
        items = self.stack[start + 1 :]
        del self.stack[start:]
        return items


def _dictionary(items: list[Any]) -> dict[Any, Any]:
    return dict(zip(items[::2], items[1::2], strict=True))


def _of_type(value: Any, *kinds: type) -> Any:
    if not isinstance(value, kinds):
        raise TypeError(f"{kinds} expected")
    return value


def _recipe(callee: Any, arguments: tuple[Any, ...]) -> Any:
    path = _of_type(callee, Name).path
    if path in _NEW_OBJECT:
        return Recipe(_of_type(arguments[0], Name).path, ())
    if path == "_codecs.encode":  # how Python 3 writes bytes in protocols 0 to 2
        return _of_type(arguments[0], str).encode("latin-1")
    return Recipe(path, arguments)


def array_of(value: Any, what: str, depth: int = 0) -> np.ndarray:
    """The array that a value out of `read_pickle` stands for; ``what`` names it in errors.

    Raises:
        UserError: the value is no numeric array, or a chumpy expression that is not a plain container.
    """
    try:
        return _array_of(value, what, depth)
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise UserError(f"{what} is damaged: its parts do not make an array.") from error


def _array_of(value: Any, what: str, depth: int) -> np.ndarray:
    if depth > MAX_DEPTH:
        raise UserError(f"{what} is damaged: it contains itself.")
    if isinstance(value, int | float):
        return np.array(value)
    if isinstance(value, list | tuple):  # of numbers only: nested lists could stand for far more than they hold
        return np.array([_of_type(number, int, float) for number in value])
    if isinstance(value, np.ndarray):
        return value
    recipe = _of_type(value, Recipe)
    path, state = recipe.path, recipe.state

    def part(name: str) -> np.ndarray:
        return array_of(state[name], what, depth + 1)

    if path in _RECONSTRUCT:
        *_, shape, dtype, fortran_order, data = state
        if isinstance(data, list):  # an array of objects: of use only as a wrapper of a single one
            (only,) = data
            return array_of(only, what, depth + 1)
        return _from_bytes(data, dtype, shape, "F" if fortran_order else "C")
    if path in _FROM_BUFFER:
        data, dtype, shape, order = recipe.arguments
        return _from_bytes(data, dtype, shape, order)
    if path in _SCALAR:
        dtype, data = recipe.arguments
        return _from_bytes(data, dtype, (), "C")
    if path in _SPARSE:
        shape = state["_shape"] if "_shape" in state else state["shape"]
        return _dense(_SPARSE[path], _dimensions(shape), part, state)
    if path == "chumpy.ch.Ch":
        return part("x")
    if path == "chumpy.reordering.Select":
        selected = part("a").ravel()[part("idxs").astype(np.int64)]
        return selected.reshape(_dimensions(state["preferred_shape"])) if "preferred_shape" in state else selected
    if path == "chumpy.reordering.Reshape":
        return part("a").reshape(_dimensions(state["newshape"]))
    if path == "chumpy.reordering.transpose":
        return part("a").transpose(state.get("axes"))
    raise UserError(f"{what} is stored as {path}, which is not a plain array; save the model with plain arrays.")


def _dimensions(shape: Any) -> tuple[int, ...]:
    sizes = shape if isinstance(shape, list | tuple) else (shape,)
    return tuple(int(array_of(n, "a dimension")) for n in sizes)


def _from_bytes(data: Any, dtype: Any, shape: Any, order: str) -> np.ndarray:
    code = _of_type(_of_type(dtype, Recipe).arguments[0], str)
    if not DTYPE.fullmatch(code):
        raise TypeError(f"arrays of {code}")
    byte_order = dtype.state[1] if dtype.state is not None else "<"
    raw = data.encode("latin-1") if isinstance(data, str) else _of_type(data, bytes, bytearray)
    flat = np.frombuffer(raw, np.dtype(code).newbyteorder("=" if byte_order == "|" else byte_order))
    dimensions = _dimensions(shape)
    return flat.reshape(dimensions[::-1]).T if order == "F" else flat.reshape(dimensions)


def _dense(kind: str, shape: tuple[int, ...], part: Any, state: Any) -> np.ndarray:
    """A sparse matrix as an ordinary one; numpy checks every index on the way."""
    data = part("data")
    if kind == "coo":
        rows, columns = (part("row"), part("col")) if "row" in state else part("coords")
    else:
        starts, minor = part("indptr"), part("indices")
        counts = np.diff(starts)
        if starts[0] != 0 or starts[-1] != len(minor) or counts.min(initial=0) < 0:
            raise ValueError("bad index pointers")
        major = np.repeat(np.arange(len(counts)), counts)
        rows, columns = (minor, major) if kind == "csc" else (major, minor)
    if min(shape) < 0 or shape[0] * shape[1] > MAX_DENSE or min(rows.min(initial=0), columns.min(initial=0)) < 0:
        raise ValueError("bad shape or indices")
    dense = np.zeros(shape)
    np.add.at(dense, (rows, columns), data)
    return dense
