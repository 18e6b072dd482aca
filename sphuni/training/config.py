"""The settings of one run, as frozen sections; `experiment` says how files hold them."""

import dataclasses
from typing import Any, Literal

__all__ = [
    "DataConfig",
    "EvaluationConfig",
    "LossConfig",
    "ModelConfig",
    "OptimizerConfig",
    "Options",
    "RegularizerConfig",
    "ScheduleConfig",
    "Settings",
    "TrainingConfig",
    "Transform",
]

Options = dict[str, Any]
Transform = Literal["", "phase", "magnitude"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Where samples come from and how many are used.

    Attributes
    ----------
    name : str
        Of `sphuni.training.data.available()`: "digits", "mnist", "fashion-mnist", "cifar10",
        "cora", "citeseer", ... or the path of an `.npz` file or a folder.
    train : int
        Training samples, drawn for each seed from the pool of training data; 0 takes all.
    validation : int
        Samples of the same pool that serve selection; they are never trained on.
    test : int
        Test samples, the same for all seeds; 0 takes all.
    augment : tuple of str
        Of "flip", "crop" (pad 4 by reflection), done on the device; for images only.
    transform : str
        "" or one of `sphuni.training.data.TRANSFORMS`: "phase", "magnitude".
    pool : int
        Average pooling of images by this factor.
    options : dict
        Of the data set; none of them has any so far.
    """

    name: str = "digits"
    train: int = 0
    validation: int = 0
    test: int = 0
    augment: tuple[Literal["flip", "crop"], ...] = ()
    transform: Transform = ""
    pool: int = 1
    options: Options = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The network.

    Attributes
    ----------
    name : str
        Of `sphuni.training.models.names()`, or ``"package.module:factory"``, a function called as
        ``factory(inputs=(channels, height, width), classes=10, width=1.0, **options)``.
    width : float
        Multiplies the number of channels.
    options : dict
        Of the network.
    """

    name: str = "small-cnn"
    width: float = 1.0
    options: Options = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """The optimizer.

    Attributes
    ----------
    name : {"sgd", "adam", "adamw"}
    lr, momentum, nesterov, weight_decay
        As in torch; `momentum` is for "sgd", where L2 decay is half the squared norm.
    betas : tuple of two floats
        Of "adam" and "adamw".
    no_decay : tuple of str
        Regular expressions searched in parameter names that get no weight decay; "sphere" stands
        for all sphere layers, "vectors" for all parameters of rank one. The parameters of losses
        are "^weight$", of the angular ones, and "^centers$".
    rates : dict of str to float
        Factor on the learning rate of parameters whose name matches the regular expression.
    """

    name: Literal["sgd", "adam", "adamw"] = "sgd"
    lr: float = 0.1
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 0.0
    betas: tuple[float, ...] = (0.9, 0.999)
    no_decay: tuple[str, ...] = ()
    rates: Options = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """The learning rate over a run, as a factor on `optimizer.lr`.

    Attributes
    ----------
    name : {"constant", "multistep", "cosine"}
    milestones : tuple of float
        Where "multistep" multiplies by `gamma`: fractions of the run, increasing, in (0, 1).
    gamma : float
    warmup : float
        Fraction of the run over which the rate grows linearly from nearly 0.
    """

    name: Literal["constant", "multistep", "cosine"] = "constant"
    milestones: tuple[float, ...] = ()
    gamma: float = 0.1
    warmup: float = 0.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class RegularizerConfig:
    """The regularizer, made by `sphuni.nn.regularize`.

    Attributes
    ----------
    method : str
        "none", or one of `sphuni.nn.available_methods()`.
    scale : float
        Multiplies both coefficients; what selection varies.
    weight, output_weight : float, optional
        Coefficients; by default those of the authors' code.
    include, exclude : tuple of str
        Layers, as in `regularize`.
    every : int
    options : dict
        Of the method: s, k, C, n_aux, ...
    """

    method: str = "none"
    scale: float = 1.0
    weight: float | None = None
    output_weight: float | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    every: int = 1
    options: Options = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LossConfig:
    """The loss.

    Attributes
    ----------
    name : {"softmax", "w-softmax", "a-softmax", "ga-softmax", "s-softmax"}
        The angular ones have a weight of their own, which takes the place of the network's last
        linear layer.
    label_smoothing : float
    center, contrastive, triplet : float
        Weights of these losses on the features, added to the first. The optimizer learns the
        centres at its own rate and with its weight decay, which draws them to the origin: exempt
        them by ``optimizer.no_decay = ["^centers$"]``, or give them an entry of `optimizer.rates`.
    options : dict
        Of the angular losses: g, k, m, scale; `anneal` is a table of `LambdaAnneal`'s arguments.
    """

    name: Literal["softmax", "w-softmax", "a-softmax", "ga-softmax", "s-softmax"] = "softmax"
    label_smoothing: float = 0.0
    center: float = 0.0
    contrastive: float = 0.0
    triplet: float = 0.0
    options: Options = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """The loop.

    Attributes
    ----------
    epochs, batch_size : int
        `batch_size` 0 is the whole training set. A last partial batch is dropped.
    max_norm : float
        Gradients are clipped to this norm; 0 does not clip.
    checkpoint_seconds : float
        Epochs that end sooner than this after the last checkpoint write none. 0: every epoch.
    precision : {"auto", "float32", "bfloat16"}
        "auto" is bfloat16 autocast on a GPU and float32 on a CPU.
    channels_last, compile : bool
        Memory layout of images on a GPU; torch.compile of the network.
    channels_last_cpu : bool
        The same layout on a CPU, where it is faster too but rounds differently.
    """

    epochs: int = 10
    batch_size: int = 128
    max_norm: float = 0.0
    checkpoint_seconds: float = 0.0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    channels_last: bool = True
    compile: bool = False
    channels_last_cpu: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """What is measured besides loss and accuracy.

    Attributes
    ----------
    every : int
        Epochs between evaluations on test and validation data; the last epoch always has one.
    track : {"none", "ends", "epochs"}
        When `sphuni.analysis` measures every layer: never, before and after training, or at each
        evaluation too.
    recall : tuple of int
        K of Recall@K and of the true positives among the K nearest test samples, by features;
        each is at least 1 and less than the number of test samples.
    parameters : tuple of str
        Regular expressions of small parameters whose values are logged at the end.
    """

    every: int = 1
    track: Literal["none", "ends", "epochs"] = "ends"
    recall: tuple[int, ...] = ()
    parameters: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """All sections of one run."""

    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    regularizer: RegularizerConfig = RegularizerConfig()
    loss: LossConfig = LossConfig()
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
