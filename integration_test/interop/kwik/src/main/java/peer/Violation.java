package peer;

/** Input that breaks the protocol. */
final class Violation extends Exception {
    enum Kind {
        /** A value breaks the rules of its type. */
        MALFORMED,
        /** A length alone breaks them. */
        LIMIT,
        /** A frame comes where it must not, or not when it must. */
        ORDER
    }

    final Kind kind;

    Violation(Kind kind, String message) {
        super(message);
        this.kind = kind;
    }

    static Violation malformed(String message) {
        return new Violation(Kind.MALFORMED, message);
    }

    static void require(boolean inOrder, String otherwise) throws Violation {
        if (!inOrder) {
            throw new Violation(Kind.ORDER, otherwise);
        }
    }
}
