package peer;

import java.io.IOException;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import tech.kwik.core.QuicStream;

/**
 * One conversation on a link (section 8). All of it runs under the lock of its link.
 */
final class Session {
    static final long NORMAL = 0x00, VIOLATION = 0x01, REFUSED = 0x02, GOING_AWAY = 0x05, UNSUPPORTED = 0x07,
        INTERNAL = 0x08;

    private static final int OUTSTANDING_SIGNALS = 16;
    private static final int CLOSE_TIMEOUT_MS = 5_000;

    final long id;
    final boolean opener;
    private final Link link;
    private final FrameParser parser = new FrameParser();
    private final Reassembly reassembly = new Reassembly();
    private QuicStream stream;

    String protocol;
    Service service;
    /** Ours or the peer's, whoever accepts. */
    byte[] acceptMetadata;
    Frame.Reject reject;
    /** The names of the frames that were read. */
    final List<String> framesRead = new ArrayList<>();

    // The close, from both sides.
    private Frame.Close ownClose;
    Frame.Close peerClose;
    private boolean bareFinSent;
    private boolean bareFinRead;
    private Frame.CloseAck ackSent;
    private Frame.CloseAck ackRead;
    private Frame.Done doneRead;
    /** A closing that waits for messages: how many there must be, and what then follows. */
    private long awaited;
    private Runnable whenArrived;

    // The ends of the stream.
    private boolean writeEnded;
    private boolean readEnded;
    /** The code of a reset or stop that was read. */
    Long abortRead;

    // Counts.
    private long sent;
    private long end;
    private long nextFragmented;
    private long received;
    private long late;
    private boolean frozen;
    private long signalsSent;
    private long signalsTakenByPeer;
    private long signalsReceived;
    private long signalsTaken;

    /** What the application has not read yet. */
    final Deque<byte[]> messages = new ArrayDeque<>();
    final Deque<byte[]> signals = new ArrayDeque<>();

    /** How the session ended, in the words of the contract; null while it lives. */
    String outcome;
    long code;
    String reason = "";

    Session(Link link, long id, boolean opener, QuicStream stream, Service service) {
        this.link = link;
        this.id = id;
        this.opener = opener;
        this.stream = stream;
        this.service = service;
    }

    // ---- What the application does.

    /** Sends OPEN, and further bytes in the same write. */
    void open(QuicStream on, String asked, byte[] metadata, byte[]... further) {
        stream = on;
        protocol = asked;
        Out out = new Out().raw(new Frame.Open(asked, metadata).encode());
        for (byte[] bytes : further) {
            out.raw(bytes);
        }
        write(out.done());
    }

    void accept(byte[] metadata) {
        acceptMetadata = metadata;
        write(new Frame.Accept(metadata).encode());
        link.giveEarly(this);
    }

    void reject(Frame.Reject answer) {
        reject = answer;
        write(answer.encode());
        fin();
        finish("rejected", answer.code(), answer.reason());
    }

    void sendMessage(byte[] payload) {
        if (link.fits(id, payload)) {
            sent(link.send(number -> new Datagram.Message(number, id, payload)));
        } else {
            sendFragments(payload, false);
        }
    }

    /** Sends a message in pieces, the last one first if that is wanted. */
    void sendFragments(byte[] payload, boolean reversed) {
        sent(link.sendFragments(id, nextFragmented++, payload, reversed));
    }

    /** Counts a message whose newest datagram had this number. */
    void sent(long number) {
        sent++;
        end = Math.max(end, number + 1);
    }

    boolean hasSignalCredit() {
        return signalsSent - signalsTakenByPeer < OUTSTANDING_SIGNALS;
    }

    boolean allSignalsTaken() {
        return signalsSent == signalsTakenByPeer;
    }

    void sendSignal(byte[] payload) {
        signalsSent++;
        write(new Frame.Signal(payload).encode());
    }

    /** Takes a signal from those that wait; its place is given back with ackSignals. */
    byte[] takeSignal() {
        signalsTaken++;
        return signals.remove();
    }

    void ackSignals() {
        write(new Frame.SignalAck(signalsTaken).encode());
    }

    /** The CLOSE that ends the session now, and all of its sending. */
    Frame.Close prepareClose(long withCode, String withReason) {
        ownClose = new Frame.Close(withCode, withReason, sent, end, signalsReceived, signalsTaken);
        link.later(CLOSE_TIMEOUT_MS, () -> {
            if (ackRead == null && outcome == null) {
                abort(withCode);
            }
        });
        return ownClose;
    }

    void close(long withCode, String withReason) {
        write(prepareClose(withCode, withReason).encode());
    }

    /** FIN without CLOSE: a close with code 0 and without counts (Rule 4). */
    void closeBare() {
        bareFinSent = true;
        fin();
    }

    void abort(long withCode) {
        finish("aborted", withCode, "");
        tear(withCode);
    }

    private void tear(long withCode) {
        stream.resetStream(withCode);
        stream.abortReading(withCode);
        writeEnded = true;
        readEnded = true;
    }

    void write(byte[] bytes) {
        try {
            stream.getOutputStream().write(bytes);
        } catch (IOException e) {
            // The peer has stopped the stream, or the link is over; either reports itself.
            System.err.println("session " + id + ": " + e.getMessage());
        }
    }

    private void fin() {
        writeEnded = true;
        try {
            stream.getOutputStream().close();
        } catch (IOException e) {
            System.err.println("session " + id + ": " + e.getMessage());
        }
        link.later(CLOSE_TIMEOUT_MS, () -> {
            if (!readEnded) {
                tear(code);
            }
        });
    }

    // ---- What the peer does.

    boolean accepted() {
        return acceptMetadata != null;
    }

    /** The peer's OPEN is not answered yet. */
    boolean incoming() {
        return !opener && !accepted() && outcome == null;
    }

    /** Both directions of the stream have ended. */
    boolean streamOver() {
        return writeEnded && readEnded;
    }

    void data(byte[] bytes) {
        if (readEnded) {
            return;
        }
        try {
            parser.feed(bytes, this::frame);
        } catch (Violation v) {
            violated(v);
        }
    }

    void violated(Violation v) {
        System.err.println("session " + id + ": violation: " + v.getMessage());
        if (outcome == null) {
            abort(VIOLATION);
        }
    }

    private void frame(Frame frame) throws Violation {
        framesRead.add(Vectors.name(frame));
        boolean first = framesRead.size() == 1;
        if ("rejected".equals(outcome) && !opener || "aborted".equals(outcome)) {
            return;
        }
        if (!opener) {
            Violation.require(first == frame instanceof Frame.Open, "OPEN is the first frame, and comes once");
        } else if (first) {
            Violation.require(frame instanceof Frame.Accept || frame instanceof Frame.Reject
                || frame instanceof Frame.CloseAck, "the acceptor begins with " + framesRead.get(0));
        }
        // Frames of an open session cross our CLOSE, but not the peer's answer to it.
        boolean flowing = accepted() && peerClose == null && ackRead == null;
        if (frame instanceof Frame.Open open) {
            protocol = open.protocol();
            link.judge(this, open);
        } else if (frame instanceof Frame.Accept accept) {
            Violation.require(first, "ACCEPT is not the first frame");
            acceptMetadata = accept.metadata();
        } else if (frame instanceof Frame.Reject rejection) {
            Violation.require(first, "REJECT is not the first frame");
            reject = rejection;
            fin();
            finish("rejected", rejection.code(), rejection.reason());
        } else if (frame instanceof Frame.Signal signal) {
            Violation.require(flowing, "SIGNAL");
            Violation.require(signalsReceived - signalsTaken < OUTSTANDING_SIGNALS, "SIGNAL without credit");
            signalsReceived++;
            signals.add(signal.payload());
            service.signals(this);
        } else if (frame instanceof Frame.SignalAck ack) {
            Violation.require(accepted() && ackRead == null && doneRead == null, "SIGNAL_ACK");
            Violation.require(ack.taken() <= signalsSent, "more signals taken than sent");
            signalsTakenByPeer = Math.max(signalsTakenByPeer, ack.taken());
            service.signals(this);
        } else if (frame instanceof Frame.Report report) {
            Violation.require(flowing, "REPORT");
            Violation.require(report.counts().received() <= sent, "more messages reported than sent");
        } else if (frame instanceof Frame.Close close) {
            closeRead(close);
        } else if (frame instanceof Frame.CloseAck ack) {
            ackRead(ack, first);
        } else if (frame instanceof Frame.Done done) {
            Violation.require(ackSent != null && ownClose == null && doneRead == null, "DONE");
            Violation.require(done.counts().received() <= sent, "more messages received than sent");
            doneRead = done;
            finish("peer-closed", peerClose.code(), peerClose.reason());
        } else {
            throw new Violation(Violation.Kind.ORDER, framesRead.get(framesRead.size() - 1) + " on a control stream");
        }
    }

    private void closeRead(Frame.Close close) throws Violation {
        Violation.require(peerClose == null && ackRead == null && (accepted() || !opener), "CLOSE");
        Violation.require(close.signalsReceived() <= signalsSent, "more signals received than sent");
        Violation.require(close.sent() >= received, "fewer messages sent than arrived");
        peerClose = close;
        service.closing(this);
    }

    private void ackRead(Frame.CloseAck ack, boolean first) throws Violation {
        Violation.require((ownClose != null || bareFinSent) && ackRead == null, "CLOSE_ACK");
        Violation.require(ack.counts().received() <= sent, "more messages received than sent");
        Violation.require(ack.signalsReceived() <= signalsSent, "more signals received than sent");
        Violation.require(ack.sent() >= received, "fewer messages sent than arrived");
        Violation.require(!first || ack.counts().received() == 0 && ack.sent() == 0, "messages before ACCEPT");
        Violation.require(peerClose == null || ack.sent() == peerClose.sent() && ack.end() == peerClose.end(),
            "CLOSE_ACK is not what CLOSE said");
        ackRead = ack;
        if (bareFinSent) {
            finish("closed", NORMAL, "");
        } else if (peerClose == null) {
            whenArrived(ack.sent(), () -> {
                write(new Frame.Done(freeze()).encode());
                fin();
                finish("closed", ownClose.code(), ownClose.reason());
            });
        } else {
            crossed();
        }
    }

    /** Answers the peer's CLOSE, once its last messages have had their time to arrive. */
    void answerClose() {
        if (incoming()) {
            // Messages that came were kept for the answer to OPEN, which there will not be.
            acknowledge();
        } else {
            whenArrived(bareFinRead ? Long.MAX_VALUE : peerClose.sent(), this::acknowledge);
        }
    }

    private void acknowledge() {
        ackSent = new Frame.CloseAck(sent, end, freeze(), signalsReceived, signalsTaken);
        write(ackSent.encode());
        if (ownClose != null && (ackRead != null || !readEnded)) {
            crossed();
            return;
        }
        fin();
        if (readEnded) {
            // No DONE can come.
            finish("peer-closed", peerClose.code(), peerClose.reason());
        } else {
            link.later(CLOSE_TIMEOUT_MS, () -> {
                if (outcome == null) {
                    abort(peerClose.code());
                }
            });
        }
    }

    private void crossed() {
        if (ackSent != null && ackRead != null) {
            fin();
            finish("crossed", ownClose.code(), ownClose.reason());
        }
    }

    private Frame.Counts freeze() {
        frozen = true;
        return new Frame.Counts(received, late, 0);
    }

    /** Does something when so many messages have arrived, or after the grace of section 8.8. */
    private void whenArrived(long count, Runnable then) {
        if (received >= count) {
            then.run();
            return;
        }
        awaited = count;
        whenArrived = then;
        link.later(link.graceMs(), this::arrived);
    }

    private void arrived() {
        Runnable then = whenArrived;
        whenArrived = null;
        if (then != null && outcome == null) {
            then.run();
        }
    }

    /** FIN was read. */
    void finRead() {
        if (readEnded) {
            return;
        }
        readEnded = true;
        try {
            Violation.require(parser.betweenFrames(), "FIN inside a frame");
            Violation.require(protocol != null, "FIN before OPEN");
        } catch (Violation v) {
            violated(v);
            return;
        }
        if (outcome != null) {
            return;
        }
        if (opener && framesRead.isEmpty()) {
            reject = new Frame.Reject(INTERNAL, "", 0);
            fin();
            finish("rejected", INTERNAL, "");
        } else if (peerClose == null && ackRead == null) {
            bareFinRead = true;
            peerClose = new Frame.Close(NORMAL, "", 0, 0, 0, 0);
            service.closing(this);
        } else if (ackSent != null && ackRead == null) {
            // The DONE or CLOSE_ACK that the peer owes will not come.
            if (!writeEnded) {
                fin();
            }
            finish("peer-closed", peerClose.code(), peerClose.reason());
        }
    }

    /** RESET_STREAM was read, or STOP_SENDING, which kwik has answered with a reset of our half. */
    void aborted(long withCode, boolean byReset) {
        abortRead = withCode;
        readEnded |= byReset;
        writeEnded |= !byReset;
        if (outcome == null && protocol != null) {
            abort(withCode);
        } else if (outcome == null) {
            // The stream never was a session.
            tear(withCode);
        }
    }

    void linkEnded() {
        finish("lost", 0, "");
        writeEnded = true;
        readEnded = true;
    }

    void message(byte[] payload) {
        if (frozen || outcome != null) {
            late++;
            return;
        }
        received++;
        if (peerClose == null) {
            service.message(this, payload);
        } else {
            messages.add(payload);
        }
        if (received == awaited && whenArrived != null) {
            arrived();
        }
    }

    void fragment(Datagram.Fragment piece) {
        try {
            byte[] whole = reassembly.add(piece);
            if (whole != null) {
                message(whole);
            }
        } catch (Violation v) {
            violated(v);
        }
    }

    private void finish(String how, long withCode, String withReason) {
        if (outcome == null) {
            outcome = how;
            code = withCode;
            reason = withReason;
        }
    }

    long received() {
        return received;
    }

    /** The signals of the peer's that were taken, if as many went back. */
    long signalsEchoed() {
        return signalsTaken == signalsSent ? signalsSent : -1;
    }

    /** What the report says about the session. */
    Map<String, Object> report() {
        long peerSent = ackRead != null ? ackRead.sent() : peerClose != null && !bareFinRead ? peerClose.sent() : -1;
        long peerReceived = ackRead != null ? ackRead.counts().received()
            : doneRead != null ? doneRead.counts().received() : -1;
        Map<String, Object> report = new LinkedHashMap<>();
        report.put("id", id);
        report.put("end", outcome == null ? "lost" : outcome);
        report.put("code", code);
        report.put("reason", reason);
        report.put("sent", sent);
        report.put("received", received);
        report.put("peer_sent", peerSent);
        report.put("peer_received", peerReceived);
        return report;
    }

    /** Whether all that was sent has arrived, as far as the counts of both sides tell. */
    boolean nothingLost() {
        Map<String, Object> report = report();
        return report.get("sent").equals(report.get("peer_received"))
            && report.get("received").equals(report.get("peer_sent"));
    }

    @Override
    public String toString() {
        return "session " + id + " (" + protocol + "): " + Json.of(report()) + " after " + framesRead;
    }
}
