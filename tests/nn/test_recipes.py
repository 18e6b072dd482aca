"""The recipes of the documentation, run as they are printed there."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import sphuni

PAGE = Path(__file__).parents[2] / "docs" / "nn_recipes.md"
SECTIONS = [part.split("\n", 1) for part in PAGE.read_text().split("\n## ")[1:]]
BLOCK = re.compile(r"```python\n(.*?)```", re.S)
RECIPES = {title: found[1] for title, text in SECTIONS if (found := BLOCK.search(text))}

MODEL = """
import torch, sphuni
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(6, 9), torch.nn.Linear(9, 3))
criterion = torch.nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
loader = [(torch.randn(4, 6), torch.randint(3, (4,))) for _ in range(4)]
"""
GROUP = """
import tempfile
import torch.distributed.fsdp
torch.distributed.init_process_group(
    "gloo", init_method=f"file://{tempfile.mkdtemp()}/store", rank=0, world_size=1
)
"""
LIGHTNING = """
import pytorch_lightning as lightning
class Module(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.body, self.embed = model, torch.nn.Embedding(5, 4)
    def training_step(self, batch, index):
        return criterion(self.body(batch[0]), batch[1])
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)
module = Module()
loader = torch.utils.data.DataLoader(loader, batch_size=None)
options = dict(accelerator="cpu", logger=False, enable_checkpointing=False)
"""
TRAINER = """
import tempfile, transformers
class Inner(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.embed = model, torch.nn.Embedding(5, 4)
        self.config = None
    def forward(self, x, labels):
        return {"loss": criterion(self.body(x), labels)}
model = Inner()
data = [{"x": torch.randn(6), "labels": torch.tensor(i % 3)} for i in range(8)]
args = transformers.TrainingArguments(
    output_dir=tempfile.mkdtemp(), max_steps=2, use_cpu=True, report_to=[], save_strategy="no"
)
"""
HERE = ("Plain", "Mixed precision and gradient accumulation")
HERE += ("Gradient clipping that leaves the penalty out", "A weight that changes during training")
ELSEWHERE = {
    "Compiled": ("", None),
    "DistributedDataParallel": (GROUP, None),
    "FSDP2": (GROUP, None),
    "Lightning": (LIGHTNING, "pytorch_lightning"),
    "Hugging Face Trainer": (TRAINER, "transformers"),
}


def test_every_recipe_is_known_and_short():
    others = {"An ensemble by `torch.func`", "Attention, head by head"}
    assert set(RECIPES) == {*HERE, *ELSEWHERE, *others}
    assert all(len(recipe.splitlines()) <= 12 for recipe in RECIPES.values())


@pytest.mark.parametrize("name", HERE)
def test_recipe(name, tmp_path):
    scope = {"path": tmp_path / "state.pt", "device": "cpu", "accumulate": 2}
    exec(MODEL, scope)
    before = scope["model"][0].weight.detach().clone()
    exec(RECIPES[name], scope)
    if name.startswith("A weight"):
        assert scope["reg"]().item() > 0
    else:
        assert scope["reg"].calls == 4
        assert not torch.equal(scope["model"][0].weight, before)


def test_recipe_of_an_ensemble():
    scope = {"torch": torch, "sphuni": sphuni, "criterion": torch.nn.CrossEntropyLoss()}
    scope["models"] = [
        torch.nn.Sequential(torch.nn.Linear(6, 9), torch.nn.Linear(9, 3)) for _ in range(3)
    ]
    scope["x"], scope["y"] = torch.randn(4, 6), torch.randint(3, (4,))
    exec(RECIPES["An ensemble by `torch.func`"], scope)
    assert scope["gradients"]["0.weight"].shape == (3, 9, 6)


def test_recipe_of_attention():
    scope = {}
    exec(MODEL, scope)
    scope["model"] = torch.nn.Sequential()
    scope["model"].add_module("qkv", torch.nn.Linear(6, 24))
    scope["model"].add_module("out", torch.nn.Linear(24, 3))
    exec(RECIPES["Attention, head by head"], scope)
    assert scope["reg"].calls == 4
    assert len(scope["reg"].layers) == 13


@pytest.mark.slow
@pytest.mark.parametrize("name", ELSEWHERE)
def test_recipe_of_a_framework(name):
    before, package = ELSEWHERE[name]
    if package is not None and importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    script = MODEL + before + RECIPES[name] + "\nimport os, sys\nsys.stdout.write('\\ndone\\n')\n"
    script += "sys.stdout.flush(); os._exit(0)\n"
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=False
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert ran.stdout.endswith("done\n")
