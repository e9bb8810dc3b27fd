"""Layers that do one thing otherwise: the sources of `mabn_ref.norms`, edited, and run as they then are.

Nothing here knows the bendable model that these layers are told apart by. An edit is a text and what stands in its
place; one that does not occur exactly once is an error, so that no edit is lost where the sources change.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from mabn_ref.check.choices import CHOICES
from mabn_ref.check.scenarios import MODULES
from mabn_ref.check.target import FunctionsTarget
from mabn_ref.mistakes import named, wrong
from mabn_ref.norms import batch_norm, group_norm, mabn_variants

Edits = tuple[tuple[str, str], ...]


def edited(module: ModuleType, edits: Edits) -> SimpleNamespace:
    """The module's functions, made of its source with the edits."""
    source = inspect.getsource(module)
    for old, new in edits:
        assert source.count(old) == 1, f"{old!r} occurs {source.count(old)} times in {module.__name__}"
        source = source.replace(old, new)
    functions: dict[str, Any] = {"__name__": module.__name__}
    exec(compile(source, f"{module.__name__}, edited", "exec"), functions)
    return SimpleNamespace(**functions)


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A layer, and what the check is to say of it.

    `settings` are fields of the Config that it has whatever it is given, or functions of the Config for them;
    `functions` take the place of the normaliser's own. It does what the choice says and what `beside` says: names of
    mistakes, or beginnings of sentences. Of the Config it does not take what is `untaken`.
    """

    edits: Edits = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    functions: Any = None
    wrap: Callable[[Any], Any] = lambda functions: functions
    beside: tuple[str, ...] = ()
    untaken: tuple[str, ...] = ()
    conforms: bool = False
    space: tuple[int, ...] = (2,)
    """The axes between N and C with which it is told from others."""

    def target(self, norm: str) -> Stubborn:
        """The layer itself."""
        module = self.functions or MODULES[norm]
        return Stubborn(self.wrap(edited(module, self.edits) if self.edits else module), self.settings)


class Stubborn(FunctionsTarget):
    """Functions with settings of their own."""

    def __init__(self, functions: Any, settings: Mapping[str, Any]) -> None:
        super().__init__(functions)
        self.settings = settings

    def make(self, channels: int, config: Any) -> Any:
        own = {name: value(config) if callable(value) else value for name, value in self.settings.items()}
        return super().make(channels, getattr(self.functions, "Config", type(config))(**vars(config) | own))


# The lines of the sources that the edits change.
SIGMA = "sigma = root(var + config.eps)"
CHI = "chi = root(chi2 + config.eps)"
CHI_MABN = "chi = root(switched(chi2_batch, average, config.warmup, t) + config.eps)"
ONLINE_SIGMA = "sigma = root(moving_var + config.eps)"
DX = "dx = (dy - g - y * psi) / sigma"
DX_CHI = "dx = (dy - y * psi) / chi"
DX_ONLINE = "dx = dy / sigma - held * u"
DX_OF = {"modified-bn": DX_CHI, "mabn": DX_CHI, "online": DX_ONLINE, "rms": DX_CHI, "frn": DX_CHI}
INFER = "y = (x - state.mean) / root(state.var + config.eps)"
INFER_CHI = "y = x / root(state.chi2 + config.eps)"
INFER_ONLINE = "return merge(_scaled(split(gamma * y + beta, 1), config)[0], x.shape)"
INFER_EVAL = "root(var + config.eps)"
MEAN_AT_FIRST = "mean=xp.zeros((channels,), dtype=dtype)"
VAR_AT_FIRST = "var=xp.ones((channels,), dtype=dtype)"
CHI_AT_FIRST = "chi2=xp.ones((channels,), dtype=dtype)"
EMA_MEAN = "_, moving_mean = ema(state.mean, mu, config.decay, t)"
EMA_VAR = "_, moving_var = ema(state.var, var, config.decay, t)"
EMA_MEAN_BRN = "moving_mu, new_mu = ema(state.mean, mu, config.decay)"
EMA_VAR_BRN = "moving_var, new_var = ema(state.var, var, config.decay)"
EMA_SIGMA = "moving_sigma, new_sigma = ema(root(state.var + config.eps), sigma, config.decay)"
HAT_VAR = "moving_sigma = root(moving_var + config.eps)"
VAR_NOW = "new_var = new_sigma**2 - config.eps"
EMA_CHI = "_, moving_chi2 = ema(state.chi2, chi2, config.decay)"
EMA_MABN = "before, after = ema(state.chi2, chi2_batch, config.decay)"
WINDOWED = "average, chi2_window = sma(state.chi2_window, chi2_batch, seen=t)"
CHI_HAT = "root(before + config.eps)"
R = "r = clip(sigma / moving_sigma, 1 / r_max, r_max)"
R_MABN = "r = clip(chi / root(before + config.eps), 1 / config.clip, config.clip)"
D = "d = clip((mu - moving_mu) / moving_sigma, -d_max, d_max)"
Y_BRN = "y = centred / sigma  # eq:"
PSI_MABN = "psi_batch = gamma * r * dzy_sum / values"
DY_MABN = "dy = dz * (gamma * r)"
PSI = "average, psi_window = sma(state.psi_window, psi_batch, seen=t)"
DY_GN = "dy = split(dz * gamma, config)\n"
START_ONLINE = "y, sigma, gamma, held = cache.y, cache.sigma, cache.gamma, 1 - cache.config.decay_backward"
UNSCALED = "dz, values = _unscaled(dz, cache), y.shape[1]"
SCALED = "z, scale = _scaled(gamma * y + beta, config)"
CACHE_ONLINE = "cache = Cache(y, sigma, copied(z), scale, copied(gamma), t, shape, config)"
UNGUARDED = "        return a, None"
UNGUARDED_BACK = "    if cache.scale is None:\n        return dz\n"
EVAL_FORWARD = "z, cache, (mean, var, t) = batch_norm.forward(x, gamma, beta, _moving(state), _training(config))"
EVAL_UNBIASED = (
    "n = split(x, config.norm_batch).shape[1]; "
    "var = ema(state.var, statistics(x, config)[1] * (n / (n - 1)), config.decay)[1][-1]"
)
NUMPY = "\nimport numpy as np\n"

BESSEL = "(x.shape[1] / (x.shape[1] - 1))"
VALUES_GN = "({0}.size // ({0}.shape[0] * (config.groups or {0}.shape[-1])))"
BESSEL_GN = "({0} / ({0} - 1))".format(VALUES_GN.format("x"))

LAYERS: dict[tuple[str, str, Any], Layer] = {}
"""By the normaliser that it is to be, and the field and the value of the choice."""


def add(norms: str, name: str, value: Any, *edits: tuple[str, str], **rest: Any) -> None:
    for norm in norms.split():
        LAYERS[norm, name, value] = Layer(edits=edits, **rest)


def before(line: str, more: str) -> tuple[str, str]:
    return line, f"{more}\n    {line}"


def after(line: str, more: str) -> tuple[str, str]:
    return line, f"{line}; {more}"


def infers(norm: str, divisor: str) -> tuple[str, str]:
    """Inference by another divisor, of {s}, the moving statistic."""
    s, x = ("state.chi2", "x") if norm in ("modified-bn", "mabn") else ("state.var", "(x - state.mean)")
    return INFER if s == "state.var" else INFER_CHI, f"y = {x} / ({divisor.format(s=s)})"


def moving_apart(functions: Any) -> SimpleNamespace:
    """Every position of an image with statistics of its own; the moving ones are edited to be shared."""

    def grown(state: Any, positions: int, channels: int) -> Any:
        return state._replace(
            **{
                name: np.tile(a, positions)
                for name, a in state._asdict().items()
                if np.ndim(a) and a.shape[-1] == channels
            }
        )

    def shared(state: Any, channels: int) -> Any:
        return state._replace(**{name: a[:channels] for name, a in state._asdict().items() if np.ndim(a) == 1})

    def forward(x: Any, gamma: Any, beta: Any, state: Any, config: Any) -> Any:
        positions, channels = int(np.prod(x.shape[1:-1])), x.shape[-1]
        gamma, beta = np.tile(gamma, positions), np.tile(beta, positions)
        z, cache, state = functions.forward(
            x.reshape(len(x), -1), gamma, beta, grown(state, positions, channels), config
        )
        return z.reshape(x.shape), cache, shared(state, channels)

    def backward(dz: Any, cache: Any, state: Any) -> Any:
        positions, channels = int(np.prod(dz.shape[1:-1])), dz.shape[-1]
        dx, dgamma, dbeta, state = functions.backward(
            dz.reshape(len(dz), -1), cache, grown(state, positions, channels)
        )
        dgamma, dbeta = (a.reshape(-1, channels).sum(axis=0) for a in (dgamma, dbeta))
        return dx.reshape(dz.shape), dgamma, dbeta, shared(state, channels)

    return SimpleNamespace(**{**vars(functions), "forward": forward, "backward": backward})


def samples_apart(functions: Any) -> SimpleNamespace:
    """Every position of an image as a sample of its own."""

    def forward(x: Any, gamma: Any, beta: Any, state: Any, config: Any) -> Any:
        z, cache, state = functions.forward(x.reshape(-1, x.shape[-1]), gamma, beta, state, config)
        return z.reshape(x.shape), cache, state

    def backward(dz: Any, cache: Any, state: Any) -> Any:
        dx, *rest = functions.backward(dz.reshape(-1, dz.shape[-1]), cache, state)
        return dx.reshape(dz.shape), *rest

    return SimpleNamespace(
        **{**vars(functions), "forward": forward, "backward": backward, "infer": lambda *a: forward(*a)[0]}
    )


def differentiated(functions: Any) -> SimpleNamespace:
    """With the derivative of a whole call for dx, the moving chi held, by differences; channels are apart."""

    def forward(x: Any, gamma: Any, beta: Any, state: Any, config: Any) -> Any:
        functions.HELD.clear()
        z, cache, new = functions.forward(x, gamma, beta, state, config)
        return z, (cache, x, gamma, beta, state, config), new

    def backward(dz: Any, cache: Any, state: Any) -> Any:
        cache, x, gamma, beta, old, config = cache
        _, dgamma, dbeta, state = functions.backward(dz, cache, state)
        dx, step = np.zeros_like(x), 1e-3 * np.sqrt(np.mean(x * x, axis=tuple(range(x.ndim - 1))))
        for place in np.ndindex(x.shape[:-1]):
            for steps, weight in ((-2, 1 / 12), (-1, -2 / 3), (1, 2 / 3), (2, -1 / 12)):
                moved = x.copy()
                moved[place] += steps * step
                z = functions.forward(moved, gamma, beta, old, config)[0]
                dx[place] += weight * np.sum(dz * z, axis=tuple(range(x.ndim - 1))) / step
        return dx, dgamma, dbeta, state

    return SimpleNamespace(**{**vars(functions), "forward": forward, "backward": backward})


class Tracked(NamedTuple):
    mean: Any
    var: Any


def tracking(functions: Any, kept: float = 0.9, bessel: int = 1) -> SimpleNamespace:
    """Instance norm with moving statistics for inference, as PyTorch has them; `kept` is their decay."""

    def init(channels: int, config: Any, *, dtype: Any) -> Tracked:
        return Tracked(np.zeros(channels), np.ones(channels))

    def forward(x: Any, gamma: Any, beta: Any, state: Tracked, config: Any) -> Any:
        z, cache, _ = functions.forward(x, gamma, beta, functions.State(), config)
        flat = x.reshape(len(x), -1, x.shape[-1])
        mean, var = flat.mean(axis=1).mean(axis=0), flat.var(axis=1, ddof=bessel).mean(axis=0)
        moved = (kept * old + (1 - kept) * new for old, new in ((state.mean, mean), (state.var, var)))
        return z, cache, Tracked(*moved)

    def infer(x: Any, gamma: Any, beta: Any, state: Tracked, config: Any) -> Any:
        return gamma * (x - state.mean) / np.sqrt(state.var + config.eps) + beta

    def backward(dz: Any, cache: Any, state: Tracked) -> Any:
        return (*functions.backward(dz, cache, functions.State())[:3], state)

    own = {"init": init, "forward": forward, "backward": backward, "infer": infer}
    return SimpleNamespace(**{**vars(functions), **own})


def value_of(words: str) -> Any:
    """The value of the choice that is said so, where it is a function."""
    return next(choice.changes[0][1] for choice in CHOICES if choice.words.startswith(words))


def summing(name: str, kind: str, functions: Any) -> SimpleNamespace:
    """With a dgamma or a dbeta that is 0 or a mean over samples, or a dgamma of dz or dz * z."""

    def forward(x: Any, *rest: Any) -> Any:
        z, cache, state = functions.forward(x, *rest)
        return z, (cache, z), state

    def backward(dz: Any, cache: Any, state: Any) -> Any:
        dx, *found, state = functions.backward(dz, cache[0], state)
        axes = tuple(range(dz.ndim - 1))
        own = {
            "of z": lambda: np.sum(dz * cache[1], axis=axes),
            "of dz": lambda: np.sum(dz, axis=axes),
            "none": lambda: 0 * found[0],
            "mean over samples": lambda: found[name == "dbeta"] / len(dz),
        }[kind]()
        return dx, *((own, found[1]) if name == "dgamma" else (found[0], own)), state

    return SimpleNamespace(**{**vars(functions), "forward": forward, "backward": backward})


AFFINE: dict[str, Any] = {
    "(y + beta) gamma": (lambda g, b, e: (g, g * b), lambda g, b, dg, db: (dg + b * db, g * db)),
    "|gamma|": (lambda g, b, e: (abs(g), b), lambda g, b, dg, db: (np.sign(g) * dg, db)),
    "|gamma| + eps": (lambda g, b, e: (abs(g) + e, b), lambda g, b, dg, db: (np.sign(g) * dg, db)),
    "gamma forgotten": (lambda g, b, e: (0 * g + 1, b), lambda g, b, dg, db: (0 * dg, db)),
    "beta forgotten": (lambda g, b, e: (g, 0 * b), lambda g, b, dg, db: (dg, 0 * db)),
}
"""Scale and shift that a layer has instead, and the gradients of gamma and beta by theirs."""


def shifting(kind: str, functions: Any) -> SimpleNamespace:
    there, back = AFFINE[kind]

    def forward(x: Any, gamma: Any, beta: Any, state: Any, config: Any) -> Any:
        z, cache, state = functions.forward(x, *there(gamma, beta, config.eps), state, config)
        return z, (cache, gamma, beta), state

    def backward(dz: Any, cache: Any, state: Any) -> Any:
        dx, dgamma, dbeta, state = functions.backward(dz, cache[0], state)
        return dx, *back(*cache[1:], dgamma, dbeta), state

    def infer(x: Any, gamma: Any, beta: Any, state: Any, config: Any) -> Any:
        return functions.infer(x, *there(gamma, beta, config.eps), state, config)

    return SimpleNamespace(**{**vars(functions), "forward": forward, "backward": backward, "infer": infer})


def before_r(functions: Any) -> SimpleNamespace:
    """Batch Renormalization with gamma and beta before r and d, one normalisation batch after the other."""

    def forward(x: Any, gamma: Any, beta: Any, state: Any, config: Any) -> Any:
        one, parts, caches = np.ones_like(gamma), [], []
        for part in np.split(x, len(x) // config.norm_batch):
            _, cache, state = functions.forward(part, one, 0 * one, state, config)
            r, d = cache.r.reshape(-1), cache.d.reshape(-1)
            y = cache.y.reshape(part.shape)
            parts.append((gamma * y + beta) * r + d)
            caches.append((cache, r, y, gamma))
        return np.concatenate(parts), caches, state

    def backward(dz: Any, caches: Any, state: Any) -> Any:
        found = []
        for part, (cache, r, y, gamma) in zip(np.split(dz, len(caches)), caches, strict=True):
            axes = tuple(range(part.ndim - 1))
            dx = functions.backward(part * gamma, cache, state)[0]
            found.append((dx, np.sum(part * r * y, axes), np.sum(part * r, axes)))
        dxs, dgammas, dbetas = zip(*found, strict=True)
        return np.concatenate(dxs), sum(dgammas), sum(dbetas), state

    return SimpleNamespace(**{**vars(functions), "forward": forward, "backward": backward})


def never_moving(functions: Any) -> SimpleNamespace:
    def forward(x: Any, gamma: Any, beta: Any, state: Any, config: Any) -> Any:
        z, cache, new = functions.forward(x, gamma, beta, state, config)
        return z, cache, state._replace(iteration=new.iteration)

    return SimpleNamespace(**{**vars(functions), "forward": forward})


def from_the_first(functions: Any) -> SimpleNamespace:
    """The averages start at the first batch's values."""

    def forward(x: Any, gamma: Any, beta: Any, state: Any, config: Any) -> Any:
        if not state.iteration:
            state = state._replace(mean=np.mean(x, tuple(range(x.ndim - 1))), var=np.var(x, tuple(range(x.ndim - 1))))
        return functions.forward(x, gamma, beta, state, config)

    return SimpleNamespace(**{**vars(functions), "forward": forward})


class Hidden(NamedTuple):
    mean: Any
    var: Any
    hidden_mean: Any
    hidden_var: Any
    iteration: int = 0


def debiased(functions: Any, first_variance: float = 0.0) -> SimpleNamespace:
    """Averages that start at 0 and are divided by the sum of their weights, as Haiku has them; or one at 1."""

    def init(channels: int, config: Any, *, dtype: Any) -> Hidden:
        mean = np.zeros(channels, dtype)
        return Hidden(mean, mean + first_variance, mean, mean + first_variance)

    def forward(x: Any, gamma: Any, beta: Any, state: Hidden, config: Any) -> Any:
        hidden = functions.State(state.hidden_mean, state.hidden_var, state.iteration)
        z, cache, new = functions.forward(x, gamma, beta, hidden, config)
        weights = x.dtype.type(1 - config.decay**new.iteration)
        return z, cache, Hidden(new.mean / weights, new.var / weights, *new)

    def backward(dz: Any, cache: Any, state: Hidden) -> Any:
        hidden = functions.State(state.hidden_mean, state.hidden_var, state.iteration)
        return (*functions.backward(dz, cache, hidden)[:3], state)

    def infer(x: Any, gamma: Any, beta: Any, state: Hidden, config: Any) -> Any:
        return functions.infer(x, gamma, beta, functions.State(state.mean, state.var, state.iteration), config)

    own = {"init": init, "forward": forward, "backward": backward, "infer": infer}
    return SimpleNamespace(**{**vars(functions), **own})


def by_moving(kind: str, functions: Any) -> SimpleNamespace:
    """Training normalises by the moving statistics, from before or after the batch."""

    def forward(x: Any, gamma: Any, beta: Any, state: Any, config: Any) -> Any:
        parts, caches = [], []
        for part in np.split(x, len(x) // config.norm_batch):
            new = functions.forward(part, gamma, beta, state, config)[2]
            used = state if kind == "before" else new
            parts.append(functions.infer(part, gamma, beta, used, config))
            caches.append(
                ((part - used.mean) / np.sqrt(used.var + config.eps), np.sqrt(used.var + config.eps), gamma)
            )
            state = new
        return np.concatenate(parts), caches, state

    def backward(dz: Any, caches: Any, state: Any) -> Any:
        found = [
            (part * gamma / sigma, np.sum(part * y, tuple(range(part.ndim - 1))))
            for part, (y, sigma, gamma) in zip(np.split(dz, len(caches)), caches, strict=True)
        ]
        dxs, dgammas = zip(*found, strict=True)
        return np.concatenate(dxs), sum(dgammas), np.sum(dz, tuple(range(dz.ndim - 1))), state

    return SimpleNamespace(**{**vars(functions), "forward": forward, "backward": backward})


def training_infers(functions: Any) -> SimpleNamespace:
    return SimpleNamespace(**{**vars(functions), "infer": lambda *a: functions.forward(*a)[0]})


def right_inference(functions: Any) -> SimpleNamespace:
    return SimpleNamespace(**{**vars(functions), "infer": group_norm.infer})


# Where eps stands.
EPS = {"outside": "np.sqrt({s}) + config.eps", "twice": "np.sqrt({s} + 2 * config.eps)", "none": "np.sqrt({s})"}
STEEP = DX.replace("psi", "(psi * sigma / (sigma - cache.config.eps))")
STEEP_CHI = DX_CHI.replace("psi", "(psi * chi / (chi - cache.config.eps))")
ONE = {"outside": "(1 + config.eps) ** 2 - config.eps", "twice": "1 + config.eps", "none": "1 - config.eps"}
for value, root in EPS.items():
    odd = value == "outside"
    sigma, chi = (SIGMA, f"sigma = {root.format(s='var')}"), (CHI, f"chi = {root.format(s='chi2')}")
    add("bn", "eps_at", value, sigma, infers("bn", root), *[(DX, STEEP)] * odd)
    start = VAR_AT_FIRST, f"{VAR_AT_FIRST} * ({ONE[value]})"
    add("brn", "eps_at", value, sigma, start, *[(DX, STEEP)] * odd)
    add("modified-bn", "eps_at", value, chi, infers("modified-bn", root), *[(DX_CHI, STEEP_CHI)] * odd)
    averaged = CHI_MABN, f"chi2 = switched(chi2_batch, average, config.warmup, t)\n    {chi[1]}"
    hat = CHI_HAT, f"({root.format(s='before')})"
    add("mabn", "eps_at", value, averaged, hat, infers("mabn", root))
    steep = STEEP if odd else DX
    add("gn ln in", "eps_at", value, sigma, (DX, steep))
    add("rms frn", "eps_at", value, chi, *[(DX_CHI, STEEP_CHI)] * odd)
    add("online", "eps_at", value, (ONLINE_SIGMA, f"sigma = {root.format(s='moving_var')}"), infers("bn", root))
    for norm, first in (("bn", [sigma]), ("modified-bn", [chi])):
        mistake = {"none": "bn-no-eps", "twice": "bn-eps-twice", "outside": "bn-eps-outside"}[value]
        if odd:  # training has eps outside, inference inside
            said = mistake if norm == "bn" else "Your forward divides by chi + eps"
            steep = (DX, STEEP) if norm == "bn" else (DX_CHI, STEEP_CHI)
            add(norm, "infer_eps", "inside", *first, steep, beside=(said,))
            line = "Inference has eps inside the root."
            add(norm, "dx", "formula (4)", *first, beside=(said, line))
roots = (SIGMA, f"sigma = {EPS['outside'].format(s='var')}")
start = VAR_AT_FIRST, f"{VAR_AT_FIRST} * ({ONE['outside']})"
add("brn", "dx", "formula (4)", roots, start, beside=("bn-eps-outside",))
hat = HAT_VAR, f"moving_sigma = {EPS['outside'].format(s='moving_var')}"
said = ("bn-eps-outside", "The moving average tracks the variance")
add("brn", "infer_eps", "inside", roots, hat, (DX, STEEP), settings={"ema_of": "var"}, beside=said)
chi = CHI_MABN, f"chi = {EPS['outside'].format(s='switched(chi2_batch, average, config.warmup, t)')}"
hat = CHI_HAT, f"({EPS['outside'].format(s='before')})"
add("mabn", "infer_eps", "inside", chi, hat, beside=("Your forward divides by chi + eps",))
for norm in ("bn", "brn", "modified-bn", "mabn"):
    add(norm, "infer_eps", "none", infers(norm, "np.sqrt({s})"))
    add(norm, "infer_eps", "twice", infers(norm, "np.sqrt({s} + 2 * config.eps)"))
    add(norm, "infer_eps", "no root", infers(norm, "{s} + config.eps"))
after_r = """y = centred / root(var + config.eps * r**2)
    d = d * root(var / (var + config.eps * r**2))
    sigma = root(var + config.eps * r**2)  # eq:"""
shifted = f"""e = cache.config.eps * r**2
    {DX} + y * (gamma * dz_sum / dz.shape[1] * d * e / ((sigma**2 - e) * sigma))"""
add("brn", "eps_at", "after r", (Y_BRN, after_r), (DX, shifted))

# What shares statistics.
add("bn brn modified-bn", "shared_by", "call", settings={"norm_batch": None})
once = ("The exponential average is updated once per call",)  # the mean of the batches' squares is the call's
add("mabn", "shared_by", "call", settings={"norm_batch": None}, beside=once)
together = """all_of = np.mean(mu, axis=2, keepdims=True) + 0 * mu
    var = np.mean(var + (mu - all_of) ** 2, axis=2, keepdims=True) + 0 * mu
    centred, mu = centred + (mu - all_of), all_of"""
earlier = """rows = np.concatenate([state.chi2_window, chi2_batch[:, 0, :]])
    held = [min(t + g, config.window) for g in range(len(x))]
    totals = [np.sum(rows[g : g + config.window], axis=0) / h if h else chi2_batch[g, 0] for g, h in enumerate(held)]
    average = np.stack(totals)[:, None, :]"""
add("mabn", "window_holds", "earlier ones", (WINDOWED, f"{WINDOWED}\n    {earlier}"))
shared = "dx = (dy - np.mean(g, axis=2, keepdims=True) - y * np.mean(psi, axis=2, keepdims=True)) / sigma"
for norm, line in (("bn", EMA_MEAN), ("brn", SIGMA)):
    add(norm, "shared_by", "channels", before(line, together), (DX, shared))
shared = DX_CHI.replace("psi", "np.mean(psi, axis=2, keepdims=True)")
add(
    "modified-bn",
    "shared_by",
    "channels",
    before(EMA_CHI, "chi2 = np.mean(chi2, axis=2, keepdims=True) + 0 * chi2"),
    (DX_CHI, shared),
)
add(
    "mabn",
    "shared_by",
    "channels",
    before(WINDOWED, "chi2_batch = np.mean(chi2_batch, axis=2, keepdims=True) + 0 * chi2_batch"),
)
over = "np.mean({}, axis=0, keepdims=True)"
mean, var, sigma = over.format("mu"), over.format("var"), f"root({over.format('var')} + config.eps)"
for norm, *edits in (
    ("bn", (EMA_MEAN, EMA_MEAN.replace(" mu,", f" {mean},")), (EMA_VAR, EMA_VAR.replace(" var,", f" {var},"))),
    (
        "brn",
        (EMA_MEAN_BRN, EMA_MEAN_BRN.replace(" mu,", f" {mean},")),
        (EMA_SIGMA, EMA_SIGMA.replace(" sigma, config.decay", f" {sigma}, config.decay")),
    ),
    ("modified-bn", (EMA_CHI, EMA_CHI.replace(" chi2,", f" {over.format('chi2')},"))),
):
    add(norm, "shared_by", "sample", *edits, settings={"norm_batch": 1})
of_all = "\nshared = lambda a: np.tile(np.mean(a.reshape(len(a), 1, -1, 5), axis=2), a.shape[2] // 5)\n"
position = NUMPY, NUMPY + of_all
add(
    "brn",
    "shared_by",
    "position",
    position,
    (EMA_MEAN_BRN, EMA_MEAN_BRN.replace(" mu,", " shared(mu),")),
    (EMA_SIGMA, EMA_SIGMA.replace(" sigma, config.decay", " np.sqrt(shared(var) + config.eps), config.decay")),
    wrap=moving_apart,
)
add(
    "modified-bn",
    "shared_by",
    "position",
    position,
    (EMA_CHI, EMA_CHI.replace(" chi2,", " shared(chi2),")),
    wrap=moving_apart,
)
add(
    "mabn",
    "shared_by",
    "position",
    position,
    (EMA_MABN, EMA_MABN.replace("chi2_batch", "shared(chi2_batch)")),
    wrap=moving_apart,
)

# The batch statistic.
steep = DX.replace("psi", "(psi * y.shape[1] / (y.shape[1] - 1))")
unbiased = f"var = var * {BESSEL}"
add("bn", "variance", "unbiased", before(EMA_MEAN, unbiased), (DX, steep))
matches = ("running_var matches the unbiased variance",)
add("brn", "variance", "unbiased", before(SIGMA, unbiased), (DX, steep), beside=matches)
add(
    "bn",
    "fed",
    "biased",
    (SIGMA, f"sigma = root(var * {BESSEL} + config.eps)"),
    (DX, steep),
    beside=("bn-unbiased-variance",),
)
biased = EMA_SIGMA.replace(" sigma, config.decay", " root(var + config.eps), config.decay")
add(
    "brn",
    "fed",
    "biased",
    (SIGMA, f"sigma = root(var * {BESSEL} + config.eps)"),
    (EMA_SIGMA, biased),
    (DX, steep),
    beside=("bn-unbiased-variance",),
)
add(
    "gn ln in",
    "variance",
    "unbiased",
    (SIGMA, SIGMA.replace("var", f"var * {BESSEL_GN}")),
    (DX, steep.replace("y.shape[1]", VALUES_GN.format("dz"))),
)
add(
    "mabn",
    "statistic",
    "variance",
    before(WINDOWED, "chi2_batch = np.var(x, axis=1, keepdims=True)"),
    (DX_CHI, DX_CHI.replace("y * psi", "(y - np.mean(y, axis=1, keepdims=True)) * psi")),
)
add("modified-bn", "centred", "yes", functions=batch_norm)
centred = """MEAN[0] = ema(MEAN[0] if t else 0 * state.chi2, mean(x), config.decay)[1][-1, 0]
    x = x - mean(x)
    chi2_batch = mean(x * x)"""
add(
    "mabn",
    "centred",
    "yes",
    (NUMPY, NUMPY + "\nMEAN, mean = [0], lambda a: np.mean(a, axis=1, keepdims=True)\n"),
    before(WINDOWED, centred),
    (INFER_CHI, "y = (x - MEAN[0]) / root(state.chi2 + config.eps)"),
    (DX_CHI, DX_CHI.replace("y * psi", "mean(dy) - (y - mean(y)) * psi")),
    beside=("modified-variance",),
)
add(
    "mabn",
    "root",
    "no",
    (CHI_MABN, "chi = switched(chi2_batch, average, config.warmup, t) + config.eps"),
    (CHI_HAT, "(before + config.eps)"),
    infers("mabn", "{s} + config.eps"),
)

# Moving averages.
add(
    "bn",
    "average_of",
    "root",
    (
        EMA_VAR,
        "moving_var = ema(root(state.var + config.eps), root(var + config.eps), config.decay)[1] ** 2 - config.eps",
    ),
)
rooted = (
    "moving_chi2 = ema(root(state.chi2 + config.eps), root(chi2 + config.eps), config.decay)[1] ** 2 - config.eps"
)
add("modified-bn", "average_of", "root", (EMA_CHI, rooted), conforms=True)
e = "config.eps"
rooted = (
    f"before, after = (a**2 - {e} for a in ema(np.sqrt(state.chi2 + {e}), np.sqrt(chi2_batch + {e}), config.decay))"
)
add("mabn", "average_of", "root", (EMA_MABN, rooted), conforms=True)
rooted = "before, after = (a**2 for a in ema(np.sqrt(state.chi2), np.sqrt(chi2_batch), config.decay))"
add("mabn", "average_of", "bare root", (EMA_MABN, rooted), conforms=True)
bare = EMA_SIGMA, "std_before, std_after = ema(np.sqrt(state.var), np.sqrt(var), config.decay)"
add(
    "brn",
    "average_of",
    "bare root",
    bare,
    (VAR_NOW, "moving_sigma, new_var = np.sqrt(std_before**2 + config.eps), std_after**2"),
    conforms=True,
)
add("brn", "average_of", "square", settings={"ema_of": "var"}, conforms=True)
for value, mean, var in (("normalised", "0 * mu", "1"), ("outputs", "0 * mu + beta", "gamma**2")):
    add("bn", "mean_fed", value, (EMA_MEAN, EMA_MEAN.replace(" mu,", f" {mean},")))
    add("bn", "fed", value, (EMA_VAR, EMA_VAR.replace(" var,", f" {var} * var / (var + config.eps),")))
samples = "(config.norm_batch / (config.norm_batch - 1))"
for value, fed in (
    ("unbiased", f"var * {BESSEL}"),
    ("over samples", f"var * {samples}"),
    ("with eps", "var + config.eps"),
):
    fine = value == "unbiased"
    add("bn", "fed", value, (EMA_VAR, EMA_VAR.replace(" var,", f" {fed},")), conforms=fine)
    sigma = f"np.sqrt({fed} + config.eps)"
    add("brn", "fed", value, (EMA_SIGMA, EMA_SIGMA.replace(" sigma,", f" {sigma},")), conforms=fine)
add("modified-bn", "fed", "unbiased", (EMA_CHI, EMA_CHI.replace(" chi2,", f" chi2 * {BESSEL},")))
add("mabn", "fed", "unbiased", (EMA_MABN, EMA_MABN.replace("chi2_batch", f"chi2_batch * {BESSEL}")))
counted = """SEEN[0] *= not np.all(state.var == 1)  # a new layer
    counts = SEEN[0] + np.arange(1, len(mu) + 1)[:, None, None]
    moving_mean = (SEEN[0] * state.mean + np.cumsum(mu, axis=0)) / counts"""
add(
    "bn",
    "decay",
    "cumulative",
    (NUMPY, NUMPY + "\nSEEN = [0]\n"),
    (EMA_MEAN, counted),
    (EMA_VAR, "moving_var = (SEEN[0] * state.var + np.cumsum(var, axis=0)) / counts\n    SEEN[0] += len(mu)"),
    untaken=("decay",),
    conforms=True,
)
cumulated = """counts = state.iteration + np.arange(1, len(mu) + 1)[:, None, None]
    cumulated = lambda old, new: (state.iteration * old + np.cumsum(new, axis=0)) / counts
    new_mu = cumulated(state.mean, mu)
    moving_mu = np.concatenate([state.mean[None, None], new_mu[:-1]])"""
cumulated_sigma = """sigma_old = root(state.var + config.eps)
        new_sigma = cumulated(sigma_old, sigma)
        moving_sigma = np.concatenate([sigma_old[None, None], new_sigma[:-1]])"""
add(
    "brn",
    "decay",
    "cumulative",
    (EMA_MEAN_BRN, cumulated),
    (EMA_SIGMA, cumulated_sigma),
    untaken=("decay",),
    conforms=True,
)
add("bn brn", "start", 0.0, (VAR_AT_FIRST, f"{VAR_AT_FIRST} * 0"))
add("brn", "start", "no root", (VAR_AT_FIRST, f"{VAR_AT_FIRST} * -config.eps"))
add("brn", "start", "root", (VAR_AT_FIRST, f"{VAR_AT_FIRST} * (1 - config.eps)"), conforms=True)
add("modified-bn", "start", 0.0, (CHI_AT_FIRST, f"{CHI_AT_FIRST} * 0"))
add("mabn", "start", 0.0, functions=mabn_variants, settings={"ema_start": 0.0})
flag = VAR_AT_FIRST, f"{VAR_AT_FIRST} * -1"  # less than any variance: nothing was seen
first = "np.where(state.var < 0, {}[0, 0, :], state.{})".format
add("bn", "start", "first", flag, (EMA_VAR, EMA_VAR.replace("state.var", first("var", "var"))), conforms=True)
add(
    "bn",
    "start_mean",
    "first",
    flag,
    (EMA_MEAN, EMA_MEAN.replace("state.mean", first("mu", "mean"))),
    (EMA_VAR, EMA_VAR.replace("state.var", "np.abs(state.var)")),
    conforms=True,
)
add("bn brn", "start_mean", 1.0, (MEAN_AT_FIRST, f"{MEAN_AT_FIRST} + 1"))
old = "root(state.var + config.eps)"
once = f"sigma[0, 0, :] if state.iteration == 0 else {old}"
add("brn", "start", "first", (EMA_SIGMA, EMA_SIGMA.replace(old, once)), conforms=True)
once = "mu[0, 0, :] if state.iteration == 0 else state.mean"
add("brn", "start_mean", "first", (EMA_MEAN_BRN, EMA_MEAN_BRN.replace("state.mean", once)), conforms=True)
once = "np.where(state.chi2 < 0, chi2[0, 0, :], state.chi2)"
add(
    "modified-bn",
    "start",
    "first",
    (CHI_AT_FIRST, f"{CHI_AT_FIRST} * -1"),
    (EMA_CHI, EMA_CHI.replace("state.chi2", once)),
    conforms=True,
)
add("mabn", "start", "first", functions=mabn_variants, settings={"ema_start": "first"}, conforms=True)
add("mabn", "fed_per", "call", functions=mabn_variants, settings={"ema_per": "call"}, conforms=True)
add("mabn", "partial", "batch", functions=mabn_variants, settings={"partial_window": "batch"}, conforms=True)
# of the authors' MABN.py all but one
add(
    "mabn",
    "fed_by",
    "batch",
    functions=mabn_variants,
    settings={"partial_window": "batch", "renorm_from": 1001},
    beside=("Until the window is full",),
    conforms=True,
)

# r and d.
ratios = {
    "squares": "(S / H) ** 2",
    "variance over square": "(S**2 - config.eps) / H**2",
    "without eps": "np.sqrt((S**2 - config.eps) / (H**2 - config.eps))",
    "squares without eps": "(S**2 - config.eps) / (H**2 - config.eps)",
    "inverted": "H / S",
}
for value, ratio in ratios.items():
    ours = ratio.replace("S", "sigma").replace("H", "moving_sigma")
    add("brn", "r_of", value, (R, R.replace("sigma / moving_sigma", ours)))
    ours = ratio.replace("S", "chi").replace("H", CHI_HAT)
    add("mabn", "r_of", value, (R_MABN, R_MABN.replace(f"chi / {CHI_HAT}", ours)))
add("brn", "r_of", "one", (R, "r = np.ones_like(sigma)"), (D, "d = 0 * mu"))
add("brn", "d_over", "negative", (D, D.replace("clip", "-clip")))
add("brn", "clip_sides", "r above", (R, R.replace("1 / r_max", "0.0")))
add("mabn", "clip_sides", "above", (R_MABN, R_MABN.replace("1 / config.clip", "0.0")))
bare = HAT_VAR, "moving_sigma = root(moving_var)"
add(
    "brn",
    "moving_eps",
    "none",
    bare,
    settings={"ema_of": "var"},
    beside=("The moving average tracks the variance",),
)
add("mabn", "moving_eps", "none", (CHI_HAT, "root(before)"))
batch = "y = (x - x.mean(axis=(0, 1))) / root(x.var(axis=(0, 1)) + config.eps)"
add("brn", "infer_by", "batch", (INFER, batch))
moved = "state = forward(x, gamma, beta, state, Config(**vars(config) | {'norm_batch': None}))[2]"
add("bn", "infer_by", "moved", before(INFER, moved))
add("modified-bn", "infer_by", "moved", before(INFER_CHI, moved))

# The gradients.
dx = {
    "no g": "(dy - y * psi) / sigma",
    "no psi": "(dy - g) / sigma",
    "statistics constant": "dy / sigma",
    "sums": "(dy - dy.shape[1] * g - y * dy.shape[1] * psi) / sigma",
    "over variance": DX[5:] + " / sigma",
    "over std": DX[5:].replace("sigma", "np.sqrt(sigma**2 - cache.config.eps)"),
}
for value, formula in dx.items():
    add("bn brn", "dx", value, (DX, f"dx = {formula}"))
    add("gn ln in", "dx", value, (DX, f"dx = {formula}".replace("dy.shape[1]", VALUES_GN.format("dz"))))
    if value in ("sums", "over variance", "over std"):
        formula = formula.replace("dy.shape[1] * g - ", "").replace("g - ", "")
        add("modified-bn", "dx", value, (DX_CHI, f"dx = {formula}".replace("sigma", "chi")))
whole = "dx = (dy - np.mean(g, axis=0, keepdims=True) - y * np.mean(psi, axis=0, keepdims=True)) / sigma"
add("bn brn", "dx", "whole call", (DX, whole))
again = """std = np.sqrt(sigma**2 - cache.config.eps)
    again = y * sigma / std
    dx = (dy - g - again * np.mean(again * dy, axis=1, keepdims=True)) / std"""
add("bn brn", "dx", "recomputed without eps", (DX, again))
add("bn brn", "dx", "no gamma", (DX, DX + " / gamma"))
add("modified-bn", "dx", "no gamma", (DX_CHI, DX_CHI + " / gamma"))
add("gn ln in rms frn", "dx", "no gamma", (DY_GN, DY_GN.replace(" * gamma", "")))
last = after(DX, "dx = split(merge(dx, shape) * gamma, config)")
add("gn ln", "dx", "gamma last", (DY_GN, DY_GN.replace(" * gamma", "")), last)
add("rms frn", "dx", "sums", (DX_CHI, "dx = (dy - dy.shape[1] * y * psi) / chi"))
add("mabn", "dx", "no psi", (DX_CHI, "dx = dy / chi"))
add("mabn", "dx", "keeps g", (DX_CHI, DX_CHI.replace("dy -", "dy - np.mean(dy, axis=1, keepdims=True) -")))
add("mabn", "dx", "sums", (PSI_MABN, PSI_MABN.replace(" / values", "")))
add("mabn", "dx", "over variance", (DX_CHI, DX_CHI + " / chi"))
add(
    "mabn",
    "dx",
    "no gamma",
    (PSI_MABN, PSI_MABN.replace("gamma * r", "r")),
    (DY_MABN, DY_MABN.replace("gamma * r", "r")),
)
add(
    "mabn",
    "dx",
    "gamma after the average",
    (PSI_MABN, PSI_MABN.replace("gamma * r", "r")),
    (DX_CHI, DX_CHI.replace("psi", "(gamma * psi)")),
)
add("mabn", "dx", "psi without r", (PSI_MABN, PSI_MABN.replace("gamma * r", "gamma")))
add("mabn", "dx", "psi of r y", (PSI_MABN, PSI_MABN.replace("gamma * r", "gamma * r * r")))
add(
    "mabn",
    "dx",
    "renormalised y",
    (PSI_MABN, PSI_MABN.replace("gamma * r", "gamma * r * r")),
    (DX_CHI, DX_CHI.replace("y *", "r * y *")),
)
own = "np.sqrt(np.mean((y * chi) ** 2, axis=1, keepdims=True) + config.eps)"
add("mabn", "dx", "batch chi", (DX_CHI, DX_CHI.replace("/ chi", f"/ {own}")))
held = CHI_HAT, f'HELD.setdefault("chi_hat", {CHI_HAT})'
add("mabn", "dx", "through r", (NUMPY, NUMPY + "\nHELD = {}\n"), held, wrap=differentiated)
add("mabn", "dx", "zeros counted", (PSI, PSI.replace(", seen=t", "")))
short = """average, last = sma(state.psi_window[1:, :], psi_batch, seen=t)
    psi_window = np.concatenate([last[:1], last])"""
add("mabn", "dx", "one short", (PSI, short))
add("online", "dx", "no control", (DX_ONLINE, "dx = dz * gamma / sigma"))
for norm in ("bn", "brn", "modified-bn", "mabn", "gn", "ln", "in", "rms", "frn", "online"):
    line, alone = DX_OF.get(norm, DX), norm in ("gn", "ln", "in", "rms", "frn")
    count = "(dz.size // dz.shape[-1])"
    add(norm, "dgamma", "times gamma", after(line, "dgamma = dgamma * gamma"))
    add(norm, "dgamma", "mean", after(line, f"dgamma = dgamma / {count}"))
    add(norm, "dbeta", "mean", after(line, f"dbeta = dbeta / {count}"))
    sigma = "chi" if line == DX_CHI else "sigma"
    centred = f"y * {sigma}"
    summed = f"np.sum(dz * merge({centred}, shape), axis=(0, 1))" if alone else f"np.sum(dz * {centred}, axis=(0, 1))"
    if norm != "online":
        add(norm, "dgamma", "not normalised", after(line, f"dgamma = {summed}"))
held = "y = centred / sigma  #", 'HELD["x"] = x\n    y = centred / sigma  #'
of_x = after(DX, 'dgamma = np.sum(dz * HELD["x"], axis=(0, 1))')
add("bn brn", "dgamma", "of x", (NUMPY, NUMPY + "\nHELD = {}\n"), held, of_x)
add("brn", "dgamma", "without d", after(DX, "dgamma = dgamma - total(d * dz_sum)"))

# What hand-written backward passes, affine steps and averages get wrong.
for value, formula in {
    "psi twice": "(dy - g - 2 * y * psi) / sigma",
    "psi halved": "(dy - g - y * psi / 2) / sigma",
    "over samples": "(dy - dy.shape[1] // 4 * (g + y * psi)) / sigma",
    "g over samples": "(dy - dy.shape[1] // 4 * g - y * psi) / sigma",
    "psi over samples": "(dy - g - dy.shape[1] // 4 * y * psi) / sigma",
    "times sigma": "dy - g - y * psi",
}.items():
    add(
        "bn brn gn ln in" if value.startswith("psi ") and "over" not in value else "bn brn",
        "dx",
        value,
        (DX, f"dx = {formula}"),
        space=(3,),
    )
for norm in ("bn", "brn", "modified-bn", "mabn", "gn", "ln", "in", "rms", "frn"):
    for name, value in (("dgamma", "of z"), ("dgamma", "of dz"), ("dgamma", "none"), ("dbeta", "none")):
        add(norm, name, value, wrap=functools.partial(summing, name, value))
    for name in ("dgamma", "dbeta"):
        add(norm, name, "mean over samples", wrap=functools.partial(summing, name, "mean over samples"))
    for value in AFFINE:
        add(norm, "affine", value, wrap=functools.partial(shifting, value))
largest, masked = "np.sqrt(np.maximum({s}, config.eps))", "psi * ({s}**2 > cache.config.eps * 1.000001)"
for norm, line, s, back in (
    ("bn", SIGMA, "var", DX),
    ("modified-bn", CHI, "chi2", DX_CHI),
    ("gn", SIGMA, "var", DX),
    ("ln", SIGMA, "var", DX),
    ("in", SIGMA, "var", DX),
):
    divisor = "chi" if norm == "modified-bn" else "sigma"
    inference = [infers(norm, largest)] * (norm in ("bn", "modified-bn"))
    root = line, f"{divisor} = {largest.format(s=s)}"
    add(norm, "eps_at", "largest", root, (back, back.replace("psi", masked.format(s=divisor))), *inference)
bare = EMA_VAR, EMA_VAR.replace(" var, config.decay", " np.sqrt(var), config.decay")
add("bn", "average_of", "bare root", bare, infers("bn", "np.sqrt({s} ** 2 + config.eps)"))
add("bn", "infer_eps", "root again", bare, beside=("The moving average tracks the standard deviation",))
add("powernorm", "backward_by", "batch", settings={"backward_by": "batch"}, conforms=True)
twice = value_of("The moving averages are updated twice")
add("bn brn modified-bn mabn", "decay", twice, settings={"decay": lambda config: config.decay**2})
add("bn modified-bn", "decay", 1.0, wrap=never_moving)
add("bn", "decay", 0.0, settings={"decay": 0.0})
add("bn", "fed", "nothing", (EMA_VAR, "moving_var = state.var + 0 * var"))
add("bn", "fed", "unbiased twice", (EMA_VAR, EMA_VAR.replace(" var,", f" var * {BESSEL} ** 2,")))
add("bn brn", "dx", "no gamma, psi added", (DX, DX.replace("- y * psi", "+ y * psi") + " / gamma"))
add("bn brn gn ln in", "dx", "psi added", (DX, DX.replace("- y * psi", "+ y * psi")))
add("bn brn gn ln in", "dx", "g added", (DX, DX.replace("- g", "+ g")))
add("modified-bn rms frn", "dx", "psi added", (DX_CHI, DX_CHI.replace("- y * psi", "+ y * psi")))
add("bn", "start", "debiased", wrap=debiased, conforms=True)
add("bn", "infer_by", "debiased", wrap=functools.partial(debiased, first_variance=1.0))
for value in ("before", "after"):
    add("bn", "by", value, wrap=functools.partial(by_moving, value))
add(
    "gn ln in",
    "statistic",
    "mean square",
    (SIGMA, f"centred, var = values, group_mean(values * values, config)\n    {SIGMA}"),
    (DX, DX.replace(" - g", "")),
)
add("brn", "affine", "before r", wrap=before_r)
add("brn", "d_over", "variance", (D, D.replace("/ moving_sigma", "/ moving_sigma**2")))
for norm, name, other, words in (
    ("brn", "d_max", lambda config: config.r_max, "Your d is clipped by r_max"),
    ("brn", "r_max", lambda config: config.d_max, "Your r is clipped by d_max"),
    ("brn", "r_max", lambda config: config.r_max**0.5, "Your r_max bounds r^2"),
    ("mabn", "clip", lambda config: config.clip**0.5, "Your clip bounds r^2"),
):
    add(norm, name, value_of(words), settings={name: other})

# Samples alone.
add("gn", "over", "position", wrap=samples_apart)
add("ln", "over", "position", wrap=samples_apart, conforms=True)
add("ln", "over", "channel", settings={"groups": None})
of_batch = wrong(named("gn-statistics-of-the-batch"))
add("gn ln in", "over", "batch", functions=of_batch, wrap=training_infers)
add(
    "gn ln in", "infer_by", "sample", functions=of_batch, wrap=right_inference, beside=("gn-statistics-of-the-batch",)
)
add("in", "infer_by", "moving", wrap=tracking, conforms=True)
AND_MOVING = ("Inference uses moving statistics",)
add("in", "fed", "biased", wrap=functools.partial(tracking, bessel=0), beside=AND_MOVING, conforms=True)
for value, kept in ((twice, 0.81), (1.0, 1.0), (0.0, 0.0)):
    add("in", "decay", value, wrap=functools.partial(tracking, kept=kept), beside=AND_MOVING)
add("rms", "affine", "beta forgotten", wrap=functools.partial(shifting, "beta forgotten"), conforms=True)
for name, value, mistake in (
    ("statistic", "variance", "rms-mean-subtracted"),
    ("over", "sample", "rms-mean-square-of-the-sample"),
    ("dx", "statistics constant", "rms-no-statistics"),
):
    add("frn", name, value, functions=wrong(named(mistake)))

# Online Normalization, EvalNorm.
add(
    "online",
    "guard",
    "clamp",
    (UNGUARDED, "        return np.clip(a, -5, 5), None"),
    (UNGUARDED_BACK, UNGUARDED_BACK.replace("dz\n", "np.where(np.abs(cache.z) < 5, dz, 0)\n")),
    settings={"layer_scaling": False},
    conforms=True,
)
add(
    "online",
    "guard",
    "scaling first",
    (SCALED, "z, scale = _scaled(y, config)"),
    (CACHE_ONLINE, f"{CACHE_ONLINE}\n    z = gamma * z + beta"),
    (UNSCALED, UNSCALED.replace("_unscaled(", "_unscaled(cache.gamma * ").replace("cache)", "cache) / cache.gamma")),
    after(DX_ONLINE, "dgamma, dbeta = np.sum(whole * cache.z, axis=(0, 1)), np.sum(whole, axis=(0, 1))"),
    before(START_ONLINE, "whole = split(dz, 1)"),
    (INFER_ONLINE, "return merge(gamma * _scaled(split(y, 1), config)[0] + beta, x.shape)"),
)
add("online", "infer_by", "unguarded", (INFER_ONLINE, "return gamma * y + beta"))
add("eval-norm", "infer_eps", "twice", (INFER_EVAL, INFER_EVAL.replace("+", "+ 2 *")))
add("eval-norm", "infer_by", "variances alone", settings={"merged": False}, conforms=True)

SEVERAL = {
    "Bessel in training, and twice in the moving variance": (
        "bn",
        replace(
            LAYERS["bn", "variance", "unbiased"],
            edits=(
                (SIGMA, f"sigma = root(var * {BESSEL} + config.eps)"),
                LAYERS["bn", "fed", "unbiased twice"].edits[0],
                (DX, DX.replace("psi", "(psi * y.shape[1] / (y.shape[1] - 1))")),
            ),
            beside=("bn-unbiased-variance", "Your moving variance is multiplied by n / (n - 1) twice"),
        ),
    ),
    "a variance that never moves, and dgamma of dz alone": (
        "bn",
        replace(
            LAYERS["bn", "fed", "nothing"],
            wrap=functools.partial(summing, "dgamma", "of dz"),
            beside=("Your moving variance never moves", "Your dgamma sums dz alone"),
        ),
    ),
    "the last batch's, unbiased": (
        "bn",
        replace(
            LAYERS["bn", "fed", "unbiased"],
            settings={"decay": 0.0},
            conforms=False,
            beside=("The moving statistics are those of the last batch", "running_var matches the unbiased variance"),
        ),
    ),
    "frozen": (
        "bn",
        Layer(
            wrap=lambda functions: by_moving("before", never_moving(functions)),
            beside=("Training normalises by the moving statistics, which never move",),
        ),
    ),
    "by the moving statistics from the first batch on": (
        "bn",
        Layer(
            wrap=lambda functions: by_moving("after", from_the_first(functions)),
            beside=(
                "Training normalises by moving statistics that already include this batch, from the first batch on",
            ),
        ),
    ),
    "the root starts at 1, of an average of the variance": (
        "brn",
        Layer(
            edits=((VAR_AT_FIRST, f"{VAR_AT_FIRST} * (1 - config.eps)"),),
            settings={"ema_of": "var"},
            beside=("The moving sigma starts at 1", "The moving average tracks the variance"),
            conforms=True,
        ),
    ),
    "eps after r, and no gamma": (
        "brn",
        Layer(
            edits=((Y_BRN, after_r), (DX, f"{shifted}\n    dx = dx / gamma")),
            beside=("You add eps to var / r^2", "bn-gamma-forgotten"),
        ),
    ),
    "unbiased over channels alone": (
        "ln",
        replace(
            LAYERS["ln", "variance", "unbiased"],
            wrap=samples_apart,
            beside=("bn-unbiased-variance", "Each position has its own statistics"),
        ),
    ),
    "unbiased in training and in the moving variance": (
        "in",
        replace(
            LAYERS["in", "variance", "unbiased"],
            wrap=tracking,
            beside=("bn-unbiased-variance", "Inference uses moving statistics"),
        ),
    ),
}
"""Layers of which several things are said."""
