"""A small network with every kind of name that the hook has to deal with."""

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3)
        self.bn = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 12, 3)
        self.shortcut = nn.Conv2d(3, 12, 1)
        self.embed = nn.Embedding(5, 12)
        self.fc = nn.Linear(12, 4)

    def forward(self, x):
        y = self.conv2(self.bn(self.conv1(x)).relu())
        y = y + self.shortcut(x)[..., 2:-2, 2:-2]
        return self.fc(y.mean((-2, -1)) + self.embed.weight[0])


def net():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Net()


def gradients(model):
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
