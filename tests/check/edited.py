"""Layers that do one thing otherwise: the sources of `mabn_ref.norms`, edited, and run as they then are.

Nothing here knows the bendable model that these layers are told apart by. An edit is a text and what stands in its
place; one that does not occur exactly once is an error, so that no edit is lost where the sources change.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from mabn_ref.check.adapters.functions import FunctionsTarget
from mabn_ref.check.scenarios import MODULES
from mabn_ref.mistakes import named, wrong
from mabn_ref.norms import batch_norm, group_norm

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
        return super().make(channels, replace(config, **own))


# The lines of the sources that the edits change.
SIGMA = "sigma = xp.sqrt(var + config.eps)"
CHI = "chi = namespace(x).sqrt(chi2 + config.eps)"
CHI_MABN = "chi = xp.sqrt(chi2 + config.eps)"
GN_SIGMA = "sigma = namespace(x).sqrt(var + config.eps)"
ONLINE_SIGMA = "sigma = namespace(x).sqrt(var_before + config.eps)"
DX = "dx = (dy - g[:, None, :] - y * psi[:, None, :]) / sigma[:, None, :]"
DX_CHI = "dx = (dy - y * psi[:, None, :]) / chi[:, None, :]"
DX_ONLINE = "dx = dy / sigma[:, None, :] - held * u[:, None, :]"
DX_OF = {"modified-bn": DX_CHI, "mabn": DX_CHI, "online": DX_ONLINE}
INFER = "y = (x - state.mean) / namespace(x).sqrt(state.var + config.eps)"
INFER_CHI = "y = x / namespace(x).sqrt(state.chi2 + config.eps)"
INFER_ONLINE = "return merge(_scaled(split(gamma * y + beta, 1), config)[0], x.shape)"
INFER_EVAL = "namespace(x).sqrt(var + config.eps)[:, None, :]"
INFER_BRN = "return batch_norm.infer(x, gamma, beta, *_moving(state, config))"
INFER_MABN = "return modified_batch_norm.infer(x, gamma, beta, *_moving(state, config))"
INIT = "return State(mean=mean, var=mean + 1)"
INIT_BRN = "return State(mean=mean, var=mean + 1, iteration=0)"
INIT_CHI = "return State(chi2)"
INIT_MABN = "else float(config.ema_start)"
EMA_MEAN = "_, mean_after = ema(state.mean, mu, config.decay)"
EMA_VAR = "_, var_after = ema(state.var, var, config.decay)"
EMA_MEAN_BRN = "mean_before, mean_after = ema(state.mean, mu, config.decay)"
EMA_VAR_BRN = "var_before, var_after = ema(state.var, var, config.decay)"
EMA_SIGMA = "sigma_before, sigma_after = ema(xp.sqrt(state.var + config.eps), sigma, config.decay)"
HAT_VAR = "sigma_before, var_now = xp.sqrt(var_before + config.eps)"
VAR_NOW = "var_now = sigma_after[-1, :] ** 2 - config.eps"
EMA_CHI = "_, after = ema(state.chi2, chi2, config.decay)"
FED = 'fed = chi2 if config.ema_of == "window" else chi2_batch'
EMA_MABN = "before, after = ema(fed[0, :] if first else state.chi2, fed, config.decay)"
WINDOWED = "chi2, chi2_window = _averaged(chi2_batch, state.chi2_window, state.iteration, config)"
CHI_HAT = 'chi_hat = xp.sqrt((before if config.ema_read == "before" else after) + config.eps)'
R = "r = xp.clip(sigma / sigma_before, 1 / r_max, r_max)"
R_MABN = "r = xp.clip(chi / chi_hat, 1 / config.clip, config.clip)"
D = "d = xp.clip((mu - mean_before) / sigma_before, -d_max, d_max)"
Y_BRN = "y = centred / sigma[:, None, :]"
MEANS_MABN = "_, psi_batch, dz_sum, dzy_sum = gradient_means(dz, y, gamma * r)"
DY_MABN = "dy = dz * (gamma * r)[:, None, :]"
PSI = "psi, psi_window = _averaged(psi_batch, state.psi_window, iteration, config)"
DY_GN = "dy = split(dz * gamma, config)\n    g, psi = _means(dy, y)"
UNSCALED = "dz = _unscaled(split(dz, 1), cache)\n    g, psi, dz_sum, dzy_sum"
SCALED = "z, scale = _scaled(gamma * y + beta, config)"
CACHE_ONLINE = "cache = Cache(y, sigma, copied(z), scale, copied(gamma), tuple(x.shape), config)"
UNGUARDED = "        return a, None"
UNGUARDED_BACK = "    if cache.scale is None:\n        return dz\n"
EVAL_FORWARD = "z, cache, (mean, var) = batch_norm.forward(x, gamma, beta, moving, _training(config))"
EVAL_UNBIASED = (
    "n = split(x, config.norm_batch).shape[1]; "
    "var = ema(state.var, statistics(x, config)[1] * (n / (n - 1)), config.decay)[1][-1]"
)
NUMPY = "\nimport numpy as np\n"

N = "split(x, config.norm_batch).shape[1]"
BESSEL = f"({N} / ({N} - 1))"

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
    s, x = ("state.var", "(x - state.mean)") if norm in ("bn", "brn") else ("state.chi2", "x")
    divisor = divisor.format(s=s)
    if norm in ("bn", "modified-bn"):
        return INFER if norm == "bn" else INFER_CHI, f"y = {x} / ({divisor})"
    line = f"return gamma * {x} / ({divisor}) + beta"
    return INFER_BRN if norm == "brn" else INFER_MABN, line


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

    def forward(x: Any, gamma: Any, beta: Any, state: Any, config: Any) -> Any:
        positions, channels = int(np.prod(x.shape[1:-1])), x.shape[-1]
        gamma, beta = np.tile(gamma, positions), np.tile(beta, positions)
        z, cache, state = functions.forward(
            x.reshape(len(x), -1), gamma, beta, grown(state, positions, channels), config
        )
        shared = {name: a[:channels] for name, a in state._asdict().items() if np.ndim(a) == 1}
        return z.reshape(x.shape), cache, state._replace(**shared)

    def backward(dz: Any, cache: Any, state: Any) -> Any:
        dx, dgamma, dbeta, state = functions.backward(dz.reshape(len(dz), -1), cache, state)
        dgamma, dbeta = (a.reshape(-1, dz.shape[-1]).sum(axis=0) for a in (dgamma, dbeta))
        return dx.reshape(dz.shape), dgamma, dbeta, state

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


def tracking(functions: Any) -> SimpleNamespace:
    """Instance norm with moving statistics for inference, unbiased, as PyTorch has them."""

    def init(channels: int, config: Any, *, dtype: Any) -> Tracked:
        return Tracked(np.zeros(channels), np.ones(channels))

    def forward(x: Any, gamma: Any, beta: Any, state: Tracked, config: Any) -> Any:
        z, cache, _ = functions.forward(x, gamma, beta, functions.State(), config)
        flat = x.reshape(len(x), -1, x.shape[-1])
        mean, var = flat.mean(axis=1).mean(axis=0), flat.var(axis=1, ddof=1).mean(axis=0)
        return z, cache, Tracked(0.9 * state.mean + 0.1 * mean, 0.9 * state.var + 0.1 * var)

    def infer(x: Any, gamma: Any, beta: Any, state: Tracked, config: Any) -> Any:
        return gamma * (x - state.mean) / np.sqrt(state.var + config.eps) + beta

    def backward(dz: Any, cache: Any, state: Tracked) -> Any:
        return (*functions.backward(dz, cache, functions.State())[:3], state)

    own = {"init": init, "forward": forward, "backward": backward, "infer": infer}
    return SimpleNamespace(**{**vars(functions), **own})


def training_infers(functions: Any) -> SimpleNamespace:
    return SimpleNamespace(**{**vars(functions), "infer": lambda *a: functions.forward(*a)[0]})


def right_inference(functions: Any) -> SimpleNamespace:
    return SimpleNamespace(**{**vars(functions), "infer": group_norm.infer})


# Where eps stands.
EPS = {"outside": "np.sqrt({s}) + config.eps", "twice": "np.sqrt({s} + 2 * config.eps)", "none": "np.sqrt({s})"}
STEEP = DX.replace("psi[", "(psi * sigma / (sigma - config.eps))[")
STEEP_CHI = DX_CHI.replace("psi[", "(psi * chi / (chi - config.eps))[")
ONE = {"outside": "(1 + config.eps) ** 2 - config.eps", "twice": "1 + config.eps", "none": "1 - config.eps"}
for value, root in EPS.items():
    odd = value == "outside"
    sigma, chi = (SIGMA, f"sigma = {root.format(s='var')}"), (CHI, f"chi = {root.format(s='chi2')}")
    add("bn", "eps_at", value, sigma, infers("bn", root), *[(DX, STEEP)] * odd)
    start = INIT_BRN, INIT_BRN.replace("mean + 1", f"mean + ({ONE[value]})")
    add("brn", "eps_at", value, sigma, start, *[(DX, STEEP)] * odd)
    add("modified-bn", "eps_at", value, chi, infers("modified-bn", root), *[(DX_CHI, STEEP_CHI)] * odd)
    hat = CHI_HAT, f"chi_hat = {root.format(s='before')}"
    add("mabn", "eps_at", value, (CHI_MABN, chi[1]), hat, infers("mabn", root))
    steep = STEEP if odd else DX
    add("gn ln in", "eps_at", value, (GN_SIGMA, sigma[1]), (DX, steep))
    add("online", "eps_at", value, (ONLINE_SIGMA, f"sigma = {root.format(s='var_before')}"), infers("bn", root))
    for norm, first in (("bn", [sigma]), ("modified-bn", [chi])):
        mistake = {"none": "bn-no-eps", "twice": "bn-eps-twice", "outside": "bn-eps-outside"}[value]
        if odd:  # training has eps outside, inference inside
            said = mistake if norm == "bn" else "Your forward divides by chi + eps"
            steep = (DX, STEEP) if norm == "bn" else (DX_CHI, STEEP_CHI)
            add(norm, "infer_eps", "inside", *first, steep, beside=(said,))
            line = "Inference has eps inside the root."
            add(norm, "dx", "formula (4)", *first, beside=(said, line))
roots = (SIGMA, f"sigma = {EPS['outside'].format(s='var')}")
start = INIT_BRN, INIT_BRN.replace("mean + 1", f"mean + ({ONE['outside']})")
add("brn", "dx", "formula (4)", roots, start, beside=("bn-eps-outside",))
hat = HAT_VAR, f"sigma_before, var_now = {EPS['outside'].format(s='var_before')}"
said = ("bn-eps-outside", "The moving average is of the variance")
add("brn", "infer_eps", "inside", roots, hat, (DX, STEEP), settings={"ema_of": "var"}, beside=said)
chi = CHI_MABN, f"chi = {EPS['outside'].format(s='chi2')}"
hat = CHI_HAT, f"chi_hat = {EPS['outside'].format(s='before')}"
add("mabn", "infer_eps", "inside", chi, hat, beside=("Your forward divides by chi + eps",))
for norm in ("bn", "brn", "modified-bn", "mabn"):
    add(norm, "infer_eps", "none", infers(norm, "np.sqrt({s})"))
    add(norm, "infer_eps", "twice", infers(norm, "np.sqrt({s} + 2 * config.eps)"))
    add(norm, "infer_eps", "no root", infers(norm, "{s} + config.eps"))
after_r = f"""{Y_BRN.replace("sigma", "xp.sqrt(var + config.eps * r**2)")}
    d = d * xp.sqrt(var / (var + config.eps * r**2))
    sigma = xp.sqrt(var + config.eps * r**2)"""
shifted = f"""e = config.eps * r**2
    {DX} + y * (gamma * dz_sum / dz.shape[1] * d * e / ((sigma**2 - e) * sigma))[:, None, :]"""
add("brn", "eps_at", "after r", (Y_BRN, after_r), (DX, shifted))

# What shares statistics.
add("bn brn modified-bn", "shared_by", "call", settings={"norm_batch": None})
once = ("The exponential average is updated once a call",)  # the mean of the batches' squares is the call's
add("mabn", "shared_by", "call", settings={"norm_batch": None}, beside=once)
together = f"""all_of = np.mean(mu, axis=1, keepdims=True) + 0 * mu
    var = np.mean(var + (mu - all_of) ** 2, axis=1, keepdims=True) + 0 * mu
    centred, mu = centred + (mu - all_of)[:, None, :], all_of
    {SIGMA}"""
shared = DX.replace("g[", "np.mean(g, axis=1, keepdims=True)[").replace(
    "psi[", "np.mean(psi, axis=1, keepdims=True)["
)
add("bn brn", "shared_by", "channels", (SIGMA, together), (DX, shared))
shared = DX_CHI.replace("psi[", "np.mean(psi, axis=1, keepdims=True)[")
add(
    "modified-bn",
    "shared_by",
    "channels",
    before(CHI, "chi2 = np.mean(chi2, axis=1, keepdims=True) + 0 * chi2"),
    (DX_CHI, shared),
)
add(
    "mabn",
    "shared_by",
    "channels",
    before(WINDOWED, "chi2_batch = np.mean(chi2_batch, axis=1, keepdims=True) + 0 * chi2_batch"),
)
of_all = "\nshared = lambda a: np.tile(np.mean(a.reshape(len(a), -1, 5), axis=1), a.shape[1] // 5)\n"
position = NUMPY, NUMPY + of_all
add(
    "brn",
    "shared_by",
    "position",
    position,
    (EMA_MEAN_BRN, EMA_MEAN_BRN.replace("mu", "shared(mu)")),
    (EMA_SIGMA, EMA_SIGMA.replace("sigma, config.decay", "np.sqrt(shared(var) + config.eps), config.decay")),
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
add("mabn", "shared_by", "position", position, (FED, "fed = shared(chi2_batch)"), wrap=moving_apart)

# The batch statistic.
steep = DX.replace("psi[", "(psi * dz.shape[1] / (dz.shape[1] - 1))[")
unbiased = (SIGMA, f"var = var * {BESSEL}\n    {SIGMA}"), (DX, steep)
add("bn", "variance", "unbiased", *unbiased)
add("brn", "variance", "unbiased", *unbiased, beside=("running_var matches the unbiased variance",))
add(
    "bn",
    "fed",
    "biased",
    (SIGMA, f"sigma = xp.sqrt(var * {BESSEL} + config.eps)"),
    (DX, steep),
    beside=("bn-unbiased-variance",),
)
biased = EMA_SIGMA.replace("sigma, config.decay", "xp.sqrt(var + config.eps), config.decay")
add(
    "brn",
    "fed",
    "biased",
    (SIGMA, f"sigma = xp.sqrt(var * {BESSEL} + config.eps)"),
    (EMA_SIGMA, biased),
    (DX, steep),
    beside=("bn-unbiased-variance",),
)
add(
    "gn ln in",
    "variance",
    "unbiased",
    (GN_SIGMA, GN_SIGMA.replace("var", "var * (xs.shape[1] / (xs.shape[1] - 1))")),
    (DX, steep.replace("dz.", "dy.")),
)
add(
    "mabn",
    "statistic",
    "variance",
    before(WINDOWED, "chi2_batch = np.var(xs, axis=1)"),
    (DX_CHI, DX_CHI.replace("y * psi", "(y - np.mean(y, axis=1, keepdims=True)) * psi")),
)
add("modified-bn", "centred", "yes", functions=batch_norm)
centred = """MEAN[0] = ema(MEAN[0], np.mean(xs, axis=1), config.decay)[1][-1]
    xs = xs - np.mean(xs, axis=1, keepdims=True)
    chi2_batch = np.mean(xs * xs, axis=1)"""
add(
    "mabn",
    "centred",
    "yes",
    (NUMPY, NUMPY + "\nMEAN, mean = [], lambda a: np.mean(a, axis=1, keepdims=True)\n"),
    before("empty = xp.zeros((config.window, channels), dtype=dtype)", "MEAN[:] = [np.zeros(channels)]"),
    before(WINDOWED, centred),
    (
        INFER_MABN,
        "return gamma * (x - MEAN[0]) / np.sqrt(state.chi2 + config.eps) + beta",
    ),
    (DX_CHI, DX_CHI.replace("y * psi", "mean(dy) - (y - mean(y)) * psi")),
    beside=("modified-variance",),
)
add(
    "mabn",
    "root",
    "no",
    (CHI_MABN, "chi = chi2 + config.eps"),
    (CHI_HAT, "chi_hat = before + config.eps"),
    infers("mabn", "{s} + config.eps"),
)

# Moving averages.
add(
    "bn",
    "average_of",
    "root",
    (EMA_VAR, "var_after = ema(np.sqrt(state.var + config.eps), sigma, config.decay)[1] ** 2 - config.eps"),
)
rooted = "after = ema(np.sqrt(state.chi2 + config.eps), chi, config.decay)[1] ** 2 - config.eps"
add("modified-bn", "average_of", "root", (EMA_CHI, rooted), conforms=True)
e = "config.eps"
rooted = f"before, after = (a**2 - {e} for a in ema(np.sqrt(state.chi2 + {e}), np.sqrt(fed + {e}), config.decay))"
add("mabn", "average_of", "root", (EMA_MABN, rooted), conforms=True)
rooted = "before, after = (a**2 for a in ema(np.sqrt(state.chi2), np.sqrt(fed), config.decay))"
add("mabn", "average_of", "bare root", (EMA_MABN, rooted), conforms=True)
bare = EMA_SIGMA, "std_before, std_after = ema(np.sqrt(state.var), np.sqrt(var), config.decay)"
add(
    "brn",
    "average_of",
    "bare root",
    bare,
    (VAR_NOW, "sigma_before, var_now = np.sqrt(std_before**2 + config.eps), std_after[-1, :] ** 2"),
    conforms=True,
)
add("brn", "average_of", "square", settings={"ema_of": "var"}, conforms=True)
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
add("mabn", "fed", "unbiased", (FED, f"fed = chi2_batch * {BESSEL}"))
counted = """counts = SEEN[0] + np.arange(1, len(mu) + 1)[:, None]
    mean_after = (SEEN[0] * state.mean + np.cumsum(mu, axis=0)) / counts"""
add(
    "bn",
    "decay",
    "cumulative",
    (NUMPY, NUMPY + "\nSEEN = []\n"),
    before(INIT, "SEEN[:] = [0]"),
    (EMA_MEAN, counted),
    (EMA_VAR, "var_after = (SEEN[0] * state.var + np.cumsum(var, axis=0)) / counts\n    SEEN[0] += len(mu)"),
    untaken=("decay",),
    conforms=True,
)
cumulated = """counts = state.iteration + np.arange(1, len(mu) + 1)[:, None]
    cumulated = lambda old, new: (state.iteration * old + np.cumsum(new, axis=0)) / counts
    mean_after = cumulated(state.mean, mu)
    mean_before = np.concatenate([state.mean[None], mean_after[:-1]])"""
cumulated_sigma = """sigma_old = xp.sqrt(state.var + config.eps)
        sigma_after = cumulated(sigma_old, sigma)
        sigma_before = np.concatenate([sigma_old[None], sigma_after[:-1]])"""
add(
    "brn",
    "decay",
    "cumulative",
    (EMA_MEAN_BRN, cumulated),
    (EMA_SIGMA, cumulated_sigma),
    untaken=("decay",),
    conforms=True,
)
add("bn", "start", 0.0, (INIT, INIT.replace("mean + 1", "mean")))
add("brn", "start", 0.0, (INIT_BRN, INIT_BRN.replace("mean + 1", "mean")))
add("brn", "start", "no root", (INIT_BRN, INIT_BRN.replace("mean + 1", "mean - config.eps")))
add("brn", "start", "root", (INIT_BRN, INIT_BRN.replace("mean + 1", "mean + 1 - config.eps")), conforms=True)
add("modified-bn", "start", 0.0, (INIT_CHI, "return State(0 * chi2)"))
add("mabn", "start", 0.0, settings={"ema_start": 0.0})
flag = INIT, INIT.replace("mean + 1", "mean - 1")  # less than any variance: nothing was seen
first = "np.where(state.var < 0, {}[0, :], state.{})".format
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
add("bn", "start_mean", 1.0, (INIT, INIT.replace("mean=mean", "mean=mean + 1")))
add("brn", "start_mean", 1.0, (INIT_BRN, INIT_BRN.replace("mean=mean", "mean=mean + 1")))
old = "xp.sqrt(state.var + config.eps)"
once = f"sigma[0, :] if state.iteration == 0 else {old}"
add("brn", "start", "first", (EMA_SIGMA, EMA_SIGMA.replace(old, once)), conforms=True)
once = "mu[0, :] if state.iteration == 0 else state.mean"
add("brn", "start_mean", "first", (EMA_MEAN_BRN, EMA_MEAN_BRN.replace("state.mean", once)), conforms=True)
once = "np.where(state.chi2 < 0, chi2[0, :], state.chi2)"
add(
    "modified-bn",
    "start",
    "first",
    (INIT_CHI, "return State(-chi2)"),
    (EMA_CHI, EMA_CHI.replace("state.chi2", once)),
    conforms=True,
)
add("mabn", "start", "first", settings={"ema_start": "first"}, conforms=True)
add("mabn", "fed_per", "call", settings={"ema_per": "call"}, conforms=True)
add("mabn", "partial", "batch", settings={"partial_window": "batch"}, conforms=True)
# of the authors' MABN.py all but one
add(
    "mabn",
    "fed_by",
    "batch",
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
    ours = ratio.replace("S", "sigma").replace("H", "sigma_before")
    add("brn", "r_of", value, (R, R.replace("sigma / sigma_before", ours)))
    ours = ratio.replace("S", "chi").replace("H", "chi_hat")
    add("mabn", "r_of", value, (R_MABN, R_MABN.replace("chi / chi_hat", ours)))
add("brn", "r_of", "one", (R, "r = xp.ones_like(sigma)"), (D, "d = 0 * mu"))
add("brn", "d_over", "negative", (D, D.replace("xp.clip", "-xp.clip")))
add("brn", "clip_sides", "r above", (R, R.replace("1 / r_max", "0.0")))
add("mabn", "clip_sides", "above", (R_MABN, R_MABN.replace("1 / config.clip", "0.0")))
bare = HAT_VAR, "sigma_before, var_now = xp.sqrt(var_before)"
add(
    "brn",
    "moving_eps",
    "none",
    bare,
    settings={"ema_of": "var"},
    beside=("The moving average is of the variance",),
)
add("mabn", "moving_eps", "none", (CHI_HAT, "chi_hat = np.sqrt(before)"))
batch = "return gamma * (x - x.mean(axis=(0, 1))) / np.sqrt(x.var(axis=(0, 1)) + config.eps) + beta"
add("brn", "infer_by", "batch", (INFER_BRN, batch))

# The gradients.
dx = {
    "no g": "(dy - y * psi[:, None, :]) / sigma[:, None, :]",
    "no psi": "(dy - g[:, None, :]) / sigma[:, None, :]",
    "statistics constant": "dy / sigma[:, None, :]",
    "sums": "(dy - dy.shape[1] * g[:, None, :] - y * dy.shape[1] * psi[:, None, :]) / sigma[:, None, :]",
    "over variance": DX[5:] + " / sigma[:, None, :]",
    "over std": DX[5:].replace("sigma", "np.sqrt(sigma**2 - config.eps)"),
}
for value, formula in dx.items():
    add("bn brn gn ln in", "dx", value, (DX, f"dx = {formula}"))
    if value in ("sums", "over variance", "over std"):
        formula = formula.replace("dy.shape[1] * g[:, None, :] - ", "").replace("g[:, None, :] - ", "")
        add("modified-bn", "dx", value, (DX_CHI, f"dx = {formula}".replace("sigma", "chi")))
whole = DX.replace("g[", "np.mean(g, axis=0, keepdims=True)[").replace("psi[", "np.mean(psi, axis=0, keepdims=True)[")
add("bn brn", "dx", "whole call", (DX, whole))
again = """std = np.sqrt(sigma**2 - config.eps)[:, None, :]
    again = y * sigma[:, None, :] / std
    dx = (dy - g[:, None, :] - again * np.mean(again * dy, axis=1, keepdims=True)) / std"""
add("bn brn", "dx", "recomputed without eps", (DX, again))
add("bn brn", "dx", "no gamma", (DX, DX + " / gamma"))
add("modified-bn", "dx", "no gamma", (DX_CHI, DX_CHI + " / gamma"))
add("gn ln in", "dx", "no gamma", (DY_GN, DY_GN.replace(" * gamma", "")))
last = after(DX, "dx = split(merge(dx, shape) * gamma, config)")
add("gn ln", "dx", "gamma last", (DY_GN, DY_GN.replace(" * gamma", "")), last)
add("mabn", "dx", "no psi", (DX_CHI, "dx = dy / chi[:, None, :]"))
add("mabn", "dx", "keeps g", (DX_CHI, DX_CHI.replace("dy -", "dy - np.mean(dy, axis=1, keepdims=True) -")))
add("mabn", "dx", "sums", (PSI, PSI.replace("psi_batch", "dz.shape[1] * psi_batch")))
add("mabn", "dx", "over variance", (DX_CHI, DX_CHI + " / chi[:, None, :]"))
add(
    "mabn",
    "dx",
    "no gamma",
    (MEANS_MABN, MEANS_MABN.replace("gamma * r", "r")),
    (DY_MABN, DY_MABN.replace("gamma * r", "r")),
)
add(
    "mabn",
    "dx",
    "gamma after the average",
    (MEANS_MABN, MEANS_MABN.replace("gamma * r", "r")),
    (DX_CHI, DX_CHI.replace("psi[", "(gamma * psi)[")),
)
add("mabn", "dx", "psi without r", (MEANS_MABN, MEANS_MABN.replace("gamma * r", "gamma")))
add("mabn", "dx", "psi of r y", (PSI, PSI.replace("psi_batch", "r * psi_batch")))
add(
    "mabn",
    "dx",
    "renormalised y",
    (PSI, PSI.replace("psi_batch", "r * psi_batch")),
    (DX_CHI, DX_CHI.replace("y *", "r[:, None, :] * y *")),
)
own = "np.sqrt(np.mean((y * chi[:, None, :]) ** 2, axis=1, keepdims=True) + config.eps)"
add("mabn", "dx", "batch chi", (DX_CHI, DX_CHI.replace("/ chi[:, None, :]", f"/ {own}")))
held = after(CHI_HAT, 'chi_hat = HELD.setdefault("chi_hat", chi_hat)')
add("mabn", "dx", "through r", (NUMPY, NUMPY + "\nHELD = {}\n"), held, wrap=differentiated)
early = "psi = _joined(psi_batch, psi, _earlier(config.warmup, iteration, len(psi_batch), config))"
add("mabn", "dx", "zeros counted", (PSI, f"psi, psi_window = sma(state.psi_window, psi_batch)\n    {early}"))
short = f"""psi, last = sma(state.psi_window[1:, :], psi_batch, seen=iteration)
    psi_window = np.concatenate([last[:1], last])
    {early}"""
add("mabn", "dx", "one short", (PSI, short))
add("online", "dx", "no control", (DX_ONLINE, "dx = dz * cache.gamma / sigma[:, None, :]"))
for norm in ("bn", "brn", "modified-bn", "mabn", "gn", "ln", "in", "online"):
    line, alone = DX_OF.get(norm, DX), norm in ("gn", "ln", "in")
    gamma = "cache.gamma" if norm == "online" else "gamma"
    count = "(dz.size // dz.shape[-1])"
    add(norm, "dgamma", "times gamma", after(line, f"dgamma = dgamma * {gamma}"))
    add(norm, "dgamma", "mean", after(line, f"dgamma = dgamma / {count}"))
    add(norm, "dbeta", "mean", after(line, f"dbeta = dbeta / {count}"))
    sigma = "chi" if line == DX_CHI else "sigma"
    centred = f"y * {sigma}[:, None, :]"
    summed = f"np.sum(dz * merge({centred}, shape), axis=(0, 1))" if alone else f"np.sum(dz * {centred}, axis=(0, 1))"
    if norm != "online":
        add(norm, "dgamma", "not normalised", after(line, f"dgamma = {summed}"))
add("brn", "dgamma", "without d", after(DX, "dgamma = dgamma - total(d * dz_sum)"))

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
    before("xp, y, held = namespace(dz), cache.y, 1 - cache.config.decay_backward", "whole = split(dz, 1)"),
    (INFER_ONLINE, "return merge(gamma * _scaled(split(y, 1), config)[0] + beta, x.shape)"),
)
add("online", "infer_by", "unguarded", (INFER_ONLINE, "return gamma * y + beta"))
add("eval-norm", "infer_eps", "twice", (INFER_EVAL, INFER_EVAL.replace("+", "+ 2 *")))
add("eval-norm", "infer_by", "variances alone", settings={"merged": False}, conforms=True)

SEVERAL = {
    "the root starts at 1, of an average of the variance": (
        "brn",
        Layer(
            edits=((INIT_BRN, INIT_BRN.replace("mean + 1", "mean + 1 - config.eps")),),
            settings={"ema_of": "var"},
            beside=("The moving sigma starts at 1", "The moving average is of the variance"),
            conforms=True,
        ),
    ),
    "unbiased over channels alone": (
        "ln",
        replace(
            LAYERS["ln", "variance", "unbiased"],
            wrap=samples_apart,
            beside=("bn-unbiased-variance", "Every position has statistics of its own"),
        ),
    ),
}
"""Layers of which several things are said."""
