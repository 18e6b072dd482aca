"""What an experiment is: frozen sections of settings, and the TOML files they are read from.

An experiment is a grid of *cases* (a data set with a network), *arms* (the methods compared) and
seeds. The sections `data`, `model`, `optimizer`, `schedule`, `regularizer`, `loss`, `training` and
`evaluation` hold what all runs share; a case and then an arm override single keys of them. Every
arm of a case sees, for one seed, the same initial weights and the same batches.

::

    name = "digits-regularizers"
    title = "Regularizers on digits with few labels"
    budget_minutes = 60.0             # all runs of the CPU form, on 2 cores
    seeds = 40

    [data]
    name = "digits"                   # see sphuni.training.data
    train = 200                       # drawn for each seed from the training pool
    validation = 200                  # others of the pool, for selection
    [model]
    name = "small-cnn"                # of sphuni.training.models.names(), or "module:factory"
    [optimizer]
    name = "sgd"
    lr = 0.05
    [training]
    epochs = 25
    batch_size = 50

    [select]
    seeds = 5                         # runs per value that is tried; 0 turns selection off

    [[arm]]
    name = "baseline"
    [arm.select]                      # tuned on validation data before the runs that count
    "optimizer.weight_decay" = [0.0, 1e-4, 5e-4, 2e-3, 8e-3]
    [[arm]]
    name = "hs-mhe"
    [arm.regularizer]                 # any section may be overridden here
    method = "hs-mhe"

    [[case]]                          # optional; without any there is one, named after the data
    name = "digits"

    [[claim]]
    text = "HS-MHE lowers the error"
    better = "hs-mhe"
    worse = "baseline"
    metric = "test.error"
    paper_better = 25.96
    paper_worse = 28.13
    source = "..."

`load` reads a packaged experiment by name or a file by path, `available` lists the packaged ones,
`Experiment.settings(case, arm, ...)` gives the sections of one run.
"""

import dataclasses
from typing import Any, Literal

from sphuni.training.config import Options, Settings

__all__ = ["Arm", "Case", "Claim", "Experiment", "SelectConfig"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SelectConfig:
    """How hyperparameters are chosen before the runs that count.

    Attributes
    ----------
    seeds : int
        Runs per candidate, with seeds that the final runs do not use; 0 turns selection off.
    metric : str
        Mean of this at the last epoch; whether lower or higher is better follows from its name.
    first : str
        Arm whose chosen values all other arms start from, before they choose their own.
    """

    seeds: int = 0
    metric: str = "validation.error"
    first: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arm:
    """One method of a comparison.

    Attributes
    ----------
    name, label : str
        `label` is for tables; by default the name.
    overrides : dict
        Tables by section, as written under the arm in TOML.
    select : dict of str to tuple
        Candidate values by dotted key; the product of all is tried.
    cases : tuple of str
        Cases it takes part in; by default all.
    seeds : int
        Fewer seeds for an expensive arm; 0 takes those of the experiment.
    """

    name: str
    label: str = ""
    overrides: Options = dataclasses.field(default_factory=dict)
    select: dict[str, tuple[Any, ...]] = dataclasses.field(default_factory=dict)
    cases: tuple[str, ...] = ()
    seeds: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """One data set with one network.

    Attributes
    ----------
    name, label : str
    overrides : dict
        Tables by section; an arm's come on top.
    """

    name: str
    label: str = ""
    overrides: Options = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Claim:
    """A statement of a paper that the runs put to the test.

    Attributes
    ----------
    text : str
    better, worse : str
        Arms; the claim is that `metric` is better for the first. Whether that means lower or
        higher follows from the name of the metric (`sphuni.training.statistics.lower_is_better`).
    than : float, optional
        Compare `better` with this number instead of with an arm.
    metric : str
        A name of the log: "test.error", "test.accuracy", "train.loss", "test.recall@1", ...
    epoch : int
        Which epoch counts: 0 is the last.
    cases : tuple of str
        By default all.
    family : str
        Holm's correction is within the claims of one family and case.
    paper_better, paper_worse : float, optional
        The numbers that the paper prints, in its own unit and on its own data.
    source : str
        Paper, table, data set and network of those numbers.
    """

    text: str
    better: str
    worse: str = ""
    than: float | None = None
    metric: str = "test.error"
    epoch: int = 0
    cases: tuple[str, ...] = ()
    family: str = "all"
    paper_better: float | None = None
    paper_worse: float | None = None
    source: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment:
    """A whole experiment, as its file says.

    Attributes
    ----------
    name, title : str
    kind : str
        "classification" (the loop of this room), or the name of a module
        ``sphuni.training.kinds.<kind>`` with runs of another sort; dashes become underscores. Its
        ``run(task, *, report)`` returns the rows of the log (see `runner`).
    budget_minutes : float
        Estimated time of all runs on 2 cores of a CPU.
    seeds : int
    device : {"any", "cpu", "cuda"}
        "cuda" marks the full form of a paper, which a CPU does not finish.
    note : str
        Shown by ``--list``: substitutes, what differs from the paper.
    metric, reference : str
        What the table of methods shows, and the arm that others are compared with (the first).
    further : tuple of str
        Metrics of a second table, with their rank correlation with `metric` across methods.
    options : dict
        Of other kinds.
    base : Settings
    """

    name: str
    title: str = ""
    kind: str = "classification"
    budget_minutes: float = 0.0
    seeds: int = 5
    device: Literal["any", "cpu", "cuda"] = "any"
    note: str = ""
    metric: str = "test.error"
    reference: str = ""
    further: tuple[str, ...] = ()
    options: Options = dataclasses.field(default_factory=dict)
    base: Settings = dataclasses.field(default_factory=Settings)
    select: SelectConfig = dataclasses.field(default_factory=SelectConfig)
    arms: tuple[Arm, ...] = ()
    cases: tuple[Case, ...] = ()
    claims: tuple[Claim, ...] = ()

    def arm(self, name: str) -> Arm:
        """Return the arm of that name."""
        return next(arm for arm in self.arms if arm.name == name)

    def case(self, name: str) -> Case:
        """Return the case of that name."""
        return next(case for case in self.cases if case.name == name)
