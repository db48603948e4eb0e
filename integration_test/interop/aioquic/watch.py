"""How cases wait: for a condition, under a name, until something that happens makes it true."""

import asyncio
import contextlib


class Failure(Exception):
    """Something else came than what the case expects."""


class Watch:
    def __init__(self):
        self.waits = []
        self._poked = asyncio.Event()

    def poke(self):
        """Says that something has happened: who waits looks again."""
        self._poked.set()
        self._poked = asyncio.Event()

    async def until(self, what, condition, broken=lambda: None):
        """Waits for a condition. broken tells why it cannot come true any more."""
        with self._named(what):
            while not condition():
                if why := broken():
                    raise Failure(f"expected {what}, but {why}")
                await self._poked.wait()

    @contextlib.contextmanager
    def _named(self, what):
        self.waits.append(what)
        try:
            yield
        except asyncio.CancelledError:
            raise  # keeps the name, for whoever says what was waited for
        except Failure:
            self.waits.remove(what)
            raise
        else:
            self.waits.remove(what)
