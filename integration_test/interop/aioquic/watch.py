"""How cases wait: for a condition, under a name, until something that happens makes it true."""

import asyncio


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
        self.waits.append(what)
        while not condition():
            if why := broken():
                raise Failure(f"expected {what}, but {why}")
            await self._poked.wait()
        # Not reached when time is up: then waits tells what for.
        self.waits.remove(what)
