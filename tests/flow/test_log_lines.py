"""Log lines hold what a stage was told, how fast it is and what it holds, as key=value."""

import stabledreamer.runtime.log_lines as lines
from stabledreamer.runtime.settings import load_config
from stabledreamer_core.optimization.observe import Progress


def test_values_as_words():
    facts = {"a": 1, "b": {"c": 0.123456789, "d": None}, "e": "two words", "f": [1, 2], "g": True}
    assert lines.key_values(facts) == "a=1 b.c=0.123457 b.d=None e='two words' f=1,2 g=True"
    assert lines.key_values({"losses": [0.0] * 100, "long": "x" * 500}) == f"long={'x' * 60}"


def test_a_stage_s_settings():
    words = lines.key_values({"stage1": load_config().stage1}).split()
    assert f"stage1.iterations={load_config().stage1.iterations}" in words
    assert any(word.startswith("stage1.density.strategy=") for word in words)


def test_the_rate_is_of_this_process(monkeypatch):
    told, now = [], [100.0]

    class Log:
        def info(self, text, *arguments):
            told.append(text % arguments)

    monkeypatch.setattr(lines, "logger", Log)
    monkeypatch.setattr(lines.time, "monotonic", lambda: now[0])
    update = lines.log_progress("stage 1")
    for step in (501, 502, 560, 600):  # resumed at 500
        now[0] += 1.0 if step < 560 else 24.0
        update(Progress(step, 600, 0.5, 1.0))
    assert len(told) == 1 and "step=600 of=600 loss=0.5" in told[0]
    assert "iterations_per_second=1.98" in told[0] and "memory_mb=" in told[0]
