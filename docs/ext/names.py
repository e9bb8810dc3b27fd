"""Names in docstrings: `name` in single backticks links where it can, and a few outside names are known offline.

Docstrings put parameters and functions alike into single backticks. The default role links those that the API pages
document and sets the others as code. Names of NumPy and Python resolve from the table in ``conf.py`` and not from an
inventory that a build would have to download.
"""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.pycode import ModuleAnalyzer
from sphinx.roles import XRefRole
from sphinx.util.nodes import make_refnode


class Lenient(XRefRole):
    """A cross-reference that is plain code where nothing of that name is documented."""

    def result_nodes(
        self, document: nodes.document, env: BuildEnvironment, node: nodes.Element, is_ref: bool
    ) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        node["lenient"] = True
        node["py:module"] = env.ref_context.get("py:module")
        node["py:class"] = env.ref_context.get("py:class")
        node["refdomain"], node["reftype"] = "py", "obj"
        return [node], []


def missing_reference(
    app: Sphinx, env: BuildEnvironment, node: addnodes.pending_xref, content: nodes.Element
) -> nodes.Element | None:
    """Resolve what Sphinx did not: outside names, and the lenient ones to plain code."""
    url = app.config.outside_names.get(node["reftarget"])
    if url is not None:
        return nodes.reference("", "", content, internal=False, refuri=url)
    objects = env.domains.python_domain.objects
    if not node.get("lenient"):
        # An exception that "Raises" names from another module.
        ends = [name for name in objects if name.endswith(f".{node['reftarget']}")]
        return _link(app, node, content, ends[0]) if node["reftype"] == "exc" and len(ends) == 1 else None
    package = node["py:module"] or ""
    while package:
        package = package.rpartition(".")[0]
        name = f"{package}.{node['reftarget']}"
        if name in objects:
            return _link(app, node, content, name)
    return content


def _link(app: Sphinx, node: addnodes.pending_xref, content: nodes.Element, name: str) -> nodes.Element:
    page = app.env.domains.python_domain.objects[name]
    return make_refnode(app.builder, node["refdoc"], page.docname, page.node_id, content, name)


def keep_attribute(app: Sphinx, what: str, name: str, member: Any, options: Any, lines: list[str]) -> None:
    """Keep an attribute's description from napoleon, which takes what stands before a colon for its type."""
    if what in ("attribute", "data"):
        app.env.temp_data["names:lines"] = list(lines)


def restore_attribute(app: Sphinx, what: str, name: str, member: Any, options: Any, lines: list[str]) -> None:
    """Put it back; and let |B| be the size of a batch everywhere, not a substitution of reST."""
    if what in ("attribute", "data"):
        lines[:] = app.env.temp_data.pop("names:lines")
    lines[:] = [re.sub(r"(?<![\\`|])\|(\w+)\|", r"\|\1\|", line) for line in lines]


def skip_member(app: Sphinx, what: str, name: str, member: Any, skip: bool, options: Any) -> bool | None:
    """Leave out the fields of a NamedTuple that have no description of their own under them."""
    if type(member).__name__ != "_tuplegetter":
        return None
    document = app.env.current_document
    analyzer = ModuleAnalyzer.for_module(document.autodoc_module)
    analyzer.analyze()
    return None if (document.autodoc_class, name) in analyzer.attr_docs else True


LONGEST = 240
"""Characters of a constant's value; more of them say nothing beside its description."""


def hide_values(app: Sphinx, doctree: nodes.document) -> None:
    """Take out values that are long, or no Python: modules and functions, with addresses and this machine's paths."""
    for node in list(doctree.findall(addnodes.desc_annotation)):
        text = node.astext()
        if text.startswith(" = ") and (len(text) > LONGEST or re.search(r"<[\w.-]+ |\w+Path\(", text)):
            node.parent.remove(node)


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_role("name", Lenient())
    app.add_config_value("outside_names", {}, "env", types=frozenset({dict}))
    app.connect("missing-reference", missing_reference)
    app.connect("autodoc-process-docstring", keep_attribute, priority=400)
    app.connect("autodoc-process-docstring", restore_attribute, priority=600)
    app.connect("autodoc-skip-member", skip_member)
    app.connect("doctree-read", hide_values)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
