package peer;

import java.util.ArrayList;
import java.util.BitSet;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** Puts the fragments of one session's messages together, as far as Rule 14 goes. */
final class Reassembly {
    static final int LARGEST_MESSAGE = 65_536;

    private static final int MOST_MESSAGES = 8;
    private static final long MOST_BYTES = 256 * 1024;
    private static final long NANOS = 1_000_000_000L;
    private static final int REMEMBERED = 1_024;

    private static final class Partial {
        final long began = System.nanoTime();
        final byte[] bytes;
        final BitSet there = new BitSet();

        Partial(int total) {
            bytes = new byte[total];
        }
    }

    private final Map<Long, Partial> partials = new LinkedHashMap<>();
    /** The newest messages that are complete or given up, further pieces of which are ignored. */
    private final Set<Long> over = new LinkedHashSet<>();
    private long held;

    /** Takes a piece; returns the message that is whole with it, or null. */
    byte[] add(Datagram.Fragment piece) throws Violation {
        if (piece.total() > LARGEST_MESSAGE) {
            throw new Violation(Violation.Kind.LIMIT, "a message of " + piece.total() + " bytes");
        }
        if (over.contains(piece.message())) {
            return null;
        }
        Partial partial = partials.get(piece.message());
        if (partial == null) {
            makeRoom((int) piece.total());
            partial = new Partial((int) piece.total());
            partials.put(piece.message(), partial);
            held += piece.total();
        }
        int offset = (int) piece.offset();
        if (partial.bytes.length != piece.total() || !agrees(partial, offset, piece.payload())) {
            giveUp(piece.message());
            return null;
        }
        System.arraycopy(piece.payload(), 0, partial.bytes, offset, piece.payload().length);
        partial.there.set(offset, offset + piece.payload().length);
        if (partial.there.cardinality() < partial.bytes.length) {
            return null;
        }
        giveUp(piece.message());
        return partial.bytes;
    }

    private static boolean agrees(Partial partial, int offset, byte[] payload) {
        for (int i = 0; i < payload.length; i++) {
            if (partial.there.get(offset + i) && partial.bytes[offset + i] != payload[i]) {
                return false;
            }
        }
        return true;
    }

    /** The oldest give way, and so do those that were begun too long ago. */
    private void makeRoom(int bytes) {
        List<Long> oldestFirst = new ArrayList<>(partials.keySet());
        long now = System.nanoTime();
        for (Long message : oldestFirst) {
            boolean full = partials.size() >= MOST_MESSAGES || held + bytes > MOST_BYTES;
            if (full || now - partials.get(message).began > NANOS) {
                giveUp(message);
            }
        }
    }

    private void giveUp(long message) {
        held -= partials.remove(message).bytes.length;
        over.add(message);
        if (over.size() > REMEMBERED) {
            over.remove(over.iterator().next());
        }
    }
}
