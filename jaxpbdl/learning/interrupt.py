"""Ctrl-C and SIGTERM that wait for a safe moment."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interruption:
    """The signal that arrived, if any."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def reraise(self) -> None:
        """What the signal requested: the handler of the caller, who may know more than a fit does.
        Where it returns or there is none, KeyboardInterrupt or SystemExit with code 128 + signal.
        """
        if self.signal is None:
            return
        handler = signal.getsignal(self.signal)  # of the caller again, since the signal came
        if callable(handler):
            handler(self.signal, None)
        if self.signal == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + self.signal)


@contextmanager
def deferred(enabled: bool = True) -> Iterator[Interruption]:
    """Within it the first Ctrl-C or SIGTERM is only noted; a second one acts at once. Python
    delivers signals to the main thread only: elsewhere this does nothing."""
    interruption = Interruption()
    if not enabled or threading.current_thread() is not threading.main_thread():
        yield interruption
        return
    before = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def note(number: int, frame: FrameType | None) -> None:
        interruption.signal = number
        restore()

    for number in before:
        signal.signal(number, note)
    try:
        yield interruption
    finally:
        restore()
