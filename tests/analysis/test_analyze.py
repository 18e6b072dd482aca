"""The whole path: what can be analysed, what is skipped and why, interruption, errors."""

import dataclasses
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

import sphuni
from sphuni.analysis import analyze, collect_features, compare
from sphuni.analysis.report import ModelReport
from sphuni.analysis.sources import open_source

pytestmark = pytest.mark.usefixtures("small_tables")


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(32, 10))


def numbers(report):
    return {layer.name: layer.energy for layer in report.layers if layer.status == "analysed"}


def test_module_state_dict_and_file_give_the_same_numbers(model, tmp_path):
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    torch.save({"epoch": 3, "model": model.state_dict()}, tmp_path / "model.pt")
    expected = numbers(analyze(model))
    assert set(expected) == {"0.weight", "3.weight"}
    for source in (model.state_dict(), tmp_path / "model.safetensors", tmp_path / "model.pt"):
        assert numbers(analyze(source)) == expected


def test_layers_side_by_side_have_the_numbers_of_one_after_the_other(model, set_threads):
    model.append(nn.Linear(10, 10))
    reports = []
    for threads in (1, 2):
        set_threads(threads)
        reports.append(analyze(model))
    alone, together = (
        [dataclasses.replace(layer, seconds=0.0) for layer in report.layers] for report in reports
    )
    assert [repr(layer) for layer in alone] == [repr(layer) for layer in together]


def test_of_a_saved_report_the_layers_asked_for_are_compared(model, tmp_path):
    model.append(nn.Linear(10, 10))
    whole = analyze(model)
    whole.to_json(tmp_path / "whole.json")
    wanted = analyze(model, layers="[03]*", exclude="3*")
    comparison = compare(
        ModelReport.from_json(tmp_path / "whole.json"), model, layers="[03]*", exclude="3*"
    )
    saved = comparison.before
    analysed = [layer for layer in saved.layers if layer.status == "analysed"]
    assert [layer.name for layer in analysed] == ["0.weight"]
    assert analysed[0].p_adjusted == pytest.approx(analysed[0].p)
    assert whole.layers[0].p_adjusted != pytest.approx(whole.layers[0].p)
    for part in ("totals", "settings"):
        assert getattr(saved, part) == getattr(wanted, part)
    assert [layer.reason for layer in saved.layers] == [layer.reason for layer in wanted.layers]
    assert [layer.shape for layer in saved.layers] == [layer.shape for layer in wanted.layers]
    assert comparison.summary()["same"] == 1
    assert comparison.not_compared == ()
    with pytest.raises(ValueError, match=r"exclude=\['\*'\] leave no layer that the report"):
        compare(whole, model, exclude="*")


def test_every_tensor_is_accounted_for(model):
    report = analyze(model)
    assert report.totals.tensors == len(model.state_dict())
    assert report.totals.parameters == sum(t.numel() for t in model.state_dict().values())
    assert all(layer.reason for layer in report.layers if layer.status == "skipped")


def test_arrays_are_embeddings(rng, tmp_path):
    points = rng.standard_normal((50, 6))
    np.save(tmp_path / "x.npy", points)
    np.savetxt(tmp_path / "x.csv", points, delimiter=",")
    reports = [analyze(source) for source in (points, torch.as_tensor(points), tmp_path / "x.npy")]
    for report in reports:
        assert [layer.n for layer in report.layers] == [50]
    text = analyze(tmp_path / "x.csv")
    assert text.layers[0].energy == pytest.approx(reports[0].layers[0].energy)


def test_selection(model):
    names = [x.name for x in analyze(model, layers="3.*").layers if x.status == "analysed"]
    assert names == ["3.weight"]
    left = [x for x in analyze(model, exclude=["0.*"]).layers if x.name == "0.weight"]
    assert left[0].reason == "left out by the exclude pattern"
    with pytest.raises(ValueError, match=r"matches no layer; there are: 0.weight, 3.weight"):
        analyze(model, layers="conv*")


def test_a_name_selects_its_layer_whatever_characters_it_has():
    lstm = nn.LSTM(6, 8)
    (one,) = [x for x in analyze(lstm, layers="weight_ih_l0[i]").layers if x.status == "analysed"]
    assert one.name == "weight_ih_l0[i]"
    rest = [x.name for x in analyze(lstm, exclude="weight_ih_l0[i]").layers if not x.reason]
    assert len(rest) == 7
    assert one.name not in rest


def test_arrays_that_torch_does_not_take_are_read_all_the_same(rng):
    points = rng.standard_normal((30, 5))
    fixed = points.copy()
    fixed.flags.writeable = False
    exact = analyze(points).layers[0]
    for same in (points[::-1], points.astype(">f8"), fixed):
        assert analyze(same).layers[0].energy == pytest.approx(exact.energy, rel=1e-12)


def test_complex_points_are_not_read_as_their_real_parts(rng):
    points = rng.standard_normal((30, 5)) + 1j
    with pytest.raises(TypeError, match="must be an array of real numbers; got dtype complex128"):
        analyze(points)
    assert analyze(torch.as_tensor(points)).layers[0].reason.startswith("complex numbers")


def test_keys_of_fewer_heads_are_recorded_as_they_are_saved(tmp_path):
    state = {"q_proj.weight": torch.randn(8, 6), "k_proj.weight": torch.randn(4, 6)}
    report = analyze(state, heads=(4, 2))
    assert [layer.n for layer in report.layers] == [2] * 6
    report.to_json(tmp_path / "a.json")
    saved = ModelReport.from_json(tmp_path / "a.json")
    assert saved.settings["heads"] == {"*": [4, 2]}
    assert compare(saved, state, heads=(4, 2)).summary()["same"] == 6


@pytest.mark.parametrize("options", [{"heads": 7}, {"heads": {"x*": (4, 2)}}, {"split_qkv": True}])
def test_a_split_of_nothing_is_said(options):
    (name,) = options
    with pytest.warns(UserWarning, match=rf"{name}=.* splits no layer: it fits no name that query"):
        analyze(nn.Linear(6, 4), **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        analyze(nn.MultiheadAttention(8, 2), split_qkv=True)


def test_heads_are_recorded_however_they_were_said(tmp_path):
    attention = nn.MultiheadAttention(8, 2)
    reports = [analyze(attention, heads=heads) for heads in (None, 2, {"*": 2})]
    assert [report.settings["heads"] for report in reports] == [None, {"*": 2}, {"*": 2}]
    reports[1].to_json(tmp_path / "a.json")
    saved, seen = ModelReport.from_json(tmp_path / "a.json"), []
    message = r"the report has heads={'\*': 2} but this call has heads=None"
    with pytest.raises(ValueError, match=message):
        compare(saved, attention, progress=seen.append)
    assert not seen
    assert compare(saved, attention, heads=2).summary()["same"] == 7
    with pytest.raises(TypeError, match="before and after are reports, which center cannot change"):
        compare(saved, saved, center=True)


def test_interruption_leaves_a_partial_report(model):
    def stop(progress):
        if progress.done == 1 and progress.name:
            raise KeyboardInterrupt

    report = analyze(model, progress=stop)
    assert report.partial
    assert report.reason == "interrupted after 1 layers"
    statuses = {layer.name: layer.reason for layer in report.layers}
    assert statuses["3.weight"] == "the analysis was interrupted"


def test_progress_runs_from_zero_to_one(model):
    seen = []
    analyze(model, progress=seen.append)
    assert [p.done for p in seen] == [0, 1, 2]
    assert seen[0].fraction == 0
    assert seen[-1].fraction == 1


def test_hopeless_models_give_reports(tmp_path):
    assert analyze({}).layers == ()
    broken = analyze({"w": torch.full((4, 3), float("nan")), "v": torch.randn(5, 4)})
    assert [layer.status for layer in broken.layers] == ["failed", "analysed"]
    with pytest.raises(TypeError, match=r"model must be a torch module, a state dict, a path"):
        analyze(3)
    with pytest.raises(TypeError, match=r"got list\. .* passed as numpy\.asarray\(points\)"):
        analyze([[1.0, 0.0], [0.0, 1.0]])
    with pytest.raises(sphuni.UnreadableFileError, match="does not exist"):
        analyze(tmp_path / "nothing.safetensors")


def test_compare_matches_layers_by_name(model):
    before = analyze(model)
    with torch.no_grad():
        model[3].weight[1] = model[3].weight[0]
    comparison = compare(before, model)
    changed = {change.name: change for change in comparison.changes}
    assert changed["3.weight"].after.verdict == "collapsed pair"
    assert changed["0.weight"].before.energy == changed["0.weight"].after.energy


def test_features_of_a_module(model, rng):
    batches = [(torch.randn(4, 3, 4, 4), torch.zeros(4)) for _ in range(3)]
    model.train()
    features = collect_features(model, batches, layer="2")
    assert features.shape == (12, 32)
    assert model.training
    with pytest.raises(ValueError, match=r"layer must name a submodule; got 'x'; there are: 0, 1"):
        collect_features(model, batches, layer="x")
    with pytest.raises(ValueError, match="at least one batch"):
        collect_features(model, [])


def test_features_are_those_of_the_layer_though_the_next_writes_into_them():
    model = nn.Sequential(nn.Linear(8, 6), nn.ReLU(inplace=True))
    batch = torch.randn(20, 8)
    assert torch.equal(collect_features(model, [batch], layer="0"), model[0](batch).detach())
    with pytest.raises(TypeError, match=r"must have one row per sample; got shape \(160,\)"):
        collect_features(nn.Flatten(0), [batch])


class Recurrent(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.spare = torch.nn.LSTM(4, 5, batch_first=True), torch.nn.Linear(2, 2)
        self.norm = torch.nn.BatchNorm1d(2)

    def forward(self, x):
        return {"out": self.norm(self.lstm(x)[0])}


def test_features_of_parts_that_return_more_or_are_not_called():
    model, batches = Recurrent().train(), [torch.randn(3, 2, 4)]
    model.norm.eval()
    assert collect_features(model, batches, layer="lstm").shape == (3, 10)
    assert (model.training, model.norm.training) == (True, False)
    with pytest.raises(ValueError, match="layer 'spare' is not called when the module runs"):
        collect_features(model, batches, layer="spare")
    with pytest.raises(TypeError, match="must be a tensor or start with one; got dict"):
        collect_features(model, batches)


def test_the_shipped_checkpoints_show_what_the_regularizer_does():
    folder = "examples/checkpoints"
    change = compare(f"{folder}/digits_plain.safetensors", f"{folder}/digits_hs_mhe.safetensors")
    for layer in change.changes:
        if layer.after is not None and layer.after.status == "analysed":
            assert layer.after.energy["half:2"] < layer.before.energy["half:2"] or (
                layer.after.n < layer.after.d and layer.after.energy["2"] < layer.before.energy["2"]
            )


def lora(b, a):
    return {"q.lora_A.weight": torch.as_tensor(a), "q.lora_B.weight": torch.as_tensor(b)}


@pytest.mark.parametrize("baseline", ["uniform", "init"])
def test_a_product_of_low_rank_is_read_in_the_space_that_its_rows_span(baseline):
    """As rows of R^d random ones were called few directions, or collapsed."""
    b = sphuni.random_points(90, 5, rng=1)
    a = np.linalg.qr(np.random.default_rng(2).standard_normal((40, 5)))[0].T
    (found,) = analyze(lora(b, a), baseline=baseline).layers
    assert (found.n, found.d, found.verdict) == (90, 5, "uniform")
    assert "a product of rank 5: its rows in the space that they span" in found.notes
    if baseline == "init":
        assert any("draws of its initialiser" in note for note in found.notes)
        return
    (rows,) = analyze({"w": torch.from_numpy(b)}).layers
    assert found.energy == pytest.approx(rows.energy, rel=1e-9)
    assert found.excess == pytest.approx(rows.excess, rel=1e-9)
    assert found.p == pytest.approx(rows.p, rel=1e-6)
    assert found.pair == rows.pair


@pytest.mark.parametrize("sizes", [(1e-6, 1.0), (3e37, 3e37)])
def test_rows_of_a_product_keep_their_angles_whatever_their_sizes(sizes):
    """The small rows' directions were lost beside large ones, and sums of huge ones overflowed."""
    generator = torch.Generator().manual_seed(0)
    b = torch.zeros(4000, 4)
    for k, size in enumerate(sizes):
        b[k::2, 2 * k : 2 * k + 2] = torch.randn(2000, 2, generator=generator) * size
    a = torch.linalg.qr(torch.randn(6, 4, generator=generator)).Q.T
    (item,) = open_source(lora(b, a)).items
    assert item.matrix.shape == (4000, 4)
    expected, found = (F.normalize(rows.double()) for rows in (b @ a, item.matrix))
    torch.testing.assert_close(found @ found.T, expected @ expected.T, rtol=0, atol=1e-4)


def test_products_that_span_all_dimensions_are_read_as_they_are():
    generator = torch.Generator().manual_seed(0)
    b, a = torch.randn(30, 8, generator=generator), torch.randn(8, 6, generator=generator)
    (found,) = analyze(lora(b, a)).layers
    assert (found.n, found.d) == (30, 6)
    b[3, 2] = torch.nan
    for rank in (1, 4):
        (found,) = analyze(lora(b[:, 3 - rank : 3] if rank == 1 else b[:, :4], a[:rank])).layers
        assert "row 3 holds NaN" in found.reason


def test_a_product_of_rank_one_has_no_directions_to_compare():
    """All its rows are parallel by construction; they were called a collapsed pair."""
    generator = torch.Generator().manual_seed(0)
    b, a = torch.randn(30, 1, generator=generator), torch.randn(1, 6, generator=generator)
    report = analyze(lora(b, a))
    (found,) = report.layers
    assert (found.status, found.kind, found.shape) == ("skipped", "lora", (30, 6))
    assert found.reason == "a product of rank 1: all its rows are parallel by construction"
    assert report.totals.parameters == 36
    (rows,) = analyze({"w": b @ a}).layers
    assert rows.verdict == "collapsed pair"


@pytest.mark.parametrize("rank", [1, 4, 8])
def test_an_adapter_that_was_not_trained_is_no_failure(rank):
    """Its second factor is zero, as PEFT makes it; zero rows of a layer remain a failure."""
    report = analyze(lora(torch.zeros(30, rank), torch.ones(rank, 6)))
    (found,) = report.layers
    assert (found.status, report.totals.failed) == ("skipped", 0)
    assert "the adapter is not trained yet" in found.reason
    assert analyze({"w": torch.zeros(30, 6)}).layers[0].status == "failed"


def test_products_of_random_factors_are_read_against_products():
    """Their rows gather about the long axes of the factor A, and were called clustered."""
    generator = torch.Generator().manual_seed(0)
    state = lora(*(torch.randn(*s, generator=generator) for s in ((200, 12), (12, 48))))
    (plain,) = analyze(state).layers
    (drawn,) = analyze(state, baseline="init").layers
    assert (plain.verdict, drawn.verdict) == ("clustered", "uniform")
    assert any("12 / 48" in note and '"init"' in note for note in plain.notes)
    assert any("products of Gaussian factors" in note for note in drawn.notes)
    assert plain.excess["half:2"] > 1.5
    assert drawn.excess["half:2"] == pytest.approx(1, abs=0.5)


def test_rows_of_a_product_that_gather_are_clustered_against_products_too():
    generator = torch.Generator().manual_seed(0)
    b, a = (torch.randn(*s, generator=generator) for s in ((200, 12), (12, 48)))
    (found,) = analyze(lora(b * torch.linspace(0.2, 1.5, 12), a), baseline="init").layers
    assert found.verdict == "clustered"


def test_whole_numbers_in_an_npy_file_are_points_as_in_a_table(tmp_path):
    points = np.random.default_rng(0).integers(-5, 6, (40, 4)) * 2 + 1
    np.save(tmp_path / "a.npy", points)
    np.savetxt(tmp_path / "a.csv", points, delimiter=",", fmt="%d")
    binary, text = (analyze(tmp_path / name).layers[0] for name in ("a.npy", "a.csv"))
    assert binary.status == text.status == "analysed"
    assert binary.max_cosine == text.max_cosine
