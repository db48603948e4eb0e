"""A link: its own stream, its datagrams, and the sessions on it (sections 4, 6 and 9)."""

import asyncio
import os
import sys

import codec
import services
from arrivals import Incomplete, Numbers
from codec import Datagram, Frame, FrameReader, Malformed, Reader, encode_frame
from endpoint import LARGEST_DATAGRAM
from session import Session

NORMAL = 0x00
VIOLATION = 0x01
GOING_AWAY = 0x05
UNSUPPORTED = 0x07
LINK_STREAM = b"\x00"
HEARTBEAT_EVERY = 5
LARGEST_MESSAGE = 65536
LONGEST_FRAGMENT_HEAD = 1 + 5 * 8
EARLY_BYTES, EARLY_DATAGRAMS, EARLY_SECONDS = 65536, 64, 1

INSTANCE_ID = os.urandom(16)


class Link:
    """What there is on one connection. The connection calls the methods that begin with on_."""

    def __init__(self, connection, watch, more_settings=b""):
        self.connection = connection
        self.watch = watch
        self.numbers = Numbers()
        self.sessions = []
        self.settings_read = None
        self.goaway_sent = None
        self.goaway_read = None
        self.pongs = []
        self.echoes = []
        self.stopped_streams = {}  # unidirectional ones that the peer stopped, and its codes
        self._dropped = 0
        self.late = 0
        self._more_settings = more_settings
        self._next_number = 0
        self._next_message = {}  # by session: the id of its next fragmented message
        self._by_stream = {}
        self._by_id = {}
        self._acted_on = 0  # how many of the peer's sessions, those below the highest included
        self._link_stream = None
        self._unidirectional = {}  # the peer's: bytes of a type to come, a reader, None if stopped
        self._early = []
        self._incomplete = {}  # by session
        self._last_word = None

    # What is so

    def ended(self):
        return self.connection.ending

    def now(self):
        return asyncio.get_running_loop().time()

    def later(self, seconds, action):
        return asyncio.get_running_loop().call_later(seconds, action)

    def grace_left(self, since):
        """How long to wait still for what was noticed missing at a time; None is nothing."""
        if since is None:
            return 0
        grace = min(max(self.connection.quic.smoothed_rtt() / 2, 0.010), 0.250)
        return since + grace - self.now()

    def served(self, protocol):
        """The peer's sessions for a protocol, of which OPEN was read."""
        theirs = (s for s in self.sessions if not s.opened_here and s.open is not None)
        return [session for session in theirs if session.open.protocol == protocol]

    def dropped(self):
        """Messages and datagrams that were of no use, besides late messages."""
        return self._dropped + sum(incomplete.dropped for incomplete in self._incomplete.values())

    async def until(self, what, condition):
        """Waits for a condition that only this link can make true."""
        await self.watch.until(
            what,
            condition,
            lambda: self.ended() and f"the link ended with {self.ended()}",
        )

    # What cases and services do

    def prepare(self):
        """A session that is not opened yet: messages may be sent early."""
        session = Session(self, self.connection.next_stream(), opened_here=True)
        self._add(session)
        return session

    def open(self, protocol, metadata=b""):
        session = self.prepare()
        session.start(protocol, metadata)
        return session

    def write(self, data):
        """Writes to the link stream."""
        self.connection.write(self._link_stream, data)

    def ping(self, token):
        self.write(encode_frame(Frame("PING", token=token)))

    def send_goaway(self):
        # Lower streams whose OPEN is still to come count as acted on: they get a
        # REJECT, and a number between sessions that were served would lie.
        first_refused = self._acted_on << 1 | self._peers_bit()
        self.goaway_sent = Frame(
            "GOAWAY", code=GOING_AWAY, reason="", deadline=0, first_refused=first_refused
        )
        self.write(encode_frame(self.goaway_sent))

    def close(self, code, reason=""):
        self.connection.close(code, reason)

    # Datagrams out. All return the highest number that was used.

    def send(self, kind, **fields):
        number = self.take_number()
        self.connection.send_datagram(codec.encode_datagram(Datagram(kind, number, **fields)))
        return number

    def take_number(self):
        number = self._next_number
        self._next_number += 1
        return number

    def heartbeat(self, token):
        self.send("heartbeat", token=token)

    def send_message(self, session, payload):
        whole = Datagram("message", self._next_number, session=session, payload=payload)
        if len(codec.encode_datagram(whole)) > LARGEST_DATAGRAM:
            return self.send_fragments(session, payload)
        return self.send("message", session=session, payload=payload)

    def send_bundle(self, session, payloads, padding):
        items = [(session, payload) for payload in payloads]
        if padding:
            items.append((codec.PADDING_SESSION, bytes(padding)))
        return self.send("bundle", items=items)

    def send_fragments(self, session, payload, backwards=False):
        message = self._next_message.get(session, 0)
        self._next_message[session] = message + 1
        fields = {"session": session, "message": message, "total": len(payload)}
        room = LARGEST_DATAGRAM - LONGEST_FRAGMENT_HEAD
        offsets = range(0, len(payload), room)
        for offset in reversed(offsets) if backwards else offsets:
            piece = payload[offset : offset + room]
            number = self.send("fragment", offset=offset, payload=piece, **fields)
        return number

    # What the connection says

    def on_established(self):
        if not self.connection.quic.peer_takes_datagrams():
            self.close(UNSUPPORTED, "no datagrams")
            return
        self._link_stream = self.connection.open_unidirectional()
        settings = encode_frame(Frame("SETTINGS", instance_id=INSTANCE_ID), self._more_settings)
        self.write(LINK_STREAM + settings)
        self._beat()

    def on_stream(self, stream, data, fin):
        if stream & 2:
            self._on_unidirectional(stream, data, fin)
            return
        self._session_on(stream).on_data(data, fin)

    def on_reset(self, stream, code):
        if not stream & 2:
            self._session_on(stream).on_reset(code)
        elif isinstance(self._unidirectional.get(stream), FrameReader):
            self._on_violation("the link stream is reset")

    def on_stop(self, stream, code):
        if not stream & 2:
            self._session_on(stream).on_stop(code)
        elif stream == self._link_stream:
            self._on_violation("the link stream is stopped")
        else:
            self.stopped_streams[stream] = code

    def on_datagram(self, data):
        try:
            datagram = codec.decode_datagram(data)
        except Malformed as why:
            self._on_malformed_datagram(why)
            return
        if not self.numbers.see(datagram.number, self.now()):
            self._dropped += 1
            return
        if datagram.kind == "message":
            self._on_item(datagram.session, datagram.payload)
        elif datagram.kind == "bundle":
            for session, payload in datagram.items:
                if session != codec.PADDING_SESSION:
                    self._on_item(session, payload)
        elif datagram.kind == "fragment":
            self._on_item(datagram.session, datagram)
        elif datagram.kind == "heartbeat":
            self.send("heartbeat-echo", token=datagram.token)
        elif datagram.kind == "heartbeat-echo":
            self.echoes.append(datagram.token)
        elif datagram.kind == "unknown":
            self._dropped += 1
        # A credit is for those who look at windows.
        for session in self.sessions:
            session.check_stragglers()

    def on_ending(self):
        for session in self.sessions:
            session.on_link_ended()

    # What sessions say

    def on_open(self, session):
        if self.goaway_sent is not None:
            session.reject(GOING_AWAY, "going away")
            return
        self._acted_on = max(self._acted_on, (session.id >> 1) + 1)
        services.serve(session)

    def on_last_word(self):
        """A session has sent what nothing answers: DONE or a reset."""
        self._last_word = self.now()

    def on_progress(self):
        """Ends the link when the peer leaves, and everything it had for this side was read."""
        if self.goaway_read is None or self.ended() is not None:
            return
        if not all(session.over() for session in self.sessions):
            return
        wait = 0
        if self._last_word is not None:
            wait = self._last_word + 3 * self.connection.quic.probe_timeout() - self.now()
        if wait > 0:
            self.later(wait, self.on_progress)
        else:
            self.close(NORMAL)

    def deliver_early(self, session):
        """Gives a session that was just accepted the messages that came before."""
        kept, self._early = self._early, []
        for entry in kept:
            at, session_id, item = entry
            if session_id != session.id:
                self._early.append(entry)
            elif self.now() - at <= EARLY_SECONDS:
                self._on_item(session_id, item)
            else:
                self._dropped += 1

    # The rest

    def _peers_bit(self):
        return 1 if self.connection.quic.configuration.is_client else 0

    def _add(self, session):
        self.sessions.append(session)
        self._by_stream[session.stream] = session
        self._by_id[session.id] = session

    def _session_on(self, stream):
        if stream not in self._by_stream:
            self._add(Session(self, stream, opened_here=False))
        return self._by_stream[stream]

    def _beat(self):
        if self.ended() is None:
            self.heartbeat(os.urandom(8))
            self.later(HEARTBEAT_EVERY, self._beat)

    def _on_violation(self, why):
        print(f"the link: {why}", file=sys.stderr)
        self.close(VIOLATION, str(why))

    def _on_unidirectional(self, stream, data, fin):
        known = self._unidirectional.setdefault(stream, b"")
        if known is None:
            return
        if isinstance(known, bytes):
            begun = Reader(known + data)
            try:
                kind = begun.integer()
            except codec.Short:
                self._unidirectional[stream] = known + data
                return
            if kind != 0:
                self._unidirectional[stream] = None
                if not fin:
                    self.connection.stop(stream, UNSUPPORTED)
                return
            if any(isinstance(other, FrameReader) for other in self._unidirectional.values()):
                self._on_violation("a second link stream")
                return
            known = self._unidirectional[stream] = FrameReader()
            data = begun.rest()
        try:
            for frame in known.feed(data):
                self._on_frame(frame)
            if fin:
                raise Malformed("the link stream has ended")
        except Malformed as why:
            self._on_violation(why)

    def _on_frame(self, frame):
        if (frame.name == "SETTINGS") != (self.settings_read is None):
            raise Malformed(f"{frame.name} at the wrong time")
        if frame.name == "SETTINGS":
            self.settings_read = frame
        elif frame.name == "PING":
            self.write(encode_frame(Frame("PONG", token=frame.token)))
        elif frame.name == "PONG":
            self.pongs.append(frame.token)
        elif frame.name == "GOAWAY":
            self.goaway_read = frame
            self.on_progress()
        else:
            raise Malformed(f"{frame.name} on the link stream")

    def _on_malformed_datagram(self, why):
        session = self._by_id.get(why.session)
        if session is not None and session.takes_messages():
            session.on_violation(why)
        else:
            self._dropped += 1

    def _on_item(self, session_id, item):
        """Takes a message, or a fragment of one, to where it belongs (Rule 1)."""
        session = self._by_id.get(session_id)
        if session is not None and session.takes_messages():
            if not isinstance(item, Datagram):
                session.on_message_datagram(item)
            elif item.total > LARGEST_MESSAGE:
                session.on_violation(f"a message of {item.total} bytes")
            else:
                incomplete = self._incomplete.setdefault(session_id, Incomplete())
                if (message := incomplete.add(item, self.now())) is not None:
                    session.on_message_datagram(message)
        elif session is not None and session.over():
            self.late += 1
        elif session_id & 1 == self._peers_bit() and (session is None or session.answer is None):
            self._keep_early(session_id, item)
        else:
            self._dropped += 1

    def _keep_early(self, session_id, item):
        self._early.append((self.now(), session_id, item))
        while len(self._early) > EARLY_DATAGRAMS or self._early_bytes() > EARLY_BYTES:
            self._early.pop()
            self._dropped += 1

    def _early_bytes(self):
        return sum(
            len(item.payload if isinstance(item, Datagram) else item) for _, _, item in self._early
        )
