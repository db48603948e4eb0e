package peer;

import java.nio.charset.StandardCharsets;
import java.util.HashSet;
import java.util.Set;

/** The control frames of section 5. */
sealed interface Frame {
    int SETTINGS = 0x00, GOAWAY = 0x01, PING = 0x02, PONG = 0x03, OPEN = 0x10, ACCEPT = 0x11, REJECT = 0x12,
        SIGNAL = 0x13, SIGNAL_ACK = 0x14, REPORT = 0x15, CLOSE = 0x16, CLOSE_ACK = 0x18, DONE = 0x19;

    int LARGEST_CONTENT = 16_384;
    int LARGEST_SIGNAL = 16_384;
    int LARGEST_REASON = 1_024;
    int LARGEST_UNKNOWN = 65_536;
    int ROOM = 1_024;

    int type();

    void value(Out out);

    default byte[] encode() {
        Out value = new Out();
        value(value);
        return new Out().integer(type()).string(value.done()).done();
    }

    /** What a peer may be told about counts of messages. */
    record Counts(long received, long late, long dropped) {
        static Counts read(In in) throws Violation {
            Counts counts = new Counts(in.integer("received"), in.integer("late"), in.integer("dropped"));
            if (counts.dropped > counts.received) {
                throw Violation.malformed("more dropped than received");
            }
            return counts;
        }

        void write(Out out) {
            out.integer(received).integer(late).integer(dropped);
        }
    }

    /** Settings that are not stated are null. */
    record Settings(byte[] instance, Long maxMessage, Long maxSignal, Long maxSignals, Long window) implements Frame {
        public int type() {
            return SETTINGS;
        }

        public void value(Out out) {
            if (instance != null) {
                out.integer(0x01).string(instance);
            }
            Long[] numbers = {maxMessage, maxSignal, maxSignals, window};
            for (int i = 0; i < numbers.length; i++) {
                if (numbers[i] != null) {
                    out.integer(0x02 + i).string(new Out().integer(numbers[i]).done());
                }
            }
        }
    }

    record GoAway(long code, String reason, long deadlineMs, long firstRefused) implements Frame {
        public int type() {
            return GOAWAY;
        }

        public void value(Out out) {
            out.integer(code).string(utf8(reason)).integer(deadlineMs).integer(firstRefused);
        }
    }

    record Ping(byte[] token) implements Frame {
        public int type() {
            return PING;
        }

        public void value(Out out) {
            out.raw(token);
        }
    }

    record Pong(byte[] token) implements Frame {
        public int type() {
            return PONG;
        }

        public void value(Out out) {
            out.raw(token);
        }
    }

    record Open(String protocol, byte[] metadata) implements Frame {
        public int type() {
            return OPEN;
        }

        public void value(Out out) {
            out.string(utf8(protocol)).string(metadata);
        }
    }

    record Accept(byte[] metadata) implements Frame {
        public int type() {
            return ACCEPT;
        }

        public void value(Out out) {
            out.string(metadata);
        }
    }

    record Reject(long code, String reason, long retryAfterMs) implements Frame {
        public int type() {
            return REJECT;
        }

        public void value(Out out) {
            out.integer(code).string(utf8(reason)).integer(retryAfterMs);
        }
    }

    record Signal(byte[] payload) implements Frame {
        public int type() {
            return SIGNAL;
        }

        public void value(Out out) {
            out.string(payload);
        }
    }

    record SignalAck(long taken) implements Frame {
        public int type() {
            return SIGNAL_ACK;
        }

        public void value(Out out) {
            out.integer(taken);
        }
    }

    record Report(Counts counts) implements Frame {
        public int type() {
            return REPORT;
        }

        public void value(Out out) {
            counts.write(out);
        }
    }

    record Close(long code, String reason, long sent, long end, long signalsReceived, long signalsTaken)
            implements Frame {
        public int type() {
            return CLOSE;
        }

        public void value(Out out) {
            out.integer(code).string(utf8(reason)).integer(sent).integer(end);
            out.integer(signalsReceived).integer(signalsTaken);
        }
    }

    record CloseAck(long sent, long end, Counts counts, long signalsReceived, long signalsTaken) implements Frame {
        public int type() {
            return CLOSE_ACK;
        }

        public void value(Out out) {
            out.integer(sent).integer(end);
            counts.write(out);
            out.integer(signalsReceived).integer(signalsTaken);
        }
    }

    record Done(Counts counts) implements Frame {
        public int type() {
            return DONE;
        }

        public void value(Out out) {
            counts.write(out);
        }
    }

    /** The longest value that a frame of a type may have, and LARGEST_UNKNOWN for types that are unknown. */
    static long limit(long type) {
        return switch (known(type) ? (int) type : -1) {
            case OPEN, ACCEPT -> LARGEST_CONTENT + ROOM;
            case SIGNAL -> LARGEST_SIGNAL + ROOM;
            case GOAWAY, REJECT, CLOSE -> LARGEST_REASON + ROOM;
            case -1 -> LARGEST_UNKNOWN;
            default -> ROOM;
        };
    }

    static boolean known(long type) {
        return type >= SETTINGS && type <= PONG || type >= OPEN && type <= CLOSE || type == CLOSE_ACK || type == DONE;
    }

    /** Reads the value of a frame of a known type. What follows the last field is for later versions. */
    static Frame decode(int type, byte[] value) throws Violation {
        In in = new In(value);
        return switch (type) {
            case SETTINGS -> settings(in);
            case GOAWAY -> new GoAway(in.integer("code"), reason(in), time(in), in.integer("first refused"));
            case PING -> new Ping(in.raw(8, "token"));
            case PONG -> new Pong(in.raw(8, "token"));
            case OPEN -> open(in);
            case ACCEPT -> accept(in);
            case REJECT -> new Reject(in.integer("code"), reason(in), time(in));
            case SIGNAL -> signal(in);
            case SIGNAL_ACK -> new SignalAck(in.integer("taken"));
            case REPORT -> new Report(Counts.read(in));
            case CLOSE -> close(in);
            case CLOSE_ACK -> closeAck(in);
            case DONE -> new Done(Counts.read(in));
            default -> throw new IllegalArgumentException("unknown type " + type);
        };
    }

    private static Frame settings(In in) throws Violation {
        byte[] instance = null;
        Long[] numbers = new Long[4];
        Set<Long> seen = new HashSet<>();
        while (in.left() > 0) {
            long id = in.integer("setting id");
            In setting = new In(in.string("setting"));
            if (id >= 0x01 && id <= 0x05 && !seen.add(id)) {
                throw Violation.malformed("setting " + id + " comes twice");
            }
            if (id == 0x01) {
                instance = setting.raw(16, "instance id");
            } else if (id >= 0x02 && id <= 0x05) {
                numbers[(int) id - 2] = setting.integer("setting " + id);
            }
        }
        return new Settings(instance, numbers[0], numbers[1], numbers[2], numbers[3]);
    }

    private static Frame open(In in) throws Violation {
        String protocol = in.text("protocol");
        byte[] metadata = in.string("metadata");
        if (utf8(protocol).length + metadata.length > LARGEST_CONTENT) {
            throw Violation.malformed("protocol and metadata are too long");
        }
        return new Open(protocol, metadata);
    }

    private static Frame accept(In in) throws Violation {
        byte[] metadata = in.string("metadata");
        if (metadata.length > LARGEST_CONTENT) {
            throw Violation.malformed("metadata is too long");
        }
        return new Accept(metadata);
    }

    private static Frame signal(In in) throws Violation {
        byte[] payload = in.string("payload");
        if (payload.length > LARGEST_SIGNAL) {
            throw Violation.malformed("signal is too long");
        }
        return new Signal(payload);
    }

    private static Frame close(In in) throws Violation {
        Close close = new Close(in.integer("code"), reason(in), in.integer("sent"), in.integer("end"),
            in.integer("signals received"), in.integer("signals taken"));
        check(close.sent, close.end, close.signalsReceived, close.signalsTaken);
        return close;
    }

    private static Frame closeAck(In in) throws Violation {
        CloseAck ack = new CloseAck(in.integer("sent"), in.integer("end"), Counts.read(in),
            in.integer("signals received"), in.integer("signals taken"));
        check(ack.sent, ack.end, ack.signalsReceived, ack.signalsTaken);
        return ack;
    }

    private static void check(long sent, long end, long signalsReceived, long signalsTaken) throws Violation {
        if (sent > 0 && end == 0) {
            throw Violation.malformed("messages were sent, but in no datagram");
        }
        if (signalsTaken > signalsReceived) {
            throw Violation.malformed("more signals taken than received");
        }
    }

    private static String reason(In in) throws Violation {
        String reason = in.text("reason");
        if (utf8(reason).length > LARGEST_REASON) {
            throw Violation.malformed("reason is too long");
        }
        return reason;
    }

    private static long time(In in) throws Violation {
        return Math.min(in.integer("time"), Integer.MAX_VALUE);
    }

    static byte[] utf8(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }
}
