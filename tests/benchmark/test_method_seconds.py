"""Seconds of a stage from those of its steps."""

from benchmarks.speed.methods import seconds_table


def test_a_stage_is_its_steps_with_a_new_target_and_those_without() -> None:
    """Ten steps, a new target every third: four of 2 s (the median of three) and six of .5 s."""
    recipes = {
        "first": ["stage1.iterations=10", "stage1.target_reuse=3"],
        "each": ["stage1.iterations=4", "stage1.target_reuse=1"],
    }
    times = {
        "first": {True: [1.0, 2.0, 30.0], False: [0.5]},
        "each": {True: [2.75], False: []},
    }
    lines = seconds_table(recipes, times, "stage1").splitlines()[2:]
    assert lines == [
        "| first | 4 | 2.000 | 0.500 | 11.0 | 1.00 |",
        "| each | 4 | 2.750 | 0.000 | 11.0 | 1.00 |",
    ]
