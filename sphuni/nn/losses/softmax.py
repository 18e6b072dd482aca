"""Softmax losses on angles: W-, GA-, A- and S-Softmax."""

import math
import warnings
from collections.abc import Callable
from typing import Any, Literal

import torch
import torch.nn.functional as torch_functional
from torch import Tensor, nn

from sphuni._numbers import finite, positive, whole
from sphuni.nn._directions import unit
from sphuni.nn._options import check_at_least_one, check_number
from sphuni.nn._owners import register
from sphuni.nn._precision import check_tensor, widen
from sphuni.nn._recomputed import recomputed
from sphuni.nn.layers._lengths import tamed
from sphuni.nn.layers.angular import angular, safe_angle
from sphuni.nn.losses._anneal import annealed, check_mix, keep, number_of
from sphuni.nn.losses._labels import check_labels
from sphuni.nn.losses.margin import check_g, psi
from sphuni.sphere import root

__all__ = [
    "ASoftmaxLoss",
    "GASoftmaxLoss",
    "SSoftmaxLoss",
    "WSoftmaxLoss",
    "angular_logits",
    "angular_softmax",
]

Reduction = Literal["mean", "sum", "none"]


def angular_logits(
    features: Tensor,
    weight: Tensor,
    labels: Tensor | None = None,
    *,
    g: str = "cosine",
    k: float = 0.3,
    m: float = 1.0,
    mix: float | Tensor = 0.0,
    scale: float | None = None,
    detach_margin: bool = False,
) -> Tensor:
    r"""Logits ``|x| g(theta)``, with the margin psi at the target class.

    Parameters
    ----------
    features : Tensor of shape (batch, d)
    weight : Tensor of shape (classes, d)
        Used by direction only.
    labels : Tensor of shape (batch,), optional
        Target classes; without them, or with m = 1, no margin is applied.
    g : {"cosine", "linear", "sigmoid"}, default "cosine"
    k : float, default 0.3
        Of "sigmoid", positive.
    m : float, default 1
        Margin.
    mix : float, default 0
        lambda: the target is (lambda g + psi) / (1 + lambda).
    scale : float, optional
        Use this positive number in place of the norm of the features (S-Softmax).
    detach_margin : bool, default False
        Add psi - g as a constant, so that gradients are those of the plain logits.

    Returns
    -------
    Tensor of shape (batch, classes)
        At least float32; computed outside autocast.

    Examples
    --------
    >>> import torch
    >>> angular_logits(2 * torch.eye(2), torch.eye(2))
    tensor([[2., 0.],
            [0., 2.]])
    """
    check_g(g)
    check_at_least_one("m", m)
    _check_scale(scale)
    if not (torch.compiler.is_compiling() and isinstance(mix, Tensor)):  # that was checked before
        check_mix(mix)
    _check(features, weight, labels)
    with torch.autocast(features.device.type, enabled=False):
        x = widen(features)
        rows = unit(widen(weight).to(x.dtype))
        if g == "cosine" and scale is None and (labels is None or m == 1):
            return x @ rows.T  # linear in x, so that features at the origin have a gradient too
        cosines = unit(x) @ rows.T
        length: Tensor | float = _length(x) if scale is None else scale
        plain = cosines if g == "cosine" else angular(safe_angle(cosines), g, k=k)
        if labels is None or m == 1:
            return length * plain
        column = labels.long()[:, None]
        target = plain.gather(1, column)
        with_margin = psi(safe_angle(cosines.gather(1, column)), m, g=g, k=k)
        with_margin = (mix * target + with_margin) / (1 + mix)
        if detach_margin:
            with_margin = target + (with_margin - target).detach()
        return length * plain.scatter(1, column, with_margin)


def angular_softmax(
    features: Tensor,
    weight: Tensor,
    labels: Tensor,
    *,
    g: str = "cosine",
    k: float = 0.3,
    m: float = 1.0,
    mix: float | Tensor = 0.0,
    scale: float | None = None,
    detach_margin: bool = False,
    label_smoothing: float = 0.0,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Cross-entropy of `angular_logits`: every softmax loss on angles as a function.

    W-Softmax is m = 1; A-Softmax g = "cosine" with a margin m; GA-Softmax any g with a margin;
    S-Softmax a `scale`.

    Parameters
    ----------
    features, weight, labels, g, k, m, mix, scale, detach_margin
        As in `angular_logits`; labels are needed.
    label_smoothing, reduction
        As in `torch.nn.functional.cross_entropy`.

    Returns
    -------
    Tensor
        Without dimensions, or of shape (batch,) for reduction "none".

    References
    ----------
    W. Liu et al., "Deep hyperspherical learning", NeurIPS 2017. arXiv:1711.03189.

    Examples
    --------
    >>> import torch
    >>> round(float(angular_softmax(torch.eye(2), torch.eye(2), torch.tensor([0, 1]))), 6)
    0.313262
    """
    check_tensor("labels", labels)
    _check_smoothing(label_smoothing)
    _check_reduction(reduction)
    logits = angular_logits(
        features,
        weight,
        labels,
        g=g,
        k=k,
        m=m,
        mix=mix,
        scale=scale,
        detach_margin=detach_margin,
    )
    return torch_functional.cross_entropy(
        logits, labels.long(), label_smoothing=label_smoothing, reduction=reduction
    )


class GASoftmaxLoss(nn.Module):
    r"""Generalised angular softmax: cross-entropy on ``|x| g(theta)`` with a target margin.

    Parameters
    ----------
    in_features, num_classes : int
    g : {"cosine", "linear", "sigmoid"}, default "linear"
        "linear" has no flat points; with "cosine" it is A-Softmax.
    m : float, default 4
        Margin, at least 1, real.
    k : float, default 0.3
        Of "sigmoid".
    anneal : callable from int to float, optional
        lambda at training call number 0, 1, ..., for example `LambdaAnneal(1000, 0.12, 1, 5)`.
        Without it margins of 3 and more rarely converge, which is a warning.
    detach_margin : bool, default False
        Add the margin as a constant to the target logit instead.
    scale : float, optional
        Put features on a sphere of this radius.
    label_smoothing : float, default 0
    reduction : {"mean", "sum", "none"}, default "mean"

    Notes
    -----
    Call it with features (batch, in_features) and labels (batch,). `logits(features)` gives the
    logits for prediction. `weight` is the only parameter; `mix` is the lambda of the last call,
    for the log. The state dict holds the number of training calls, counted where there is an
    `anneal`.

    References
    ----------
    W. Liu et al., "Deep hyperspherical learning", NeurIPS 2017. arXiv:1711.03189.
    W. Liu et al., "SphereFace revived", TPAMI 2022. arXiv:2109.05565 (constant margins).

    Examples
    --------
    >>> import torch
    >>> loss = GASoftmaxLoss(2, 3, g="linear", m=2, anneal=lambda step: 5.0)
    >>> loss(torch.ones(4, 2), torch.zeros(4, dtype=torch.long)).shape
    torch.Size([])
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        g: str = "linear",
        m: float = 4.0,
        k: float = 0.3,
        anneal: Callable[[int], float] | None = None,
        detach_margin: bool = False,
        scale: float | None = None,
        label_smoothing: float = 0.0,
        reduction: Reduction = "mean",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_g(g)
        check_at_least_one("m", finite("m", m))
        positive("k", k)
        _check_scale(scale)
        _check_smoothing(label_smoothing)
        _check_reduction(reduction)
        if anneal is not None and not callable(anneal):
            raise TypeError(
                f"anneal must be a function of the number of calls, such as LambdaAnneal(); "
                f"got {anneal!r}"
            )
        whole("in_features", in_features, 1)
        whole("num_classes", num_classes, 1)
        if m >= 3 and anneal is None and not detach_margin:
            warnings.warn(
                f"a margin of m = {m:g} rarely converges without annealing; pass "
                "anneal=LambdaAnneal() or detach_margin=True",
                stacklevel=2,
            )
        self.weight = nn.Parameter(
            torch.empty(num_classes, in_features, device=device, dtype=dtype)
        )
        nn.init.normal_(self.weight)
        self.g, self.m, self.k, self.scale = g, float(m), k, scale
        self.anneal, self.detach_margin = anneal, detach_margin
        self.label_smoothing, self.reduction = label_smoothing, reduction
        # no buffer, as those move to where reading them takes long
        self._calls = torch.zeros((), dtype=torch.int64, device="cpu")
        self.mix = 0.0 if anneal is None else number_of(anneal(0))
        self._token = register(self)

    @property
    def calls(self) -> int:
        """The number of training calls with annealing."""
        return int(self._calls)

    @calls.setter
    def calls(self, calls: int) -> None:
        keep(self._calls, calls)

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """Return the loss; in training mode lambda advances by one step.

        What checkpointing computes again has the lambda of the last call, and does not count.
        """
        return angular_softmax(
            features,
            self.weight,
            labels,
            g=self.g,
            k=self.k,
            m=self.m,
            mix=self._lambda(),
            scale=self.scale,
            detach_margin=self.detach_margin,
            label_smoothing=self.label_smoothing,
            reduction=self.reduction,
        )

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._token = register(self)

    def _lambda(self) -> float | Tensor:
        """The lambda of this call, which counts in training mode; a tensor in a compiled graph."""
        if self.anneal is None:
            return 0.0
        if torch.compiler.is_compiling():
            mix = annealed(self._calls, self._token)
            if self.training:
                self._calls.add_(1)
            return mix
        if not recomputed():
            self.mix = number_of(self.anneal(self.calls))
            if self.training:
                self.calls += 1
        return self.mix

    def logits(self, features: Tensor) -> Tensor:
        """Return the logits without margin, for prediction."""
        return angular_logits(features, self.weight, g=self.g, k=self.k, scale=self.scale)

    def get_extra_state(self) -> Tensor:
        """Return the number of training calls."""
        return torch.tensor(self.calls)

    def set_extra_state(self, state: Tensor) -> None:
        """Continue counting."""
        self.calls = int(state)

    def extra_repr(self) -> str:
        """Name the function and the margin."""
        classes, features = self.weight.shape
        return f"{features}, {classes}, g={self.g!r}, m={self.m:g}, anneal={self.anneal!r}"


class ASoftmaxLoss(GASoftmaxLoss):
    """A-Softmax of SphereFace: `GASoftmaxLoss` with the cosine.

    References
    ----------
    W. Liu et al., "SphereFace: deep hypersphere embedding for face recognition", CVPR 2017.
    arXiv:1704.08063.
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        m: float = 4.0,
        anneal: Callable[[int], float] | None = None,
        detach_margin: bool = False,
        label_smoothing: float = 0.0,
        reduction: Reduction = "mean",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            in_features,
            num_classes,
            g="cosine",
            m=m,
            anneal=anneal,
            detach_margin=detach_margin,
            label_smoothing=label_smoothing,
            reduction=reduction,
            device=device,
            dtype=dtype,
        )


class WSoftmaxLoss(GASoftmaxLoss):
    """W-Softmax: cross-entropy on ``|x| g(theta)``, normalised class weights and no margin.

    References
    ----------
    W. Liu et al., "Deep hyperspherical learning", NeurIPS 2017. arXiv:1711.03189.
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        g: str = "cosine",
        k: float = 0.3,
        label_smoothing: float = 0.0,
        reduction: Reduction = "mean",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            in_features,
            num_classes,
            g=g,
            m=1.0,
            k=k,
            label_smoothing=label_smoothing,
            reduction=reduction,
            device=device,
            dtype=dtype,
        )


class SSoftmaxLoss(GASoftmaxLoss):
    """S-Softmax: cross-entropy on scale * g(theta), features normalised too.

    Parameters
    ----------
    scale : float, default 30
        With 1 the loss of K = 10 classes cannot fall below 1.38.

    References
    ----------
    W. Liu et al., "Deep hyperspherical learning", NeurIPS 2017. arXiv:1711.03189.
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        scale: float = 30.0,
        g: str = "cosine",
        m: float = 1.0,
        k: float = 0.3,
        anneal: Callable[[int], float] | None = None,
        detach_margin: bool = False,
        label_smoothing: float = 0.0,
        reduction: Reduction = "mean",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            in_features,
            num_classes,
            g=g,
            m=m,
            k=k,
            anneal=anneal,
            detach_margin=detach_margin,
            scale=scale,
            label_smoothing=label_smoothing,
            reduction=reduction,
            device=device,
            dtype=dtype,
        )


def _length(x: Tensor) -> Tensor:
    """Norms (batch, 1) of features, also of those too large to square."""
    inputs, size = tamed(x)
    return root(inputs.square().sum(-1, keepdim=True)) * size


def _check_scale(scale: float | None) -> None:
    if scale is None:
        return
    check_number("scale", scale)
    if not 0 < scale < math.inf:
        raise ValueError(f"scale must be positive; got {scale}")


def _check_smoothing(share: float) -> None:
    check_number("label_smoothing", share)
    if not 0 <= share <= 1:
        raise ValueError(f"label_smoothing must lie in [0, 1]; got {share}")


def _check_reduction(reduction: str) -> None:
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"reduction must be 'mean', 'sum' or 'none'; got {reduction!r}")


def _check(features: Tensor, weight: Tensor, labels: Tensor | None) -> None:
    check_tensor("features", features)
    check_tensor("weight", weight)
    if weight.ndim != 2:
        raise ValueError(f"weight must have shape (classes, d); got {tuple(weight.shape)}")
    if features.ndim != 2 or features.shape[1] != weight.shape[1]:
        raise ValueError(
            f"features must have shape (batch, {weight.shape[1]}); got {tuple(features.shape)}"
        )
    if labels is not None:
        check_labels(labels, len(features), len(weight))
