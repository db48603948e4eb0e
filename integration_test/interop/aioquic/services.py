"""The protocols that every peer of the matrix serves."""

REFUSED = 0x02


def echo(session):
    def send_back_message(payload):
        if session.may_send():
            session.send_message(payload)

    def send_back_signal(payload):
        if session.may_send():
            session.send_signal(payload)

    session.on_message = send_back_message
    session.on_signal = send_back_signal
    session.accept(session.open.metadata)


def reject(session):
    session.reject(0x1F4, "not today", 1500)


def close(session):
    session.accept(b"")
    session.close(0x155, "enough")


def abort(session):
    session.accept(b"")
    session.abort(0x177)


def hold(session):
    """A CLOSE that finds the session unanswered is acknowledged as it is."""


def hold_accept(session):
    session.on_close = lambda: session.accept(b"")


def hold_reject(session):
    session.on_close = lambda: reject(session)


PROTOCOLS = {
    "echo": echo,
    "reject": reject,
    "close": close,
    "abort": abort,
    "hold": hold,
    "hold-accept": hold_accept,
    "hold-reject": hold_reject,
}


def serve(session):
    service = PROTOCOLS.get(session.open.protocol)
    if service is None:
        session.reject(REFUSED, "nobody serves this protocol")
    else:
        service(session)
