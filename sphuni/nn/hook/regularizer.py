"""The penalty of a whole network."""

import itertools
import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch._C import _functorch
from torch.autograd import forward_ad
from torch.utils.hooks import RemovableHandle

from sphuni._numbers import finite, whole
from sphuni.kernels import Riesz
from sphuni.nn._options import factor_of
from sphuni.nn._owners import register
from sphuni.nn._recomputed import refuse_recomputation
from sphuni.nn._waits import beside
from sphuni.nn.hook import _opaque
from sphuni.nn.hook._layers import Layer, gradient_rows, read_all, trained_tensors, weight_of
from sphuni.nn.hook._tables import Plan, PlanRow, Summary, measure_layer
from sphuni.nn.regularizers import Objective, find_method
from sphuni.nn.regularizers._base import Reading
from sphuni.nn.regularizers._together import LARGEST_HELD, can_wait, held_by, measure_all

__all__ = ["Mode", "Regularizer", "Schedule"]

_INNER = ("optimizer", "base_optimizer")  # where wrappers, and SAM, hold the one that steps

Mode = Literal["graph", "decoupled"]
Schedule = Callable[[int], float]


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
        if schedule is not None and not callable(schedule):
            raise TypeError(
                "schedule must be a function of the number of calls, such as "
                f"lambda call: min(1, call / 1000); got {schedule!r}"
            )
        if mode not in ("graph", "decoupled"):
            raise ValueError(f"mode must be 'graph' or 'decoupled'; got {mode!r}")
        self._model: tuple[nn.Module, ...] = (model,)  # a tuple hides it from nn.Module
        self.layers = tuple(layers)
        self.objectives = nn.ModuleList(objectives)
        self.method, self.mode = method, mode
        self.weights = finite("weight", weights[0], 0.0), finite("output_weight", weights[1], 0.0)
        self.every = whole("every", every, 1)
        self.schedule = schedule
        self.left_out = tuple(left_out)
        self.shown = shown
        self.calls = self._calls_loaded = 0
        self.stats: dict[str, Tensor] = {}
        self._attached: dict[torch.optim.Optimizer, RemovableHandle] = {}
        self._calls_of: dict[torch.optim.Optimizer, int] = {}
        self._shared: dict[int, tuple[torch.optim.Optimizer, set[torch.optim.Optimizer]]] = {}
        self._checked = False  # whether the optimizers attached have something of the layers
        self._token = register(self)
        with torch.no_grad():
            for layer, objective, one in zip(
                layers, objectives, read_all(model, layers), strict=True
            ):
                objective.allocate(layer.n, layer.d, like=one)

    @property
    def model(self) -> nn.Module:
        """The network."""
        if not self._model:
            raise RuntimeError("this regularizer was removed from its model; make a new one")
        return self._model[0]

    def holds(self, model: nn.Module) -> bool:
        """Whether any of the layers is part of `model`, which may be wrapped."""
        parts = {id(part) for part in model.modules()}
        own = dict(self._model[0].named_modules(remove_duplicate=False)) if self._model else {}
        return any(id(own.get(layer.module)) in parts for layer in self.layers)

    def forward(self) -> Tensor:
        """Return the penalty of this step; zero on the steps that `every` leaves out."""
        model = self.model
        if self.mode == "decoupled":
            raise RuntimeError(
                "mode='decoupled' adds gradients after backward: call reg.add_gradients() before "
                "optimizer.step(), or reg.attach(optimizer) once, and leave reg() out of the loss"
            )
        if torch.compiler.is_compiling():
            every = list(read_all(model, self.layers))
            return _opaque.penalty(
                [one if self._counts(i, one) else one[:0] for i, one in enumerate(every)],
                self._token,
            )
        refuse_recomputation(self)
        factor = self._advance()
        read = enumerate(read_all(model, self.layers))
        rows = {i: one for i, one in read if self._counts(i, one)} if factor else {}
        total: Tensor | None = None
        for value in self._penalties(rows, factor):
            total = value if total is None else total + value.to(total.device)
        return torch.zeros((), device=_device(model)) if total is None else total

    def penalty_and_gradients(self, rows: Sequence[Tensor]) -> list[Tensor]:
        """Return the penalty of rows read elsewhere and its gradient to each of them.

        This is what a compiled graph calls, as one opaque operation; it counts as a call. Layers
        without a penalty come without rows.
        """
        value = rows[0].new_zeros((), dtype=_opaque.result_dtype(rows))
        gradients = [torch.zeros_like(one) for one in rows]
        factor = self._advance()
        leaves = {i: one.detach().requires_grad_() for i, one in enumerate(rows) if len(one)}
        one_by_one = [{i: leaf} for i, leaf in leaves.items()]
        elsewhere = any(leaf.device.type != "cpu" for leaf in leaves.values())
        for some in ([leaves] if elsewhere else one_by_one) if factor else ():
            with torch.enable_grad():
                parts = self._penalties(some, factor)
            found = dict(zip(some, torch.autograd.grad(parts, list(some.values())), strict=True))
            gradients = [found.get(i, gradient) for i, gradient in enumerate(gradients)]
            value = sum((part.detach().to(value) for part in parts), start=value)
        return [value, *gradients]

    def add_gradients(
        self, scale: float = 1.0, *, optimizer: torch.optim.Optimizer | None = None
    ) -> None:
        """Add the gradient of the penalty to `.grad` of the model's parameters.

        Parameters
        ----------
        scale : float, default 1
            Factor, such as `scaler.get_scale()` while gradients are still scaled.
        optimizer : Optimizer, optional
            Only the layers whose weights this optimizer has; each counts its own calls. Where
            optimizers share the tensors that one weight is computed from, the first to come adds.
            What it maximises gets the gradient with the other sign, so that the penalty falls.
        """
        scale = finite("scale", factor_of("scale", scale))
        model, factor = self.model, self._advance(optimizer) * scale
        due = self._due(optimizer) if factor else []
        rising = self._rising(due, optimizer)
        with torch.autocast(_device(model).type, enabled=False):
            self._add_gradients([index for index in due if index not in rising], factor)
            self._add_gradients(rising, -factor)

    def attach(self, optimizer: torch.optim.Optimizer) -> None:
        """Call `add_gradients` before every step of `optimizer`, until `remove`.

        Several optimizers may be attached; each gets the gradients of the layers it has, and
        counts its calls on from those made so far. A fused optimizer under a GradScaler gets them
        scaled. Wrappers stand for the `.optimizer` or `.base_optimizer` they hold, such as those of
        accelerate and SAM. A copy of the regularizer, or one that was unpickled, is not attached.

        Raises
        ------
        RuntimeError
            In mode "graph", if `optimizer` is attached already, and at a step with a closure,
            which would put the gradients back to zero.
        TypeError
            If `optimizer` cannot be told to do something before its steps.

        Warns
        -----
        UserWarning
            At the first step, if no optimizer that is attached has a weight of any layer.
        """
        if self.mode != "decoupled":
            raise RuntimeError("attach needs mode='decoupled'; with mode='graph' add reg() instead")
        optimizer = _stepping(optimizer)
        if optimizer in self._attached:
            raise RuntimeError("this regularizer is attached to that optimizer already")

        def before_step(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if any(one is not None for one in (*args[1:], kwargs.get("closure"))):
                raise RuntimeError(
                    "attach does not work with optimizer.step(closure); call reg.add_gradients() "
                    "at the end of the closure instead"
                )
            self._check_optimizers()
            scale = getattr(optimizer, "grad_scale", None)  # set by GradScaler if it is fused
            self.add_gradients(1.0 if scale is None else float(scale), optimizer=optimizer)

        try:
            self._attached[optimizer] = optimizer.register_step_pre_hook(before_step)
        except AttributeError as error:
            raise TypeError(
                "optimizer must be a torch.optim.Optimizer, or hold one as `.optimizer`; got "
                f"{type(optimizer).__name__}. Call reg.add_gradients() before its step instead"
            ) from error
        self._calls_of.setdefault(optimizer, self.calls)
        self._checked = False

    def remove(self) -> None:
        """Detach from optimizers and forget the model, which was never changed."""
        for handle in self._attached.values():
            handle.remove()
        self._attached.clear()
        self._model = ()

    def describe(self) -> Plan:
        """Return the plan: every layer with its role, size, objective and coefficient."""
        plan = []
        read = read_all(self.model, self.layers)
        for layer, objective, rows in zip(self.layers, self.objectives, read, strict=True):
            plan.append(
                PlanRow(
                    layer.name,
                    layer.kind,
                    layer.role,
                    rows.shape[0],
                    rows.shape[1],
                    _objective_text(objective),
                    self._coefficient(layer),
                    rows.requires_grad,
                )
            )
        return Plan(self.method, tuple(plan), self.left_out)

    def summary(self) -> Summary:
        """Return energy, certified bound, excess and smallest angle of every layer now.

        Notes
        -----
        In float64 and without random parts, so it takes longer than a step. The bound of a
        geodesic kernel is a linear programme per layer.
        """
        read = read_all(self.model, self.layers)
        rows = tuple(
            measure_layer(
                one,
                name=layer.name,
                role=layer.role,
                kernel=self.shown,
                half_space=layer.role != "output" and _as_lines(self.method, objective),
            )
            for layer, objective, one in zip(self.layers, self.objectives, read, strict=True)
        )
        return Summary(self.shown.s, self.shown.metric, rows)

    def get_extra_state(self) -> Tensor:
        """Return the number of calls."""
        return torch.tensor(self.calls)

    def set_extra_state(self, state: Tensor) -> None:
        """Continue counting calls."""
        self.calls = self._calls_loaded = int(state)
        self._calls_of.clear()

    def extra_repr(self) -> str:
        """Name the method and its coefficients."""
        hidden, output = self.weights
        return f"{self.method!r}, weight={hidden:g}, output_weight={output:g}, mode={self.mode!r}"

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        state["_attached"] = {}
        state["_calls_of"] = {}
        state["_shared"] = {}
        state["_calls_loaded"] = self.calls
        state["stats"] = {}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._token = register(self)

    def _advance(self, optimizer: torch.optim.Optimizer | None = None) -> float:
        """Count the call and return the factor on all penalties; 0 leaves the call out.

        In evaluation mode nothing is counted and no call is left out. Several optimizers count
        apart, each from the number that was loaded.
        """
        call, every = self.calls, self.every if self.training else 1
        if optimizer is not None:
            call = self._calls_of.setdefault(optimizer, self._calls_loaded)
        if self.training:
            self.calls = max(self.calls, call + 1)
            if optimizer is not None:
                self._calls_of[optimizer] = call + 1
        if call % every:
            return 0.0
        found = 1.0 if self.schedule is None else self.schedule(call)
        factor = factor_of("what schedule returns", found)
        if not math.isfinite(factor):
            raise ValueError(f"schedule must return finite numbers; got {factor} at call {call}")
        return every * factor

    def _due(self, optimizer: torch.optim.Optimizer | None) -> list[int]:
        """The layers whose penalties are added now: all, or those that `optimizer` steps for."""
        if optimizer is None:
            return list(range(len(self.layers)))
        held = {parameter for group in optimizer.param_groups for parameter in group["params"]}
        due = []
        for index, layer in enumerate(self.layers):
            tensors = trained_tensors(self.model, layer)
            if held.isdisjoint(tensors):
                continue
            if held.issuperset(tensors) or self._is_first(index, optimizer):
                due.append(index)
        return due

    def _rising(self, due: list[int], optimizer: torch.optim.Optimizer | None) -> list[int]:
        """The layers whose weights `optimizer` moves along their gradients, not against them."""
        groups = [] if optimizer is None else optimizer.param_groups
        rising = {p for group in groups if group.get("maximize", False) for p in group["params"]}
        if not rising:
            return []
        tensors = {index: trained_tensors(self.model, self.layers[index]) for index in due}
        return [index for index in due if not rising.isdisjoint(tensors[index])]

    def _check_optimizers(self) -> None:
        """Warn, once, if no optimizer that is attached has anything to be regularised."""
        if self._checked:
            return
        self._checked = True
        groups = [group for one in self._attached for group in one.param_groups]
        held = {parameter for group in groups for parameter in group["params"]}
        trained = [one for layer in self.layers for one in trained_tensors(self.model, layer)]
        if trained and held.isdisjoint(trained):
            warnings.warn(
                f"no optimizer that this regularizer is attached to has a weight of its layers "
                f"({_listed(self.layers)}), so nothing is regularised. Attach it to the optimizer "
                "of this model, made after the model was converted, wrapped or sharded",
                stacklevel=4,
            )

    def _is_first(self, index: int, optimizer: torch.optim.Optimizer) -> bool:
        """Whether, of optimizers that share the tensors of a layer, this is the first to step.

        That one adds for all of them. Another takes its place only where it comes twice without
        the first in between, which may have been skipped or given up.
        """
        leader, served = self._shared.setdefault(index, (optimizer, set()))
        first = optimizer is leader or optimizer in served
        if first:
            served.clear()
        served.add(optimizer)
        return first

    def _coefficient(self, layer: Layer) -> float:
        return self.weights[1] if layer.role == "output" else self.weights[0]

    def _counts(self, index: int, rows: Tensor) -> bool:
        """Whether a layer has a penalty: not where it has no weight or is frozen."""
        frozen = torch.is_grad_enabled() and not _is_trained(rows)
        return self._coefficient(self.layers[index]) != 0 and not frozen

    def _add_gradients(self, due: Sequence[int], factor: float) -> None:
        """Add the gradients of the penalties of some layers, those in `.grad` at once together."""
        waiting: dict[int, tuple[Reading, Tensor]] = {}
        held = 0
        for _, group in itertools.groupby(due, key=lambda index: weight_of(self.layers[index])):
            members = list(group)
            with torch.enable_grad():
                read = read_all(self.model, [self.layers[index] for index in members])
                rows = {
                    i: one for i, one in zip(members, read, strict=True) if self._counts(i, one)
                }
            computed: dict[int, Tensor] = {}
            for index, one in rows.items():
                objective: Any = self.objectives[index]
                layer = self.layers[index]
                into = gradient_rows(self.model, layer) if objective.linear else None
                if into is None:
                    computed[index] = one
                    continue
                with torch.no_grad():
                    reading = objective.read(one)
                if can_wait(objective, reading):
                    waiting[index] = reading, into
                    held += held_by(reading)
                    if held > LARGEST_HELD:
                        self._add_to_rows(waiting, factor)
                        waiting, held = {}, 0
                else:
                    self._add_to_rows({index: (reading, into)}, factor)
            self._add_by_autograd(computed, factor)
        self._add_to_rows(waiting, factor)

    def _penalties(self, rows: dict[int, Tensor], factor: float) -> list[Tensor]:
        """The weighted penalties of some layers, given by their index."""
        objectives: dict[int, Any] = {i: self.objectives[i] for i in rows}
        return self._measure({i: objectives[i].read(one) for i, one in rows.items()}, factor)

    def _measure(self, readings: dict[int, Reading], factor: float) -> list[Tensor]:
        """The weighted penalties of what was read of some layers, added up where they lie."""
        indices, values = list(readings), dict[int, Tensor]()
        objectives: list[Any] = [self.objectives[i] for i in indices]
        weighted = []
        for places, found in measure_all(objectives, list(readings.values())):
            layers = [indices[k] for k in places]
            values.update(zip(layers, found.detach().unbind(), strict=True))
            weights = [factor * self._coefficient(self.layers[i]) for i in layers]
            alike = len(set(weights)) == 1
            weighted.append(found.sum() * weights[0] if alike else found @ beside(weights, found))
        self.stats.update({self.layers[i].name: values[i] for i in indices})
        return weighted

    def _add_by_autograd(self, rows: dict[int, Tensor], factor: float) -> None:
        """Add the gradients of one weight's penalties to whatever parameters it comes from."""
        if not rows:
            return
        parameters = trained_tensors(self.model, self.layers[min(rows)])
        with torch.enable_grad():
            values = self._penalties(rows, factor)
        gradients = torch.autograd.grad(values, parameters, allow_unused=True)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            if gradient is None:
                continue
            before = parameter.grad
            if before is None or before.layout is not torch.strided:
                # what is sparse becomes dense, as it does in the graph
                parameter.grad = gradient if before is None else gradient + before
            else:
                before.add_(gradient)

    def _add_to_rows(self, layers: dict[int, tuple[Reading, Tensor]], factor: float) -> None:
        """Add the gradients of what was read straight to the rows of `.grad`.

        Nothing as large as a weight is made that the penalty does not look at.
        """
        images = {i: reading.image.detach().requires_grad_() for i, (reading, _) in layers.items()}
        with torch.enable_grad():
            readings = {i: layers[i][0]._replace(image=image) for i, image in images.items()}
            values = self._measure(readings, factor)
        gradients = torch.autograd.grad(values, list(images.values())) if values else ()
        whole, parts = list[Tensor](), list[Tensor]()
        for (reading, into), gradient in zip(layers.values(), gradients, strict=True):
            if reading.add_back is None:
                whole.append(into)
                parts.append(gradient)
            else:
                reading.add_back(into, gradient)
        if whole:
            torch._foreach_add_(whole, parts)


def _is_trained(rows: Tensor) -> bool:
    """Whether rows have a derivative, also where only what `torch.func` has wrapped says so."""
    if torch.compiler.is_compiling():  # which cannot look into what follows
        return rows.requires_grad
    while not (rows.requires_grad or forward_ad.unpack_dual(rows).tangent is not None):
        if not _functorch.is_functorch_wrapped_tensor(rows):
            return False
        rows = _functorch.get_unwrapped(rows)
    return True


def _as_lines(method: str, objective: nn.Module) -> bool:
    """Whether an objective takes w and -w for the same."""
    while isinstance(inner := getattr(objective, "objective", None), nn.Module):
        objective = inner
    options: dict[str, Any] = getattr(objective, "options", {})
    return bool(options.get("half_space", find_method(method).half_space))


def _objective_text(objective: nn.Module) -> str:
    inner = getattr(objective, "objective", None)
    own = f"{type(objective).__name__}({objective.extra_repr()})"
    if inner is None:
        return objective.extra_repr()
    return f"{own} of {_objective_text(inner)}"


def _listed(layers: Sequence[Layer]) -> str:
    names = [layer.name for layer in layers]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _stepping(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """The optimizer that takes the steps: itself, or what a wrapper holds."""
    for name in _INNER:
        inner = getattr(optimizer, name, None)
        if isinstance(inner, torch.optim.Optimizer):
            return _stepping(inner)
    return optimizer


def _device(model: nn.Module) -> torch.device:
    return next((p.device for p in model.parameters()), torch.device("cpu"))
