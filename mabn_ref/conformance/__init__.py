"""Point it at your own layer and learn what differs.

A *target* is anything with four small functions (`target.Target`). It is run over *scenarios*, sequences of several
hundred steps; what it returns is compared with the equations, and where it disagrees, a search over *conventions* and
mistakes finds what does reproduce its numbers.

The files, in the order in which to read them::

    target.py         what a target is: make, forward, backward, state
    adapters/         what makes a target of something else, one short file each, imported only when asked for:
        functions.py      a module with the functions of mabn_ref.norms
        pytorch.py        a torch.nn.Module; autograd does the backward
        arguments.py      which hyper-parameter goes to which argument of a constructor
    load.py           a dotted path -> object -> target
    scenarios.py      the scenarios, as data, and the inputs they stand for
    observe.py        run a target over a scenario, survive what it does, keep what it returned
"""

from __future__ import annotations
