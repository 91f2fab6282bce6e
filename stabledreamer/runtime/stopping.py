"""Stops that are always heeded: SIGINT and SIGTERM, whatever becomes of their exception.

Python drops an exception that comes in a weak reference's callback or in __del__; libraries catch
it, or make an error of their own of it. So the signal itself is remembered: `check` raises again
between steps, and where that does not help, a thread ends the process after a while. A run goes on
after that as after a kill -9. A handler raises but once, so that no clean-up is cut short.
"""

import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM)
PATIENCE_S = 10.0  # for the main thread to clean up
EXIT_CODE = 130


class Watch:
    """The signals that came, and what is done about them."""

    def __init__(self, last_words: Callable[[], None]) -> None:
        self.patience_s = PATIENCE_S
        self.over = threading.Event()
        # Python writes each signal's number here when it comes, before any handler runs and
        # whoever has put one in place, as Prefect does in a flow. Nothing is ever taken out.
        self.told, self.teller = socket.socketpair()
        self.told.setblocking(False)
        self.teller.setblocking(False)
        self._last_words = last_words
        self._raised = False
        self._ending = threading.Lock()  # never let go: the process ends once

    def signals(self) -> list[int]:
        """Those of `SIGNALS` that came, in their order."""
        try:
            numbers = self.told.recv(4096, socket.MSG_PEEK)
        except BlockingIOError:
            return []
        return [number for number in numbers if number in SIGNALS]

    def handle(self, *_: object) -> None:
        """A signal's handler: raise KeyboardInterrupt, the first time."""
        if not self._raised:
            self._raised = True
            raise KeyboardInterrupt

    def end(self) -> NoReturn:
        """Say the last words and end the process, from whichever thread comes first."""
        self._raised = True
        self._ending.acquire()
        try:
            self._last_words()
        finally:  # tearing down torch and Prefect takes seconds that nobody wants to wait
            os._exit(EXIT_CODE)

    def watch(self) -> None:
        """End the process when patience does, or at once when Ctrl-C is pressed again."""
        select.select([self.told], [], [])
        while not self.signals():  # it was another signal, or the end of the block
            if self.over.wait(0.1):
                return
        deadline = time.monotonic() + self.patience_s
        while time.monotonic() < deadline and self.signals().count(signal.SIGINT) < 2:
            if self.over.wait(0.05):
                return
        self.end()


_watches: list[Watch] = []  # the blocks of `heeded` that the program is in


@contextmanager
def heeded(last_words: Callable[[], None]) -> Iterator[Watch]:
    """Heed SIGINT and SIGTERM: they end the block, and with it the process, with `EXIT_CODE`.

    In the main thread alone. A signal that the process was started to ignore stays ignored.

    Args:
        last_words: called before the process ends, in any thread.
    """
    watch, tell = Watch(last_words), sys.unraisablehook
    found = {number: signal.getsignal(number) for number in SIGNALS}
    before = {number: one for number, one in found.items() if one is not signal.SIG_IGN}
    thread = threading.Thread(target=watch.watch, name="stopping", daemon=True)
    thread.start()
    descriptor = signal.set_wakeup_fd(watch.teller.fileno(), warn_on_full_buffer=False)
    _watches.append(watch)
    try:
        # What Python drops after a stop is the stop, and `check` will raise it.
        sys.unraisablehook = lambda dropped: None if asked() else tell(dropped)
        for number in before:
            signal.signal(number, watch.handle)
        yield watch
    except KeyboardInterrupt:
        watch.end()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(descriptor)
        sys.unraisablehook = tell
        _watches.remove(watch)
        watch.over.set()
        watch.teller.send(b"\0")  # wakes the thread
        thread.join()
        watch.told.close()
        watch.teller.close()


def asked() -> bool:
    """Whether a stop was asked for; never outside of `heeded`, as in a Prefect worker's runs."""
    return any(watch.signals() for watch in _watches)


def check() -> None:
    """Raise KeyboardInterrupt if a stop was asked for: at points where stopping is easy."""
    if asked():
        raise KeyboardInterrupt
