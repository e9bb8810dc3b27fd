"""A NumPy reference for batch normalisation, Batch Renormalization, modified BN and MABN.

``mabn_ref.norms`` holds the normalisers, ``mabn_ref.nn`` the layers around them. Every forward and backward pass
is written out by hand; importing needs NumPy alone.
"""

__version__ = "0.2.0"
