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
        (f"metric = 'test.eror'\n{ARMS}", r"metric 'test.eror' .*mean 'test.error'"),
        (f"further = ['test.recall@1']\n{ARMS}", r"further\[0\] 'test.recall@1' does not exist"),
        (
            f"[evaluation]\nrecall = [2]\n{ARMS}"
            "[[claim]]\ntext = 't'\nbetter = 'a'\nthan = 1\nmetric = 'test.recall@1'",
            r"claim 't': metric 'test.recall@1' .*mean 'test.recall@2'",
        ),
        (
            f"{ARMS}[[claim]]\ntext = 't'\nbetter = 'a'\nthan = 1\nepoch = 11",
            r"claim 't': epoch must be at most training.epochs, 10; got 11",
        ),
        (
            f"[select]\nseeds = 1\nmetric = 'test.error'\n{ARMS}",
            r"select.metric 'test.error' does not exist",
        ),
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
        (
            "[schedule]\nmilestones = [30, 60]",
            r"schedule.milestones must be fractions of the run.*not epochs; got \[30.0, 60.0\]",
        ),
        ("[schedule]\nmilestones = [0.6, 0.3]", r"increasing.*got \[0.6, 0.3\]"),
        ("[schedule]\nmilestones = [0, 0.5]", r"in \(0, 1\)"),
        ("[optimizer]\nbetas = [0.9]", r"optimizer.betas must be two numbers in \[0, 1\); got"),
        ("[optimizer]\nno_decay = ['(']", r"optimizer.no_decay must be regular .* got '\(': miss"),
        ("[optimizer]\nrates = { '(' = 1 }", r"optimizer.rates must be regular expressions"),
        ("[optimizer]\nrates = { a = 'b' }", r"optimizer.rates must hold numbers .*'b' for 'a'"),
        ("[evaluation]\nparameters = ['(']", r"evaluation.parameters must be regular expressions"),
        ("[optimizer]\nlr = inf", r"optimizer.lr must be a finite number; got inf"),
        ("[regularizer]\nweight = nan", r"regularizer.weight must be a finite number; got nan"),
        ("[evaluation]\nrecall = [1, 0]", r"evaluation.recall must be at least 1 each; got \[1, 0"),
        ("[loss]\nlabel_smoothing = 1.5", r"loss.label_smoothing must be in \[0, 1\]; got 1.5"),
        ("[schedule]\nwarmup = 5", r"schedule.warmup must be in \[0, 1\]; got 5.0"),
        ("[data]\naugment = ['flop']", r"data.augment must be one of 'flip', 'crop'; got 'flop'"),
        ("[data]\ntransform = 'phse'", r"data.transform must be one of .*mean 'phase'"),
        ("kind = 'gann'\n" + ARMS, r"kind must be one of classification, .*mean 'gan'"),
        ("seeds = 2", r"there is no arm; write one \[\[arm\]\]"),
        (ARMS + "[[arm]]\nname = '../../evil'", r"arm name must be a path of .* got '../../evil'"),
        (ARMS + "[[arm]]\nname = 'a//b'", r"arm name must be a path .* got 'a//b'"),
        (ARMS + "[[arm]]\nname = '/tmp'", r"arm name must be a path .* got '/tmp'"),
        (ARMS + "[[case]]\nname = '.'", r"case name must be a path .* got '\.'"),
        ("[data]\noptions = { size = 8 }", r"data.options must be empty, .* got {'size': 8}"),
        (
            "[[case]]\nname = 'x'\n[[case]]\nname = 'x/y'\n"
            "[[arm]]\nname = 'y/z'\n[[arm]]\nname = 'z'",
            r"arm 'z' of case 'x/y' and arm 'y/z' of case 'x' are both kept in 'x/y/z'",
        ),
        (ARMS + "[data]\nname = '../..'", r"case name must be a path .* got '\.\.'"),
        (ARMS + "[options]\nfoo = 1", r"options are for kind 'conditioning'.*model.options"),
        (
            "[[arm]]\nname = 'a'\n[arm.select]\n'optimizer.lr' = []",
            r"arm 'a': select.'optimizer.lr",
        ),
        (
            "[[arm]]\nname = 'a'\n[arm.select]\n'optimizer.lr' = [1, 1.0]",
            r"must be values to try, each once; got \[1, 1.0\]",
        ),
        (
            ARMS + "[[arm]]\nname = 'c'\nschedule.name = 'multistep'",
            r"arm 'c' of case 'digits': schedule.name = 'multistep' needs schedule.milestones",
        ),
        (
            ARMS + "[optimizer]\nnesterov = true\nmomentum = 0",
            r"optimizer.nesterov needs a positive optimizer.momentum; got 0",
        ),
        (
            "[loss]\nlabel_smoothing = 0.1\n[[arm]]\nname = 'c'\nloss.name = 'w-softmax'",
            r"loss.label_smoothing is for .* must be 0 for 'w-softmax'; got 0.1",
        ),
        (
            ARMS + "[[arm]]\nname = 'c'\nregularizer.method = 'hs-mheh'",
            r"arm 'c' of case 'digits': regularizer.method must be .*mean 'hs-mhe'",
        ),
        (
            "[[arm]]\nname = 'c'\n[arm.select]\n'regularizer.method' = ['mhe', 'mheh']",
            r"arm 'c' .* regularizer.method must be one of .*; got 'mheh'",
        ),
        (
            ARMS + "[[case]]\nname = 'd'\nmodel.name = 'smal-cnn'",
            r"of case 'd': there is no network 'smal-cnn'; did you mean 'small-cnn'",
        ),
    ],
)
def test_errors_name_the_key_and_what_is_allowed(text, message):
    with pytest.raises(ValueError, match=message):
        read(text)


@pytest.mark.parametrize("name", ["..", "", "a/../b", "a\\u0000b"])
def test_an_experiment_is_named_like_a_folder(name):
    with pytest.raises(ValueError, match="experiment: name must be a path of results"):
        schema.parse(f'name = "{name}"\n{ARMS}')
    assert schema.parse(f'name = "a/b c"\n{ARMS}').name == "a/b c"


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
    settings = read(ARMS).base
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


def test_a_file_of_ones_own_has_a_name_of_its_own(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(schema.source("gan"))
    assert schema.load(str(path)) == schema.load("gan")
    path.write_text(schema.source("gan").replace("seeds = ", "seeds = 1"))
    with pytest.raises(
        ValueError, match=r"mine.toml' has the name of a packaged .*, 'gan', but is"
    ):
        schema.load(str(path))


def test_a_file_in_another_encoding_is_named(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_bytes('name = "M\xfcller"'.encode("latin-1"))
    with pytest.raises(ValueError, match=r"mine.toml' is not text in UTF-8"):
        schema.load(str(path))


def test_runs_with_other_options_are_not_taken_for_the_same():
    plain = schema.override(schema.Settings(), {})
    changed = schema.override(plain, {"model": {"options": {"norm": "none"}}})
    table = schema.to_table(plain)
    schema.check_same(plain, table, "x")
    with pytest.raises(ValueError, match=r"model.options.norm was None and is now 'none'"):
        schema.check_same(changed, table, "x")
    del table["training"]["channels_last_cpu"]  # as if a later version had added it
    schema.check_same(plain, table, "x")
    faster = schema.override(plain, {"training": {"channels_last_cpu": True}})
    with pytest.raises(ValueError, match="channels_last_cpu was False and is now True"):
        schema.check_same(faster, table, "x")
    schema.check_same(faster, {}, "logs of before settings were kept")
    options = {"options": {"scales": (1, 2)}}
    schema.check_same(plain, table, "logs of before options were kept", others=options)
    schema.check_same(plain, {**table, "options": {"scales": [1, 2]}}, "x", others=options)
    with pytest.raises(ValueError, match=r"options.scales was \[3\] and is now \[1, 2\]"):
        schema.check_same(plain, {**table, "options": {"scales": [3]}}, "x", others=options)
