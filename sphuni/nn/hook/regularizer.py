"""One line that regularises a network."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from sphuni.kernels import Riesz
from sphuni.nn._preset import Preset
from sphuni.nn.hook import _opaque
from sphuni.nn.hook._layers import Layer, find_layers, read_rows
from sphuni.nn.hook._select import Pattern, assign_roles, select
from sphuni.nn.hook._tables import Plan, PlanRow, Summary, measure_layer
from sphuni.nn.regularizers import Objective, build, find_method
from sphuni.nn.regularizers.methods import coefficients

__all__ = ["Regularizer", "regularize"]

Mode = Literal["graph", "decoupled"]
Schedule = Callable[[int], float]


def regularize(
    model: nn.Module,
    method: str = "hs-mhe",
    *,
    weight: float | None = None,
    output_weight: float | None = None,
    include: Pattern | Sequence[Pattern] | None = None,
    exclude: Pattern | Sequence[Pattern] | None = None,
    output_layer: str | None = "auto",
    every: int = 1,
    rows: int | None = None,
    mode: Mode = "graph",
    schedule: Schedule | None = None,
    preset: Preset = "paper",
    seed: int = 0,
    **options: Any,
) -> "Regularizer":
    """Regularise every layer of a network towards uniform directions.

    Parameters
    ----------
    model : nn.Module
        It is not changed and holds no reference to the regularizer.
    method : str, default "hs-mhe"
        `sphuni.nn.available_methods()` lists them.
    weight, output_weight : float, optional
        Coefficient of every hidden layer and of the classifier. Default: the method's own, as in
        the authors' code; `print(reg.describe())` shows them. The penalties of layers add up.
    include, exclude : str, module class, or sequence of those, optional
        Layer types ("Conv2d"), layer names, or regular expressions searched in weight names.
        Default: linear, convolutional, recurrent and attention layers; embeddings are not.
    output_layer : str or None, default "auto"
        Name of the classifier, which gets `output_weight`, full space and no projection. "auto"
        takes the last linear layer with a usual name, else the last layer if it is linear.
    every : int, default 1
        Evaluate on every that many calls only, with the penalty multiplied by as much.
    rows : int, optional
        Random rows per layer and call, an unbiased estimate; for "mhe", "hs-mhe" and compressed
        methods around them.
    mode : {"graph", "decoupled"}, default "graph"
        "graph": add `reg()` to the loss. "decoupled": call `reg.add_gradients()` after backward
        (and after unscaling or before clipping, as you like), or `reg.attach(optimizer)` once.
    schedule : callable from int to float, optional
        Factor on all coefficients at call number 0, 1, ...
    preset : {"paper", "reference"}, default "paper"
        The definitions, or what the authors' code computes.
    seed : int, default 0
        Of everything random. Ranks of a distributed job use the same, so that they agree.
    **options
        Of the method: `s`, `metric`, `minimum`, `epsilon`, `n_aux`, `k`, `C`, `objective`, ...

    Returns
    -------
    Regularizer

    Raises
    ------
    ValueError
        If the method is unknown, a pattern matches nothing, or no layer is left; the message
        lists what exists.
    TypeError
        If an option is unknown or `model` is not a module.

    Examples
    --------
    >>> import torch, sphuni
    >>> model = torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.ReLU(), torch.nn.Linear(4, 3))
    >>> reg = sphuni.nn.regularize(model, "hs-mhe", s=2)
    >>> [(row.name, row.role, row.weight) for row in reg.describe().rows]
    [('0.weight', 'first', 1.0), ('2.weight', 'output', 10.0)]
    >>> loss = model(torch.ones(2, 8)).square().mean() + reg()
    >>> loss.backward()
    """
    found = find_method(method)
    layers, skipped = find_layers(model)
    if not layers and any("meta device" in reason for _, reason in skipped):
        raise ValueError(
            "model is on the meta device and has no values; materialise it first, for example "
            "with model.to_empty(device='cpu') and its state dict"
        )
    chosen = assign_roles(select(layers, include, exclude), output_layer)
    hidden, output = coefficients(found, options)
    weights = (
        hidden if weight is None else float(weight),
        output if output_weight is None else float(output_weight),
    )
    objectives = [
        _build(found.name, layer, i, seed, rows, preset, options) for i, layer in enumerate(chosen)
    ]
    names = {layer.name for layer in chosen}
    others = [(layer.name, "not selected") for layer in layers if layer.name not in names]
    return Regularizer(
        model,
        chosen,
        objectives,
        method=found.name,
        weights=weights,
        every=every,
        mode=mode,
        schedule=schedule,
        left_out=[*others, *skipped],
        shown=_shown(options),
    )


def _build(
    method: str,
    layer: Layer,
    index: int,
    seed: int,
    rows: int | None,
    preset: str,
    options: dict[str, Any],
) -> Objective:
    stream = 1_000_003 * seed + index
    return build(
        method,
        role=layer.role,
        shape=(layer.n, layer.d),
        seed=stream,
        rows=rows,
        preset=preset,
        **options,
    )


def _shown(options: Mapping[str, Any]) -> Riesz:
    """The energy that the summary shows: the method's own where it has one, else s = 2."""
    s, metric = options.get("s", 2.0), options.get("metric", "chordal")
    return Riesz(float(s), metric)


class Regularizer(nn.Module):
    """The penalty of a whole network; made by `regularize`.

    Calling it returns the penalty as a tensor without dimensions. It has no parameters; inner
    problems and counters are in its state dict. It can be copied and pickled together with its
    model.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Sequence[Layer],
        objectives: Sequence[Objective],
        *,
        method: str,
        weights: tuple[float, float],
        every: int,
        mode: Mode,
        schedule: Schedule | None,
        left_out: Sequence[tuple[str, str]],
        shown: Riesz,
    ) -> None:
        super().__init__()
        if every < 1:
            raise ValueError(f"every must be at least 1; got {every}")
        if mode not in ("graph", "decoupled"):
            raise ValueError(f"mode must be 'graph' or 'decoupled'; got {mode!r}")
        self._model: tuple[nn.Module, ...] = (model,)  # a tuple hides it from nn.Module
        self.layers = tuple(layers)
        self.objectives = nn.ModuleList(objectives)
        self.method, self.weights, self.every, self.mode = method, weights, every, mode
        self.schedule = schedule
        self.left_out = tuple(left_out)
        self.shown = shown
        self.calls = 0
        self.stats: dict[str, Tensor] = {}
        self._handles: list[RemovableHandle] = []
        self._token = _opaque.register(self)
        with torch.no_grad():
            for layer, objective in zip(layers, objectives, strict=True):
                objective.allocate(layer.n, layer.d, like=read_rows(model, layer))

    @property
    def model(self) -> nn.Module:
        """The network."""
        if not self._model:
            raise RuntimeError("this regularizer was removed from its model; make a new one")
        return self._model[0]

    def forward(self) -> Tensor:
        """Return the penalty of this step; zero on the steps that `every` leaves out."""
        model = self.model
        if self.mode == "decoupled":
            raise RuntimeError(
                "mode='decoupled' adds gradients after backward: call reg.add_gradients() before "
                "optimizer.step(), or reg.attach(optimizer) once, and leave reg() out of the loss"
            )
        if torch.compiler.is_compiling():
            return _opaque.penalty([read_rows(model, layer) for layer in self.layers], self._token)
        total: Tensor | None = None
        factor = self._advance()
        for index in range(len(self.layers)) if factor else ():
            value = self._layer_penalty(index, read_rows(model, self.layers[index]), factor)
            if value is not None:
                total = value if total is None else total + value.to(total.device)
        return torch.zeros((), device=_device(model)) if total is None else total

    def penalty_and_gradients(self, rows: Sequence[Tensor]) -> list[Tensor]:
        """Return the penalty of rows read elsewhere and its gradient to each of them.

        This is what a compiled graph calls, as one opaque operation; it counts as a call.
        """
        value = rows[0].new_zeros((), dtype=_opaque.result_dtype(rows))
        gradients = [torch.zeros_like(one) for one in rows]
        factor = self._advance()
        for index, one in enumerate(rows if factor else ()):
            with torch.enable_grad():
                leaf = one.detach().requires_grad_()
                part = self._layer_penalty(index, leaf, factor)
            if part is not None:
                (gradients[index],) = torch.autograd.grad(part, leaf)
                value = value + part.detach().to(value)
        return [value, *gradients]

    def add_gradients(self, scale: float = 1.0) -> None:
        """Add the gradient of the penalty to `.grad` of the model's parameters.

        Parameters
        ----------
        scale : float, default 1
            Factor, such as `scaler.get_scale()` while gradients are still scaled.
        """
        model, factor = self.model, self._advance()
        for index in range(len(self.layers)) if factor else ():
            owner = model.get_submodule(self.layers[index].module)
            parameters = [p for p in owner.parameters() if p.requires_grad]
            with torch.enable_grad():
                rows = read_rows(model, self.layers[index])
                value = self._layer_penalty(index, rows, factor * scale)
            if value is None or not parameters:
                continue
            gradients = torch.autograd.grad(value, parameters, allow_unused=True)
            for parameter, gradient in zip(parameters, gradients, strict=True):
                if gradient is not None and parameter.grad is None:
                    parameter.grad = gradient
                elif gradient is not None and parameter.grad is not None:
                    parameter.grad = parameter.grad + gradient.to(parameter.grad.dtype)

    def attach(self, optimizer: torch.optim.Optimizer) -> None:
        """Call `add_gradients` before every step of `optimizer`, until `remove`."""
        if self.mode != "decoupled":
            raise RuntimeError("attach needs mode='decoupled'; with mode='graph' add reg() instead")

        def before_step(*_: Any) -> None:
            self.add_gradients()

        self._handles.append(optimizer.register_step_pre_hook(before_step))

    def remove(self) -> None:
        """Detach from optimizers and forget the model, which was never changed."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._model = ()

    def describe(self) -> Plan:
        """Return the plan: every layer with its role, size, objective and coefficient."""
        rows = tuple(
            PlanRow(
                layer.name,
                layer.kind,
                layer.role,
                layer.n,
                layer.d,
                _objective_text(objective),
                self._coefficient(layer),
                read_rows(self.model, layer).requires_grad,
            )
            for layer, objective in zip(self.layers, self.objectives, strict=True)
        )
        return Plan(self.method, rows, self.left_out)

    def summary(self) -> Summary:
        """Return energy, certified bound, excess and smallest angle of every layer now.

        Notes
        -----
        In float64 and without random parts, so it takes longer than a step. The bound of a
        geodesic kernel is a linear programme per layer.
        """
        half = find_method(self.method).half_space
        rows = tuple(
            measure_layer(
                read_rows(self.model, layer),
                name=layer.name,
                role=layer.role,
                kernel=self.shown,
                half_space=half and layer.role != "output",
            )
            for layer in self.layers
        )
        return Summary(self.shown.s, self.shown.metric, rows)

    def get_extra_state(self) -> Tensor:
        """Return the number of calls."""
        return torch.tensor(self.calls)

    def set_extra_state(self, state: Tensor) -> None:
        """Continue counting calls."""
        self.calls = int(state)

    def extra_repr(self) -> str:
        """Name the method and its coefficients."""
        hidden, output = self.weights
        return f"{self.method!r}, weight={hidden:g}, output_weight={output:g}, mode={self.mode!r}"

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        state["_handles"] = []
        state["stats"] = {}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._token = _opaque.register(self)

    def _advance(self) -> float:
        """Count the call and return the factor on all penalties; 0 leaves the call out."""
        call = self.calls
        if self.training:
            self.calls += 1
        if call % self.every:
            return 0.0
        return self.every * (1.0 if self.schedule is None else float(self.schedule(call)))

    def _coefficient(self, layer: Layer) -> float:
        return self.weights[1] if layer.role == "output" else self.weights[0]

    def _layer_penalty(self, index: int, rows: Tensor, factor: float) -> Tensor | None:
        """The weighted penalty of one layer, or None where it is frozen or has no weight."""
        layer, coefficient = self.layers[index], self._coefficient(self.layers[index])
        if coefficient == 0:
            return None
        if torch.is_grad_enabled() and not rows.requires_grad:
            return None
        value: Tensor = self.objectives[index](rows)
        self.stats[layer.name] = value.detach()
        return factor * coefficient * value


def _objective_text(objective: nn.Module) -> str:
    inner = getattr(objective, "objective", None)
    own = f"{type(objective).__name__}({objective.extra_repr()})"
    if inner is None:
        return objective.extra_repr()
    return f"{own} of {_objective_text(inner)}"


def _device(model: nn.Module) -> torch.device:
    return next((p.device for p in model.parameters()), torch.device("cpu"))
