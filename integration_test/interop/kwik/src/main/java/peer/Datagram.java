package peer;

import java.util.ArrayList;
import java.util.List;

/** The datagrams of section 6. */
sealed interface Datagram {
    int MESSAGE = 0x00, BUNDLE = 0x01, FRAGMENT = 0x02, HEARTBEAT = 0x10, ECHO = 0x11, CREDIT = 0x12;

    /** The session id that makes an item of a bundle padding. */
    long PADDING = Out.MAX;

    /** A heartbeat is at least as long as this, so that a stateless reset can answer it. */
    int HEARTBEAT_SIZE = 20;

    long number();

    byte[] encode();

    record Message(long number, long session, byte[] payload) implements Datagram {
        public byte[] encode() {
            return new Out().integer(MESSAGE).integer(number).integer(session).raw(payload).done();
        }
    }

    record Item(long session, byte[] payload) {
    }

    record Bundle(long number, List<Item> items) implements Datagram {
        public byte[] encode() {
            Out out = new Out().integer(BUNDLE).integer(number);
            for (Item item : items) {
                out.integer(item.session).string(item.payload);
            }
            return out.done();
        }
    }

    record Fragment(long number, long session, long message, long total, long offset, byte[] payload)
            implements Datagram {
        public byte[] encode() {
            return new Out().integer(FRAGMENT).integer(number).integer(session).integer(message).integer(total)
                .integer(offset).raw(payload).done();
        }
    }

    record Heartbeat(long number, boolean echo, byte[] token) implements Datagram {
        public byte[] encode() {
            byte[] start = new Out().integer(echo ? ECHO : HEARTBEAT).integer(number).raw(token).done();
            return new Out().raw(start).raw(new byte[Math.max(0, HEARTBEAT_SIZE - start.length)]).done();
        }
    }

    record Credit(long number, long end, long taken) implements Datagram {
        public byte[] encode() {
            return new Out().integer(CREDIT).integer(number).integer(end).integer(taken).done();
        }
    }

    record Unknown(long number, long kind, byte[] body) implements Datagram {
        public byte[] encode() {
            return new Out().integer(kind).integer(number).raw(body).done();
        }
    }

    /** A datagram that cannot be read; the session that is to blame, or -1 if none could be read. */
    final class Malformed extends Exception {
        final long session;

        Malformed(long session, String message) {
            super(message);
            this.session = session;
        }
    }

    static Datagram decode(byte[] bytes) throws Malformed {
        In in = new In(bytes);
        long session = -1;
        try {
            long kind = in.integer("kind");
            long number = in.integer("number");
            if (number == Out.MAX) {
                throw new Malformed(-1, "number above 2^62-2");
            }
            if (kind == BUNDLE) {
                return bundle(number, in);
            }
            if (kind == HEARTBEAT || kind == ECHO) {
                return new Heartbeat(number, kind == ECHO, in.raw(8, "heartbeat token"));
            }
            if (kind == CREDIT) {
                return credit(number, in);
            }
            if (kind != MESSAGE && kind != FRAGMENT) {
                return new Unknown(number, kind, in.rest());
            }
            session = in.integer("session id");
            return kind == MESSAGE ? new Message(number, session, in.rest()) : fragment(number, session, in);
        } catch (Violation v) {
            throw new Malformed(session, v.getMessage());
        }
    }

    private static Datagram bundle(long number, In in) throws Malformed {
        List<Item> items = new ArrayList<>();
        long session = -1;
        try {
            do {
                session = -1;
                session = in.integer("session id of an item");
                items.add(new Item(session, in.string("item")));
            } while (in.left() > 0);
        } catch (Violation v) {
            throw new Malformed(session, v.getMessage());
        }
        return new Bundle(number, items);
    }

    private static Datagram fragment(long number, long session, In in) throws Violation, Malformed {
        long message = in.integer("message id");
        long total = in.integer("total");
        long offset = in.integer("offset");
        byte[] payload = in.rest();
        if (message == Out.MAX) {
            throw new Malformed(session, "message id above 2^62-2");
        }
        if (payload.length == 0) {
            throw new Malformed(session, "fragment without payload");
        }
        if (payload.length > total || offset > total - payload.length) {
            throw new Malformed(session, "fragment beyond the end of its message");
        }
        return new Fragment(number, session, message, total, offset, payload);
    }

    private static Datagram credit(long number, In in) throws Violation, Malformed {
        Credit credit = new Credit(number, in.integer("end"), in.integer("taken"));
        if (credit.taken > credit.end) {
            throw new Malformed(-1, "credit for more datagrams than there were numbers");
        }
        return credit;
    }
}
