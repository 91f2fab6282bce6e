"""The simulated queue against closed forms, conservation and plain arithmetic."""

import math
from random import Random

import pytest
from pydantic import ValidationError

from benchmarks.speed import scale
from benchmarks.speed.scale import Load, Simulation, Site, Station, Worker, full_at
from stabledreamer.runtime.root import ROOT

BATCH = 10
FREE = 1e12  # a rate that costs no time


def load(**changes) -> Load:
    nothing = {"core_seconds": 0, "messages": 0, "claim_messages": 0, "rows": 0}
    nothing |= {"database_bytes": 0, "stored_bytes": 0, "stored_files": 0}
    return Load(**{"batch": BATCH, "gpu_seconds": 2.0, **nothing, **changes})


def worker(**changes) -> Worker:
    usual = {"cores": 1, "failures_per_hour": 0, "restart_seconds": 0, "ahead": 2}
    return Worker(**(usual | changes))


def site(**changes) -> Site:
    rates = ("messages_per_second", "bytes_per_second", "files_per_second")
    return Site(**(dict.fromkeys(rates, FREE) | changes))


BUSY = load(core_seconds=3, messages=50, claim_messages=20, stored_bytes=7e6, stored_files=40)
SLOW = site(messages_per_second=100, bytes_per_second=1e7, files_per_second=80)


def test_one_worker_alone_takes_the_sum_of_its_batches():
    outcome = Simulation(load(), worker(), site(), 1, 95).run()
    assert outcome.makespan == pytest.approx(95 * 2.0)
    assert outcome.computed == pytest.approx(95 * 2.0)
    assert outcome.shares["gpu"] == pytest.approx(1.0)


def test_one_worker_that_may_not_go_ahead_takes_the_sum_of_all_services():
    outcome = Simulation(BUSY, worker(ahead=1), SLOW, 1, 40).run()
    claim, record, store = 20 / 100, 10 * 50 / 100, max(10 * 7e6 / 1e7, 10 * 40 / 80)
    assert outcome.makespan == pytest.approx(4 * (claim + 10 * 2.0 + 10 * 3.0 + record + store))


def test_a_pipeline_takes_its_first_batch_and_then_the_slowest_part_of_each():
    outcome = Simulation(load(core_seconds=3), worker(ahead=9), site(), 1, 80).run()
    assert outcome.makespan == pytest.approx(10 * 2.0 + 8 * 10 * 3.0)


@pytest.mark.parametrize("used", [0.5, 0.8])
def test_the_mean_wait_for_a_gpu_is_pollaczek_and_khinchines(used):
    one = load(batch=1)
    outcome = Simulation(one, worker(ahead=9), site(), 1, 50_000, 3, used / 2.0).run()
    assert outcome.mean_wait == pytest.approx(used * 2.0 / (2 * (1 - used)), rel=0.05)
    assert outcome.shares["gpu"] == pytest.approx(used, rel=0.02)


def test_the_mean_wait_at_a_station_is_that_of_an_m_m_1_queue():
    random, station, now, waited, count = Random(5), Station(), 0.0, 0.0, 200_000
    for _ in range(count):
        now += random.expovariate(0.7)
        seconds = random.expovariate(1.0)
        waited += station.serve(now, seconds) - seconds - now
    assert waited / count == pytest.approx(0.7 / (1.0 - 0.7), rel=0.05)


def test_batches_of_a_poisson_process_come_at_its_rate():
    outcome = Simulation(load(), worker(), site(), 50, 100_000, 1, 10.0).run()
    assert outcome.makespan == pytest.approx(100_000 / 10.0, rel=0.02)


@pytest.mark.parametrize("workers", [1, 7, 50])
def test_every_prompt_is_stored_once_however_often_workers_fail(workers):
    often = worker(failures_per_hour=60, restart_seconds=30)
    outcome = Simulation(BUSY, often, SLOW, workers, 2_995).run()
    assert outcome.failures > 50
    assert outcome.stored == [1] * 300
    assert outcome.computed - outcome.lost == pytest.approx(2_995 * 2.0)


def test_failures_cost_what_theory_says():
    # A batch of S seconds that starts again after failures at rate r: (e^(r S) - 1) / r on average.
    rate, seconds = 1 / 40.0, 10 * 2.0
    unlucky = worker(failures_per_hour=3600 * rate, restart_seconds=5)
    outcome = Simulation(load(), unlucky, site(), 4, 200_000, 2).run()
    batches = 20_000
    assert outcome.computed / batches == pytest.approx(math.expm1(rate * seconds) / rate, rel=0.02)
    assert outcome.failures / batches == pytest.approx(math.expm1(rate * seconds), rel=0.03)
    time = outcome.computed + 5 * outcome.failures
    assert outcome.makespan == pytest.approx(time / 4, rel=0.001)


@pytest.mark.parametrize("seed", range(40))
def test_no_part_works_more_than_all_the_time_nor_less_than_its_work(seed):
    random = Random(seed)
    some = {name: random.uniform(0, 30) for name in ("core_seconds", "messages", "claim_messages")}
    some |= {"stored_bytes": random.uniform(0, 1e7), "stored_files": random.uniform(0, 30)}
    asked = load(batch=random.randint(1, 30), gpu_seconds=random.uniform(0.1, 9), **some)
    failing = worker(cores=8, failures_per_hour=random.choice([0, 30]), ahead=random.randint(1, 4))
    workers, prompts = random.randint(1, 40), random.randint(1, 900)
    rate = random.choice([None, 0.5, 50.0])
    outcome = Simulation(asked, failing, SLOW, workers, prompts, seed, rate).run()
    assert all(0.0 <= share <= 1.0 + 1e-9 for share in outcome.shares.values())
    assert set(outcome.stored) == {1}
    work = {
        "cores": prompts * asked.core_seconds / 8 / workers,
        "bytes": prompts * asked.stored_bytes / 1e7,
        "files": prompts * asked.stored_files / 80,
        "gpu": outcome.computed / workers,
    }
    for part, seconds in work.items():
        assert outcome.shares[part] * outcome.makespan == pytest.approx(seconds), part
    claims = len(outcome.stored) + outcome.failures
    messages = prompts * asked.messages + claims * asked.claim_messages
    assert outcome.shares["database"] * outcome.makespan == pytest.approx(messages / 100)


def test_twice_the_workers_take_half_the_time_until_something_is_full():
    spans = [Simulation(BUSY, worker(cores=16), site(), n, 64_000).run().makespan for n in (8, 16)]
    assert spans[0] / spans[1] == pytest.approx(2.0, rel=0.01)


@pytest.mark.parametrize(
    ("part", "asked", "limit"),
    [
        ("database", {"messages": 40, "claim_messages": 100}, {"messages_per_second": 500}),
        ("bytes", {"stored_bytes": 5e6}, {"bytes_per_second": 5e7}),
        ("files", {"stored_files": 30}, {"files_per_second": 300}),
    ],
)
def test_a_shared_part_is_full_where_arithmetic_says_so(part, asked, limit):
    # Each serves 10 assets a second, a GPU makes half of one: so 20 workers fill it.
    asked, limited, prompts = load(**asked), site(**limit), 20_000
    assert full_at(asked, worker(), limited)[part] == pytest.approx(20.0)
    few, many, more = (Simulation(asked, worker(), limited, n, prompts).run() for n in (10, 40, 80))
    assert few.makespan == pytest.approx(prompts * 2.0 / 10, rel=0.02)
    assert few.shares[part] == pytest.approx(0.5, rel=0.02)
    for full in (many, more):
        assert full.makespan == pytest.approx(prompts / 10, rel=0.02)
        assert full.shares[part] > 0.97
        assert max(full.shares, key=full.shares.__getitem__) == part


def test_regions_share_the_work():
    whole = scale.read()
    one = whole.sites["SQLite"].model_copy(update={"regions": 1})
    four = one.model_copy(update={"regions": 4})
    alone = scale.region(whole, one, 8, 9_000)
    assert scale.region(whole, four, 32, 36_000) == alone
    assert full_at(whole.load, whole.worker, four) == {
        part: pytest.approx(4 * count)
        for part, count in full_at(whole.load, whole.worker, one).items()
    }


def test_the_same_seed_gives_the_same_figures():
    often = worker(failures_per_hour=60, restart_seconds=30)
    first, again, other = (
        Simulation(BUSY, often, SLOW, 5, 3_000, seed, 2.0).run() for seed in (0, 0, 1)
    )
    assert first == again != other


def test_settings_are_typed():
    known = scale.read().model_dump()
    assert scale.Scale.model_validate(known) == scale.read()
    for changes in ({"unknown": 1}, {"load": {**known["load"], "batch": 0}}, {"seed": "x"}):
        with pytest.raises(ValidationError):
            scale.Scale.model_validate(known | changes)


def test_the_page_shows_what_the_command_prints():
    page = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    whole = scale.read()
    assert scale.totals(whole.load, whole.prompts) in page
    assert scale.limits(whole) in page
    for site in whole.sites.values():
        assert scale.runs(whole, site, 10_000) in page
