"""The embedded data set: procedural images in the shape of CIFAR-10, made from a seed, with no file and no network.

Ten classes are five families of texture times two palettes. A texture's angle, position, spacing, contrast and
colours are random, the two palettes overlap a little, and noise lies over everything, so that a small network learns
the classes within minutes but not perfectly: what a comparison of normalisers needs.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from mabn_ref.data.dataset import CLASSES, Dataset, Images, Labels, drawn

FAMILIES = ("stripes", "checks", "rings", "dots", "zigzags")
PALETTES = ("warm", "cool")
CLASS_NAMES = tuple(f"{palette} {family}" for family in FAMILIES for palette in PALETTES)
"""Label ``2 * family + palette``."""

Floats: TypeAlias = npt.NDArray[np.float64]

# The difficulty, chosen so that the default comparison separates the normalisers. In trials, lower contrast, more
# noise or a wider range of spacings kept every normaliser near chance for longer than that run lasts.
HUES = (0.08, 0.58)
HUE_SPREAD = 0.12
CONTRAST = (0.25, 0.8)
CYCLES = (2.5, 6.0)
NOISE = 0.12
_BLOCK = 100


def generate(train_size: int, test_size: int, seed: int) -> tuple[Dataset, Dataset]:
    """Draw a training and a test set; labels are indices into `CLASS_NAMES`.

    The same seed gives the same images, bit for bit; training and test images come from separate streams; and the
    first k images of a set are the set of size k. Any ten images that start at a multiple of ten have every class
    once.

    Examples
    --------
    >>> train, test = generate(train_size=20, test_size=10, seed=0)
    >>> train.images.shape, train.images.dtype, sorted(test.labels.tolist())
    ((20, 32, 32, 3), dtype('uint8'), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    >>> CLASS_NAMES[train.labels[0]]
    'warm rings'
    """
    return drawn(_block, _BLOCK, train_size, test_size, seed, 0)


def _block(rng: np.random.Generator) -> Dataset:
    labels: Labels = rng.permuted(np.tile(np.arange(CLASSES), (_BLOCK // CLASSES, 1)), axis=1).ravel()
    family, palette = labels // len(PALETTES), labels % len(PALETTES)

    texture = textures(family, rng)
    dark, light = colours(palette, rng)
    image = dark + (light - dark) * texture[..., None]
    image += NOISE * rng.standard_normal(image.shape)
    images: Images = np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8)
    return Dataset(images, labels)


def textures(family: Labels, rng: np.random.Generator) -> Floats:
    """Draw a texture with values 0 to 1 for each image, shape (N, 32, 32)."""
    n = len(family)

    def uniform(low: float, high: float) -> Floats:
        return rng.uniform(low, high, (n, 1, 1))

    angle, cycles = uniform(0, 2 * np.pi), uniform(*CYCLES)
    across, along, bend = uniform(0, 1), uniform(0, 1), uniform(0.3, 0.6)
    centre_x, centre_y = uniform(-0.3, 0.3), uniform(-0.3, 0.3)

    position = (np.arange(32) + 0.5) / 32 - 0.5
    x, y = position[None, None, :], position[None, :, None]
    u = cycles * (x * np.cos(angle) + y * np.sin(angle)) + across
    v = cycles * (y * np.cos(angle) - x * np.sin(angle)) + along
    radius = cycles * np.hypot(x - centre_x, y - centre_y) + across

    values = np.empty_like(u)
    for number, name in enumerate(FAMILIES):
        these = family == number
        values[these] = _wave(name, u[these], v[these], radius[these], bend[these])
    # A soft edge: between a sine wave and a hard step.
    texture: Floats = 0.5 + 0.5 * np.tanh(2.5 * values) / np.tanh(2.5)
    return texture


def _wave(name: str, u: Floats, v: Floats, radius: Floats, bend: Floats) -> Floats:
    """The texture of a family before its edges are sharpened: waves over two directions, or over the radius."""
    two_pi = 2 * np.pi
    wave: Floats
    match name:
        case "stripes":
            wave = np.sin(two_pi * u)
        case "checks":
            wave = 1.2 * np.sin(two_pi * u / 1.4) * np.sin(two_pi * v / 1.4)
        case "rings":
            wave = np.sin(two_pi * radius)
        case "dots":
            wave = 2.5 * (np.cos(np.pi * u) * np.cos(np.pi * v)) ** 2 - 1
        case "zigzags":
            zigzag = np.abs(2 * (v / 1.5 % 1) - 1)
            wave = np.sin(two_pi * (u + 2 * bend * zigzag))
    return wave


def colours(palette: Labels, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Draw the dark and the light colour of each image, shape (N, 1, 1, 3)."""
    n = len(palette)
    hue = np.asarray(HUES)[palette] + HUE_SPREAD * rng.standard_normal((2, n))
    contrast = rng.uniform(*CONTRAST, n)
    middle = rng.uniform(0.35, 0.65, n)
    saturation = rng.uniform(0.4, 0.9, (2, n))
    brightness = np.stack([middle - contrast / 2, middle + contrast / 2])
    # A smooth colour wheel: red, green and blue are cosines of the hue, a third of a turn apart.
    wheel = np.cos(2 * np.pi * (hue[..., None] - np.arange(3) / 3))
    colour = brightness[..., None] + 0.25 * saturation[..., None] * wheel
    return colour[0][:, None, None, :], colour[1][:, None, None, :]
