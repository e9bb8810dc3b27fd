"""Point it at your own layer and learn what differs.

A *target* is anything with four small functions (`target.Target`). It is run over *scenarios*, sequences of several
hundred steps; what it returns is compared with the equations, and where it disagrees, a search over *conventions* and
mistakes finds what does reproduce its numbers.

The files, in the order in which to read them::

    target.py         what a target is: make, forward, backward, state
    adapters/         what makes a target of something else, one short file each, imported only when asked for:
        functions.py      a module with the functions of mabn_ref.norms
        pytorch.py        a torch.nn.Module; autograd does the backward
        jax_functions.py  init and apply of JAX; vjp does the backward
        flax_modules.py   a module of Flax, linen or nnx
        keras_layers.py   a layer of Keras 3; its backend does the backward
        names.py          what is read off names and shapes
        arguments.py      which hyper-parameter goes to which argument of a constructor
    load.py           a dotted path -> object -> target
    scenarios.py      the scenarios, as data, and the inputs they stand for
    observe.py        run a target over a scenario, survive what it does, keep what it returned
    plan.py           ask a target what it takes, and leave out the rest
    run.py            run the plan with a limit of time, a dotted path in a process of its own
    conventions.py    every way of doing it that is known, as data; those of frameworks and authors by name
    model.py          all of them in one layer
    gradients.py      its backward passes, the right one and the wrong ones
    sample_model.py   the same for group, layer and instance normalisation
    online_model.py   and for Online Normalization
    eval_model.py     and for EvalNorm
    families.py       which of them stands for what
    compare.py        a trace against a convention, up to the first difference
    choices.py        what may differ, one thing at a time, and the words for it
    sample_choices.py the same for normalisers of single samples
    hyper.py          the same for hyper-parameters
    search.py         the fewest deviations that reproduce the numbers, one tensor after the other
    words.py          what was found, in words
    derivative.py     whether backward is the derivative of forward, where nothing else is known
    rounding.py       errors of float32 against exact arithmetic
    report.py         the report: text, or a dictionary for JSON
    checker.py        all of it in one call
    vectors.py        the scenarios with their numbers as files, for other languages
    small_vectors/    a few of these files

``check`` returns a `Report`; ``assert_conforms`` is for a pytest suite; ``mabn-ref check`` is the same in a terminal.
"""

from __future__ import annotations

from mabn_ref.check.checker import ConformanceError, assert_conforms, check
from mabn_ref.check.report import Finding, Report, Row
from mabn_ref.check.target import Target

__all__ = ["ConformanceError", "Finding", "Report", "Row", "Target", "assert_conforms", "check"]
