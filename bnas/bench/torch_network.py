"""The real-valued network of a genotype in PyTorch's eager mode: what a packed network is raced against."""

import numpy as np
import torch
import torch.nn.functional as F

from bnas import nn
from bnas.space.operations import Chain, FactorizedReduce, Pool, Skip, Zero


class TorchNetwork:
    """A bnas.space.network.Network with real weights, in evaluation mode, computed by PyTorch.

    Args:
        network: the Network; its weights are shared, not copied, unless the memory format asks for it.
        memory_format: torch.contiguous_format (NCHW) or torch.channels_last.
        dtype: torch.float32 or torch.bfloat16.
    """

    def __init__(self, network, memory_format=torch.contiguous_format, dtype=torch.float32):
        self.network, self.format, self.dtype = network, memory_format, dtype
        self.tensors = {}
        for module in network.modules():
            arrays = {n: v for n, v in vars(module).items() if isinstance(v, np.ndarray)}
            arrays |= {n: p.data for n, p in vars(module).items() if isinstance(p, nn.Parameter)}
            for name, array in arrays.items():
                self.tensors[module, name] = self._tensor(array)

    def _tensor(self, array):
        tensor = torch.from_numpy(array).to(self.dtype)
        return tensor.to(memory_format=self.format) if tensor.ndim == 4 else tensor

    @torch.inference_mode()
    def __call__(self, images):
        """Logits, float32 array (N, classes), of float32 images (N, C, H, W)."""
        network = self.network
        older = newer = self._norm(
            network.stem[1], self._conv(network.stem[0], self._tensor(images))
        )
        for cell in network.cells:
            older, newer = newer, self._cell(cell, older, newer)
        classifier, features = network.classifier, newer.mean(dim=(2, 3))
        weight, bias = (self.tensors[classifier, name] for name in ("weight", "bias"))
        return F.linear(features, weight, bias).float().numpy()

    def _cell(self, cell, older, newer):
        states = [self._operation(cell.input0, older), self._operation(cell.input1, newer)]
        edges = list(zip(cell.operations, cell.predecessors))
        for (first, i), (second, j) in zip(edges[::2], edges[1::2]):
            states.append(self._operation(first, states[i]) + self._operation(second, states[j]))
        return torch.cat([states[i] for i in cell.concat], dim=1)

    def _operation(self, module, x):
        if isinstance(module, Skip):
            return x
        if isinstance(module, Zero):
            return torch.zeros_like(x[:, :, :: module.stride, :: module.stride])
        if isinstance(module, Chain):
            return self._operation(module.second, self._operation(module.first, x))
        if isinstance(module, Pool):
            pool = module.pool
            kernel, stride, padding = pool.kernel_size, pool.stride, pool.padding
            if isinstance(module.pool, nn.MaxPool2d):
                return self._norm(module.bn, F.max_pool2d(x, kernel, stride, padding))
            pooled = F.avg_pool2d(x, kernel, stride, padding, count_include_pad=False)
            return self._norm(module.bn, pooled)
        x = F.relu(x)
        if isinstance(module, FactorizedReduce):
            shifted = self._conv(module.conv2, x)[:, :, 1:, 1:]
            return self._norm(module.bn, torch.cat([self._conv(module.conv1, x), shifted], dim=1))
        for conv in module.convolutions():
            x = self._conv(conv, x)
        return self._norm(module.bn, x)

    def _conv(self, conv, x):
        return F.conv2d(x, self.tensors[conv, "weight"], None, *conv.settings())

    def _norm(self, bn, x):
        names = ("running_mean", "running_var", "weight", "bias")
        return F.batch_norm(x, *(self.tensors[bn, name] for name in names), eps=bn.eps)
