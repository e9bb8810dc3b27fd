"""A NumPy reference for batch normalisation, Batch Renormalization, modified BN and MABN.

``mabn_ref.norms`` holds the normalisers, ``mabn_ref.nn`` the layers around them. Every forward and backward pass is
written by hand; importing needs only NumPy.
"""

__version__ = "0.2.0"
