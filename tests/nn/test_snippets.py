"""The lines that promise what the room does, word for word."""

import pytest
import torch
from torch import nn

import sphuni


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 256, 3), nn.ReLU())
        self.classifier = nn.Linear(256, 100)

    def forward(self, x):
        return self.classifier(self.body(x).mean((-2, -1)))


def test_one_line_regularises_and_prints():
    model, criterion = Net(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    loader = [(torch.randn(4, 3, 8, 8), torch.randint(100, (4,))) for _ in range(2)]
    with pytest.warns(UserWarning, match="matches no layer, so it excludes nothing. Its layers"):
        reg = sphuni.nn.regularize(model, "hs-mhe", s=2, exclude=r"shortcut|embed")
    for x, y in loader:
        loss = criterion(model(x), y) + reg()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    text = str(reg.summary())
    for column in ("layer", "n", "d", "energy", "bound", "attained", "excess", "min angle"):
        assert column in text.splitlines()[1]
    assert len(text.splitlines()) == 5


def test_the_converted_network_is_called_as_the_model():
    model = Net()
    sphere = sphuni.nn.convert_to_sphere(
        model, kind="sigmoid", k=0.3, skip=("shortcut", "classifier")
    )
    assert sphere(torch.randn(2, 3, 8, 8)).shape == (2, 100)
    assert isinstance(sphere.body[2], sphuni.nn.SphereConv2d)
    assert type(sphere.classifier) is nn.Linear


def test_the_margin_loss_anneals():
    criterion = sphuni.nn.GASoftmaxLoss(
        256, 100, g="linear", m=4, anneal=sphuni.nn.LambdaAnneal(1000, 0.12, 1, 5)
    )
    loss = criterion(torch.randn(4, 256), torch.randint(100, (4,)))
    loss.backward()
    assert criterion.mix == 1000.0
    assert criterion.weight.grad.abs().max() > 0
