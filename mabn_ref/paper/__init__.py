"""The paper's tables, figures and theorems in miniature: a study is a list of runs and an evaluation of them.

``mabn-ref paper NAME`` runs one; `mabn_ref.paper.study.STUDIES` lists them.
"""
