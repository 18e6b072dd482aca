"""A network with its loss: what a batch costs, and what is predicted for it."""

import warnings
from typing import Any, cast

import torch.nn.functional as functional
from torch import Tensor, nn

from sphuni.nn.losses import (
    ASoftmaxLoss,
    CenterLoss,
    GASoftmaxLoss,
    LambdaAnneal,
    SSoftmaxLoss,
    WSoftmaxLoss,
    contrastive,
    triplet,
)
from sphuni.training.config import LossConfig
from sphuni.training.data import Graph
from sphuni.training.models.pointnet import Alignment
from sphuni.training.streams import seeded

__all__ = ["Learner"]

_ANGULAR: dict[str, type[GASoftmaxLoss]] = {
    "w-softmax": WSoftmaxLoss,
    "a-softmax": ASoftmaxLoss,
    "ga-softmax": GASoftmaxLoss,
    "s-softmax": SSoftmaxLoss,
}


class Learner(nn.Module):
    """A network and its loss.

    Angular losses have class weights of their own, so the network's classifier (its attribute
    `classifier`, else its last linear layer) is replaced by the identity. Losses on features see
    what enters the classifier. The matrices of an `Alignment` add its penalty.

    Parameters
    ----------
    network : nn.Module
    config : LossConfig
    classes : int
    graph : Graph, optional
        The network is then called with features and adjacency, and batches are node numbers.
    seed : int
        Of the weights that the loss has.
    """

    def __init__(
        self,
        network: nn.Module,
        config: LossConfig,
        *,
        classes: int,
        graph: Graph | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.config, self.graph, self.classes = config, graph, classes
        self.angular: GASoftmaxLoss | None = None
        self.centers: CenterLoss | None = None
        self._seen: list[Tensor] = []
        self._penalties: list[Tensor] = []
        angular = config.name in _ANGULAR
        width = 0
        if angular or self.needs_features or config.center:
            path = _classifier_path(network)
            width = cast(nn.Linear, network.get_submodule(path)).in_features
            if angular:
                _replace(network, path, nn.Identity())
            network.get_submodule(path).register_forward_pre_hook(self._see)
        for module in network.modules():
            if isinstance(module, Alignment) and module.orthogonality:
                module.register_forward_hook(self._penalise)
        self.network = network
        with seeded(seed, "loss"):
            if angular:
                self.angular = _angular_loss(config, width, classes)
            if config.center:
                self.centers = CenterLoss(width, classes)

    @property
    def needs_features(self) -> bool:
        """Whether the loss reads features as well as logits."""
        config = self.config
        return bool(config.center or config.contrastive or config.triplet)

    @property
    def loss_modules(self) -> list[nn.Module]:
        """The parts of the loss that have parameters."""
        return [part for part in (self.angular, self.centers) if part is not None]

    def forward(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss of a batch and its logits (which carry no gradient)."""
        output = self._run(inputs)
        if self.angular is not None:
            loss = self.angular(output, targets)
            logits = self.angular.logits(output.detach()).detach()
        else:
            logits = output.float()
            self._check(logits)
            loss = functional.cross_entropy(
                logits, targets, label_smoothing=self.config.label_smoothing
            )
        if self.needs_features:
            loss = loss + self._feature_losses(self._features(inputs), targets)
        for penalty in self._penalties:
            loss = loss + penalty
        return loss, logits.detach()

    def predict(self, inputs: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return logits, and features where the classifier is watched."""
        output = self._run(inputs)
        features = self._features(inputs) if self._seen else None
        logits = output.float() if self.angular is None else self.angular.logits(output)
        return logits, features

    def watch_features(self) -> None:
        """Keep features for `predict` though no loss needs them."""
        if self.angular is None and not self.needs_features:
            path = _classifier_path(self.network)
            self.network.get_submodule(path).register_forward_pre_hook(self._see)

    def _run(self, inputs: Tensor) -> Tensor:
        self._seen.clear()
        self._penalties.clear()
        if self.graph is not None:
            return self.network(self.graph.features, self.graph.adjacency)[inputs]
        output = self.network(inputs)
        if not isinstance(output, Tensor):  # recurrent layers return their state too
            raise ValueError(
                f"the network must return a tensor; it returned a {type(output).__name__}"
            )
        return output

    def _check(self, logits: Tensor) -> None:
        """A GPU would abort the process, and torch names neither the network nor the classes."""
        if logits.ndim != 2 or logits.shape[1] < self.classes:
            raise ValueError(
                f"the network must give a number for each of the {self.classes} classes of every "
                f"sample; it gave a tensor of shape {tuple(logits.shape)}"
            )

    def _see(self, _: nn.Module, arguments: tuple[Any, ...]) -> None:
        self._seen.append(arguments[0])

    def _penalise(self, module: nn.Module, _: tuple[Any, ...], matrices: Tensor) -> None:
        self._penalties.append(cast(Alignment, module).penalty(matrices))

    def _features(self, inputs: Tensor) -> Tensor:
        features = self._seen[-1].float()
        return features if self.graph is None else features[inputs]

    def _feature_losses(self, features: Tensor, targets: Tensor) -> Tensor:
        config, total = self.config, features.new_zeros(())
        if self.centers is not None:
            total = total + config.center * self.centers(features, targets)
        if config.contrastive:
            total = total + config.contrastive * contrastive(features, targets)
        if config.triplet:
            total = total + config.triplet * triplet(features, targets)
        return total


def _angular_loss(config: LossConfig, width: int, classes: int) -> GASoftmaxLoss:
    options = dict(config.options)
    try:
        if isinstance(options.get("anneal"), dict):
            options["anneal"] = LambdaAnneal(**options["anneal"])
        with warnings.catch_warnings():  # a large margin without annealing is what some arms are
            warnings.simplefilter("ignore", UserWarning)
            return _ANGULAR[config.name](width, classes, **options)
    except TypeError as error:
        raise ValueError(f"loss.options of {config.name!r}: {error}") from None


def _classifier_path(network: nn.Module) -> str:
    """Name of the classifier within a network."""
    named = getattr(network, "classifier", None)
    if isinstance(named, nn.Linear):
        return "classifier"
    linear = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    if not linear or not linear[-1]:
        raise ValueError(
            "this loss needs a network whose last layer is nn.Linear, or that has one as its "
            f"attribute 'classifier'; {type(network).__name__} has none"
        )
    return linear[-1]


def _replace(network: nn.Module, path: str, module: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(network.get_submodule(parent), name, module)
