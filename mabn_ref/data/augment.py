"""The usual augmentation of small images: a random flip and a random crop of the padded image."""

from __future__ import annotations

import numpy as np

from mabn_ref.data.dataset import Images, check_images

__all__ = ["PADDING", "flip_and_crop"]

PADDING = 4
"""Black pixels added on each side before cropping back, so images move by up to 4 pixels each way."""


def flip_and_crop(images: Images, rng: np.random.Generator) -> Images:
    """Return each image flipped left to right with probability 1/2, then shifted by -4 to 4 pixels each way.

    The randomness is drawn by NumPy on the host, three draws a call, so a run can be repeated exactly.

    Parameters
    ----------
    images : array of uint8, shape (N, H, W, 3)
        Pixel values, channels last; left unchanged.
    rng : numpy.random.Generator
        Source of the flips and shifts; its state advances.

    Returns
    -------
    array of uint8, shape (N, H, W, 3)
        New images; what moved in from outside is black (0).

    Raises
    ------
    TypeError, ValueError
        If `images` is not uint8 or not (N, H, W, 3).

    Examples
    --------
    >>> import numpy as np
    >>> images = np.full((1, 32, 32, 3), 255, np.uint8)
    >>> out = flip_and_crop(images, np.random.default_rng(2))
    >>> int(np.sum(out[0, :, 16, 0] == 0)), int(np.sum(out[0, 16, :, 0] == 0))  # black rows, black columns
    (4, 2)
    """
    check_images(images)
    n, height, width, _ = images.shape
    flip = rng.random((n, 1, 1, 1)) < 0.5
    top = rng.integers(0, 2 * PADDING + 1, n)
    left = rng.integers(0, 2 * PADDING + 1, n)

    flipped = np.where(flip, images[:, :, ::-1], images)
    padded = np.pad(flipped, ((0, 0), (PADDING, PADDING), (PADDING, PADDING), (0, 0)))
    crops = np.lib.stride_tricks.sliding_window_view(padded, (height, width, 3), axis=(1, 2, 3))
    moved: Images = crops[np.arange(n), top, left, 0]
    return moved
