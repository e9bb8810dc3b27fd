"""The layers of a small convolutional network, with every backward pass written by hand, and what trains it.

A layer is a module with ``forward``, ``backward`` and the ``Cache`` that joins them. `network` runs a list of layers,
`networks` has ready-made ones, `optimiser` trains them; `conv2d` checks its arguments and may then call `winograd`.
This holds for every layer:

Arrays
    float32 or float64, of NumPy, CuPy or array-api-strict, channels last: images are (N, H, W, C), feature vectors
    (N, features), the weights of a convolution (kh, kw, in, out). All arrays of a call share one dtype, and the
    results have it too. No axis is empty.
forward
    Returns the output and a cache for `backward`. No argument is changed, and the cache holds copies: if the caller
    changes the arrays later, the gradients stay the same.
backward
    Takes dL/dout, with the shape and dtype of the output, and the cache from `forward`. Returns dL/dx, then the
    gradients of the other arrays, each with the shape and dtype of its array.
TypeError
    An array has an integer, boolean or half dtype, is masked or of another subclass, or its dtype differs from that
    of the others; a count is not an integer, or a rate is not a number; the cache is not one of this layer.
ValueError
    A rank, a shape or a number of channels does not fit, or an option is out of range.

Errors name the argument, its value and what was expected, and are raised before anything is computed.
"""

from __future__ import annotations

from mabn_ref.nn import bias as bias
from mabn_ref.nn import centralize as centralize
from mabn_ref.nn import conv2d as conv2d
from mabn_ref.nn import cross_iteration as cross_iteration
from mabn_ref.nn import dynamic_erf as dynamic_erf
from mabn_ref.nn import dynamic_tanh as dynamic_tanh
from mabn_ref.nn import focal_loss as focal_loss
from mabn_ref.nn import global_average_pool as global_average_pool
from mabn_ref.nn import iou_loss as iou_loss
from mabn_ref.nn import linear as linear
from mabn_ref.nn import network as network
from mabn_ref.nn import networks as networks
from mabn_ref.nn import optimiser as optimiser
from mabn_ref.nn import relu as relu
from mabn_ref.nn import residual as residual
from mabn_ref.nn import softmax_cross_entropy as softmax_cross_entropy
from mabn_ref.nn import standardize as standardize
from mabn_ref.nn import threshold as threshold
from mabn_ref.nn import upsample as upsample
from mabn_ref.nn import winograd as winograd
