"""The embedded textures with a class for every pixel: textured shapes on a plain ground, made from a seed.

Each scene has one to three discs or squares, each filled with one of the five textures of `mabn_ref.data.embedded`;
later ones cover earlier ones. The task is to find the texture of every pixel, or that it has none.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mabn_ref.data.dataset import Images, Labels, drawn
from mabn_ref.data.embedded import FAMILIES, NOISE, PALETTES, colours, textures

CLASS_NAMES = ("ground", *FAMILIES)  #: label 0 is the ground, ``1 + family`` is a texture

SHAPES = 3
RADIUS = (5.0, 11.0)
_BLOCK = 100


class Scenes(NamedTuple):
    """Images (N, 32, 32, 3), uint8, and masks (N, 32, 32), int64: an index into `CLASS_NAMES` for each pixel."""

    images: Images
    masks: Labels


def generate(train_size: int, test_size: int, seed: int) -> tuple[Scenes, Scenes]:
    """Draw training and test scenes.

    The same seed gives the same scenes, bit for bit, and the first k scenes of a set are the set of size k.

    Examples
    --------
    >>> train, test = generate(train_size=4, test_size=2, seed=0)
    >>> train.images.shape, train.masks.shape, [CLASS_NAMES[label] for label in np.unique(train.masks[0])]
    ((4, 32, 32, 3), (4, 32, 32), ['ground', 'rings', 'zigzags'])
    """
    return drawn(_block, _BLOCK, train_size, test_size, seed, 2)


def _block(rng: np.random.Generator) -> Scenes:
    dark, light = colours(rng.integers(0, len(PALETTES), _BLOCK), rng)
    image = (dark + light) / 2 * np.ones((_BLOCK, 32, 32, 1))
    masks: Labels = np.zeros((_BLOCK, 32, 32), dtype=np.int64)
    many = rng.integers(1, SHAPES + 1, _BLOCK)
    position = np.arange(32) + 0.5
    for shape in range(SHAPES):
        family = rng.integers(0, len(FAMILIES), _BLOCK)
        texture = textures(family, rng)[..., None]
        dark, light = colours(rng.integers(0, len(PALETTES), _BLOCK), rng)
        across, down = np.abs(position - rng.uniform(4, 28, (2, _BLOCK, 1)))
        radius, square = rng.uniform(*RADIUS, (_BLOCK, 1, 1)), rng.random((_BLOCK, 1, 1)) < 0.5
        disc = np.hypot(across[:, None, :], down[:, :, None]) < radius
        inside = np.where(square, np.maximum(across[:, None, :], down[:, :, None]) < 0.9 * radius, disc)
        inside &= (shape < many)[:, None, None]
        image = np.where(inside[..., None], dark + (light - dark) * texture, image)
        masks = np.where(inside, 1 + family[:, None, None], masks)
    image = image + NOISE * rng.standard_normal(image.shape)
    images: Images = np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8)
    return Scenes(images, masks)
