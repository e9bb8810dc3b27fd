"""Questions about a layer's behaviour: what it does to its caller, over its life, and at the edges of its range.

Every probe compares the layer with itself, run in another way, so that no convention matters. The methods that a
probe needs besides those of a `Target` come from an adapter; without them the probe is not run, and the report says
so.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

from mabn_ref.check import life_probes, pass_probes, range_probes
from mabn_ref.check.probing import Probing
from mabn_ref.check.scenarios import HELD


@dataclass(frozen=True)
class Probe:
    """One question about how a layer behaves."""

    name: str
    done: str  #: what is done, as shown in the docs
    mistake: str
    sentence: str  #: what the report says on failure; what was found follows it
    run: Callable[[Probing], str]  #: returns what is wrong, or ""
    needs: tuple[str, ...] = ()  #: the adapter's methods
    not_of: tuple[str, ...] = ()  #: the normalisers that it does not apply to
    why_not: str = ""


_HOLD = ("hold", "backward_of")
_MOVING = tuple(norm for norm in HELD if norm != "brn")  # both passes read what earlier batches have left
_IN_ORDER = (
    tuple(norm for norm in _MOVING if norm != "moving"),
    "its backward pass keeps averages, which depend on the order of the passes",
)
PROBES: tuple[Probe, ...] = (
    Probe(
        "input kept", "x and dz are unchanged after each pass, and the returned z and dx after the next call.",
        "input-overwritten", "The layer overwrites an array that its caller may still need.", pass_probes.input_kept,
    ),
    Probe(
        "gradient at inference",
        "In eval mode, dx, dgamma and dbeta are compared with central differences of the layer's own output.",
        "no-gradient-at-inference", "In eval mode a gradient is not the derivative of the output.",
        pass_probes.inference_gradient,
        ("inference_gradient",),
    ),
    Probe(
        "train, infer, train again", "Training and inference are the same with and without an inference before them.",
        "inference-leaves-traces", "An inference changes what the layer returns later.", life_probes.life,
    ),
    Probe(
        "forward passes alone",
        "Two forward passes in training without a backward pass (in PyTorch under ``no_grad``), as when statistics "
        "are re-estimated; then an inference.",
        "forward-alone-differs", "In training, a forward pass differs if no backward pass follows it.",
        life_probes.forward_alone,
    ),
    Probe(
        "two forward passes before the backward passes",
        "As when a layer is used twice in one graph: the gradients are those of separate steps.",
        "one-pass-remembered", "Backward uses what a later forward pass has left.",
        pass_probes.two_forwards, _HOLD, *_IN_ORDER,
    ),
    Probe(
        "second derivatives", "The derivative of dx is compared with central differences of dx.",
        "second-derivative-wrong", "The derivative of dx, which a gradient penalty needs, is wrong.",
        pass_probes.second_derivative, ("second_derivative",), HELD,
        "its backward pass treats r and d, or the averages, as constants",
    ),
    Probe(
        "statistics detached", "No gradient flows from the moving statistics to an earlier batch.",
        "statistics-keep-the-graph",
        "The moving statistics are not detached: the graphs of all earlier steps stay in memory.", pass_probes.graph,
        ("reaching_back", *_HOLD),
    ),
    Probe(
        "a smaller batch later",
        "z and the gradients of a batch with one sample fewer, or with shorter rows, are those of a new layer.",
        "first-batch-kept", "The layer keeps using the size of an earlier batch.", life_probes.smaller,
    ),
    Probe(
        "one sample at inference", "A sample has the same output alone as among others.", "one-sample-differs",
        "At inference, a sample has a different output alone than among others.", range_probes.one_sample,
    ),
    Probe(
        "gamma of 0", "dx is 0, and dgamma and dbeta are the same as with another gamma.", "zero-gamma",
        "Where gamma is 0, as at the start in many residual networks, the gradients are wrong.",
        range_probes.zero_gamma,
        (), ("online",), "its layer scaling depends on gamma too",
    ),
    Probe(
        "input without a gradient", "As in a network's first layer: dgamma, dbeta and the statistics are the same.",
        "first-layer-differs",
        "The layer works differently if its input needs no gradient, as in a network's first layer.",
        pass_probes.input_without_gradient, ("without_input_gradient",),
    ),
    Probe(
        "gamma or beta frozen", "The other gradients are the same if gamma, beta or both need none.",
        "frozen-parameters-differ", "If a parameter needs no gradient, the other gradients are wrong.",
        pass_probes.frozen_parameters, ("with_frozen",),
    ),
    Probe(
        "memory layout", "x and dz are stored with channels last in memory, or first if the layer takes them last.",
        "layout-ignored", "The layer assumes one memory layout of its input.",
        pass_probes.layout, ("in_other_layout",),
    ),
    Probe(
        "x or z overwritten",
        "Another layer overwrites z or x, as a ReLU with ``inplace=True`` does; then backward raises an error or "
        "returns the same gradients.",
        "reads-what-was-overwritten",
        "Backward uses x or z after another layer has overwritten it in place; save_for_backward would notice.",
        pass_probes.overwritten, ("overwritten",),
    ),
    Probe(
        "a second backward pass", "Through the same graph, as retain_graph=True allows: the same gradients.",
        "graph-spoilt", "Backward changes what a second backward pass needs.",
        pass_probes.second_backward, ("backward_twice",), *_IN_ORDER,
    ),
    Probe(
        "checkpoint",
        "A second layer, after an inference, loads the ``state_dict`` of the first; both then infer and train alike.",
        "statistics-not-saved", "state_dict does not restore the layer.", life_probes.checkpoint, ("restore",),
    ),
    Probe(
        "instances apart", "One instance infers the same before and after another is trained.",
        "instances-share-state", "Instances share their state, as in attributes of the class.",
        life_probes.apart_from_others,
    ),
    Probe(
        "deep copy", "A copy infers and trains the same, and shares nothing.", "copy-differs",
        "A deep copy does not work as the layer does.", life_probes.copy, ("copy",),
    ),
    Probe(
        "pickling", "A pickled layer infers and trains the same.", "pickle-differs",
        "A pickled layer does not work as the layer does.", life_probes.pickle, ("pickled",),
    ),
    Probe(
        "constant channel", "z and dx are finite when all values of a channel, or of a sample, are equal.",
        "not-finite-on-a-constant", "A constant channel or sample gives numbers that are not finite.",
        range_probes.constant,
    ),
    Probe(
        "mean of 8192 standard deviations", "In float32, the results are those for the same numbers around 0.",
        "one-pass-variance",
        "In float32 the variance is lost at a mean of 8192 standard deviations, as with E[x^2] - E[x]^2; subtract "
        "the mean first.",
        range_probes.far_mean, (), ("modified-bn", *_MOVING), "the layer takes no variance of the batch",
    ),
    *(
        Probe(
            name,
            f"The layer in {name}: output and gradients on inputs of size 100, inference on those of size 1, against "
            "the layer in float64.",
            f"{name}-range",
            f"In {name} the layer leaves the range of numbers or loses digits.",
            functools.partial(range_probes.half, name=name), ("in_precision",),
        )
        for name in range_probes.OF_SIZE_100
    ),
)  # fmt: skip
"""The probes, in the order in which they run."""
