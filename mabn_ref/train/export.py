"""A trained network as an ONNX model, its normalisers folded into the convolutions before them.

The model takes images as (N, channels, H, W), ONNX's order of the axes, normalised as in training, and computes what
`mabn_ref.nn.network.infer` computes, to rounding. N, H and W are left open. Needs the extra ``onnx``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from mabn_ref import __version__
from mabn_ref.arrays import Array
from mabn_ref.extras import require
from mabn_ref.nn import dynamic_tanh, network, residual
from mabn_ref.nn.convert import Network
from mabn_ref.nn.folding import Folded, affine_of, fold
from mabn_ref.nn.network import Bias, Conv, Curve, GlobalAveragePool, Layer, Linear, Norm, ReLU, Upsample
from mabn_ref.nn.residual import Add, Exchange, Keep
from mabn_ref.norms import NORMS, group_norm
from mabn_ref.norms.devices import Devices

OPSET = 21  #: of ONNX 1.16 (2024), the first with group normalisation as the papers have it
_IR_VERSION = 10  #: the file format of that version; the package would write its own newest


class _Graph:
    """The nodes added so far, in order, and the arrays that they read."""

    def __init__(self, helper: ModuleType) -> None:
        self.nodes: list[Any] = []
        self.arrays: dict[str, Array] = {}
        self.flat = False  #: whether values have become (N, C), from (N, C, H, W)
        self._make_node = helper.make_node

    def add(
        self, kind: str, name: str, values: Sequence[str], arrays: Mapping[str, Array] | None = None, **settings: Any
    ) -> str:
        """Add a node that reads earlier values and arrays of its own; return the name of its output."""
        own = {f"{name}.{role}": array for role, array in (arrays or {}).items()}
        self.arrays |= own
        self.nodes.append(self._make_node(kind, [*values, *own], [name], name=name, **settings))
        return name

    def affine(self, name: str, values: Sequence[str], scale: Array, shift: Array) -> str:
        """Add a product and a sum per channel."""
        scaled = self.add("Mul", f"{name}.scaled", values, {"scale": self.per_channel(scale)})
        return self.add("Add", name, [scaled], {"shift": self.per_channel(shift)})

    def per_channel(self, numbers: Array) -> Array:
        """Return (C,) in a shape that broadcasts over the other axes."""
        return numbers if self.flat else numbers[:, None, None]


def to_onnx(net: Network) -> Any:
    """Return the network as an ``onnx.ModelProto`` with one input, "images", and one output, "logits".

    Every normaliser with `affine` is folded into the convolution right before it or, if there is none, becomes a
    product and a sum per channel. Group, layer and instance normalisation become nodes of their own. Any other
    normaliser, which no ONNX operation computes, raises a ValueError with its name; so does a layer named "images",
    or a layer other than the last named "logits".
    """
    helper, numpy_helper = (require(f"onnx.{name}", "onnx") for name in ("helper", "numpy_helper"))
    first, *_ = (layer for layer in net.layers if not isinstance(layer, Keep))
    if not isinstance(first, Conv):
        raise ValueError(f"the first layer is {first.name}, expected a convolution, which says what images have")
    taken = {"images", "logits"}.intersection(layer.name for layer in net.layers[:-1])
    if taken:
        raise ValueError(f"a layer is named {min(taken)!r}, as is the model's input or output; expected another")
    graph, now = _Graph(helper), "images"
    held: Any = None
    for step in fold(*net):
        layer, p, state = (step, {"w": step.w, "b": step.b}, None) if isinstance(step, Folded) else step
        values = [now, held] if isinstance(layer, Add) else [now]
        if isinstance(layer, Keep | Exchange | Add):
            now, held = residual.route(layer, now, held)
        if not isinstance(layer, Keep | Exchange):
            now = _node(graph, layer, p, state, values)
    graph.nodes[-1].output[0] = "logits"
    weights = [p["w"] for p in net.params if "w" in p]
    dtype, channels = helper.np_dtype_to_tensor_dtype(weights[0].dtype), weights[-1].shape[-1]
    answers = [channels] if graph.flat else [channels, "H_out", "W_out"]
    images = helper.make_tensor_value_info("images", dtype, ["N", first.channels_in, "H", "W"])
    logits = helper.make_tensor_value_info("logits", dtype, ["N", *answers])
    arrays = [numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in graph.arrays.items()]
    whole = helper.make_graph(graph.nodes, "network", [images], [logits], arrays)
    versions = {"opset_imports": [helper.make_opsetid("", OPSET)], "ir_version": _IR_VERSION}
    model = helper.make_model(whole, producer_name="mabn_ref", producer_version=__version__, **versions)
    require("onnx.checker", "onnx").check_model(model, full_check=True)
    return model


def _node(graph: _Graph, layer: Folded | Layer, p: dict[str, Array], state: Any, values: list[str]) -> str:
    """Add the nodes that compute a layer's output from its input values; return the output's name."""
    name = layer.name
    match layer:
        case Folded() | Conv():
            w = network.weight_in_use(layer, p["w"]) if isinstance(layer, Conv) else p["w"]
            arrays = p | {"w": np.transpose(w, (3, 2, 0, 1))}  # ONNX has (out, in, kh, kw)
            return graph.add("Conv", name, values, arrays, strides=[layer.stride] * 2, pads=[layer.padding] * 4)
        case Norm() if hasattr(layer.module, "affine"):
            return graph.affine(name, values, *affine_of(layer, p, state))
        case Norm(_, _, _, config):
            return graph.add("GroupNormalization", name, values, p, num_groups=_groups(layer), epsilon=config.eps)
        case Curve(_, module):
            bent = graph.add("Mul", f"{name}.stretched", values, {"alpha": p["alpha"]})
            if "s" in p:
                bent = graph.add("Add", f"{name}.moved", [bent], {"s": p["s"]})
            y = graph.add("Tanh" if module is dynamic_tanh else "Erf", f"{name}.y", [bent])
            return graph.affine(name, [y], p["gamma"], p["beta"])
        case Add():
            return graph.add("Add", name, values)
        case ReLU():
            return graph.add("Relu", name, values)
        case Bias():
            return graph.add("Add", name, values, {"b": graph.per_channel(p["b"])})
        case Upsample(_, factor):
            scales = {"scales": np.array([1, 1, factor, factor], dtype=np.float32)}
            nearest = {"coordinate_transformation_mode": "asymmetric", "mode": "nearest", "nearest_mode": "floor"}
            return graph.add("Resize", name, [*values, ""], scales, **nearest)
        case GlobalAveragePool():
            graph.flat = True
            return graph.add("Flatten", name, [graph.add("GlobalAveragePool", f"{name}.mean", values)])
        case Linear():
            return graph.add("Gemm", name, values, p)
    raise TypeError(f"{layer!r} is not a layer")


def _groups(layer: Norm) -> int:
    """Return the number of groups of group, layer or instance normalisation; refuse any other normaliser."""
    module = layer.module.module if isinstance(layer.module, Devices) else layer.module
    if module is not group_norm:
        own = [norm for norm in NORMS.values() if norm.module is module]
        titles = (norm.title for norm in own if norm.settings.items() <= vars(layer.config).items())
        title = next(titles, module.__name__.rpartition(".")[2])
        raise ValueError(
            f"{layer.name} is {title}, which is not linear at inference, so that it cannot be folded; expected a "
            "normaliser with affine, or group, layer or instance normalisation"
        )
    return layer.channels if layer.config.groups is None else layer.config.groups
