"""A course of exercises that check themselves, from the mean of a batch to a working MABN.

`exercise` reads an exercise from its folder in ``course/``, `judge` gives the verdict on a student's code, `process`
runs that code apart. The command is ``mabn-ref learn``.
"""
