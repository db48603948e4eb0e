"""What is remembered of datagrams that came: their numbers, and pieces of messages."""

import collections

REMEMBERED_NUMBERS = 8192
INCOMPLETE_MESSAGES, INCOMPLETE_BYTES, INCOMPLETE_SECONDS = 8, 262144, 1
REMEMBERED_MESSAGES = 256


class Numbers:
    """The datagram numbers that were seen, and when a missing one was noticed."""

    def __init__(self):
        self._highest = -1
        self._missing = {}  # of the newest; to the time when the first higher one came

    def see(self, number, now):
        """Whether a number is new; it is not any more then."""
        if number <= self._highest:
            return self._missing.pop(number, None) is not None
        oldest = max(number - REMEMBERED_NUMBERS + 1, 0)
        for missing in range(max(self._highest + 1, oldest), number):
            self._missing[missing] = now
        for forgotten in [missing for missing in self._missing if missing < oldest]:
            del self._missing[forgotten]
        self._highest = number
        return True

    def noticed(self, end, since):
        """When the last of the missing numbers below end was noticed, None without any.

        Those above the highest were noticed with the frame that told of them, at since.
        """
        if end > self._highest + 1:
            return since
        times = (min(at, since) for number, at in self._missing.items() if number < end)
        return max(times, default=None)


class Assembly:
    """A message of which some pieces have come. It holds what came, not what is announced."""

    def __init__(self, total, now):
        self.total = total
        self.begun = now
        self._runs = {}  # offset to bytes; they do not touch

    def size(self):
        return sum(map(len, self._runs.values()))

    def add(self, offset, payload):
        """Takes a piece; False if it disagrees with an earlier one."""
        for at, run in list(self._runs.items()):
            first, last = max(at, offset), min(at + len(run), offset + len(payload))
            if first > last:
                continue
            if run[first - at : last - at] != payload[first - offset : last - offset]:
                return False
            del self._runs[at]
            if at < offset:
                payload = run[: offset - at] + payload
                offset = at
            payload += run[max(offset + len(payload) - at, 0) :]
        self._runs[offset] = payload
        return True

    def whole(self):
        return self._runs[0] if len(self._runs.get(0, b"")) == self.total else None


class Incomplete:
    """The messages of one session of which some pieces are missing (Rule 14)."""

    def __init__(self):
        self.dropped = 0
        self._assemblies = {}  # by message id, the oldest first
        # Whose further pieces are ignored: those that are complete or given up.
        self._done = collections.deque(maxlen=REMEMBERED_MESSAGES)

    def add(self, piece, now):
        """Takes a fragment; returns its message if that is whole now."""
        for message, assembly in list(self._assemblies.items()):
            if now - assembly.begun > INCOMPLETE_SECONDS:
                self._drop(message)
        if piece.message in self._done:
            return None
        assembly = self._assemblies.setdefault(piece.message, Assembly(piece.total, now))
        if assembly.total != piece.total or not assembly.add(piece.offset, piece.payload):
            self._drop(piece.message)
            return None
        whole = assembly.whole()
        if whole is not None:
            del self._assemblies[piece.message]
            self._done.append(piece.message)
        while len(self._assemblies) > INCOMPLETE_MESSAGES or self._size() > INCOMPLETE_BYTES:
            self._drop(next(iter(self._assemblies)))
        return whole

    def _size(self):
        return sum(assembly.size() for assembly in self._assemblies.values())

    def _drop(self, message):
        del self._assemblies[message]
        self._done.append(message)
        self.dropped += 1
