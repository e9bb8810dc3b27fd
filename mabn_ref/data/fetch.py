"""Download of the CIFAR-10 archive, once, into a cache. Needs the extra ``data`` (pooch)."""

from __future__ import annotations

import os
from pathlib import Path

from mabn_ref.extras import require

CIFAR10_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
# Published, and never re-computed here: see the note in `fetch_cifar10`.
CIFAR10_SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"

CACHE_VARIABLE = "MABN_REF_DATA_DIR"  #: environment variable that names the cache directory

_ARCHIVE = "cifar-10-binary.tar.gz"


def cache_directory(cache_dir: str | os.PathLike[str] | None = None) -> Path:
    """Return where downloads are kept; the directory need not exist.

    Without `cache_dir` the environment variable ``MABN_REF_DATA_DIR`` names it, and without that it is the user's
    cache directory for ``mabn_ref``, as pooch finds it.

    Examples
    --------
    >>> cache_directory("downloads").name
    'downloads'
    """
    chosen = cache_dir or os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen).expanduser()
    return Path(require("pooch", "data").os_cache("mabn_ref"))


def fetch_cifar10(
    cache_dir: str | os.PathLike[str] | None = None,
    url: str = CIFAR10_URL,
    sha256: str = CIFAR10_SHA256,
    *,
    progress: bool = True,
) -> Path:
    """Return the path of ``cifar-10-binary.tar.gz``, downloading its 170 MB if the cache does not hold it yet.

    A file in the cache whose hash is right is used without any network; one whose hash is wrong is downloaded anew.
    A download goes to a temporary file beside its place, and takes its name only when its hash is right.

    Parameters
    ----------
    cache_dir : path, optional
        Where to keep the archive, see `cache_directory`.
    url, sha256 : str, optional
        Where to download from, http or https, and the archive's hash, 64 hexadecimal digits.
    progress : bool, optional
        Show a progress bar on standard error.

    Raises
    ------
    ImportError
        If pooch is not installed.
    ValueError
        If the download does not have the hash; nothing of it is kept.
    ConnectionError
        If the download fails. The message says how to go on without it.

    Notes
    -----
    The default hash is the published one (checksums of TensorFlow Datasets); this project could not re-compute it. If
    the official archive fails the check, compare it with the md5 on the CIFAR page
    (c32a1d4ab5d03f1284b67883e8d87530) and read it with ``--data-dir``.
    """
    pooch = require("pooch", "data")
    directory = cache_directory(cache_dir)
    directory.mkdir(parents=True, exist_ok=True)
    archive = directory / _ARCHIVE
    # pooch downloads anew what is there already, but damaged
    damaged = f"The file that is there, {archive}, does not have the hash {sha256}. " if archive.exists() else ""
    by_hand = (
        f"{damaged}To go on by hand, download {CIFAR10_URL} elsewhere and place it as {archive}, "
        "or unpack it and name its directory with --data-dir."
    )
    try:
        downloader = pooch.HTTPDownloader(progressbar=progress)
        path = pooch.retrieve(url, f"sha256:{sha256}", fname=_ARCHIVE, path=directory, downloader=downloader)
    except ValueError as error:
        raise ValueError(f"the download from {url} was discarded: {error} {by_hand}") from error
    except OSError as error:
        raise ConnectionError(f"could not download {url}: {error}. {by_hand}") from error
    return Path(path)
