"""Two emotion recognisers made by others, rebuilt in PyTorch from their published weights: for evaluation only.

* ``face-api``: the face expression net of @vladmandic/face-api (MIT), uint8-quantised weights with a JSON manifest.
* ``fer``: the mini-Xception of the ``fer`` package (MIT), a TensorFlow Lite file.

Both are run in float32 on the CPU and give probabilities in the order of `LABELS`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from mediapipe.tasks.metadata import schema_py_generated as schema
from torch import Tensor

from emo_avatar import assets

LABELS = ("neutral", "happy", "sad", "angry", "disgust", "fear", "surprised")
_FACE_API_ORDER = ("neutral", "happy", "sad", "angry", "fear", "disgust", "surprised")
_FER_ORDER = ("angry", "disgust", "fear", "happy", "sad", "surprised", "neutral")


class Recogniser(Protocol):
    """Classifies square face crops."""

    name: str
    margin: float  # side of the crop as a multiple of the landmark box's longer side

    def __call__(self, crops: Tensor) -> Tensor:  # [N, 3, S, S] sRGB in [0, 1] -> [N, 7] in the order of LABELS
        ...


def load_recognisers() -> tuple[Recogniser, Recogniser]:
    return FaceApi(), Fer()


def _same_padding(x: Tensor, kernel: int, stride: int, value: float = 0.0) -> Tensor:  # [N, C, H, W]
    """TensorFlow's "same": the odd pixel goes to the bottom and right, unlike PyTorch's symmetric padding."""
    height, width = x.shape[-2:]
    down = max((-(-height // stride) - 1) * stride + kernel - height, 0)
    across = max((-(-width // stride) - 1) * stride + kernel - width, 0)
    return F.pad(x, (across // 2, across - across // 2, down // 2, down - down // 2), value=value)


def _in_label_order(probabilities: Tensor, order: tuple[str, ...]) -> Tensor:  # [N, 7] -> [N, 7]
    return probabilities[:, [order.index(label) for label in LABELS]]


class FaceApi:
    """face-api.js's expression net: four dense blocks of depthwise-separable convolutions, 112 x 112 colour."""

    name, margin = "face-api", 1.0
    _INPUT_SIZE = 112
    _MEAN_RGB = (122.782, 117.001, 104.298)

    def __init__(self) -> None:
        manifest = json.loads(assets.fetch("face_api_expression.json").read_text(encoding="utf-8"))
        self._weights = _read_tfjs_weights(manifest, assets.fetch("face_api_expression.bin"))

    def __call__(self, crops: Tensor) -> Tensor:
        with torch.inference_mode():
            x = F.interpolate(crops, (self._INPUT_SIZE, self._INPUT_SIZE), mode="bilinear", antialias=True)
            x = x - torch.tensor(self._MEAN_RGB)[:, None, None] / 255
            for block in range(4):
                x = self._dense_block(x, f"dense{block}")
            x = F.avg_pool2d(x, 7).flatten(1)
            logits = x @ self._weights["fc/weights"] + self._weights["fc/bias"]
            return _in_label_order(logits.softmax(1), _FACE_API_ORDER)

    def _dense_block(self, x: Tensor, block: str) -> Tensor:
        first = F.relu(self._convolution(x, f"{block}/conv0", stride=2))
        total = first
        for layer in (1, 2, 3):
            total = total + self._convolution(F.relu(total), f"{block}/conv{layer}", stride=1)
        return F.relu(total)

    def _convolution(self, x: Tensor, name: str, stride: int) -> Tensor:
        x = _same_padding(x, 3, stride)
        bias = self._weights[f"{name}/bias"]
        if f"{name}/filters" in self._weights:
            return F.conv2d(x, self._weights[f"{name}/filters"].permute(3, 2, 0, 1), bias, stride)
        depthwise = self._weights[f"{name}/depthwise_filter"].permute(2, 3, 0, 1)
        x = F.conv2d(x, depthwise, stride=stride, groups=len(depthwise))
        return F.conv2d(x, self._weights[f"{name}/pointwise_filter"].permute(3, 2, 0, 1), bias)


def _read_tfjs_weights(manifest: list[dict], path: Path) -> dict[str, Tensor]:
    """Tensors of a TensorFlow.js weight file: consecutive, float32 or uint8 with scale and minimum."""
    data, offset = path.read_bytes(), 0
    tensors = {}
    for entry in (entry for group in manifest for entry in group["weights"]):
        count = int(np.prod(entry["shape"]))
        if quantisation := entry.get("quantization"):
            raw = np.frombuffer(data, np.uint8, count, offset).astype(np.float32)
            values, size = raw * quantisation["scale"] + quantisation["min"], count
        else:
            values, size = np.frombuffer(data, "<f4", count, offset), 4 * count
        tensors[entry["name"]] = torch.from_numpy(values.astype(np.float32).reshape(entry["shape"]))
        offset += size
    return tensors


class Fer:
    """The mini-Xception of the ``fer`` package, 64 x 64 grey, run from its TensorFlow Lite graph."""

    name, margin = "fer", 1.15
    _INPUT_SIZE = 64
    _LUMA = (0.299, 0.587, 0.114)  # OpenCV's BGR2GRAY

    def __init__(self) -> None:
        self._graph = TfliteGraph(assets.fetch("fer.tflite"))

    def __call__(self, crops: Tensor) -> Tensor:
        with torch.inference_mode():
            grey = (crops * torch.tensor(self._LUMA)[:, None, None]).sum(1, keepdim=True)
            grey = F.interpolate(grey, (self._INPUT_SIZE, self._INPUT_SIZE), mode="bilinear", antialias=True)
            return _in_label_order(self._graph(2 * grey - 1), _FER_ORDER)


class TfliteGraph:
    """A TensorFlow Lite file whose operators are those of a small convolutional classifier, batch first."""

    def __init__(self, path: Path) -> None:
        model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
        self._codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
        self._graph = model.subgraphs[0]
        self._constants = {
            index: _constant(tensor, model.buffers[tensor.buffer].data)
            for index, tensor in enumerate(self._graph.tensors)
            if model.buffers[tensor.buffer].data is not None
        }

    def __call__(self, x: Tensor) -> Tensor:  # [N, C, H, W] -> [N, classes]
        values = {**self._constants, int(self._graph.inputs[0]): x}
        for operator in self._graph.operators:
            run = _OPERATORS[self._codes[operator.opcodeIndex]]
            values[int(operator.outputs[0])] = run(operator.builtinOptions, *(values[int(i)] for i in operator.inputs))
        return values[int(self._graph.outputs[0])]


_TFLITE_DTYPES = {schema.TensorType.FLOAT32: "<f4", schema.TensorType.INT32: "<i4", schema.TensorType.INT8: "<i1"}


def _constant(tensor: schema.TensorT, data: np.ndarray) -> Tensor:
    values = np.frombuffer(bytes(data), _TFLITE_DTYPES[tensor.type]).reshape(tensor.shape)
    if tensor.type == schema.TensorType.INT8:
        axes = [1] * values.ndim
        axes[tensor.quantization.quantizedDimension] = -1
        values = values.astype(np.float32) * np.asarray(tensor.quantization.scale, np.float32).reshape(axes)
    return torch.from_numpy(values.copy())


def _activated(x: Tensor, options: Any) -> Tensor:
    relu = options.fusedActivationFunction == schema.ActivationFunctionType.RELU
    return F.relu(x) if relu else x


def _convolve(options: Any, x: Tensor, kernel: Tensor, bias: Tensor, groups: int) -> Tensor:
    if options.padding == schema.Padding.SAME:
        x = _same_padding(x, kernel.shape[-1], options.strideH)
    return _activated(F.conv2d(x, kernel, bias, options.strideH, groups=groups), options)


def _conv_2d(options: Any, x: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:  # kernel [out, H, W, in]
    return _convolve(options, x, kernel.permute(0, 3, 1, 2), bias, groups=1)


def _depthwise_conv_2d(options: Any, x: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:  # kernel [1, H, W, C]
    return _convolve(options, x, kernel.permute(3, 0, 1, 2), bias, groups=kernel.shape[3])


def _max_pool_2d(options: Any, x: Tensor) -> Tensor:
    x = _same_padding(x, options.filterHeight, options.strideH, value=-torch.inf)  # padded pixels never win
    return F.max_pool2d(x, options.filterHeight, options.strideH)


_OPERATORS: dict[int, Callable[..., Tensor]] = {
    schema.BuiltinOperator.CONV_2D: _conv_2d,
    schema.BuiltinOperator.DEPTHWISE_CONV_2D: _depthwise_conv_2d,
    schema.BuiltinOperator.MAX_POOL_2D: _max_pool_2d,
    schema.BuiltinOperator.ADD: lambda options, a, b: _activated(a + b, options),
    schema.BuiltinOperator.MEAN: lambda options, x, axes: x.mean((2, 3)),
    schema.BuiltinOperator.SOFTMAX: lambda options, x: x.softmax(1),
}
