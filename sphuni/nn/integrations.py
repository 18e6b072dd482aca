"""The hook inside other people's training loops. Nothing is imported before it is asked for."""

import functools
import hashlib
import importlib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sphuni._files import atomic_writer
from sphuni.nn.functional import uniformity
from sphuni.nn.hook import Regularizer, regularize

__all__ = ["FeatureUniformity", "lightning_callback", "trainer_callback", "with_regularizer"]

_CHANGEABLE = ("weight", "output_weight", "schedule", "mode")  # without a part in the state


def lightning_callback(method: str = "hs-mhe", *, name: str | None = None, **options: Any) -> Any:
    """Return a Lightning callback that regularises the module it is trained with.

    Parameters
    ----------
    method, **options
        As in `sphuni.nn.regularize`; `mode` is "decoupled", so the loss that is logged is the
        module's own.
    name : str, optional
        Tells callbacks apart that differ in nothing else than weights or schedule.

    Returns
    -------
    lightning.pytorch.Callback
        Gradients are added before every optimizer step and before gradient clipping. Its
        regularizer is `.regularizer` from the start of training on; penalties per layer are
        logged under "sphuni/", or "sphuni/name/", every `log_every_n_steps`. Its state is part of
        the checkpoints, under method, name and options, so several callbacks may differ in any of
        them; weights and schedule may be changed between trainings. A trainer that fits the same
        module again goes on with it.

    Raises
    ------
    ImportError
        If neither `lightning` nor `pytorch_lightning` is installed.

    Warns
    -----
    UserWarning
        If training goes on from a checkpoint that has no state for this regularizer.
    """
    base: Any = _lightning().Callback
    options = {**options, "mode": "decoupled"}
    settings = [*_settings(options), *_named(name)]
    prefix = "sphuni/" if name is None else f"sphuni/{name}/"

    class HypersphericalCallback(base):
        """Adds the penalty's gradient before every optimizer step."""

        def __init__(self) -> None:
            super().__init__()
            self.regularizer: Regularizer | None = None
            self._state: dict[str, Any] | None = None
            self._goes_on = False

        def __reduce__(self) -> tuple[Any, ...]:
            # pickled by how it was made, as strategies that spawn processes pickle callbacks
            return (
                functools.partial(lightning_callback, method, name=name, **options),
                (),
                vars(self),
            )

        @property
        def state_key(self) -> str:
            return f"HypersphericalCallback({', '.join([repr(method), *settings])})"

        def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
            before, self._goes_on = self.regularizer, False
            self.regularizer = regularize(pl_module, method, **options)
            self.regularizer.to(next(pl_module.parameters()).device)
            fits_on = trainer.global_step and before is not None and before.holds(pl_module)
            if before is not None and fits_on and self._state is None:
                self._state = dict(before.state_dict())
            self._load(self.regularizer)

        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            if self.regularizer is None:
                return
            self._load(self.regularizer)  # strategies that shard restore after on_fit_start
            if getattr(trainer, "ckpt_path", None) and not self._goes_on:
                warnings.warn(
                    f"training goes on from {trainer.ckpt_path}, which has no state of "
                    f"{self.state_key}, so {method!r} goes on from call "
                    f"{self.regularizer.calls}. Keep method, name and options as they were",
                    stacklevel=2,
                )

        def _load(self, regularizer: Regularizer) -> None:
            """Go on from the state that was given, if any, which a later training must not see."""
            if self._state is not None:
                regularizer.load_state_dict(self._state)
                self._state, self._goes_on = None, True

        def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
            if self.regularizer is None:
                return
            self.regularizer.add_gradients(optimizer=optimizer)
            if trainer.global_step % max(1, trainer.log_every_n_steps) == 0:
                for layer, value in self.regularizer.stats.items():
                    pl_module.log(prefix + layer, value)

        def state_dict(self) -> dict[str, Any]:
            return {} if self.regularizer is None else dict(self.regularizer.state_dict())

        def load_state_dict(self, state_dict: dict[str, Any]) -> None:
            self._state = state_dict

    return HypersphericalCallback()


def _lightning() -> Any:
    for name in ("lightning.pytorch", "pytorch_lightning"):
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError:
            continue
    raise ImportError("lightning_callback needs Lightning: pip install lightning")


def trainer_callback(method: str = "hs-mhe", *, name: str | None = None, **options: Any) -> Any:
    """Return a callback that regularises the model of a Hugging Face Trainer.

    Parameters
    ----------
    method, **options
        As in `sphuni.nn.regularize`; `mode` is "decoupled".
    name : str, optional
        Tells callbacks apart that differ in nothing else than weights or schedule.

    Returns
    -------
    transformers.TrainerCallback
        Gradients are added right before every optimizer step, after clipping; the logged loss is
        the model's own. Its regularizer is `.regularizer` from the start of training on, and its
        state is part of the Trainer's checkpoints, in a file named after method, layers, name and
        options but for weights and schedule. With float16 loss scaling take `with_regularizer`
        instead.

    Raises
    ------
    ImportError
        If `transformers` is not installed.

    Warns
    -----
    UserWarning
        If training goes on from a checkpoint and none has a state for this regularizer. A
        checkpoint outside `output_dir` is found through `resume_from_checkpoint` of the arguments.
    """
    try:
        base: Any = _state_keeper()
    except ModuleNotFoundError as error:
        raise ImportError(
            "trainer_callback needs transformers: pip install transformers"
        ) from error
    options = {**options, "mode": "decoupled"}
    chosen = {"include", "exclude"}  # what they come to are the layers, which are in the name
    others = {option: one for option, one in options.items() if option not in chosen}
    settings = [*_settings(others), *_named(name)]

    class HypersphericalCallback(base):
        """Adds the penalty's gradient before every optimizer step."""

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            model: nn.Module = kwargs["model"]
            self.regularizer = regularize(model, method, **options)
            self.regularizer.to(next(model.parameters()).device)
            super().on_train_begin(args, state, control, **kwargs)

        def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if self.regularizer is not None:
                self.regularizer.add_gradients()

    return HypersphericalCallback(settings=settings)


def _settings(options: dict[str, Any]) -> list[str]:
    """The options that tell regularizers apart, in words that are the same in every run."""
    return [f"{name}={options[name]!r}" for name in sorted(options) if name not in _CHANGEABLE]


def _named(name: str | None) -> list[str]:
    return [] if name is None else [f"name={name!r}"]


def _state_keeper() -> Any:
    """A TrainerCallback class that keeps the state of `.regularizer` in checkpoints."""
    base: Any = importlib.import_module("transformers").TrainerCallback

    class StateKeeper(base):
        def __init__(
            self, regularizer: Regularizer | None = None, *, settings: Sequence[str] = ()
        ) -> None:
            super().__init__()
            self.regularizer, self.settings = regularizer, settings

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if self.regularizer is None:
                return
            _check_model(self.regularizer, kwargs.get("model"), kwargs.get("optimizer"))
            if state.global_step:
                _resume(self.regularizer, _state_name(self.regularizer, self.settings), args, state)

        def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if self.regularizer is not None and state.is_world_process_zero:
                name = _state_name(self.regularizer, self.settings)
                file = _checkpoint(args, state) / name
                with atomic_writer(file) as stream:
                    torch.save(self.regularizer.state_dict(), stream)

    return StateKeeper


def _check_model(regularizer: Regularizer, model: nn.Module | None, optimizer: Any) -> None:
    """Refuse a penalty on a network that is not trained, whose gradient would go nowhere."""
    if model is None or regularizer.holds(model):
        return
    groups = getattr(optimizer, "param_groups", ())
    trained = {id(parameter) for group in groups for parameter in group["params"]}
    if not any(id(parameter) in trained for parameter in regularizer.model.parameters()):
        raise ValueError(
            f"regularizer must be one of the model that is trained; this one is of another "
            f"{type(regularizer.model).__name__}, so nothing would be regularised. Make it with "
            "sphuni.nn.regularize(model, ...) of the model that the Trainer gets; where "
            "model_init= makes models, take callbacks=[trainer_callback(...)] instead"
        )


def _checkpoint(args: Any, state: Any) -> Path:
    """Where a Trainer keeps the checkpoint of this step."""
    return Path(args.output_dir) / f"checkpoint-{state.global_step}"


def _state_name(regularizer: Regularizer, settings: Sequence[str]) -> str:
    """A file name that several regularizers of one model do not share, the same in every run."""
    text = "\n".join([*(layer.name for layer in regularizer.layers), *settings])
    short = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"sphuni_{regularizer.method}_{short}.pt"


def _resume(regularizer: Regularizer, name: str, args: Any, state: Any) -> None:
    """Load the state from the checkpoint that training goes on from, or say that none has it."""
    given = getattr(args, "resume_from_checkpoint", None)
    folders = [Path(given)] if isinstance(given, str) else []
    folders.append(_checkpoint(args, state))
    for file in (folder / name for folder in folders):
        if file.exists():
            regularizer.load_state_dict(torch.load(file, weights_only=True))
            return
    searched = " or ".join(map(str, folders))
    warnings.warn(
        f"training goes on at step {state.global_step}, but {name} is not in {searched}, so "
        f"{regularizer.method!r} goes on from call {regularizer.calls}. Set resume_from_checkpoint "
        "of the TrainingArguments to the folder of the checkpoint, and keep method, layers and "
        "options as they were",
        stacklevel=2,
    )


def with_regularizer(trainer_class: type) -> type:
    """Return a Hugging Face Trainer class that adds a regularizer to its loss.

    Parameters
    ----------
    trainer_class : type
        `transformers.Trainer` or a subclass. A TrainerCallback cannot change the loss, a subclass
        can; see `trainer_callback` for gradients that leave the loss alone.

    Returns
    -------
    type
        It takes one more keyword, `regularizer`, made by `sphuni.nn.regularize(model, ...)`. The
        penalty enters the loss of training steps only, divided by the number of accumulation
        steps as the loss is. The regularizer's state is part of the Trainer's checkpoints.
        Training another model than the regularizer's is an error, and so is `model_init`, which
        makes one; take `trainer_callback` there.

    Examples
    --------
    >>> class Trainer:
    ...     def compute_loss(self, model, inputs, return_outputs=False, **kwargs):
    ...         loss = model(inputs).sum()
    ...         return (loss, None) if return_outputs else loss
    >>> model = torch.nn.Linear(4, 3)
    >>> reg = regularize(model, "hs-mhe")
    >>> trainer = with_regularizer(Trainer)(regularizer=reg)
    >>> bool(trainer.compute_loss(model, torch.zeros(1, 4)) == model.bias.sum() + reg())
    True
    """

    class RegularizedTrainer(trainer_class):
        """A trainer whose training loss includes a penalty on the weights."""

        def __init__(self, *args: Any, regularizer: Regularizer, **kwargs: Any) -> None:
            self.regularizer = regularizer
            super().__init__(*args, **kwargs)
            if hasattr(self, "add_callback"):
                self.add_callback(_state_keeper()(regularizer))

        def compute_loss(
            self, model: nn.Module, inputs: Any, return_outputs: bool = False, **kwargs: Any
        ) -> Any:
            found = super().compute_loss(model, inputs, return_outputs=return_outputs, **kwargs)
            if not model.training:
                return found
            share = self._share(kwargs.get("num_items_in_batch"))
            penalty = share * self.regularizer()
            if return_outputs:
                return found[0] + penalty.to(found[0]), found[1]
            return found + penalty.to(found)

        def _share(self, num_items_in_batch: Any) -> float:
            """Losses that the Trainer adds up over a step take a share, averaged ones the whole."""
            added_up = getattr(self, "loss_is_scaled_for_ga", None)
            if added_up is None:
                by_items = getattr(self, "model_accepts_loss_kwargs", False)
                added_up = by_items and num_items_in_batch is not None
                added_up = added_up or getattr(self, "compute_loss_func", None) is not None
            if not added_up:
                return 1.0
            return 1.0 / float(getattr(self, "current_gradient_accumulation_steps", 1) or 1)

    return RegularizedTrainer


class FeatureUniformity(nn.Module):
    """Uniformity of features over an epoch, with the methods of a torchmetrics metric.

    Parameters
    ----------
    t : float, default 2
        As in `sphuni.nn.uniformity`.
    max_rows : int, default 8192
        Features kept: the first ones of the epoch.

    Examples
    --------
    >>> metric = FeatureUniformity()
    >>> metric.update(torch.eye(3)[:2])
    >>> metric.update(torch.eye(3)[2:])
    >>> float(metric.compute())
    -4.0
    """

    higher_is_better = False
    is_differentiable = False

    def __init__(self, *, t: float = 2.0, max_rows: int = 8192) -> None:
        super().__init__()
        if max_rows < 2:
            raise ValueError(f"max_rows must be at least 2; got {max_rows}")
        self.t, self.max_rows = t, max_rows
        self.features: list[Tensor] = []

    def update(self, features: Tensor) -> None:
        """Keep a batch of features (n, d)."""
        if features.ndim != 2:
            raise ValueError(f"features must have shape (n, d); got {tuple(features.shape)}")
        kept = sum(len(part) for part in self.features)
        if kept < self.max_rows:
            self.features.append(features.detach()[: self.max_rows - kept])

    def compute(self) -> Tensor:
        """Return the uniformity of what was kept."""
        if not any(map(len, self.features)):
            raise RuntimeError("no features were given; call update(features) first")
        with torch.no_grad():
            return uniformity(torch.cat(self.features), t=self.t)

    def reset(self) -> None:
        """Forget the features."""
        self.features = []

    def forward(self, features: Tensor) -> Tensor:
        """Keep a batch and return the uniformity of that batch alone."""
        self.update(features)
        with torch.no_grad():
            return uniformity(features, t=self.t)
