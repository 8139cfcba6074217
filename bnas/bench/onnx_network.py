"""The real-valued network of a genotype in ONNX Runtime: what one would take to run it on a processor.

Batch norms behind convolutions are folded into their weights, as an exporter does; so the only work that is
left is what the runtime does well.
"""

import logging
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, quantize_static

from bnas import nn
from bnas.space.operations import Chain, FactorizedReduce, Pool, Skip

OPSET, IR = 17, 8  # of the exchange format: understood by every runtime of the last years
CALIBRATION = 16  # random images from which the ranges of int8 are taken


class OnnxNetwork:
    """A bnas.space.network.Network with real weights, in evaluation mode, computed by ONNX Runtime.

    Args:
        network: the Network.
        shape: (C, H, W) of an image.
        threads: that it may use, for as long as it lives.
    """

    def __init__(self, network, shape, threads):
        self._run = _session(_Graph(network, shape).model.SerializeToString(), threads)

    def __call__(self, images):
        """Logits, float32 array (N, classes), of float32 images (N, C, H, W)."""
        return self._run(None, {"images": images})[0]


class OnnxInt8Network(OnnxNetwork):
    """The same in int8, quantised ahead: its logits are some per cent off."""

    def __init__(self, network, shape, threads):
        model, logger = _Graph(network, shape).model, logging.getLogger()
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / "int8.onnx"
            before = logger.level
            logger.setLevel(logging.ERROR)  # it recommends what an exported graph would need
            try:
                quantize_static(model, target, _Calibration(shape), per_channel=True)
            finally:
                logger.setLevel(before)
            self._run = _session(target.read_bytes(), threads)


class _Calibration(CalibrationDataReader):
    def __init__(self, shape):
        images = np.random.default_rng(0).standard_normal((CALIBRATION, *shape))
        self._batches = iter([{"images": images.astype(np.float32)}])

    def get_next(self):
        return next(self._batches, None)


def _session(model, threads):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"]).run


class _Graph:
    """The network as a graph in ONNX's format; a value is named by what makes it."""

    def __init__(self, network, shape):
        self.nodes, self.constants = [], []
        older = newer = self._conv(network.stem[0], "images", network.stem[1])
        for cell in network.cells:
            older, newer = newer, self._cell(cell, older, newer)
        features = self._add("Flatten", [self._add("GlobalAveragePool", [newer])])
        classifier = network.classifier
        weights = [self._constant(p.data) for p in (classifier.weight, classifier.bias)]
        logits = self._add("Gemm", [features, *weights], transB=1)
        ends = [_batch("images", shape)], [_batch(logits, classifier.bias.data.shape)]
        graph = helper.make_graph(self.nodes, "network", *ends, self.constants)
        self.model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
        self.model.ir_version = IR

    def _add(self, kind, inputs, **attributes):
        name = f"{kind}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def _constant(self, array):
        name = f"constant{len(self.constants)}"
        array = np.ascontiguousarray(array)
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def _cell(self, cell, older, newer):
        states = [self._operation(cell.input0, older), self._operation(cell.input1, newer)]
        edges = list(zip(cell.operations, cell.predecessors))
        for (first, i), (second, j) in zip(edges[::2], edges[1::2]):
            made = self._operation(first, states[i]), self._operation(second, states[j])
            states.append(self._add("Add", made))
        return self._add("Concat", [states[i] for i in cell.concat], axis=1)

    def _operation(self, module, x):
        if isinstance(module, Skip):
            return x
        if isinstance(module, Chain):
            return self._operation(module.second, self._operation(module.first, x))
        if isinstance(module, Pool):
            return self._pool(module, x)
        x = self._add("Relu", [x])
        if isinstance(module, FactorizedReduce):
            return self._reduce(module, x)
        *convolutions, last = module.convolutions()
        for conv in convolutions:
            x = self._conv(conv, x)
        return self._conv(last, x, module.bn)

    def _pool(self, module, x):
        pool = module.pool
        window = {"kernel_shape": _pair(pool.kernel_size), "strides": _pair(pool.stride)}
        window["pads"] = _pair(pool.padding) * 2
        kind = "MaxPool" if isinstance(pool, nn.MaxPool2d) else "AveragePool"
        y = self._add(kind, [x], **window)
        scale, shift = _affine(module.bn)
        scaled = self._add("Mul", [y, self._constant(scale[:, None, None])])
        return self._add("Add", [scaled, self._constant(shift[:, None, None])])

    def _reduce(self, module, x):
        """Both convolutions, each with its part of the batch norm."""
        half = len(module.conv1.weight.data)
        scale, shift = _affine(module.bn)
        first = self._conv(module.conv1, x, affine=(scale[:half], shift[:half]))
        second = self._conv(module.conv2, x, affine=(scale[half:], shift[half:]))
        ends = [self._constant(np.array(v, np.int64)) for v in ([1, 1], [2**31, 2**31], [2, 3])]
        return self._add("Concat", [first, self._add("Slice", [second, *ends])], axis=1)

    def _conv(self, conv, x, bn=None, affine=None):
        """A convolution, and what a batch norm or (scale, shift) does behind it."""
        stride, padding, dilation, groups = conv.settings()
        w, affine = conv.weight.data, _affine(bn) if bn is not None else affine
        inputs = [x, self._constant(w if affine is None else affine[0][:, None, None, None] * w)]
        if affine is not None:
            inputs.append(self._constant(affine[1]))
        return self._add(
            "Conv",
            inputs,
            strides=stride,
            pads=[*padding, *padding],
            dilations=dilation,
            group=groups,
        )


def _batch(name, shape):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *shape])


def _pair(value):
    return [value, value] if isinstance(value, int) else list(value)


def _affine(bn):
    """(scale, shift) of a batch norm in evaluation mode."""
    scale = bn.weight.data / np.sqrt(bn.running_var + bn.eps)
    return scale, bn.bias.data - bn.running_mean * scale
