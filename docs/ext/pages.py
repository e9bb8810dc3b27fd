"""Pages that are written before Sphinx reads its sources."""

from __future__ import annotations

from pathlib import Path


def write(folder: Path, pages: dict[str, str], pattern: str) -> None:
    """Write the pages, by their files' names, where they differ, and remove others that match `pattern`."""
    folder.mkdir(exist_ok=True)
    for name, text in pages.items():
        page = folder / name
        if not page.exists() or page.read_text(encoding="utf-8") != text:
            page.write_text(text, encoding="utf-8")
    for page in folder.glob(pattern):
        if page.name not in pages:
            page.unlink()
