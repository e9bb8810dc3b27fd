"""Check your own layer against the equations, and learn what differs.

A *target* is anything with four small functions (`target.Target`). It is run over *scenarios*, sequences of up to
several hundred steps, and what it returns is compared with the equations. Where it disagrees, a search over
*conventions* and mistakes finds what reproduces its numbers.

The files, in the order in which to read them::

    target.py            what a target is: make, forward, backward, state
    adapters/            a dotted path -> object -> target, one short file per framework, imported only when asked for
    scenarios.py         the scenarios, as data, and the inputs they stand for
    inquire.py           what a target takes: ranks, axes, precision
    observe.py           run a target over a scenario, survive what it does, keep what it returned
    run.py               the same for all scenarios that it takes, with a time limit, here or in another process
    answers.py           what that process sends back: text and arrays
    conventions.py       every known way of doing it, as data; those of frameworks and authors by name
    choices.py           what may differ, one thing at a time, and a sentence for it
    hyper_parameters.py  the same for numbers
    models.py            which model a target is compared with: one of the bendable ones
    batch_model.py           batch norm to MABN and EvalNorm, every convention of them in one layer
    batch_gradients.py       its backward passes, the right one and the wrong ones
    sample_models.py         group, layer and instance normalisation, EvalNorm and Online Normalization
    tolerance.py         a trace against a convention, up to the first difference
    explain.py           the fewest deviations that reproduce the numbers, and the findings about them
    probing.py           what the probes share: a target and its inputs
    probes.py            questions about its behaviour: each probe compares a layer with itself
    pass_probes.py           of single passes: the caller's arrays, the gradients
    life_probes.py           over its life: training and inference in turn, checkpoints, copies
    range_probes.py          at the edges: a gamma of 0, one sample, constants, half precision
    behaviour.py         what the probes find
    report.py            the report: text, or a dictionary for JSON
    verdict.py           what the traces of all scenarios together say about a layer
    check_layer.py       all of it in one call
    template.py          four functions to fill in, for a library without an adapter
    vectors.py           the scenarios with their numbers as files, for other languages; a few are in small_vectors/

Outside `mabn_ref.norms` and the oracles, only the bendable models contain the arithmetic of the normalisers: a layer
that does one thing differently is compared with a model that does the same, number by number.

``check`` returns a `Report`; ``assert_conforms`` is for a pytest suite; ``mabn-ref check`` is the same in a terminal.
"""

from __future__ import annotations

from mabn_ref.check.check_layer import ConformanceError, assert_conforms, check
from mabn_ref.check.report import Finding, Report, Row
from mabn_ref.check.target import Target

__all__ = ["ConformanceError", "Finding", "Report", "Row", "Target", "assert_conforms", "check"]
