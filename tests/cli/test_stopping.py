"""Ctrl-C and SIGTERM are heeded wherever they come, and what is cleaned up is left in peace."""

import os
import signal
import subprocess
import sys
import time

import pytest

from stabledreamer.runtime import stopping

# The real command line, with `body` in place of what a subcommand does. `send` is synchronous: the
# handler runs before it returns.
PROGRAM = """
import contextlib, os, signal, sys, time, weakref

signal.signal(signal.SIGINT, signal.default_int_handler)  # pytest in the background ignores it
from stabledreamer.cli import main, view
from stabledreamer.runtime import stopping

how, patience_s = getattr(signal, sys.argv.pop(1)), float(sys.argv.pop(1))
if patience_s:
    stopping.PATIENCE_S = patience_s

def send():
    signal.raise_signal(how)

def go_on():
    print("went on", flush=True)
    time.sleep(20.0)
    return 0

def body(_):
{body}

from cyclopts import App
view.app = App(name="view")  # imported when it is called
view.app.default(lambda dir, /: body(dir))
sys.exit(main.main(["view", "asset"]))
"""
LOST = {
    "in a weak reference's callback": """
class Thing: pass
thing = Thing()
reference = weakref.ref(thing, lambda _: send())
del thing
""",
    "in __del__": """
class Thing:
    def __del__(self): send()
Thing()
""",
    "in a library that catches everything": """
try:
    send()
except BaseException:
    pass
""",
}
BOTH = pytest.mark.parametrize("how", ["SIGINT", "SIGTERM"])


def run(how: str, body: str, patience_s: float = 0.0) -> tuple[int, str, str, float]:
    """Exit code, stdout, stderr, seconds."""
    indented = "\n".join(f"    {line}" for line in body.strip().splitlines())
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.replace("{body}", indented), how, str(patience_s)],
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout, done.stderr, time.monotonic() - began


def assert_stopped(code: int, errors: str) -> None:
    assert code == 130, errors
    assert errors.startswith("\ninterrupted; ") and errors.count("\n") == 2, errors


@BOTH
@pytest.mark.parametrize("lost", LOST)
def test_a_stop_that_gets_lost_ends_the_process_after_a_while(lost, how):
    code, out, errors, seconds = run(how, LOST[lost] + "return go_on()", patience_s=0.5)
    assert_stopped(code, errors)
    assert out == "went on\n" and seconds < 10.0


@BOTH
@pytest.mark.parametrize("lost", LOST)
def test_a_stop_that_gets_lost_is_heeded_at_the_next_check(lost, how):
    code, out, errors, _ = run(how, LOST[lost] + "stopping.check()\nreturn go_on()")
    assert_stopped(code, errors)
    assert out == ""


@BOTH
@pytest.mark.parametrize(
    "outcome",
    [
        "raise RuntimeError('of their own')",
        "raise OSError(28, 'no space')",
        "sys.exit(3)",
        "return 1",
    ],
)
def test_what_others_make_of_a_stop_is_a_stop(outcome, how):
    body = f"try:\n    send()\nexcept BaseException:\n    {outcome}"
    code, _, errors, _ = run(how, body)
    assert_stopped(code, errors)


def test_without_a_stop_an_error_stays_one():
    code, _, errors, _ = run("SIGINT", "raise RuntimeError('of their own')")
    assert code == 1
    assert "Traceback" in errors and "report the lines above" in errors


def test_without_a_stop_what_python_drops_is_told():
    body = "class Thing:\n    def __del__(self): raise ValueError\nThing()\nreturn 0"
    code, _, errors, _ = run("SIGINT", body)
    assert code == 0 and "Exception ignored" in errors


def test_a_second_sigterm_cuts_no_clean_up_short():
    body = """
try:
    send()
finally:
    send()
    time.sleep(1.0)
    print("cleaned up", flush=True)
"""
    code, out, errors, _ = run("SIGTERM", body)
    assert_stopped(code, errors)
    assert out == "cleaned up\n"


def test_a_second_ctrl_c_ends_at_once():
    body = "try:\n    send()\nfinally:\n    send()\n    go_on()"
    code, _, errors, seconds = run("SIGINT", body)
    assert_stopped(code, errors)
    assert seconds < 8.0


def test_a_sigterm_that_prefect_takes_is_heeded_too():
    """In a flow, Prefect has a handler of its own in place, and raises an exception of its own."""
    body = """
from prefect.utilities.engine import capture_sigterm
with capture_sigterm():
    with contextlib.suppress(BaseException):
        send()
    stopping.check()
return go_on()
"""
    code, out, errors, _ = run("SIGTERM", body)
    assert_stopped(code, errors)
    assert out == ""


def test_a_signal_that_was_ignored_stays_ignored():
    """As for a shell's background jobs."""
    process = subprocess.run(
        [sys.executable, "-c", IGNORING], capture_output=True, text=True, timeout=60
    )
    assert (process.returncode, process.stdout) == (0, "False\n"), process.stderr


IGNORING = """
import signal
from stabledreamer.runtime import stopping
signal.signal(signal.SIGINT, signal.SIG_IGN)
with stopping.heeded(lambda: None):
    signal.raise_signal(signal.SIGINT)
    print(stopping.asked())
"""


def test_another_signal_is_no_stop():
    """Python tells of every signal that has a handler."""
    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    try:
        with stopping.heeded(os.abort) as watch:
            watch.patience_s = 0.0
            signal.raise_signal(signal.SIGUSR1)
            time.sleep(0.3)
            assert not stopping.asked()
            stopping.check()
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_afterwards_all_is_as_it_was():
    hook = sys.unraisablehook
    handlers = [signal.getsignal(number) for number in stopping.SIGNALS]
    with stopping.heeded(os.abort) as watch:
        assert [signal.getsignal(n) for n in stopping.SIGNALS] == [watch.handle] * 2
    assert [signal.getsignal(number) for number in stopping.SIGNALS] == handlers
    assert signal.set_wakeup_fd(-1) == -1
    assert sys.unraisablehook is hook
    assert not stopping.asked()
    stopping.check()
