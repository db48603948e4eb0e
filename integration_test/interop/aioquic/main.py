"""A quicpeer/1 peer on aioquic, for the interop matrix. The contract is in ../README.md."""

import argparse
import asyncio
import json
import sys

import aioquic

import vectors
from cases import CASES, counts, leave
from endpoint import Endpoint, Identity
from link import Link
from watch import Failure, Watch

PATIENCE = 10
INTERNAL = 0x08


class Peer:
    """This side of a case: its endpoint, and the links it has."""

    def __init__(self, role):
        self.role = role
        self.watch = Watch()
        self.endpoint = None
        self.links = []

    @property
    def link(self):
        return self.links[0]

    async def begin(self, arguments, case):
        identity = Identity(arguments.cert, arguments.key, arguments.peer_id, case.anonymous)
        host, port = arguments.address.rsplit(":", 1)
        listens = self.role == "listen"
        self.endpoint = await Endpoint.bind(
            (host, int(port) if listens else 0),
            identity,
            self.watch,
            lambda connection: Link(connection, self.watch, case.more_settings),
            1 if listens or case.both_ways else 0,
            case.datagrams,
        )
        if listens:
            print("listening {}:{}".format(*self.endpoint.address()), flush=True)
            self.links.append(await self.accept())
        else:
            self.links.append(self.endpoint.dial((host, int(port))))

    async def accept(self):
        accepted = self.endpoint.accepted
        await self.watch.until("a connection", lambda: accepted)
        return accepted[0]

    async def play(self, arguments, case):
        await self.begin(arguments, case)
        if case.established:
            await self.link.until("a link", lambda: self.link.connection.established)
        await case.run(self)
        if case.leaves:
            for link in self.links:
                await leave(link)

    def end(self, why):
        for link in self.links:
            if link.ended() is None:
                link.close(INTERNAL, why)
            if link.late or link.dropped():
                counted = (
                    f"messages late: {link.late}, messages or datagrams dropped: {link.dropped()}"
                )
                print(counted, file=sys.stderr)
        if self.endpoint is not None:
            self.endpoint.close()

    def sessions(self):
        return [
            result(session)
            for link in self.links
            for session in link.sessions
            if session.open is not None
        ]


def result(session):
    told = counts(session) if session.end in ("closed", "peer-closed", "crossed") else (-1,) * 4
    return {
        "id": session.id,
        "end": session.end,
        "code": session.code,
        "reason": session.reason,
        "sent": told[0],
        "received": told[1],
        "peer_sent": told[2],
        "peer_received": told[3],
    }


async def play(arguments):
    peer = Peer(arguments.role)
    try:
        async with asyncio.timeout(PATIENCE):
            await peer.play(arguments, CASES[arguments.case])
    except Failure as failure:
        why = str(failure)
    except TimeoutError:
        why = f"{PATIENCE} s are over; expected {', '.join(peer.watch.waits)}"
    except OSError as error:
        why = str(error)
    else:
        peer.end("")
        return {"case": arguments.case, "ok": True, "sessions": peer.sessions()}
    peer.end(why)
    return {"case": arguments.case, "ok": False, "why": why, "sessions": peer.sessions()}


def parse(words):
    parser = argparse.ArgumentParser(prog="peer", allow_abbrev=False)
    parser.add_argument("--role", required=True, choices=("listen", "dial"))
    parser.add_argument("--case", required=True, choices=CASES)
    for name in ("--address", "--cert", "--key", "--peer-id"):
        parser.add_argument(name, required=True)
    arguments = parser.parse_args(words)
    if arguments.role == "listen" and CASES[arguments.case].dial_only:
        parser.error(f"the case {arguments.case} is for the role dial only")
    return arguments


def main(words):
    if words == ["--version"]:
        version = {"stack": "aioquic", "version": aioquic.__version__, "language": "Python"}
        print(json.dumps(version))
        return 0
    if words[:1] == ["vectors"] and len(words) == 3:
        outcome = vectors.run(*words[1:])
    else:
        outcome = asyncio.run(play(parse(words)))
    print(json.dumps(outcome))
    return 0 if outcome["ok"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
