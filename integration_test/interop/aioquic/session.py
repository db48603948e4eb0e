"""A session: one control stream, its messages, and its end (section 8)."""

import collections
import sys

from codec import Frame, FrameReader, Malformed, encode_frame

VIOLATION = 0x01
INTERNAL = 0x08
SIGNAL_CREDIT = 16
LARGEST_SIGNAL = 16384
PATIENCE = 5  # for CLOSE_ACK, for DONE, and for the peer's FIN


class Session:
    """One conversation on one stream.

    What has been written and read of the frames that come once is kept in
    attributes that are None before. The rules follow from these, not from a
    state's name.
    """

    def __init__(self, link, stream, opened_here):
        self.link = link
        self.stream = stream
        self.id = (stream >> 2) << 1 | (stream & 1)
        self.opened_here = opened_here
        self.open = None  # OPEN
        self.answer = None  # ACCEPT, REJECT, or a CLOSE_ACK that came first
        self.close_sent = None
        self.close_read = None
        self.ack_sent = None
        self.ack_read = None
        self.done_sent = None
        self.done_read = None
        self.bare_fin_read = False
        self.reset_read = None  # the code of the peer's RESET_STREAM or STOP_SENDING
        self.read_ended = False
        self.write_ended = False

        self.end = None  # the first cause, as the contract names it
        self.code = 0
        self.reason = ""

        self.sent = 0
        self.end_number = 0
        self.received = 0
        self.late = 0
        self.frozen = False
        self.messages = []

        self.signals = []
        self.signals_sent = 0
        self.signals_acked = 0
        self._signals_queued = collections.deque()

        # What an application does about what comes. hold_answer leaves a CLOSE
        # unanswered until answer_close is called.
        self.on_message = lambda payload: None
        self.on_signal = lambda payload: None
        self.on_close = lambda: None
        self.hold_answer = False

        self._reader = FrameReader()
        self._awaited = None  # the stragglers: when asked, the peer's CLOSE or CLOSE_ACK, what then
        self._patience = None
        self._stopped = False

    # What is so

    def accepted(self):
        return self.answer is not None and self.answer.name == "ACCEPT"

    def rejected(self):
        return self.answer is not None and self.answer.name == "REJECT"

    def over(self):
        return self.read_ended and self.write_ended

    def may_send(self):
        return (
            (self.opened_here or self.accepted())
            and self.close_sent is None
            and self.close_read is None
            and self.end is None
        )

    def takes_messages(self):
        """Whether messages go to the session, instead of being early or late."""
        opened = self.accepted() or (self.opened_here and self.open is not None)
        return opened and not self.over()

    # What an application does

    def start(self, protocol, metadata):
        self.open = Frame("OPEN", protocol=protocol, metadata=metadata)
        self._write(self.open)

    def accept(self, metadata):
        self.answer = Frame("ACCEPT", metadata=metadata)
        self._write(self.answer)
        self.link.deliver_early(self)

    def reject(self, code, reason, retry_after=0):
        self.answer = Frame("REJECT", code=code, reason=reason, retry_after=retry_after)
        self._end("rejected", code, reason)
        self._write(self.answer, fin=True)

    def send_message(self, payload):
        self._count(self.link.send_message(self.id, payload))

    def send_bundle(self, payloads, padding=0):
        self._count(self.link.send_bundle(self.id, payloads, padding), len(payloads))

    def send_fragments(self, payload, backwards=False):
        self._count(self.link.send_fragments(self.id, payload, backwards))

    def send_signal(self, payload):
        self._signals_queued.append(payload)
        self._send_signals()

    def close(self, code, reason, trailing=b""):
        """Sends CLOSE; trailing are bytes behind its last field."""
        self.close_sent = Frame(
            "CLOSE",
            code=code,
            reason=reason,
            sent=self.sent,
            end=self.end_number,
            signals_received=len(self.signals),
            signals_taken=len(self.signals),
        )
        self._signals_queued.clear()
        self._write(self.close_sent, trailing=trailing)
        self._be_patient()

    def finish_bare(self):
        """Ends the stream without CLOSE. It counts as one with code 0x00."""
        self.close_sent = Frame("CLOSE", code=0, reason="", sent=self.sent, end=self.end_number)
        self._finish()

    def abort(self, code):
        self._end("aborted", code)
        self._tear(code)

    def answer_close(self):
        """Answers the CLOSE that was read."""
        if self.rejected():
            return
        if not self.opened_here and self.answer is None:
            # Its application never got it.
            self._acknowledge()
        else:
            self._await_stragglers(self.close_read, self._acknowledge)

    async def until(self, what, condition):
        """Waits for a condition that only this session can make true."""
        await self.link.watch.until(f"{what} on session {self.id}", condition, self._why_not)

    # What the link says

    def on_data(self, data, fin):
        if self.end == "aborted":
            self.read_ended |= fin
            return
        try:
            for frame in self._reader.feed(data):
                # After a rejection here, frames that crossed it mean nothing.
                if self.opened_here or not self.rejected():
                    self._read(frame)
                if self.end == "aborted":
                    return
            if fin:
                if not self._reader.between_frames():
                    raise Malformed("FIN inside a frame")
                self._read_fin()
        except Malformed as why:
            self.on_violation(why)

    def on_violation(self, why):
        print(f"session {self.id}: {why}", file=sys.stderr)
        self.abort(VIOLATION)

    def on_reset(self, code):
        self.reset_read = code
        self.read_ended = True
        self._end("aborted", code)
        self._tear(code)

    def on_stop(self, code):
        # aioquic has answered with RESET_STREAM and the same code.
        self.reset_read = code
        self.write_ended = True
        self._end("aborted", code)
        self._tear(code)

    def on_message_datagram(self, payload):
        if self.frozen or self.end in ("aborted", "rejected"):
            self.late += 1
            return
        self.received += 1
        self.messages.append(payload)
        self.on_message(payload)

    def on_link_ended(self):
        self._end("lost", 0)
        self.read_ended = self.write_ended = True

    def check_stragglers(self):
        """Freezes the counts if nothing more is to be waited for (section 8.8)."""
        if self._awaited is None or self.over():
            return
        since, stated, then = self._awaited
        if self.bare_fin_read:
            wait = self.link.grace_left(since)
        elif self.received >= stated.sent:
            wait = 0
        else:
            wait = self.link.grace_left(self.link.numbers.noticed(stated.end, since))
        if wait > 0:
            self.link.later(wait, self.check_stragglers)
            return
        self._awaited = None
        self.frozen = True
        then()

    # Reading

    def _in_order(self):
        """The frames that are in order now (section 8.10)."""
        if self.open is None:
            return {"OPEN"}
        if self.rejected():
            return set()
        if self.opened_here and self.answer is None:
            return {"ACCEPT", "REJECT"} | ({"CLOSE_ACK"} if self.close_sent else set())
        order = set()
        if self.accepted() and self.ack_read is None and self.done_read is None:
            order.add("SIGNAL_ACK")
        if self.close_read is None and self.ack_read is None:
            order.add("CLOSE")
            if self.accepted():
                order |= {"SIGNAL", "REPORT"}
        if self.close_sent and self.ack_read is None:
            order.add("CLOSE_ACK")
        if self.ack_sent and not self.close_sent and self.done_read is None:
            order.add("DONE")
        return order

    def _read(self, frame):
        if frame.name not in self._in_order():
            raise Malformed(f"{frame.name} at the wrong time")
        getattr(self, f"_read_{frame.name.lower()}")(frame)

    def _read_open(self, frame):
        self.open = frame
        self.link.on_open(self)

    def _read_accept(self, frame):
        self.answer = frame
        self._send_signals()

    def _read_reject(self, frame):
        self.answer = frame
        self._end("rejected", frame.code, frame.reason)
        self._finish()

    def _read_signal(self, frame):
        if len(frame.payload) > LARGEST_SIGNAL:
            raise Malformed(f"a signal of {len(frame.payload)} bytes")
        # It is taken at once: there is never more than one that could exceed the credit.
        self.signals.append(frame.payload)
        if self.ack_sent is None:
            self._write(Frame("SIGNAL_ACK", taken=len(self.signals)))
        self.on_signal(frame.payload)

    def _read_signal_ack(self, frame):
        if frame.taken > self.signals_sent:
            raise Malformed(f"{frame.taken} signals taken of {self.signals_sent}")
        self.signals_acked = max(self.signals_acked, frame.taken)
        self._send_signals()

    def _read_report(self, frame):
        if frame.received > self.sent:
            raise Malformed(f"{frame.received} messages received of {self.sent}")

    def _read_close(self, frame):
        self._check_counts(frame)
        self.close_read = frame
        self._on_close()

    def _read_close_ack(self, frame):
        self._check_counts(frame)
        stated = self.close_read
        if stated and (frame.sent, frame.end) != (stated.sent, stated.end):
            raise Malformed("CLOSE_ACK and CLOSE disagree about what was sent")
        self.ack_read = frame
        if self.answer is None:
            self.answer = frame
        if self.close_read is None:
            self._end("closed", self.close_sent.code, self.close_sent.reason)
            self._await_stragglers(frame, self._done)
        else:
            self._finish_crossed()

    def _read_done(self, frame):
        self._check_counts(frame)
        self.done_read = frame

    def _check_counts(self, frame):
        """Counts that cannot be (section 5.5)."""
        if getattr(frame, "received", 0) > self.sent:
            raise Malformed(f"{frame.received} messages received of {self.sent}")
        if getattr(frame, "signals_received", 0) > self.signals_sent:
            raise Malformed(f"{frame.signals_received} signals received of {self.signals_sent}")
        if hasattr(frame, "sent") and frame.sent < self.received + self.late:
            raise Malformed(f"{frame.sent} messages sent, {self.received + self.late} arrived")

    def _read_fin(self):
        self.read_ended = True
        if self.open is None:
            raise Malformed("FIN before OPEN")
        if self.opened_here and self.answer is None:
            self._read_reject(Frame("REJECT", code=INTERNAL, reason="", retry_after=0))
        elif self.close_read is None and self.ack_read is None and not self.rejected():
            self.bare_fin_read = True
            self.close_read = Frame("CLOSE", code=0, reason="")
            self._on_close()
        elif self.close_sent and self.ack_sent and self.ack_read is None:
            self._end_unconfirmed()
            self._finish()
        self.link.on_progress()

    # Ending

    def _on_close(self):
        self._signals_queued.clear()
        self.on_close()
        if not self.hold_answer:
            self.answer_close()

    def _acknowledge(self):
        self.frozen = True
        self.ack_sent = Frame(
            "CLOSE_ACK",
            sent=self.sent,
            end=self.end_number,
            received=self.received,
            late=self.late,
            dropped=0,
            signals_received=len(self.signals),
            signals_taken=len(self.signals),
        )
        if self.answer is None:
            self.answer = self.ack_sent
        if self.write_ended:
            self._end_unconfirmed()  # both sent a bare FIN: there is no place for a CLOSE_ACK
            return
        if self.close_sent is None:
            self._end("peer-closed", self.close_read.code, self.close_read.reason)
            self._write(self.ack_sent, fin=True)
        elif self.read_ended:
            self._end_unconfirmed()
            self._write(self.ack_sent, fin=True)
        else:
            self._write(self.ack_sent)
            self._finish_crossed()

    def _end_unconfirmed(self):
        """Ends with the peer's close: its FIN has come instead of the CLOSE_ACK to this side's."""
        self._end("peer-closed", self.close_read.code, self.close_read.reason)

    def _finish_crossed(self):
        if self.ack_sent and self.ack_read:
            self._end("crossed", self.close_sent.code, self.close_sent.reason)
            self._finish()

    def _done(self):
        if self.write_ended:
            return  # after a bare FIN of ours there is no place for DONE
        self.done_sent = Frame("DONE", received=self.received, late=self.late, dropped=0)
        self.link.on_last_word()
        self._write(self.done_sent, fin=True)

    def _await_stragglers(self, stated, then):
        self._awaited = (self.link.now(), stated, then)
        self.check_stragglers()

    def _be_patient(self):
        """Gives the peer its time for what it owes. It owes a FIN at least."""
        if self._patience is not None:
            self._patience.cancel()
        self._patience = self.link.later(PATIENCE, self._give_up)

    def _give_up(self):
        if not self.over():
            cause = self.close_sent or self.close_read or self.answer
            self.abort(cause.code)

    def _end(self, end, code, reason=""):
        if self.end is None:
            self.end, self.code, self.reason = end, code, reason

    def _tear(self, code):
        """Sends what is left to send of RESET_STREAM and STOP_SENDING."""
        if not self.write_ended:
            self.write_ended = True
            self.link.on_last_word()
            self.link.connection.reset(self.stream, code)
        if not self.read_ended and not self._stopped:
            self._stopped = True
            self.link.connection.stop(self.stream, code)
        self.link.on_progress()

    def _why_not(self):
        if self.link.ended() is not None:
            return f"the link ended with {self.link.ended()}"
        if self.over():
            return f"the session is over: {self.end}, code {self.code:#x}, reason {self.reason!r}"
        return None

    # Writing

    def _count(self, number, messages=1):
        self.sent += messages
        self.end_number = number + 1

    def _send_signals(self):
        while (
            self._signals_queued
            and self.accepted()
            and self.signals_sent - self.signals_acked < SIGNAL_CREDIT
        ):
            self.signals_sent += 1
            self._write(Frame("SIGNAL", payload=self._signals_queued.popleft()))

    def _write(self, frame, fin=False, trailing=b""):
        self._put(encode_frame(frame, trailing), fin)

    def _finish(self):
        if not self.write_ended:
            self._put(b"", fin=True)

    def _put(self, data, fin):
        self.link.connection.write(self.stream, data, fin)
        if fin:
            self.write_ended = True
            self._be_patient()
            self.link.on_progress()
