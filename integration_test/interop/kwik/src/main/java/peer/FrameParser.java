package peer;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** Cuts what comes on a stream into frames, and skips those that it does not know. */
final class FrameParser {
    interface Sink {
        void frame(Frame frame) throws Violation;
    }

    private byte[] pending = new byte[0];
    private long toSkip;
    private boolean first = true;

    /** Takes the next bytes, and gives every whole frame to the sink. */
    void feed(byte[] bytes, Sink sink) throws Violation {
        pending = Arrays.copyOf(pending, pending.length + bytes.length);
        System.arraycopy(bytes, 0, pending, pending.length - bytes.length, bytes.length);
        while (true) {
            if (toSkip > 0) {
                int skipped = (int) Math.min(toSkip, pending.length);
                toSkip -= skipped;
                pending = Arrays.copyOfRange(pending, skipped, pending.length);
            }
            In in = new In(pending);
            long type = in.integerOrNone();
            if (type < 0) {
                return;
            }
            if (first && !Frame.known(type)) {
                throw new Violation(Violation.Kind.ORDER, "the first frame is of the unknown type " + type);
            }
            long length = in.integerOrNone();
            if (length < 0) {
                return;
            }
            // Before anything of the value is kept or waited for.
            if (length > Frame.limit(type)) {
                throw new Violation(Violation.Kind.LIMIT, "a frame of type " + type + " has " + length + " bytes");
            }
            if (!Frame.known(type)) {
                toSkip = length;
                pending = in.rest();
                continue;
            }
            if (in.left() < length) {
                return;
            }
            byte[] value = in.raw(length, "value");
            pending = in.rest();
            first = false;
            sink.frame(Frame.decode((int) type, value));
        }
    }

    List<Frame> feed(byte[] bytes) throws Violation {
        List<Frame> frames = new ArrayList<>();
        feed(bytes, frames::add);
        return frames;
    }

    /** Whether the stream may end here. */
    boolean betweenFrames() {
        return pending.length == 0 && toSkip == 0;
    }
}
