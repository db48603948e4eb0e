"""Runs the codec through the two files of test vectors, which explain themselves."""

import codec

# The names of fields in the vectors, where they are not ours with dashes, and those in hex.
FRAME_FIELDS = {"deadline_ms": "deadline", "retry_after_ms": "retry_after"}
TEXTS = {"reason", "protocol"}
BYTES = {"metadata", "payload", "token", "instance_id"}


class Wrong(Exception):
    """A vector with which the codec does not agree."""


def blocks(path):
    """Yields the blocks of a file as lists of pairs."""
    block = []
    with open(path, encoding="utf-8") as file:
        for line in [*file, ""]:
            line = line.strip()
            if line.startswith("#"):
                continue
            if line:
                key, _, value = line.partition(": ")
                block.append((key, value))
            elif block:
                yield block
                block = []


def unhex(text):
    return b"" if text == "-" else bytes.fromhex(text)


def expect(name, what, got, wanted):
    if got != wanted:
        raise Wrong(f"{name}: {what} is {got!r}, not {wanted!r}")


def read_stream(wire):
    """The frames of a stream, byte by byte as the worst network has it, and how it ends."""
    reader = codec.FrameReader()
    frames = []
    try:
        for at in range(len(wire)):
            frames.extend(reader.feed(wire[at : at + 1]))
    except codec.TooLong:
        return frames, "limit"
    except codec.Malformed:
        return frames, "malformed"
    return frames, "end" if reader.between_frames() else "truncated"


def frame_of(block):
    fields = {}
    for key, value in block:
        if key in ("name", "frame", "only", "wire"):
            continue
        field = key.replace("-", "_")
        field = FRAME_FIELDS.get(field, field)
        if field in BYTES:
            fields[field] = unhex(value)
        elif field in TEXTS:
            fields[field] = unhex(value).decode()
        else:
            fields[field] = int(value)
    return codec.Frame(dict(block)["frame"], **fields)


def try_frame(block):
    keys = dict(block)
    name, wire = keys["name"], unhex(keys["wire"])
    frames, outcome = read_stream(wire)
    if "stream" in keys:
        wanted = [] if keys["frames"] == "-" else keys["frames"].split()
        expect(name, "the list of frames", [frame.name for frame in frames], wanted)
        outcome = "violation" if outcome in ("limit", "malformed") else outcome
        expect(name, "the outcome", outcome, keys["stream"])
    elif "error" in keys:
        expect(name, "the list of frames", frames, [])
        expect(name, "the outcome", outcome, keys["error"])
    else:
        frame = frame_of(block)
        expect(name, "the outcome", outcome, "end")
        expect(name, "the list of frames", frames, [frame])
        if "only" not in keys:
            expect(name, "what is encoded", codec.encode_frame(frame).hex(), wire.hex())


def datagram_of(block):
    fields = {}
    for key, value in block:
        if key == "item":
            session, payload = value.split()
            fields.setdefault("items", []).append((int(session), unhex(payload)))
        elif key in BYTES:
            fields[key] = unhex(value)
        elif key not in ("name", "kind", "only", "wire"):
            fields[key] = int(value)
    return codec.Datagram(dict(block)["kind"], **fields)


def try_datagram(block):
    keys = dict(block)
    name, wire = keys["name"], unhex(keys["wire"])
    if keys["kind"] == "invalid":
        try:
            got = codec.decode_datagram(wire)
        except codec.Malformed as why:
            wanted = None if keys["session"] == "-" else int(keys["session"])
            expect(name, "the session to blame", why.session, wanted)
            return
        raise Wrong(f"{name}: read as {got!r}, and it is invalid")
    datagram = datagram_of(block)
    expect(name, "what is decoded", codec.decode_datagram(wire), datagram)
    if "only" not in keys:
        expect(name, "what is encoded", codec.encode_datagram(datagram).hex(), wire.hex())


def run(frames, datagrams):
    """Tries all vectors, and tells the result as the contract has it."""
    tried = 0
    for path, attempt in ((frames, try_frame), (datagrams, try_datagram)):
        for block in blocks(path):
            try:
                attempt(block)
            except (Wrong, codec.Malformed) as why:
                return {"ok": False, "why": f"{dict(block)['name']}: {why}"}
            tried += 1
    return {"ok": True, "tried": tried}
