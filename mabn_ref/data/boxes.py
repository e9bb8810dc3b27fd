"""Scenes with boxes, made from a seed: plain shapes on a wavy ground, each scene with an exposure of its own.

One to three discs, squares, triangles or crosses lie on a ground of 48 by 48 pixels, each in one colour. A box is as
tight as its shape's pixels allow. The exposure multiplies a whole scene by 0.15 to 1. It is there on purpose: it
makes the statistics of two images differ, as in photographs, and that is what small batches suffer from. With a
lowest exposure of 1 all scenes are exposed alike.

The same shapes may be filled with the textures of `mabn_ref.data.embedded`, which are then the classes: a network
that was trained to classify embedded images knows something about these objects already.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mabn_ref.arrays import check_at_least, shown
from mabn_ref.data import embedded
from mabn_ref.data.dataset import Images, Labels, drawn

CLASS_NAMES = ("disc", "square", "triangle", "cross")
TEXTURE_NAMES = embedded.FAMILIES[: len(CLASS_NAMES)]
"""The classes of textured scenes: the same number, so that the detector is the same."""

SIZE = 48  #: pixels of a side
MOST = 3  #: the most objects in a scene
EXPOSURE = 0.15  #: the lowest exposure of a scene; the highest is 1

_RADIUS = (5.5, 12.0)
_NOISE = 0.06
_OVERLAP = 0.1  #: two boxes of a scene share less than this part of their union
_TRIES = 20


class Scenes(NamedTuple):
    """Images (N, 48, 48, 3), uint8, and boxes (N, 3, 5), int64.

    An object is its class, an index into `CLASS_NAMES` or `TEXTURE_NAMES`, then the left, top, right and bottom side
    of its box in pixels; right and bottom are the first pixels outside it. Where a scene has fewer objects, the class
    is -1.
    """

    images: Images
    boxes: Labels


def generate(
    train_size: int, test_size: int, seed: int, *, exposure: float = EXPOSURE, textured: bool = False
) -> tuple[Scenes, Scenes]:
    """Draw training and test scenes, each with an exposure from `exposure`, in (0, 1], to 1.

    Without `textured`, objects are plain and their class is their shape.

    The same seed gives the same scenes, bit for bit, and the first k scenes of a set are the set of size k. With
    another `exposure` only the brightness of the scenes differs.

    Examples
    --------
    >>> train, test = generate(train_size=4, test_size=2, seed=0)
    >>> train.images.shape, train.boxes.shape, CLASS_NAMES[train.boxes[0, 0, 0]]
    ((4, 48, 48, 3), (4, 3, 5), 'triangle')
    """
    check_at_least("exposure", exposure, 0)
    if not 0 < exposure <= 1:
        raise ValueError(f"exposure is {shown(exposure)}, expected a number in (0, 1]")
    scene = functools.partial(_scene, exposure=exposure, textured=textured)
    return drawn(scene, 1, train_size, test_size, seed, 4)


def _scene(rng: np.random.Generator, exposure: float, textured: bool) -> Scenes:
    ground, waves = rng.random(3), rng.uniform(-0.6, 0.6, 2)
    at = np.arange(SIZE) + 0.5
    wave = np.sin(waves[0] * at[None, :] + waves[1] * at[:, None] + rng.uniform(0, 2 * math.pi))
    image = ground + 0.1 * wave[..., None]
    boxes: Labels = np.full((MOST, 5), -1, dtype=np.int64)
    for k in range(int(rng.integers(1, MOST + 1))):
        for _ in range(_TRIES):
            kind = int(rng.integers(len(CLASS_NAMES)))
            centre = rng.uniform(8, SIZE - 8, 2)
            mask = _shape(kind, at, centre, rng.uniform(*_RADIUS))
            box = _tight(mask)
            if np.all(ious(box, boxes[:k, 1:]) < _OVERLAP):
                if textured:
                    kind, fill = _texture(rng, centre)
                else:  # another colour than the ground's in every channel
                    fill = (ground + rng.uniform(0.25, 0.75, 3)) % 1
                boxes[k] = kind, *box[0]
                image = np.where(mask[..., None], fill, image)
                break
        else:
            break  # no place is left; there are fewer objects then
    image = image + _NOISE * rng.standard_normal(image.shape)
    image = image * (exposure + (1 - exposure) * rng.random())
    return Scenes(np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8)[None], boxes[None])


def _shape(kind: int, at: npt.NDArray[Any], centre: npt.NDArray[Any], radius: float) -> npt.NDArray[np.bool_]:
    """The pixels of a shape."""
    x, y = (at[None, :] - centre[0]) / radius, (at[:, None] - centre[1]) / radius
    across, down = np.abs(x), np.abs(y)
    inside: npt.NDArray[np.bool_] = (
        np.hypot(x, y) < 1,
        np.maximum(across, down) < 0.85,
        (2 * across < y + 1) & (y < 1),
        (np.minimum(across, down) < 0.35) & (np.maximum(across, down) < 1),
    )[kind]
    return inside


def _texture(rng: np.random.Generator, centre: npt.NDArray[Any]) -> tuple[int, npt.NDArray[Any]]:
    """A class, and an image of the scene's size with its texture around `centre`, farther than a shape reaches."""
    family, palette = rng.integers(0, (len(TEXTURE_NAMES), len(embedded.PALETTES)))
    texture = embedded.textures(np.array([family]), rng)[0, ..., None]
    dark, light = (colour[0] for colour in embedded.colours(np.array([palette]), rng))
    left, top = np.rint(centre).astype(int) - texture.shape[0] // 2
    rows, columns = (np.clip(np.arange(SIZE) - first, 0, texture.shape[0] - 1) for first in (top, left))
    return int(family), dark + (light - dark) * texture[rows[:, None], columns]


def _tight(mask: npt.NDArray[np.bool_]) -> Labels:
    """The box of a shape's pixels, (1, 4)."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return np.array([[columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]])


def ious(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return intersection over union of boxes (..., n, 4) with boxes (..., m, 4), as (..., n, m).

    Examples
    --------
    >>> ious(np.array([[0, 0, 2, 2]]), np.array([[1, 0, 3, 2], [4, 4, 5, 5]])).round(3)
    array([[0.333, 0.   ]])
    """
    a, b = a[..., :, None, :], b[..., None, :, :]
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    shared = np.prod(np.maximum(sides, 0), axis=-1)
    union = np.prod(a[..., 2:] - a[..., :2], axis=-1) + np.prod(b[..., 2:] - b[..., :2], axis=-1) - shared
    found: npt.NDArray[Any] = np.divide(shared, union, out=np.zeros(np.shape(union)), where=union > 0)
    return found
