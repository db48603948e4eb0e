"""The cases of the matrix: what this side does, and what it must see."""

import asyncio
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import codec
from watch import Failure

FOR_PEER_TO_LEAVE = 2


def check(what, got, wanted):
    if got != wanted:
        raise Failure(f"{what}: expected {wanted!r}, got {got!r}")


def counts(session):
    """Messages sent and received, here and by the peer; -1 where this side cannot know."""
    stated = session.ack_read or session.close_read
    told = session.ack_read or session.done_read
    return (
        session.sent,
        session.received,
        getattr(stated, "sent", -1),
        getattr(told, "received", -1),
    )


def pattern(size):
    return bytes(at * 31 % 251 for at in range(size))


async def accepted(session, metadata=b"v=1"):
    await session.until("ACCEPT", session.accepted)
    check("the metadata of ACCEPT", session.answer.metadata, metadata)


async def echo(link):
    session = link.open("echo", b"v=1")
    await accepted(session)
    return session


async def messages(session, many):
    await session.until(f"{many} messages", lambda: len(session.messages) >= many)


async def close(session, many, code=0, reason="bye", trailing=b""):
    """Closes a session whose messages all came back, and sees that it was so."""
    session.close(code, reason, trailing)
    await over(session, "closed", code, reason)
    check("the counts", counts(session), (many,) * 4)


async def over(session, end, code, reason):
    await session.until("the end of both directions", session.over)
    check("the session's end", session.end, end)
    check("the code", session.code, code)
    check("the reason", session.reason, reason)


async def hello(link):
    session = await echo(link)
    session.send_message(b"hello")
    await messages(session, 1)
    check("the messages", session.messages, [b"hello"])
    await close(session, 1)


async def served(link, protocol):
    """The one session that the peer opens for a protocol, when it is over."""
    await link.until(f"a session for {protocol}", lambda: link.served(protocol))
    session = link.served(protocol)[0]
    await session.until("the end of both directions", session.over)
    return session


def check_served_echo(session, many):
    check("the session's end", session.end, "peer-closed")
    check("the counts", counts(session), (many,) * 4)


async def served_hello(link):
    session = await served(link, "echo")
    check("the metadata", session.open.metadata, b"v=1")
    check("the messages", session.messages, [b"hello"])
    check_served_echo(session, 1)
    return session


async def leave(link):
    """Ends a link in order: this side is S of section 9.4, the peer is P."""
    for session in link.sessions:
        await session.until("the end of both directions", session.over)
    if link.ended() is None:
        link.send_goaway()
    try:
        async with asyncio.timeout(FOR_PEER_TO_LEAVE):
            await link.watch.until("CONNECTION_CLOSE", link.ended)
    except TimeoutError:
        raise Failure(f"no CONNECTION_CLOSE {FOR_PEER_TO_LEAVE} s after GOAWAY") from None
    ending = link.ended()
    # With GOAWAY from both sides, either may be the one that leaves.
    if ending.here and link.goaway_read is None or ending.transport or ending.code != 0:
        raise Failure(f"expected CONNECTION_CLOSE with code 0x0, and the link ended with {ending}")


async def ended(peer):
    """Waits for the end of a connection that may never become a link."""
    await peer.watch.until("the end of the connection", peer.link.ended)
    return peer.link.ended()


# What P does, and leaves to the common end


async def run_handshake(peer):
    link = peer.link
    await link.until("SETTINGS", lambda: link.settings_read)
    if not hasattr(link.settings_read, "instance_id"):
        raise Failure("SETTINGS came without an instance id")
    token = os.urandom(8)
    link.ping(token)
    await link.until("PONG", lambda: token in link.pongs)
    link.heartbeat(token)
    await link.until("the echo of a heartbeat", lambda: token in link.echoes)
    check_served_echo(await served(link, "echo"), 0)


async def run_open(peer):
    await hello(peer.link)


async def run_open_rejected(peer):
    session = peer.link.open("reject")
    await over(session, "rejected", 0x1F4, "not today")
    check("retry-after", session.answer.retry_after, 1500)


async def run_accept(peer):
    session = await served_hello(peer.link)
    check("the code", session.code, 0x100)
    check("the reason", session.reason, "fine")


async def run_reject(peer):
    session = await served(peer.link, "reject")
    check("the session's end", session.end, "rejected")


async def run_messages(peer):
    session = await echo(peer.link)
    lone = [b"", b"x", pattern(1100)]
    bundled = [b"a", b"", b"ccc"]
    large = [pattern(5000), pattern(65536)]
    for payload in lone:
        session.send_message(payload)
    session.send_bundle(bundled)
    session.send_bundle([b"padded"], padding=100)
    session.send_fragments(large[0], backwards=True)
    await session.until("5,000 bytes", lambda: large[0] in session.messages)
    session.send_fragments(large[1])
    await session.until("65,536 bytes", lambda: large[1] in session.messages)
    await messages(session, 9)
    await close(session, 9)
    wanted = Counter([*lone, *bundled, b"padded", *large])
    if Counter(session.messages) != wanted:
        raise Failure(f"other messages came back, of {list(map(len, session.messages))} bytes")


async def run_messages_back(peer):
    session = await served(peer.link, "echo")
    sizes = sorted(map(len, session.messages))
    check("the sizes of the messages", sizes, sorted([0, 1, 1100, *[10] * 20, 5000, 65536]))
    check_served_echo(session, 25)


async def run_early(peer):
    link = peer.link
    session = link.prepare()
    session.send_message(b"one")
    session.send_message(b"two")
    await asyncio.sleep(0.05)
    session.start("echo", b"v=1")
    await accepted(session)
    await messages(session, 2)
    check("the messages", session.messages, [b"one", b"two"])
    await close(session, 2)
    link.send_message(session.id, b"late")
    another = await echo(link)
    another.send_message(b"on")
    await messages(another, 1)
    check("the messages", another.messages, [b"on"])
    await close(another, 1)


async def run_signals(peer):
    session = await echo(peer.link)
    sent = [str(number).encode() for number in range(40)]
    for payload in sent:
        session.send_signal(payload)
    await session.until("40 signals", lambda: len(session.signals) >= 40)
    await session.until("SIGNAL_ACK for all", lambda: session.signals_acked == 40)
    await close(session, 0)
    check("the signals", session.signals, sent)
    check("the signals that the peer took", session.ack_read.signals_taken, 40)


async def run_signals_back(peer):
    session = await served(peer.link, "echo")
    check("the number of signals", len(session.signals), 40)
    check("the signals that the peer took", session.close_read.signals_taken, 40)
    check_served_echo(session, 0)


async def run_close_by_peer(peer):
    session = peer.link.open("close")
    await over(session, "peer-closed", 0x155, "enough")
    if session.done_read is None:
        raise Failure("the session ended without DONE")


async def run_close_here(peer):
    session = await served(peer.link, "close")
    check("the session's end", session.end, "closed")


async def run_crossed(peer):
    session = peer.link.open("close")
    session.hold_answer = True
    await session.until("CLOSE", lambda: session.close_read)
    check("the peer's code", session.close_read.code, 0x155)
    session.close(0x200, "me too")
    session.answer_close()
    await over(session, "crossed", 0x200, "me too")


async def run_close_opening(peer):
    session = peer.link.open("hold")
    # In one write: nothing leaves before control returns to the loop.
    session.close(0, "never mind")
    await over(session, "closed", 0, "never mind")


async def run_close_crosses_accept(peer):
    session = await served(peer.link, "hold-accept")
    check("the session's end", session.end, "peer-closed")


async def run_close_crosses_reject(peer):
    session = await served(peer.link, "hold-reject")
    check("the session's end", session.end, "rejected")
    if session.close_read is None:
        raise Failure("the rejection crossed no CLOSE")


async def run_bare_fin(peer):
    session = await echo(peer.link)
    session.send_message(b"hello")
    await messages(session, 1)
    check("the messages", session.messages, [b"hello"])
    session.finish_bare()
    await session.until("CLOSE_ACK", lambda: session.ack_read)
    await over(session, "closed", 0, "")
    await peer.link.until("the end of the grace", lambda: session.frozen)
    check("the counts", counts(session), (1, 1, 1, 1))


async def run_abort(peer):
    session = await echo(peer.link)
    session.abort(0x199)
    await session.until("a reset", lambda: session.reset_read is not None)
    check("the code of the reset", session.reset_read, 0x199)


async def run_aborted(peer):
    session = peer.link.open("abort")
    await over(session, "aborted", 0x177, "")


async def run_unknown(peer):
    link = peer.link
    link.write(codec.encode_block(0x17, b"") + codec.encode_block(0xF123, b"unknown"))
    stream = link.connection.open_unidirectional()
    link.connection.write(stream, codec.encode_integer(0x40) + b"unknown")
    number = link.take_number()
    link.connection.send_datagram(
        codec.encode_integer(0x17) + codec.encode_integer(number) + b"unknown"
    )
    session = link.open("echo", b"v=1")
    link.connection.write(session.stream, codec.encode_block(0x40, b"reserved"))
    await accepted(session)
    link.connection.write(session.stream, codec.encode_block(0xA03F, b""))
    session.send_message(b"hello")
    session.send_signal(b"hi")
    await messages(session, 1)
    await session.until("a signal", lambda: session.signals)
    check("the messages", session.messages, [b"hello"])
    check("the signals", session.signals, [b"hi"])
    await close(session, 1, trailing=b"more")
    await link.until("STOP_SENDING on a stream", lambda: stream in link.stopped_streams)
    check("the code of STOP_SENDING", link.stopped_streams[stream], 0x07)


async def run_malformed(peer, send):
    """Breaks session A with what send sends, and sees that B goes on."""
    a, b = await echo(peer.link), await echo(peer.link)
    send(a)
    await a.until("a reset", lambda: a.reset_read is not None)
    await over(a, "aborted", 0x01, "")
    b.send_message(b"hello")
    await messages(b, 1)
    check("the messages", b.messages, [b"hello"])
    await close(b, 1)


async def run_malformed_frame(peer):
    header = codec.encode_integer(codec.TYPE_OF["SIGNAL"]) + codec.encode_integer(100_000)
    await run_malformed(peer, lambda a: peer.link.connection.write(a.stream, header))


async def run_malformed_datagram(peer):
    fields = {"message": 0, "total": 9, "offset": 0, "payload": b""}
    await run_malformed(peer, lambda a: peer.link.send("fragment", session=a.id, **fields))


async def run_many(peer):
    link = peer.link

    async def one(number):
        payload = str(number).encode()
        session = link.open("echo", payload)
        await accepted(session, payload)
        session.send_message(payload)
        await messages(session, 1)
        check("the messages", session.messages, [payload])
        await close(session, 1)

    await asyncio.gather(*map(one, range(20)))
    await link.until("20 sessions of the peer", lambda: len(link.served("echo")) == 20)
    for session in link.served("echo"):
        await session.until("the end of both directions", session.over)
        check_served_echo(session, 1)


async def run_one_port(peer):
    await hello(peer.link)
    await served_hello(peer.link)
    address = peer.link.connection.quic.get_peer_address()
    if peer.role == "listen":
        second = peer.endpoint.dial(address)
    else:
        second = await peer.accept()
        check("the address", second.connection.quic.get_peer_address(), address)
    peer.links.append(second)
    await second.until("a second link", lambda: second.connection.established)
    await hello(second)


# What has an end of its own


async def run_wrong_id(peer):
    ending = await ended(peer)
    if not (ending.here and ending.is_alert()):
        raise Failure(f"expected to refuse the handshake, and it ended with {ending}")
    check("whether the connection carried anything", peer.link.connection.carried, False)


async def run_refused(peer):
    ending = await ended(peer)
    refused = ending.is_alert() or (not ending.transport and ending.code == 0x02)
    if ending.here or not refused:
        raise Failure(f"expected to be refused, and the connection ended with {ending}")
    check("whether the connection carried anything", peer.link.connection.carried, False)


async def run_anonymous_refused(peer):
    ending = await ended(peer)
    if ending.here or not ending.is_alert():
        raise Failure(f"expected a TLS alert, and the connection ended with {ending}")


async def run_no_datagrams(peer):
    await ended_by_peer(peer, 0x07)


async def run_malformed_link(peer):
    session = await echo(peer.link)
    peer.link.write(codec.encode_frame(codec.Frame("SETTINGS")))
    await ended_by_peer(peer, 0x01)
    check("the session's end", session.end, "lost")


async def ended_by_peer(peer, code):
    ending = await ended(peer)
    if ending.here or ending.transport or ending.code != code:
        raise Failure(
            f"expected CONNECTION_CLOSE with code {code:#x}, and the link ended with {ending}"
        )


async def run_shutdown(peer):
    session = await begin_shutdown(peer)
    await end_shutdown(peer, session)


async def run_goaway(peer):
    session = await begin_shutdown(peer, hold=True)
    await session.until("CLOSE", lambda: session.close_read)
    late = peer.link.open("echo")
    await late.until("REJECT", late.rejected)
    check("the code of REJECT", late.code, 0x05)
    session.answer_close()
    await end_shutdown(peer, session)


async def begin_shutdown(peer, hold=False):
    link = peer.link
    session = link.open("shutdown")
    session.hold_answer = hold
    await accepted(session, b"")
    session.send_message(b"go")
    await link.until("GOAWAY", lambda: link.goaway_read)
    check("the code of GOAWAY", link.goaway_read.code, 0x100)
    return session


async def end_shutdown(peer, session):
    await session.until("the end of both directions", session.over)
    check("the session's end", session.end, "peer-closed")
    check("the code of CLOSE", session.code, 0x100)
    if session.done_read is None:
        raise Failure("the session ended without DONE")
    ending = await ended(peer)
    if not ending.here or ending.transport or ending.code != 0:
        raise Failure(f"expected to end the link, and it ended with {ending}")


@dataclass
class Case:
    run: Callable
    established: bool = True  # the link is there before the case begins
    leaves: bool = True  # the link ends as most cases have it
    dial_only: bool = False
    anonymous: bool = False
    datagrams: bool = True
    both_ways: bool = False  # who dials is dialed as well
    more_settings: bytes = b""


UNKNOWN_SETTINGS = (
    codec.encode_block(0x17, b"reserved")
    + codec.encode_block(0xF001, b"")
    + codec.encode_block(0x17, b"again")
)

CASES = {
    "handshake": Case(run_handshake),
    "wrong-id": Case(run_wrong_id, established=False, leaves=False),
    "refused": Case(run_refused, established=False, leaves=False),
    "open": Case(run_open),
    "open-rejected": Case(run_open_rejected),
    "accept": Case(run_accept),
    "reject": Case(run_reject),
    "messages": Case(run_messages),
    "messages-back": Case(run_messages_back),
    "early": Case(run_early),
    "signals": Case(run_signals),
    "signals-back": Case(run_signals_back),
    "close-by-peer": Case(run_close_by_peer),
    "close-here": Case(run_close_here),
    "crossed": Case(run_crossed),
    "close-opening": Case(run_close_opening),
    "close-crosses-accept": Case(run_close_crosses_accept),
    "close-crosses-reject": Case(run_close_crosses_reject),
    "bare-fin": Case(run_bare_fin),
    "abort": Case(run_abort),
    "aborted": Case(run_aborted),
    "shutdown": Case(run_shutdown, leaves=False),
    "goaway": Case(run_goaway, leaves=False),
    "unknown": Case(run_unknown, more_settings=UNKNOWN_SETTINGS),
    "malformed-frame": Case(run_malformed_frame),
    "malformed-datagram": Case(run_malformed_datagram),
    "malformed-link": Case(run_malformed_link, leaves=False),
    "many": Case(run_many),
    "anonymous": Case(run_open, dial_only=True, anonymous=True),
    "anonymous-refused": Case(
        run_anonymous_refused, established=False, leaves=False, dial_only=True, anonymous=True
    ),
    "no-datagrams": Case(run_no_datagrams, established=False, leaves=False, datagrams=False),
    "one-port": Case(run_one_port, both_ways=True),
}
