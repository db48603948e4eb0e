package peer;

import java.time.Duration;

/** The time that a case has, and what it waits for at the moment. */
final class Waits {
    /** The contract gives 10 s from the program's start; some of them are the runtime's. */
    private static final Duration TIME = Duration.ofMillis(8_500);

    /** A case that did not go as it should. */
    static final class Failure extends Exception {
        Failure(String why) {
            super(why);
        }
    }

    private final long end = System.nanoTime() + TIME.toNanos();
    volatile String what = "the handshake";

    long leftMs() {
        return Math.max(0, (end - System.nanoTime()) / 1_000_000);
    }

    static void check(boolean holds, String otherwise) throws Failure {
        if (!holds) {
            throw new Failure(otherwise);
        }
    }
}
