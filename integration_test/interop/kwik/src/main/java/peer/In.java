package peer;

import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/** Reads what section 1 describes: integers, bytes, byte strings. */
final class In {
    private final byte[] bytes;
    private int at;

    In(byte[] bytes) {
        this.bytes = bytes;
    }

    int left() {
        return bytes.length - at;
    }

    /** The integer that begins here, or -1 if it is not there in full. */
    long integerOrNone() {
        if (left() == 0) {
            return -1;
        }
        int size = 1 << ((bytes[at] & 0xff) >> 6);
        if (left() < size) {
            return -1;
        }
        long value = bytes[at] & 0x3f;
        for (int i = 1; i < size; i++) {
            value = value << 8 | bytes[at + i] & 0xff;
        }
        at += size;
        return value;
    }

    long integer(String what) throws Violation {
        long value = integerOrNone();
        if (value < 0) {
            throw Violation.malformed(what + " cut short");
        }
        return value;
    }

    byte[] raw(long length, String what) throws Violation {
        if (length > left()) {
            throw Violation.malformed(what + " cut short");
        }
        at += (int) length;
        return Arrays.copyOfRange(bytes, at - (int) length, at);
    }

    byte[] string(String what) throws Violation {
        return raw(integer(what), what);
    }

    String text(String what) throws Violation {
        byte[] utf8 = string(what);
        try {
            return StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(utf8)).toString();
        } catch (CharacterCodingException e) {
            throw Violation.malformed(what + " is not UTF-8");
        }
    }

    byte[] rest() {
        byte[] rest = Arrays.copyOfRange(bytes, at, bytes.length);
        at = bytes.length;
        return rest;
    }
}
