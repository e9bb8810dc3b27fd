"""The paper's tables, figures and theorems in miniature: a study is a list of `RunConfig` and what to make of them.

``mabn-ref paper NAME`` runs one; `mabn_ref.paper.study.STUDIES` lists them.
"""
