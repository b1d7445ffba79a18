"""A GPU that is not there: tensors that claim to lie on ``cuda:0`` and refuse to meet others, as real ones do.

The numbers stay on the CPU. Every call of torch is looked at: ``.to("cuda")`` and ``device="cuda"`` make such a tensor,
what is computed from one is one, and a call that is given tensors of both places fails as it would on a GPU. Numbers
without axes may come from the CPU, and so may indices. Not for `torch.func`, whose wrappers lose the claim.
"""

import weakref
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

GPU = torch.device("cuda", 0)
ACROSS = {Tensor.copy_, Tensor.item, Tensor.tolist, Tensor.__repr__, Tensor.backward}
"""What may have to do with both places."""


class PretendGPU(TorchFunctionMode):
    """While it is active ``cuda`` is a device."""

    def __init__(self) -> None:
        super().__init__()
        self._there: weakref.WeakValueDictionary[int, Tensor] = weakref.WeakValueDictionary()

    def has(self, tensor: Tensor) -> bool:
        return self._there.get(id(tensor)) is tensor

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        name, owner = getattr(function, "__name__", ""), getattr(function, "__self__", None)
        if name == "__get__" and owner in (Tensor.device, Tensor.is_cuda):
            there = self.has(args[0])
            return there if owner is Tensor.is_cuda else GPU if there else function(*args, **kwargs)
        if name == "__set__":
            function(*args, **kwargs)
            return self._put(args[0], self.has(args[1])) if owner is Tensor.data else None
        if function in (Tensor.to, Tensor.cpu, Tensor.cuda):
            return self._moved(function, *args, **kwargs)
        if function in ACROSS:
            return function(*args, **kwargs)
        given = _tensors([args, kwargs])
        there = any(self.has(each) for each in given)
        if function is Tensor.numpy and there:
            raise TypeError("can't convert cuda:0 device type tensor to numpy")
        indices = name in ("__getitem__", "__setitem__")
        must = [each for each in given if each.ndim and not (indices and not each.is_floating_point())]
        if there and name != "__get__" and not name.startswith("_has") and not all(self.has(each) for each in must):
            shapes = [f"{tuple(each.shape)} on {'cuda:0' if self.has(each) else 'cpu'}" for each in given]
            raise RuntimeError(f"Expected all tensors to be on the same device: {name} of {', '.join(shapes)}")
        if (device := kwargs.get("device")) is not None:
            kwargs["device"], there = "cpu", torch.device(device).type == "cuda"
        return self._put(function(*args, **kwargs), there)

    def _moved(self, function: Any, tensor: Tensor, *where: Any, **options: Any) -> Tensor:
        there, types = self.has(tensor), []
        if function is not Tensor.to:
            where = ("cpu" if function is Tensor.cpu else "cuda",)
        for each in [*where, options.pop("device", None), options.pop("other", None), options.pop("dtype", None)]:
            if isinstance(each, (str, torch.device)):
                there = torch.device(each).type == "cuda"
            elif isinstance(each, Tensor):
                there = self.has(each)
                types.append(each.dtype)
            elif isinstance(each, torch.dtype):
                types.append(each)
        found = Tensor.to(tensor, *types) if types else tensor
        if found is tensor and there != self.has(tensor):
            found = tensor.clone()
        return self._put(found, there)

    def _put(self, found: Any, there: bool) -> Any:
        for each in _tensors(found):
            if there:
                self._there[id(each)] = each
            else:
                self._there.pop(id(each), None)
        return found


def _tensors(found: Any) -> list[Tensor]:
    if isinstance(found, Tensor):
        return [found]
    if isinstance(found, dict):
        found = list(found.values())
    return [one for each in found for one in _tensors(each)] if isinstance(found, (list, tuple)) else []
