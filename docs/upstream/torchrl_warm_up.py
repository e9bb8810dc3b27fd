import torch
from torchrl.modules import BatchRenorm1d

for steps in (10, 20, 150):
    layer = BatchRenorm1d(1, warmup_steps=10, eps=0.0)
    layer.num_batches_tracked.fill_(steps)
    print(steps, layer(torch.tensor([[0.0], [4.0]])).ravel().tolist())
