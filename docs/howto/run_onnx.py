"""Classify test images with an exported network, in ONNX Runtime, and compare its logits with NumPy's."""

from pathlib import Path

import numpy as np
import onnxruntime

from mabn_ref.data import to_float
from mabn_ref.nn import network
from mabn_ref.train import checkpoints, datasets

config, net = checkpoints.load_network(Path("run.npz"))
images = datasets.load(config)
x = to_float(images.test.images[:100], images.mean, images.std)  # (N, H, W, 3)

session = onnxruntime.InferenceSession("net.onnx")
(logits,) = session.run(None, {"images": x.transpose(0, 3, 1, 2)})
print(np.count_nonzero(logits.argmax(axis=1) == images.test.labels[:100]))
print(np.max(np.abs(logits - network.infer(*net, x))))
