"""The suite's own judgement: what counts as having become slower."""

from benchmarks.compare import losses

EARLIER = (
    "case,ours_seconds,speed_ratio,ratio_gram\nsmall,1.0,10.0,\nlarge,2.0,3.0,4.0\ngone,1,1,1\n"
)


def test_a_loss_of_more_than_a_tenth_is_named(tmp_path):
    earlier = tmp_path / "engine.csv"
    earlier.write_text(EARLIER)
    now = [
        {"case": "small", "ours_seconds": 9.0, "speed_ratio": 9.5},
        {"case": "large", "ours_seconds": 1.0, "speed_ratio": 2.0, "ratio_gram": 4.5},
    ]
    assert losses(earlier, now) == ["large: speed_ratio 3 -> 2.0", "gone: not run any more"]
