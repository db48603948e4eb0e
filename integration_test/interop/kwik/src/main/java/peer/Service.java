package peer;

/** What a side does with a session as its application. */
interface Service {
    /** OPEN has come. */
    default void opened(Session session, Frame.Open open) {
        throw new IllegalStateException("not a service");
    }

    default void message(Session session, byte[] payload) {
        session.messages.add(payload);
    }

    /** A signal has come, or credit for signals. */
    default void signals(Session session) {
    }

    /** CLOSE has come. */
    default void closing(Session session) {
        session.answerClose();
    }

    /** The opener of a session, whose case looks at it from outside. */
    Service OPENER = new Service() {
    };

    /** An opener that answers CLOSE only when its case says so. */
    Service HOLDING_OPENER = new Service() {
        @Override
        public void closing(Session session) {
        }
    };

    Service ECHO = new Service() {
        @Override
        public void opened(Session session, Frame.Open open) {
            session.accept(open.metadata());
        }

        @Override
        public void message(Session session, byte[] payload) {
            session.sendMessage(payload);
        }

        @Override
        public void signals(Session session) {
            // One is taken only when it can go back, so that the opener's credit limits what waits here.
            boolean taken = false;
            while (!session.signals.isEmpty() && session.hasSignalCredit() && session.peerClose == null) {
                session.sendSignal(session.takeSignal());
                taken = true;
            }
            if (taken) {
                session.ackSignals();
            }
        }
    };

    Frame.Reject NOT_TODAY = new Frame.Reject(0x1f4, "not today", 1_500);

    Service REJECT = new Service() {
        @Override
        public void opened(Session session, Frame.Open open) {
            session.reject(NOT_TODAY);
        }
    };

    Service CLOSE = new Service() {
        @Override
        public void opened(Session session, Frame.Open open) {
            session.accept(new byte[0]);
            session.close(0x155, "enough");
        }
    };

    Service ABORT = new Service() {
        @Override
        public void opened(Session session, Frame.Open open) {
            session.accept(new byte[0]);
            session.abort(0x177);
        }
    };

    Service HOLD = new Service() {
        @Override
        public void opened(Session session, Frame.Open open) {
        }
    };

    Service HOLD_ACCEPT = new Service() {
        @Override
        public void opened(Session session, Frame.Open open) {
        }

        @Override
        public void closing(Session session) {
            session.accept(new byte[0]);
            session.answerClose();
        }
    };

    Service HOLD_REJECT = new Service() {
        @Override
        public void opened(Session session, Frame.Open open) {
        }

        @Override
        public void closing(Session session) {
            session.reject(NOT_TODAY);
        }
    };

    Service NOBODY = new Service() {
        @Override
        public void opened(Session session, Frame.Open open) {
            session.reject(new Frame.Reject(Session.REFUSED, "nobody serves this protocol", 0));
        }
    };

    static Service of(String protocol) {
        return switch (protocol) {
            case "echo" -> ECHO;
            case "reject" -> REJECT;
            case "close" -> CLOSE;
            case "abort" -> ABORT;
            case "hold" -> HOLD;
            case "hold-accept" -> HOLD_ACCEPT;
            case "hold-reject" -> HOLD_REJECT;
            default -> NOBODY;
        };
    }
}
