"""Run a target through its plan, with a time limit for every scenario.

A dotted path is run in its own process, which may hang, crash or print anything, and is started again if it dies. An
object is run here, in a thread, which can be abandoned but not stopped. For both, the last call of the target is
known.
"""

from __future__ import annotations

import contextlib
import functools
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import IO, Any

from mabn_ref.check.adapters import adapt, load
from mabn_ref.check.answers import Garbled, read_answer, say, write_answer
from mabn_ref.check.inquire import inquire
from mabn_ref.check.observe import SPACES, About, Trace, observe
from mabn_ref.check.scenarios import ALIKE, SEVERAL, Scenario
from mabn_ref.check.target import Watched

IMPORTS = 60.0
"""Seconds for importing the target, and a framework with it."""


class TargetError(ValueError):
    """The target cannot be used: it does not exist, or it is not a target."""


class Failed(Exception):
    """A target did not answer; the message says why."""


def plan(about: About, scenarios: Sequence[Scenario]) -> list[Trace]:
    """Return an empty trace for every scenario, with the axes to run it with, or why it is left out.

    Examples
    --------
    >>> about = About([], False, [], {}, False, {4: "expected 2D input", 3: "expected 2D input", 2: ""})
    >>> flat, square = Scenario(name="flat", norm_batch=2), Scenario(name="", norm_batch=2, space=(2, 3))
    >>> [(trace.space, trace.skipped) for trace in plan(about, [flat, square])]
    [((), ''), ((2, 3), 'expected 2D input')]
    """
    preferred = next((space for space in SPACES if not about.refused[len(space) + 2]), SPACES[0])
    found = []
    for scenario in scenarios:
        space = preferred if scenario.space is None else scenario.space
        skipped = about.refused[len(space) + 2]
        if scenario.age and not about.ages:
            skipped = "its count of iterations cannot be set"
        if scenario.name == ALIKE:
            space = (scenario.channels,) * len(preferred)
        chosen = about.given is not None and "groups" in scenario.settings and "groups" not in about.given
        if scenario.width and chosen and scenario.settings["groups"] < scenario.width:
            skipped = "it chooses its number of groups itself"
        if about.channels and (scenario.width or scenario.name == ALIKE):
            skipped = f"it has {about.channels} channels already"
        scenario = replace(scenario, width=about.channels or scenario.width)
        if any(hasattr(value, "at") for value in scenario.settings.values()) and about.given is not None:
            skipped = "it takes no ramps"
        if (about.channels or 0) % scenario.settings.get("groups", 1):
            skipped = f"its {about.channels} channels do not divide into {scenario.settings['groups']} equal groups"
        if scenario.name == SEVERAL and about.groups is False:
            skipped = "each call is one normalisation batch"
        scenario = replace(scenario, dtype="float32") if about.single else scenario
        found.append(Trace(scenario, space, skipped=skipped))
    return found


@contextlib.contextmanager
def runner(target: Any, norm: str, extra: Mapping[str, Any], limit: float, **adapted: Any) -> Iterator[Here | Apart]:
    """Give what runs a target: a dotted path in its own process, an object here; `adapted` goes to `adapt`."""
    if not isinstance(target, str):
        yield Here(target, norm, extra, limit, **adapted)
        return
    apart = Apart(target, norm, extra, limit, **adapted)
    try:
        yield apart
    finally:
        apart.stop()
        apart.errors.close()


def traces(
    runs: Here | Apart, about: About, scenarios: Sequence[Scenario], told: Callable[[str], None] = lambda name: None
) -> list[Trace]:
    """Return a trace for each scenario, also for those that the plan leaves out; `told` gets their names."""
    found = []
    for planned in plan(about, scenarios):
        told(planned.scenario.name)
        try:
            found.append(planned if planned.skipped else runs.ask(observe, planned))
        except Failed as why:
            found.append(replace(planned, failure=str(why)))
    return found


def instead(what: Callable[..., Any], other: str, target: Any, norm: str, *where: Any) -> Any:
    """Ask `what` of a target as the normaliser `other` instead of `norm`, which it is checked as."""
    return what(target, other, *where)


class Here:
    """A target in this process: any object that `adapt` takes, with its normaliser, keywords, and seconds."""

    def __init__(self, thing: Any, norm: str, extra: Mapping[str, Any], limit: float, **adapted: Any) -> None:
        self.target, self.norm, self.limit = adapt(thing, extra, **adapted), norm, limit
        self.axes = getattr(self.target, "axes", ())

    def about(self, scenario: Scenario) -> About:
        """Ask what the target takes; `Failed` is raised if it hangs or dies at once."""
        about: About = self.ask(inquire, Trace(scenario, ()))
        return about

    def turn(self, axis: int | None) -> None:
        """Assume the channels of the layer on another axis; None: find the axis again."""
        self.target.axes = self.axes if axis is None else (axis,)  # type: ignore[attr-defined]
        self.target.axis = self.target.axes[0]  # type: ignore[attr-defined]

    def ask(self, what: Callable[..., Any], planned: Trace) -> Any:
        """Return ``what(target, norm, scenario, space)``; `Failed` is raised if it takes too long."""
        last: deque[str] = deque(maxlen=1)
        target: Any = Watched(self.target, last.append)
        try:
            return _in_time(lambda: what(target, self.norm, planned.scenario, planned.space), self.limit)
        except Failed as why:
            raise Failed(f"{why}{_there(last)}") from why


def _there(last: Sequence[str]) -> str:
    """Where a target was when it hung or died."""
    return f"; it was {last[-1]}" if last else ""


def _in_time(call: Callable[[], Any], limit: float) -> Any:
    """What a call returns; what it raises is raised."""
    answer = Future[Any]()

    def work() -> None:
        try:
            answer.set_result(call())
        except BaseException as error:
            answer.set_exception(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(limit)
    if not answer.done():
        raise Failed(f"it took longer than {limit:g} s")
    return answer.result()


class Apart:
    """A target in its own process, by its dotted path; otherwise like `Here`.

    Jobs and answers go through pipes. What the target prints to standard output is lost; the last line of its errors
    is kept in case it dies. Answers are text and arrays: nothing that a target's process writes is unpickled.
    """

    def __init__(self, path: str, norm: str, extra: Mapping[str, Any], limit: float, **adapted: Any) -> None:
        self.path, self.norm, self.extra, self.limit = path, norm, dict(extra), limit
        self.adapted = adapted
        self.child: subprocess.Popen[bytes] | None = None
        self.errors: IO[bytes] = tempfile.TemporaryFile(prefix="mabn-ref-")  # noqa: SIM115

    def about(self, scenario: Scenario) -> About:
        about: About = self.ask(inquire, Trace(scenario, ()), IMPORTS + self.limit)
        if about.axis is not None:  # a process that replaces this one must know it too
            self.adapted["axis"] = about.axis
        return about

    def turn(self, axis: int | None) -> None:
        self.adapted["axis"] = axis
        self.stop()

    def ask(self, what: Callable[..., Any], planned: Trace, limit: float | None = None) -> Any:
        """Return ``what(target, norm, scenario, space)``; `Failed` is raised if it takes too long or dies."""
        if self.child is None:
            self._start()
        answer = self._answer((what, planned.scenario, planned.space), limit or self.limit)
        return replace(planned, **answer) if isinstance(answer, dict) else answer

    def _start(self) -> None:
        self.errors.seek(0)
        self.errors.truncate()
        self.child = subprocess.Popen(
            [sys.executable, "-c", "from mabn_ref.check.run import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
        )
        try:
            self._answer((self.path, self.norm, self.extra, self.adapted), IMPORTS + self.limit)
        except Failed as why:
            raise TargetError(f"{self.path}: while it was imported, {why}") from why

    def _answer(self, job: Any, limit: float) -> Any:
        assert self.child is not None
        jobs, answers = self.child.stdin, self.child.stdout
        assert jobs is not None
        assert answers is not None
        last: deque[str] = deque(maxlen=1)

        def read() -> Any:
            try:
                return read_answer(answers, last.append)
            except (EOFError, Garbled):
                answers.close()
                raise

        try:
            pickle.dump(job, jobs)
            jobs.flush()
            kind, found = _in_time(read, limit)
        except Failed as why:
            self._kill()  # which ends `read`, too
            raise Failed(f"{why}{_there(last)}") from why
        except Garbled as error:
            self._kill()
            raise Failed("its process wrote something that is not an answer") from error
        except (EOFError, OSError) as error:
            code = self.child.wait()
            self.stop()
            self.errors.seek(0)
            lines = self.errors.read().decode(errors="replace").strip().splitlines()
            ended = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
            ended += _there(last)
            raise Failed(f"the process {ended}{': ' + lines[-1] if lines else ''}") from error
        if kind == "error":
            raise TargetError(found)
        return found

    def _kill(self) -> None:
        assert self.child is not None
        self.child.kill()
        self.child.wait()
        with contextlib.suppress(OSError):
            self.child.stdin.close()  # type: ignore[union-attr]
        self.child = None

    def stop(self) -> None:
        """End the process."""
        if self.child is not None:
            answers = self.child.stdout
            self._kill()
            answers.close()  # type: ignore[union-attr]


def serve() -> None:
    """Answer the questions of `Apart`, over standard input and output; the target sees neither."""
    jobs, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)

    def answer(call: Callable[[], Any]) -> Any:
        try:
            found = call()
            write_answer(answers, "answer", found if isinstance(found, About | Trace | str | list) else "")
        except Exception as error:
            found = None
            write_answer(answers, "error", str(error) if isinstance(error, ValueError | TypeError) else repr(error))
        return found

    path, norm, extra, adapted = pickle.load(jobs)
    target = answer(lambda: Watched(adapt(load(path), extra, **adapted), functools.partial(say, answers)))
    while target is not None:
        try:
            what, *where = pickle.load(jobs)
        except EOFError:
            return
        answer(functools.partial(what, target, norm, *where))
