import dataclasses

import pytest

from sphuni.training import schema
from sphuni.training.config import RegularizerConfig

ARMS = '[[arm]]\nname = "a"\n[[arm]]\nname = "b"\n'


def read(text):
    return schema.parse('name = "x"\n' + text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sedes = 3", r"unknown key 'sedes'; did you mean 'seeds'\?"),
        ("[optimizer]\nlearning = 1", r"unknown key 'learning' in optimizer"),
        ("[optimizer]\nname = 'sgdd'", r"optimizer.name must be one of 'sgd'.*mean 'sgd'"),
        ("[training]\nepochs = 1.5", r"training.epochs must be of type int; got 1.5"),
        ("[training]\nepochs = true", r"training.epochs must be of type int; got True"),
        ("[training]\ncompile = 1", r"training.compile must be of type bool; got 1"),
        ("[data]\naugment = 'flip'", r"data.augment must be of type list; got 'flip'"),
        ("training = 3", r"training must be a table; got 3"),
        ("[[arm]]\nlabel = 'x'", r"arm 1 lacks the key 'name'"),
        (ARMS + ARMS, r"two arms are named 'a'"),
        ("arm = 3", r"'arm' must be written as \[\[arm\]\] tables"),
        (
            "[[arm]]\nname = 'a'\n[arm.los]\nname = 'softmax'",
            r"unknown key 'los' in arm 'a'.*'loss'",
        ),
        ("[[arm]]\nname = 'a'\n[arm.loss]\nnam = 'x'", r"unknown key 'nam' in loss"),
        ("[[arm]]\nname = 'a'\n[arm.select]\n'loss.xx' = [1]", r"unknown key 'xx' in loss"),
        (ARMS + "[[claim]]\ntext = 't'\nbetter = 'c'\nworse = 'a'", r"better 'c' does not exist"),
        (ARMS + "[[claim]]\ntext = 't'\nbetter = 'b'", r"exactly one of 'worse' and 'than'"),
        ("[select]\nfirst = 'a'", r"select.first 'a' does not exist"),
        ("name = ", r"not valid TOML"),
        ("seeds = 0", r"seeds must be at least 1; got 0"),
        ("[training]\nepochs = 0", r"training.epochs must be at least 1; got 0"),
        ("[training]\nbatch_size = -5", r"training.batch_size must be at least 0; got -5"),
        (
            "[optimizer]\nweight_decay = -1.0",
            r"optimizer.weight_decay must be at least 0; got -1.0",
        ),
        ("[optimizer]\nlr = nan", r"optimizer.lr must be at least 0; got nan"),
    ],
)
def test_errors_name_the_key_and_what_is_allowed(text, message):
    with pytest.raises(ValueError, match=message):
        read(text)


def test_an_arm_overrides_a_case_which_overrides_the_base():
    experiment = read(
        "[optimizer]\nlr = 1\nmomentum = 0.5\n[regularizer]\noptions = { s = 1, k = 2 }\n"
        "[[case]]\nname = 'c'\n[case.optimizer]\nlr = 2\n[case.training]\nepochs = 7\n"
        "[[arm]]\nname = 'a'\n[arm.optimizer]\nlr = 3\n[arm.regularizer]\noptions = { k = 9 }\n"
    )
    case, arm = experiment.case("c"), experiment.arm("a")
    settings = schema.settings_of(experiment, case, arm, {"regularizer.scale": 4.0})
    assert (settings.optimizer.lr, settings.optimizer.momentum) == (3.0, 0.5)
    assert settings.training.epochs == 7
    assert settings.regularizer == RegularizerConfig(scale=4.0, options={"s": 1, "k": 9})


def test_candidates_are_all_combinations():
    experiment = read(
        "[[arm]]\nname = 'a'\n[arm.select]\n'loss.center' = [1, 2]\n'data.pool' = [1, 2]"
    )
    assert schema.candidates(experiment.arms[0])[1] == {"loss.center": 1, "data.pool": 2}
    assert len(schema.candidates(experiment.arms[0])) == 4
    assert schema.candidates(read(ARMS).arms[0]) == [{}]


def test_a_table_of_settings_is_plain():
    settings = read("").base
    table = schema.to_table(settings)
    assert table["optimizer"]["betas"] == [0.9, 0.999]
    assert list(table) == [field.name for field in dataclasses.fields(settings)]


def test_unknown_experiments_are_refused_with_the_nearest_name():
    with pytest.raises(ValueError, match=r"did you mean 'digits-regularizers'"):
        schema.load("digit-regularizer")
    with pytest.raises(ValueError, match=r"there is no file 'none.toml'"):
        schema.load("none.toml")


@pytest.mark.parametrize("name", schema.available())
def test_every_packaged_experiment_is_sound(name):
    experiment = schema.load(name)
    assert experiment.name == name
    assert experiment.title
    assert experiment.budget_minutes > 0
    assert all(claim.source for claim in experiment.claims)
    if experiment.select.seeds:
        tried = [len(schema.candidates(arm)) for arm in experiment.arms]
        assert max(tried) - min(tried) <= 1, "methods must be tuned by about as many runs"
