"""Frames and datagrams of quicpeer/1, to bytes and back (sections 1, 5 and 6)."""

from types import SimpleNamespace

PADDING_SESSION = 2**62 - 1
LARGEST_NUMBER = 2**62 - 2
LONGEST_TIME = 2**31 - 1
LONGEST_REASON = 1024
LONGEST_OPEN = 16384


class Malformed(Exception):
    """Input that breaks the rules.

    Of a datagram, session is the one to blame, None if it could not be read.
    """

    def __init__(self, why, session=None):
        super().__init__(why)
        self.session = session


class TooLong(Malformed):
    """A frame whose length alone is a violation."""


class Short(Malformed):
    """The input ends too early."""


# Integers


def encode_integer(value):
    for size, mark in ((1, 0x00), (2, 0x40), (4, 0x80), (8, 0xC0)):
        if value < 1 << (8 * size - 2):
            encoded = bytearray(value.to_bytes(size, "big"))
            encoded[0] |= mark
            return bytes(encoded)
    raise ValueError(f"{value} is too large for an integer")


class Reader:
    """Takes fields off the front of some bytes."""

    def __init__(self, data):
        self.data = bytes(data)
        self.at = 0

    def left(self):
        return len(self.data) - self.at

    def take(self, size):
        if self.left() < size:
            raise Short(f"{size} bytes wanted, {self.left()} left")
        taken = self.data[self.at : self.at + size]
        self.at += size
        return taken

    def rest(self):
        return self.take(self.left())

    def integer(self):
        first = self.take(1)[0]
        value = first & 0x3F
        for byte in self.take((1 << (first >> 6)) - 1):
            value = value << 8 | byte
        return value

    def byte_string(self):
        return self.take(self.integer())


# Frames


class Frame(SimpleNamespace):
    """One frame: its name, and its fields as attributes."""

    def __init__(self, name, **fields):
        super().__init__(name=name, **fields)


# The fields of each type in their order, with their kinds, and the longest value.
TYPES = {
    0x00: ("SETTINGS", None, 1024),
    0x01: (
        "GOAWAY",
        {"code": "integer", "reason": "reason", "deadline": "time", "first_refused": "integer"},
        LONGEST_REASON + 1024,
    ),
    0x02: ("PING", {"token": "token"}, 1024),
    0x03: ("PONG", {"token": "token"}, 1024),
    0x10: ("OPEN", {"protocol": "text", "metadata": "bytes"}, LONGEST_OPEN + 1024),
    0x11: ("ACCEPT", {"metadata": "bytes"}, LONGEST_OPEN + 1024),
    0x12: (
        "REJECT",
        {"code": "integer", "reason": "reason", "retry_after": "time"},
        LONGEST_REASON + 1024,
    ),
    0x13: ("SIGNAL", {"payload": "bytes"}, 16384 + 1024),
    0x14: ("SIGNAL_ACK", {"taken": "integer"}, 1024),
    0x15: ("REPORT", {"received": "integer", "late": "integer", "dropped": "integer"}, 1024),
    0x16: (
        "CLOSE",
        {
            "code": "integer",
            "reason": "reason",
            "sent": "integer",
            "end": "integer",
            "signals_received": "integer",
            "signals_taken": "integer",
        },
        LONGEST_REASON + 1024,
    ),
    0x18: (
        "CLOSE_ACK",
        {
            "sent": "integer",
            "end": "integer",
            "received": "integer",
            "late": "integer",
            "dropped": "integer",
            "signals_received": "integer",
            "signals_taken": "integer",
        },
        1024,
    ),
    0x19: ("DONE", {"received": "integer", "late": "integer", "dropped": "integer"}, 1024),
}
TYPE_OF = {name: number for number, (name, _, _) in TYPES.items()}
LONGEST_UNKNOWN = 65536

# Of the settings, all but the instance id are integers.
SETTINGS = {
    0x01: "instance_id",
    0x02: "max_message",
    0x03: "max_signal",
    0x04: "max_signals",
    0x05: "window",
}


def encode_field(kind, value):
    if kind == "integer" or kind == "time":
        return encode_integer(value)
    if kind == "token":
        return value
    if kind in ("text", "reason"):
        value = value.encode()
    return encode_integer(len(value)) + value


def read_field(kind, reader):
    if kind == "integer":
        return reader.integer()
    if kind == "time":
        return min(reader.integer(), LONGEST_TIME)
    if kind == "token":
        return reader.take(8)
    value = reader.byte_string()
    if kind == "bytes":
        return value
    if kind == "reason" and len(value) > LONGEST_REASON:
        raise Malformed(f"a reason of {len(value)} bytes")
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise Malformed("a string that is not UTF-8") from None


def encode_block(number, value):
    """A frame, or a setting: both are a number, a length, and that many bytes."""
    return encode_integer(number) + encode_integer(len(value)) + value


def encode_frame(frame, trailing=b""):
    """The bytes of a frame. trailing goes behind its last field, as later versions may have it."""
    number = TYPE_OF[frame.name]
    if frame.name == "SETTINGS":
        value = b""
        for setting, name in SETTINGS.items():
            if hasattr(frame, name):
                stated = getattr(frame, name)
                value += encode_block(
                    setting, stated if name == "instance_id" else encode_integer(stated)
                )
    else:
        value = b"".join(
            encode_field(kind, getattr(frame, name)) for name, kind in TYPES[number][1].items()
        )
    return encode_block(number, value + trailing)


def decode_settings(value):
    stated = {}
    reader = Reader(value)
    while reader.left():
        number = reader.integer()
        setting = Reader(reader.byte_string())
        name = SETTINGS.get(number)
        if name is None:
            continue
        if name in stated:
            raise Malformed(f"the setting {name} comes twice")
        stated[name] = setting.take(16) if name == "instance_id" else setting.integer()
    return Frame("SETTINGS", **stated)


def decode_frame(number, value):
    """Reads the value of a known type. Bytes behind the last field are ignored."""
    name, fields, _ = TYPES[number]
    if name == "SETTINGS":
        return decode_settings(value)
    reader = Reader(value)
    frame = Frame(name, **{field: read_field(kind, reader) for field, kind in fields.items()})
    content = len(getattr(frame, "protocol", "").encode()) + len(getattr(frame, "metadata", b""))
    if content > LONGEST_OPEN:
        raise Malformed(f"{name} with {content} bytes")
    if getattr(frame, "dropped", 0) > getattr(frame, "received", 0):
        raise Malformed("more dropped than received")
    if getattr(frame, "signals_taken", 0) > getattr(frame, "signals_received", 0):
        raise Malformed("more signals taken than received")
    if getattr(frame, "sent", 0) > 0 and frame.end == 0:
        raise Malformed("messages were sent, but in no datagram")
    return frame


class FrameReader:
    """Cuts a stream into frames, skips unknown ones, and keeps no more than one frame's bytes."""

    def __init__(self):
        self._buffer = bytearray()
        self._skip = 0
        self._first = True

    def between_frames(self):
        return not self._buffer and not self._skip

    def feed(self, data):
        """Yields the known frames that are complete now; raises Malformed."""
        self._buffer += data
        while True:
            skipped = min(self._skip, len(self._buffer))
            del self._buffer[:skipped]
            self._skip -= skipped

            header = Reader(self._buffer[:16])
            try:
                number, length = header.integer(), header.integer()
            except Short:
                return
            if number not in TYPES:
                if self._first:
                    raise Malformed(f"the stream begins with a frame of type {number:#x}")
                if length > LONGEST_UNKNOWN:
                    raise TooLong(f"a frame of type {number:#x} with {length} bytes")
                del self._buffer[: header.at]
                self._skip = length
                continue
            name, _, longest = TYPES[number]
            if length > longest:
                raise TooLong(f"{name} with {length} bytes")
            if len(self._buffer) < header.at + length:
                return
            value = self._buffer[header.at : header.at + length]
            del self._buffer[: header.at + length]
            self._first = False
            yield decode_frame(number, value)


# Datagrams


class Datagram(SimpleNamespace):
    """One datagram: its kind and number, and what it carries as attributes."""

    def __init__(self, kind, number, **fields):
        super().__init__(kind=kind, number=number, **fields)


KINDS = {
    "message": 0x00,
    "bundle": 0x01,
    "fragment": 0x02,
    "heartbeat": 0x10,
    "heartbeat-echo": 0x11,
    "credit": 0x12,
}
KIND_OF = {number: name for name, number in KINDS.items()}
SHORTEST_HEARTBEAT = 20


def encode_datagram(datagram):
    head = encode_integer(KINDS[datagram.kind]) + encode_integer(datagram.number)
    if datagram.kind == "message":
        return head + encode_integer(datagram.session) + datagram.payload
    if datagram.kind == "bundle":
        return head + b"".join(
            encode_integer(session) + encode_integer(len(payload)) + payload
            for session, payload in datagram.items
        )
    if datagram.kind == "fragment":
        fields = (datagram.session, datagram.message, datagram.total, datagram.offset)
        return head + b"".join(map(encode_integer, fields)) + datagram.payload
    if datagram.kind == "credit":
        return head + encode_integer(datagram.end) + encode_integer(datagram.taken)
    return (head + datagram.token).ljust(SHORTEST_HEARTBEAT, b"\0")


def decode_datagram(data):
    reader = Reader(data)
    kind = KIND_OF.get(reader.integer(), "unknown")
    number = reader.integer()
    if number > LARGEST_NUMBER:
        raise Malformed("a number above 2^62-2")
    if kind == "unknown":
        return Datagram(kind, number)
    if kind in ("heartbeat", "heartbeat-echo"):
        return Datagram(kind, number, token=reader.take(8))
    if kind == "credit":
        credit = Datagram(kind, number, end=reader.integer(), taken=reader.integer())
        if credit.taken > credit.end:
            raise Malformed("a credit for more datagrams than there were numbers")
        return credit
    if kind == "message":
        return Datagram(kind, number, session=reader.integer(), payload=reader.rest())
    if kind == "bundle":
        return Datagram(kind, number, items=read_items(reader))
    return read_fragment(number, reader)


def read_items(reader):
    items = []
    while True:
        session = reader.integer()
        try:
            items.append((session, reader.byte_string()))
        except Short as why:
            raise Malformed(f"an item of a bundle: {why}", session) from None
        if not reader.left():
            return items


def read_fragment(number, reader):
    session = reader.integer()
    try:
        message, total, offset = reader.integer(), reader.integer(), reader.integer()
    except Short as why:
        raise Malformed(f"the head of a fragment: {why}", session) from None
    payload = reader.rest()
    if message > LARGEST_NUMBER:
        raise Malformed("a message id above 2^62-2", session)
    if not payload:
        raise Malformed("a fragment without payload", session)
    if offset + len(payload) > total:
        raise Malformed("a fragment beyond the end of its message", session)
    return Datagram(
        "fragment",
        number,
        session=session,
        message=message,
        total=total,
        offset=offset,
        payload=payload,
    )
