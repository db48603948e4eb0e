"""The adapter to aioquic: QUIC connections, dialed and accepted, through one UDP socket.

aioquic's QuicConnection does no input and output of its own: it is fed packets
and the time, and gives packets and events. That is what lets one socket serve
both directions; packets find their connection by destination connection id.

Where aioquic has no public way, this file uses attributes that begin with an
underscore, and nothing else in this program does:

- a server asks for a client certificate (_request_client_certificate);
- the peer's certificate is looked at (_peer_certificate);
- the peer's max_datagram_frame_size is looked at;
- 8 unidirectional streams are granted, not 128;
- the round trip and the probe timeout are looked at (_loss).
"""

import asyncio
import base64
import hashlib
import ssl
import sys
from dataclasses import dataclass

from aioquic import tls
from aioquic.buffer import Buffer
from aioquic.quic import events
from aioquic.quic.configuration import SMALLEST_MAX_DATAGRAM_SIZE, QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import QuicPacketType, pull_quic_header
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

ALPN = "quicpeer/1"
IDLE_TIMEOUT = 30
LARGEST_DATAGRAM_FRAME = 65535
SMALLEST_DATAGRAM_FRAME = 128
UNIDIRECTIONAL_STREAMS = 8

# aioquic does not say how much fits into a datagram, and one that does not fit
# stays at the head of its queue for good. Packets have 1,200 bytes (it does not
# look for more), of which this much may be taken: the first byte, the longest
# connection id, packet number, the AEAD's tag, and the frame's type and length.
LARGEST_DATAGRAM = SMALLEST_MAX_DATAGRAM_SIZE - (1 + 20 + 4 + 16) - 3


@dataclass
class Identity:
    """What a peer presents and whom it expects. Without a certificate it is anonymous."""

    cert: str
    key: str
    peer_id: str
    anonymous: bool = False


@dataclass
class Ending:
    """How a connection ended."""

    code: int
    transport: bool  # an error of QUIC or TLS, not an application's code
    here: bool  # this side closed it
    reason: str

    def is_alert(self):
        return self.transport and 0x100 <= self.code <= 0x1FF

    def __str__(self):
        kind = "QUIC error" if self.transport else "code"
        who = "this side" if self.here else "the peer or a timeout"
        return f"{kind} {self.code:#x} by {who} ({self.reason})"


def id_of(certificate):
    """A peer's id in its written form."""
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b32encode(hashlib.sha256(key).digest()).decode().rstrip("=").lower()


class Quic(QuicConnection):
    """aioquic's connection, with certificates on both sides and a judgement about them."""

    def __init__(self, peer_id, **arguments):
        super().__init__(**arguments)
        self.closed_here = False
        self._peer_id = peer_id
        self._local_max_streams_uni.value = UNIDIRECTIONAL_STREAMS
        self._local_max_streams_uni.sent = UNIDIRECTIONAL_STREAMS

    def _initialize(self, peer_cid):
        super()._initialize(peer_cid)
        self.tls._request_client_certificate = not self._is_client
        install = self.tls.update_traffic_key_cb

        def judge_and_install(direction, epoch, *rest):
            # TLS installs this key when the peer's CertificateVerify and Finished
            # were right, and before this side's handshake is complete: an error
            # here ends the handshake with an alert.
            if direction == tls.Direction.DECRYPT and epoch == tls.Epoch.ONE_RTT:
                self._judge()
            install(direction, epoch, *rest)

        self.tls.update_traffic_key_cb = judge_and_install

    def _judge(self):
        certificate = self.tls._peer_certificate
        if certificate is None:
            raise tls.AlertBadCertificate("no certificate")
        if id_of(certificate) != self._peer_id:
            raise tls.AlertBadCertificate("another peer's certificate")

    def close(self, *arguments, **named):
        self.closed_here |= self._close_event is None
        super().close(*arguments, **named)

    def peer_takes_datagrams(self):
        return (self._remote_max_datagram_frame_size or 0) >= SMALLEST_DATAGRAM_FRAME

    def smoothed_rtt(self):
        return self._loss._rtt_smoothed

    def probe_timeout(self):
        return self._loss.get_probe_timeout()


class Connection:
    """One connection on the endpoint's socket. Its handler, a Link, hears what happens on it."""

    def __init__(self, endpoint, quic, handler):
        self.quic = quic
        self.established = False
        self.carried = False  # whether anything of the peer's application came
        self.ending = None
        self._endpoint = endpoint
        self._timer = None
        self._flush_planned = False
        self.handler = handler(self)

    # What the handler does

    def open_unidirectional(self):
        return self.quic.get_next_available_stream_id(is_unidirectional=True)

    def next_stream(self):
        return self.quic.get_next_available_stream_id()

    def write(self, stream, data, fin=False):
        self.quic.send_stream_data(stream, data, fin)
        self._plan_flush()

    def reset(self, stream, code):
        self.quic.reset_stream(stream, code)
        self._plan_flush()

    def stop(self, stream, code):
        self.quic.stop_stream(stream, code)
        self._plan_flush()

    def send_datagram(self, data):
        self.quic.send_datagram_frame(data)
        self._plan_flush()

    def close(self, code, reason=""):
        # aioquic drops what is still to be sent when it closes.
        self.flush()
        self.quic.close(error_code=code, reason_phrase=reason)
        self.flush()

    # What the socket does

    def receive(self, data, address):
        self.quic.receive_datagram(data, address, self._endpoint.now())
        self._hear()
        self._plan_flush()

    def connect(self, address):
        self.quic.connect(address, self._endpoint.now())
        self._plan_flush()

    def flush(self):
        self._flush_planned = False
        if self.ending is not None:
            return
        for data, address in self.quic.datagrams_to_send(self._endpoint.now()):
            self._endpoint.transport.sendto(data, address)
        # Sending issues connection ids, too.
        self._hear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        at = self.quic.get_timer()
        if at is not None:
            self._timer = self._endpoint.loop.call_at(at, self._on_timer, at)

    def _plan_flush(self):
        # What is written in one go leaves together.
        if not self._flush_planned:
            self._flush_planned = True
            self._endpoint.loop.call_soon(self.flush)

    def _on_timer(self, at):
        self._timer = None
        # The loop may call a little early, by the resolution of its clock.
        self.quic.handle_timer(max(self._endpoint.now(), at))
        self._hear()
        self.flush()

    def _hear(self):
        while (event := self.quic.next_event()) is not None:
            self._on_event(event)
            self._endpoint.watch.poke()

    def _on_event(self, event):
        if isinstance(event, events.ConnectionIdIssued):
            self._endpoint.routes[event.connection_id] = self
        elif isinstance(event, events.ConnectionIdRetired):
            self._endpoint.routes.pop(event.connection_id, None)
        elif isinstance(event, events.ConnectionTerminated):
            # aioquic tells it three probe timeouts after the CONNECTION_CLOSE.
            self.ending = Ending(
                event.error_code,
                event.frame_type is not None,
                self.quic.closed_here,
                event.reason_phrase,
            )
            self.handler.on_ending()
        elif self.quic.closed_here:
            pass  # it came before the close, and nobody is there for it any more
        elif isinstance(event, events.HandshakeCompleted):
            self.established = True
            self.handler.on_established()
        elif isinstance(event, events.StreamDataReceived):
            self.carried = True
            self.handler.on_stream(event.stream_id, event.data, event.end_stream)
        elif isinstance(event, events.StreamReset):
            self.handler.on_reset(event.stream_id, event.error_code)
        elif isinstance(event, events.StopSendingReceived):
            self.handler.on_stop(event.stream_id, event.error_code)
        elif isinstance(event, events.DatagramFrameReceived):
            self.carried = True
            self.handler.on_datagram(event.data)


class Endpoint(asyncio.DatagramProtocol):
    """One UDP socket. handler makes a Link for each connection; incoming is how many it accepts."""

    def __init__(self, identity, watch, handler, incoming, datagrams):
        self.loop = asyncio.get_running_loop()
        self.now = self.loop.time
        self.watch = watch
        self.transport = None
        self.routes = {}
        self.accepted = []
        self._identity = identity
        self._handler = handler
        self._incoming = incoming
        self._client = self._configuration(is_client=True, datagrams=datagrams)
        self._server = None
        if incoming:
            self._server = self._configuration(is_client=False, datagrams=datagrams)

    @classmethod
    async def bind(cls, address, *arguments):
        loop = asyncio.get_running_loop()
        _, endpoint = await loop.create_datagram_endpoint(
            lambda: cls(*arguments), local_addr=address
        )
        return endpoint

    def address(self):
        return self.transport.get_extra_info("sockname")

    def dial(self, address):
        """Begins to connect, and returns the link that will be."""
        quic = Quic(self._identity.peer_id, configuration=self._client)
        connection = Connection(self, quic, self._handler)
        self.routes[quic.host_cid] = connection
        connection.connect(address)
        return connection.handler

    def close(self):
        self.transport.close()

    def _configuration(self, is_client, datagrams):
        configuration = QuicConfiguration(
            is_client=is_client,
            alpn_protocols=[ALPN],
            idle_timeout=IDLE_TIMEOUT,
            max_datagram_frame_size=LARGEST_DATAGRAM_FRAME if datagrams else None,
            # Any chain will do: the key is judged, not who signed for it. aioquic
            # checks CertificateVerify all the same.
            verify_mode=ssl.CERT_NONE,
        )
        if not self._identity.anonymous:
            configuration.load_cert_chain(self._identity.cert, self._identity.key)
        return configuration

    # asyncio's half

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        try:
            header = pull_quic_header(
                Buffer(data=data), host_cid_length=self._client.connection_id_length
            )
        except ValueError:
            return
        connection = self.routes.get(header.destination_cid)
        if connection is None and self._may_begin(header, data):
            connection = self._accept(header.destination_cid)
        if connection is not None:
            connection.receive(data, address)

    def error_received(self, error):
        print(f"the socket says: {error}", file=sys.stderr)

    def _may_begin(self, header, data):
        return (
            len(self.accepted) < self._incoming
            and len(data) >= SMALLEST_MAX_DATAGRAM_SIZE
            and header.packet_type == QuicPacketType.INITIAL
            and header.version in self._server.supported_versions
        )

    def _accept(self, destination):
        quic = Quic(
            self._identity.peer_id,
            configuration=self._server,
            original_destination_connection_id=destination,
        )
        connection = Connection(self, quic, self._handler)
        self.routes[destination] = connection
        self.routes[quic.host_cid] = connection
        self.accepted.append(connection.handler)
        return connection
