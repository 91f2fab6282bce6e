"""What Prefect's server hears of a suite in batches, counted at the server."""

import pytest

from benchmarks.speed import messages

PROMPTS = ["a red bear", "a blue car", "a red hat", "a blue bear", "a red car", "a blue hat"]
MOST = 6  # an asset


@pytest.mark.slow
def test_an_asset_of_a_batched_suite_costs_the_server_few_messages(params, tmp_path, monkeypatch):
    for name in ("PREFECT_HOME", "PREFECT_SERVER_DATABASE_CONNECTION_URL"):
        monkeypatch.setenv(name, "")  # given back at the end
    options = ["--batch", "6", "--params", str(params)]
    with messages.counted_server(tmp_path / "prefect") as (api, counts):
        few = messages.count_suite(api, counts, PROMPTS, 6, tmp_path / "few", options)
        many = messages.count_suite(api, counts, PROMPTS, 12, tmp_path / "many", options)
    assert 6 * 1 <= many.total() - few.total() <= 6 * MOST
    assert many["message /api/events/in"] > few["message /api/events/in"]
    assert (tmp_path / "many" / "suite" / "a-blue-hat-s1" / "run.json").exists()
