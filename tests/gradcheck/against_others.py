"""Put the functions of `functions.py` to this checker and to those of PyTorch and JAX, and record who accepts what.

``python -m tests.gradcheck.against_others docs/results/gradcheck/checkers.json``. What is not installed is left out.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable
from importlib import metadata, util
from pathlib import Path
from typing import Any

import numpy as np

from mabn_ref import __version__
from mabn_ref.gradcheck import check
from tests.gradcheck.functions import Function, build

FAST = 3000
"""PyTorch's check takes one random direction, as it offers, for inputs of more elements than this."""


def ours(function: Function) -> None:
    """Raise unless `mabn_ref.gradcheck.check` accepts."""
    check(function.forward, function.backward, function.inputs).raise_for_error()


def by_torch(function: Function) -> None:
    """Raise unless ``torch.autograd.gradcheck`` accepts, with its default tolerances."""
    import torch

    class Node(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *inputs: Any) -> Any:
            out, ctx.kept = function.forward(*(x.detach().numpy().copy() for x in inputs))
            return torch.from_numpy(np.array(out))

        @staticmethod
        def backward(ctx: Any, dout: Any) -> Any:
            return tuple(torch.from_numpy(np.array(g)) for g in function.backward(dout.numpy(), ctx.kept))

    inputs = tuple(torch.from_numpy(np.array(x)).requires_grad_() for x in function.inputs)
    torch.autograd.gradcheck(Node.apply, inputs, fast_mode=max(x.numel() for x in inputs) > FAST)


def by_jax(function: Function) -> None:
    """Raise unless ``jax.test_util.check_grads`` accepts: reverse mode, first order, default tolerances."""
    import jax
    from jax.test_util import check_grads

    jax.config.update("jax_enable_x64", True)
    like = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in function.inputs]
    out = np.asarray(function.forward(*function.inputs)[0])
    out_like = jax.ShapeDtypeStruct(out.shape, out.dtype)

    def forward(*inputs: Any) -> Any:
        return np.asarray(function.forward(*map(np.asarray, inputs))[0])

    def backward(dout: Any, *inputs: Any) -> Any:
        _, cache = function.forward(*map(np.asarray, inputs))
        gradients = function.backward(np.asarray(dout), cache)
        return tuple(np.asarray(g, x.dtype) for g, x in zip(gradients, function.inputs, strict=True))

    def primal(*inputs: Any) -> Any:
        return jax.pure_callback(forward, out_like, *inputs)

    wrapped = jax.custom_vjp(primal)
    wrapped.defvjp(
        lambda *inputs: (primal(*inputs), inputs),
        lambda inputs, dout: jax.pure_callback(backward, tuple(like), dout, *inputs),
    )
    check_grads(wrapped, tuple(map(jax.numpy.asarray, function.inputs)), order=1, modes=["rev"])


CHECKERS: dict[str, tuple[str, Callable[[Function], None]]] = {
    "mabn_ref": ("mabn_ref", ours),
    "torch.autograd.gradcheck": ("torch", by_torch),
    "jax.test_util.check_grads": ("jax", by_jax),
}


def accepts(checker: Callable[[Function], None], function: Function) -> bool:
    """Whether a checker lets a function pass; whatever it raises is a refusal."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            checker(function)
        except Exception:
            return False
    return True


def record() -> dict[str, Any]:
    """Return what each installed checker accepts, and the versions."""
    functions, installed = build(), {name: pair for name, pair in CHECKERS.items() if util.find_spec(pair[0])}
    versions = {
        package: __version__ if package == "mabn_ref" else metadata.version(package)
        for package, _ in installed.values()
    }
    return {
        "command": "python -m tests.gradcheck.against_others docs/results/gradcheck/checkers.json",
        "versions": versions | {"numpy": np.__version__},
        "functions": [
            {"name": f.name, "right": f.right, "coarse": f.coarse}
            | {"accepted": {name: accepts(checker, f) for name, (_, checker) in installed.items()}}
            for f in functions
        ],
    }


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(record(), indent=1) + "\n", encoding="utf-8")
