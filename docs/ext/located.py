"""Directives that read files or run code: what fails is reported with the page and the line that asked for it."""

from __future__ import annotations

import traceback

from docutils import nodes
from docutils.parsers.rst import DirectiveError
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective


class LocatedDirective(SphinxDirective):
    """A directive that ends the build with its own place and the place of the code that failed."""

    def run(self) -> list[nodes.Node]:
        try:
            return self.made()
        except (DirectiveError, ExtensionError):
            raise
        except Exception as error:
            said = "".join(traceback.format_exception(error, limit=-1, chain=False)).strip()
            directive = " ".join([self.name, *self.arguments])
            raise ExtensionError(f"{self.get_location()}: {directive}: {said}") from error

    def made(self) -> list[nodes.Node]:
        """What stands in the page."""
        raise NotImplementedError
