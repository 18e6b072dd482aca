"""The hook inside torch.compile, in a process of its own without run-time type checks."""

import subprocess
import sys

import pytest

SCRIPT = """
import copy, torch, sphuni.nn as snn
from torch import nn
from torch.utils.checkpoint import checkpoint

torch.manual_seed(0)
model = nn.Sequential(
    nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(96, 8), nn.Linear(8, 4)
)
nn.utils.parametrizations.weight_norm(model[3])
x = torch.randn(2, 3, 6, 6)
for method in ("rp-comhe", "mhp"):
    twin = copy.deepcopy(model)
    reg, reg_twin = snn.regularize(model, method, every=2), snn.regularize(twin, method, every=2)
    loss_of = lambda x: model(x).square().mean() + reg()
    step = torch.compile(loss_of, fullgraph=True, backend="aot_eager")
    for _ in range(3):
        model.zero_grad()
        twin.zero_grad()
        loss = step(x)
        loss.backward()
        expected = twin(x).square().mean() + reg_twin()
        expected.backward()
        torch.testing.assert_close(loss, expected)
        for p, q in zip(model.parameters(), twin.parameters(), strict=True):
            torch.testing.assert_close(p.grad, q.grad)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] <= 1, method
    assert reg.calls == 3
    torch._dynamo.reset(); torch._dynamo.utils.counters.clear()
reg, twin = (snn.regularize(model, "rp-comhe", k=3, project_first=True) for _ in range(2))
both = torch.compile(lambda: reg() - reg(), fullgraph=True, backend="aot_eager")
torch.testing.assert_close(both(), twin() - twin())
assert reg.calls == 2, "equal calls were merged"
torch._dynamo.reset()
loss_of = lambda x: checkpoint(lambda x: model(x).sum() + reg(), x, use_reentrant=False)
reg = snn.regularize(model, "rp-comhe", k=3, project_first=True)
try:
    torch.compile(loss_of, backend="aot_eager")(x).backward()
    raise AssertionError("drawn anew in the backward pass")
except RuntimeError as error:
    assert "reg() was called in a backward pass" in str(error), error
torch._dynamo.reset()
model[0].requires_grad_(False)
reg = snn.regularize(model, "hs-mhe")
loss_of = lambda x: model(x).square().mean() * 0 + reg()
torch.testing.assert_close(torch.compile(loss_of, fullgraph=True, backend="aot_eager")(x), reg())
model.requires_grad_(False)
torch._dynamo.reset()
assert torch.compile(loss_of, fullgraph=True, backend="aot_eager")(x) == 0
x, y = torch.randn(8, 4), torch.arange(8) % 3
for criterion in (snn.GASoftmaxLoss(4, 3, m=2), snn.TripletLoss(), snn.CenterLoss(4, 3)):
    compiled = torch.compile(criterion, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x, y), criterion(x, y))
for options in ({}, {"anneal": lambda call: 10.0 / (1 + call)}):
    torch._dynamo.reset(); torch._dynamo.utils.counters.clear()
    loss = snn.GASoftmaxLoss(4, 3, m=2, **options)
    twin = copy.deepcopy(loss)
    step = torch.compile(lambda x: loss(x, y) + 2 * loss(-x, y), fullgraph=True,
                         backend="aot_eager")
    for _ in range(10):  # torch gives up where each call compiles again
        loss.zero_grad()
        twin.zero_grad()
        step(x).backward()
        (twin(x, y) + 2 * twin(-x, y)).backward()
        torch.testing.assert_close(loss.weight.grad, twin.weight.grad)
        assert (loss.calls, loss.mix) == (twin.calls, twin.mix)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1, options
    torch._dynamo.reset()
    step = torch.compile(lambda x: checkpoint(loss, x, y, use_reentrant=False), backend="aot_eager")
    for _ in range(2):
        loss.zero_grad()
        twin.zero_grad()
        step(x).backward()
        twin(x, y).backward()
        torch.testing.assert_close(loss.weight.grad, twin.weight.grad)
torch._dynamo.reset()
x, model, twin = torch.randn(2, 8), *(nn.Sequential(nn.Linear(8, 5), nn.Linear(5, 3)),) * 2
inner = torch.compile(model, backend="aot_eager")
reg, reg_twin = snn.regularize(inner, "mhp"), snn.regularize(twin, "mhp")
loss_of = lambda x: inner(x).square().mean() + reg()
step = torch.compile(loss_of, fullgraph=True, backend="aot_eager")
torch.testing.assert_close(step(x), twin(x).square().mean() + reg_twin())
copied = copy.deepcopy(reg)
assert copied._token != reg._token
print("one graph")
"""


@pytest.mark.slow
def test_the_loss_stays_one_graph():
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=300, check=False
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert ran.stdout == "one graph\n"
