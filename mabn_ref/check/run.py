"""Run a target over its plan, with a limit of time for every scenario.

A dotted path is run in a process of its own, which may hang, crash or print what it likes; it hands over what it
finds in a directory, and is started again after the scenario that it did not survive. An object is run here, in a
thread, which can be left behind but not stopped.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from mabn_ref.check.derivative import derivative
from mabn_ref.check.load import adapt, load
from mabn_ref.check.observe import Trace, observe
from mabn_ref.check.plan import About, Step, inquire, plan
from mabn_ref.check.scenarios import scenarios

__all__ = ["TargetError", "derivative_of", "run_here", "run_path"]


IMPORTS = 60.0
"""Seconds for importing the target, and a framework with it."""


class TargetError(ValueError):
    """The target cannot be had: there is no such thing, or it is none."""


def run_here(thing: Any, norm: str, options: Mapping[str, Any], limit: float) -> tuple[About, list[Trace | Step]]:
    """Run an object.

    Parameters
    ----------
    thing : object
        Whatever `adapt` takes.
    norm : str
        What it is to be.
    options : mapping
        Keywords of `scenarios`, and "extra", those of the constructor.
    limit : float
        Seconds for every scenario.

    Returns
    -------
    about : About
    found : list of Trace or Step
        A trace for each scenario, or the step of the plan where it was left out.
    """
    target = adapt(thing, options.get("extra"))
    wanted = _wanted(norm, options)
    about = _in_time(lambda: inquire(target, norm, wanted[0]), limit)
    if about is None:
        raise TargetError(f"the target takes longer than {limit:g} s for its first step")
    found: list[Trace | Step] = []
    for step in plan(about, wanted):
        if step.skipped:
            found.append(step)
            continue
        trace = _in_time(lambda step=step: observe(target, norm, step.scenario, step.space), limit)
        found.append(_late(step, limit) if trace is None else trace)
    return about, found


def derivative_of(thing: Any, norm: str, options: Mapping[str, Any], step: Step, limit: float) -> str:
    """Say whether backward is the derivative of forward, at the first step of a plan's `step`."""
    if not isinstance(thing, str):
        target = adapt(thing, options.get("extra"))
        return _in_time(lambda: derivative(target, norm, step.scenario, step.space), limit) or ""
    with tempfile.TemporaryDirectory(prefix="mabn-ref-") as name:
        folder = Path(name)
        child = _start(folder, {"path": thing, "norm": norm, "options": dict(options), "space": step.space})
        try:
            answer = folder / "derivative.json"
            return str(json.loads(answer.read_text("utf-8"))) if _appears(answer, child, IMPORTS + limit) else ""
        finally:
            child.kill()
            child.wait()


def _start(folder: Path, job: dict[str, Any]) -> subprocess.Popen[bytes]:
    with (folder / "errors.txt").open("w") as errors:
        return subprocess.Popen(
            [sys.executable, "-m", "mabn_ref.check.run", str(folder), json.dumps(job)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
        )


def _wanted(norm: str, options: Mapping[str, Any]) -> list[Any]:
    return scenarios(norm, **{name: value for name, value in options.items() if name != "extra"})


def _late(step: Step, limit: float) -> Trace:
    return Trace(step.scenario, step.space, failure=f"it took longer than {limit:g} s", failed_at=1)


def _in_time(call: Any, limit: float) -> Any:
    """What a call returns, or None if it takes too long; what it raises is raised."""
    box: list[Any] = []

    def work() -> None:
        try:
            box.append(call())
        except BaseException as error:
            box.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(limit)
    if box and isinstance(box[0], BaseException):
        raise box[0]
    return box[0] if box else None


def run_path(path: str, norm: str, options: Mapping[str, Any], limit: float) -> tuple[About, list[Trace | Step]]:
    """Run what a dotted path names; takes and returns what `run_here` does."""
    with tempfile.TemporaryDirectory(prefix="mabn-ref-") as name:
        folder = Path(name)
        about, steps, start = None, [], 0
        found: list[Trace | Step] = []
        while about is None or start < len(steps):
            (folder / "about.json").unlink(missing_ok=True)
            child = _start(folder, {"path": path, "norm": norm, "options": dict(options), "start": start})
            try:
                if not _appears(folder / "about.json", child, IMPORTS + limit):
                    raise TargetError(f"{path}: {_last_words(child, folder, IMPORTS + limit)}")
                answer = json.loads((folder / "about.json").read_text(encoding="utf-8"))
                if "error" in answer:
                    raise TargetError(answer["error"])
                about = About(**answer)
                steps = plan(about, _wanted(norm, options))
                while start < len(steps):
                    step, file = steps[start], folder / f"{start}.npz"
                    start += 1
                    if step.skipped:
                        found.append(step)
                    elif _appears(file, child, limit):
                        found.append(_read(file, step))
                    else:
                        why = _last_words(child, folder, limit)
                        found.append(Trace(step.scenario, step.space, failure=why, failed_at=1))
                        break
            finally:
                if child.poll() is None:
                    child.kill()
                child.wait()
        return about, found


def _appears(file: Path, child: subprocess.Popen[bytes], limit: float) -> bool:
    """Wait for a file, for so long or until the process ends."""
    end = time.monotonic() + limit
    while not file.exists():
        if time.monotonic() > end or (child.poll() is not None and not file.exists()):
            return False
        time.sleep(0.01)
    return True


def _last_words(child: subprocess.Popen[bytes], folder: Path, limit: float) -> str:
    if child.poll() is None:
        return f"it took longer than {limit:g} s"
    lines = (folder / "errors.txt").read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return f"the process ended with {child.returncode}{': ' + lines[-1] if lines else ''}"


def _write(file: Path, trace: Trace) -> None:
    """Arrays alone, and a text; nothing is pickled."""
    arrays = {f"values/{name}": np.stack(a) for name, a in trace.values.items()}
    arrays |= {f"states/{name}": np.stack(a) for name, a in trace.states.items()}
    text = json.dumps({name: getattr(trace, name) for name in ("failure", "failed_at", "notes", "changed")})
    with file.with_suffix(".part").open("wb") as stream:
        np.savez(stream, text=np.array(text), **arrays)  # type: ignore[arg-type]
    file.with_suffix(".part").replace(file)


def _read(file: Path, step: Step) -> Trace:
    with np.load(file, allow_pickle=False) as kept:
        trace = Trace(step.scenario, step.space, **json.loads(str(kept["text"])))
        for name in kept.files:
            kind, _, what = name.partition("/")
            if what:
                getattr(trace, kind)[what] = list(kept[name])
    return trace


def _put(file: Path, answer: Any) -> None:
    file.with_suffix(".part").write_text(json.dumps(answer), encoding="utf-8")
    file.with_suffix(".part").replace(file)


def _child(folder: Path, job: dict[str, Any]) -> None:
    """What the process does: answer, then a file for every scenario."""
    norm, options = job["norm"], job["options"]
    try:
        target = adapt(load(job["path"]), options.get("extra"))
        wanted = _wanted(norm, options)
        if "space" in job:
            _put(folder / "derivative.json", derivative(target, norm, wanted[0], tuple(job["space"])))
            return
        about = inquire(target, norm, wanted[0])
    except Exception as error:
        _put(
            folder / "about.json", {"error": str(error) if isinstance(error, ValueError | TypeError) else repr(error)}
        )
        return
    _put(folder / "about.json", asdict(about))
    for k, step in enumerate(plan(about, wanted)):
        if k >= job["start"] and not step.skipped:
            _write(folder / f"{k}.npz", observe(target, norm, step.scenario, step.space))


if __name__ == "__main__":
    _child(Path(sys.argv[1]), json.loads(sys.argv[2]))
