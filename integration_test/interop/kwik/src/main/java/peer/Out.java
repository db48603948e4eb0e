package peer;

import java.io.ByteArrayOutputStream;

/** Writes what section 1 describes: integers, bytes, byte strings. */
final class Out {
    static final long MAX = (1L << 62) - 1;

    private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();

    Out integer(long value) {
        if (value < 0 || value > MAX) {
            throw new IllegalArgumentException("not an integer of the protocol: " + value);
        }
        int log = value < 1 << 6 ? 0 : value < 1 << 14 ? 1 : value < 1 << 30 ? 2 : 3;
        int size = 1 << log;
        for (int i = size - 1; i >= 0; i--) {
            int octet = (int) (value >> (8 * i)) & 0xff;
            bytes.write(i == size - 1 ? octet | log << 6 : octet);
        }
        return this;
    }

    Out raw(byte[] value) {
        bytes.writeBytes(value);
        return this;
    }

    Out string(byte[] value) {
        return integer(value.length).raw(value);
    }

    byte[] done() {
        return bytes.toByteArray();
    }
}
