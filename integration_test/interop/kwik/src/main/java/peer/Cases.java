package peer;

import static peer.Waits.check;

import java.io.IOException;
import java.net.DatagramSocket;
import java.net.InetSocketAddress;
import java.security.GeneralSecurityException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import tech.kwik.core.QuicClientConnection;

/** What P does in each case of the contract. */
final class Cases {
    static final List<String> NAMES = List.of("handshake", "wrong-id", "refused", "open", "open-rejected", "accept",
        "reject", "messages", "messages-back", "early", "signals", "signals-back", "close-by-peer", "close-here",
        "crossed", "close-opening", "close-crosses-accept", "close-crosses-reject", "bare-fin", "abort", "aborted",
        "shutdown", "goaway", "unknown", "malformed-frame", "malformed-datagram", "malformed-link", "many",
        "anonymous", "anonymous-refused", "no-datagrams", "one-port");

    private static final List<String> DIAL_ONLY = List.of("anonymous", "anonymous-refused");
    private static final List<String> WITHOUT_CERTIFICATE = DIAL_ONLY;

    /** A type that never has a meaning, of frames, settings and datagrams. */
    private static final int RESERVED = 0x17;
    private static final int MAINTENANCE = 0x100;
    private static final int SIGNALS = 40;
    private static final int MANY = 20;

    private final String name;
    private final Identity identity;
    private final Identity.Trust trust;
    final Link link;

    Cases(Waits waits, String name, boolean dial, Identity identity, String peerId) {
        this.name = name;
        this.identity = identity;
        trust = new Identity.Trust(peerId);
        link = new Link(waits, dial);
    }

    static boolean exists(boolean dial, String name) {
        return NAMES.contains(name) && (dial || !DIAL_ONLY.contains(name));
    }

    /** Why kwik cannot do a case; null if it can. */
    static String impossible(boolean dial, String name) {
        if (name.equals("one-port")) {
            return "the second link needs a server with client authentication, which kwik's has not";
        }
        if (dial || name.equals("refused") || name.equals("no-datagrams")) { // no matter who the peer is
            return null;
        }
        return "no client authentication: kwik's server asks for no certificate, and cannot know the peer's id";
    }

    void dial(InetSocketAddress address) throws IOException, Waits.Failure, InterruptedException {
        Stack.Connection connection = Stack.dialer(address, WITHOUT_CERTIFICATE.contains(name) ? null : identity,
            trust, !name.equals("no-datagrams"), link);
        link.attach(connection);
        IOException refusal = null;
        try {
            ((QuicClientConnection) connection.quic).connect();
            begin();
        } catch (IOException e) {
            refusal = e;
        }
        switch (name) {
            case "wrong-id" -> wrongId();
            case "refused" -> refused();
            case "anonymous-refused" -> anonymousRefused();
            case "no-datagrams" -> noDatagrams();
            default -> {
                check(refusal == null, "expected a handshake, and got: " + refusal);
                // The lock is given back in every wait.
                synchronized (link) {
                    onLink();
                }
            }
        }
    }

    /** Only to be refused: see impossible. */
    void listen(InetSocketAddress address)
            throws IOException, GeneralSecurityException, Waits.Failure, InterruptedException {
        DatagramSocket socket = new DatagramSocket(address);
        Stack.listen(socket, identity, !name.equals("no-datagrams"), link, link::attach);
        System.out.println("listening 127.0.0.1:" + socket.getLocalPort());
        if (name.equals("no-datagrams")) {
            noDatagrams();
        } else {
            refused();
        }
    }

    private void begin() throws IOException {
        if (name.equals("unknown")) {
            byte[] known = Arrays.copyOfRange(link.settings(), 2, link.settings().length);
            byte[] settings = new Out().raw(known).integer(RESERVED).string(Frame.utf8("x")).integer(0xf123)
                .string(Frame.utf8("yz")).integer(RESERVED).string(new byte[0]).done();
            link.begin(frame(Frame.SETTINGS, settings), frame(RESERVED, Frame.utf8("skip")),
                frame(0xf123, new byte[9]));
        } else {
            link.begin(link.settings());
        }
    }

    /** A frame of any type with any value. */
    private static byte[] frame(long type, byte[] value) {
        return new Out().integer(type).string(value).done();
    }

    // ---- Links that do not come to be.

    private void wrongId() throws Waits.Failure, InterruptedException {
        link.await("the end of the handshake", () -> link.end != null);
        check(trust.refused != null, "the id was not refused; the link was " + link.end);
        boolean refusal = !link.end.byPeer() && link.end.isTlsAlert();
        check(refusal, "expected a TLS alert of ours, and the link was " + link.end);
    }

    private void refused() throws Waits.Failure, InterruptedException {
        link.await("a TLS alert or code 0x02", () -> link.end != null);
        boolean refusal = link.end.byPeer() && link.end.isTlsAlert() || link.end.isOfPeer(Session.REFUSED);
        check(refusal, "expected a TLS alert or code 0x02, and the link was " + link.end);
        check(!link.carriedAnything(), "the link carried something before it was refused");
    }

    private void anonymousRefused() throws Waits.Failure, InterruptedException {
        link.await("a TLS alert", () -> link.end != null);
        check(link.end.byPeer() && link.end.isTlsAlert(), "expected a TLS alert, and the link was " + link.end);
    }

    private void noDatagrams() throws Waits.Failure, InterruptedException {
        awaitClose(Session.UNSUPPORTED);
    }

    private void awaitClose(long code) throws Waits.Failure, InterruptedException {
        String what = String.format("CONNECTION_CLOSE, code 0x%02x", code);
        link.await(what, () -> link.end != null);
        check(link.end.isOfPeer(code), "expected " + what + ", and the link was " + link.end);
    }

    // ---- On a link.

    private void onLink() throws IOException, Waits.Failure, InterruptedException {
        switch (name) {
            case "handshake" -> handshake();
            case "open", "anonymous" -> open();
            case "open-rejected" -> openRejected();
            case "accept" -> served(1, "echo", "peer-closed", 0x100, "fine");
            case "reject" -> served(1, "reject", "rejected", 0x1f4, "not today");
            case "messages" -> messages();
            case "messages-back" -> messagesBack();
            case "early" -> early();
            case "signals" -> signals();
            case "signals-back" -> signalsBack();
            case "close-by-peer" -> closeByPeer();
            case "close-here" -> served(1, "close", "closed", 0x155, "enough");
            case "crossed" -> crossed();
            case "close-opening" -> closeOpening();
            case "close-crosses-accept" -> closeCrossesAccept();
            case "close-crosses-reject" -> served(1, "hold-reject", "rejected", 0x1f4, "not today");
            case "bare-fin" -> bareFin();
            case "abort" -> abort();
            case "aborted" -> aborted();
            case "shutdown" -> shutdown(false);
            case "goaway" -> shutdown(true);
            case "unknown" -> unknown();
            case "malformed-frame" -> malformed(true);
            case "malformed-datagram" -> malformed(false);
            case "malformed-link" -> malformedLink();
            case "many" -> many();
            default -> throw new IllegalArgumentException(name);
        }
        if (link.end == null) {
            link.goAway();
            awaitClose(Session.NORMAL);
        }
    }

    private Session opened(String protocol, String metadata) throws IOException, Waits.Failure, InterruptedException {
        Session session = link.next(Service.OPENER);
        link.open(session, protocol, metadata);
        awaitAccept(session);
        return session;
    }

    private void awaitAccept(Session session) throws Waits.Failure, InterruptedException {
        link.await("ACCEPT of " + session.protocol, () -> session.accepted() || session.outcome != null);
        check(session.outcome == null, "expected ACCEPT, and got " + session);
    }

    private void awaitMessage(Session session, byte[] expected) throws Waits.Failure, InterruptedException {
        link.await("a message of " + expected.length + " bytes", () -> !session.messages.isEmpty());
        byte[] got = session.messages.remove();
        check(Arrays.equals(got, expected), "another message came back, of " + got.length + " bytes");
    }

    private void echo(Session session, String text) throws Waits.Failure, InterruptedException {
        session.sendMessage(Frame.utf8(text));
        awaitMessage(session, Frame.utf8(text));
    }

    private void closed(Session session) throws Waits.Failure, InterruptedException {
        session.close(Session.NORMAL, "bye");
        over(session, "closed", Session.NORMAL, "bye");
        check(session.messages.isEmpty(), "messages that nobody expected came in " + session);
    }

    /** Waits for the end of a session, and says which one it has to be. */
    private void over(Session session, String end, long code, String reason)
            throws Waits.Failure, InterruptedException {
        link.awaitOver(session);
        ended(session, end, code, reason);
    }

    private static void ended(Session session, String end, long code, String reason) throws Waits.Failure {
        boolean asExpected = session.outcome.equals(end) && session.code == code && session.reason.equals(reason);
        check(asExpected, String.format("expected %s with 0x%x %s, and got %s", end, code, reason, session));
        boolean counted = List.of("closed", "peer-closed", "crossed").contains(end);
        check(!counted || session.nothingLost(), "messages were lost in " + session);
    }

    private List<Session> served(int count, String protocol, String end, long code, String reason)
            throws Waits.Failure, InterruptedException {
        List<Session> sessions = link.awaitServed(count);
        for (Session session : sessions) {
            check(session.protocol.equals(protocol), "expected " + protocol + ", and got " + session);
            ended(session, end, code, reason);
        }
        return sessions;
    }

    private void handshake() throws Waits.Failure, InterruptedException {
        link.await("SETTINGS", () -> link.peerSettings != null);
        check(link.peerSettings.instance() != null, "SETTINGS came without instance id");
        byte[] token = Link.random(8);
        link.ping(token);
        link.await("PONG", () -> link.pongs.stream().anyMatch(t -> Arrays.equals(t, token)));
        byte[] beat = Link.random(8);
        link.heartbeat(beat);
        link.await("the echo of a heartbeat", () -> link.echoes.stream().anyMatch(t -> Arrays.equals(t, beat)));
        Session session = link.awaitServed(1).get(0);
        check(session.protocol.equals("echo") && session.outcome.equals("peer-closed"), "got " + session);
    }

    private void open() throws IOException, Waits.Failure, InterruptedException {
        Session session = opened("echo", "v=1");
        check(Arrays.equals(session.acceptMetadata, Frame.utf8("v=1")), "ACCEPT has other metadata than OPEN");
        echo(session, "hello");
        closed(session);
    }

    private void openRejected() throws IOException, Waits.Failure, InterruptedException {
        Session session = link.next(Service.OPENER);
        link.open(session, "reject", "");
        over(session, "rejected", 0x1f4, "not today");
        check(session.reject.retryAfterMs() == 1_500, "retry-after is " + session.reject.retryAfterMs());
    }

    /** Bytes that differ from each other and between messages. */
    private static byte[] pattern(int size) {
        byte[] bytes = new byte[size];
        for (int i = 0; i < size; i++) {
            bytes[i] = (byte) (i * 31 + i / 251 + size);
        }
        return bytes;
    }

    private void bundle(Session session, List<byte[]> payloads, boolean padded) {
        List<Datagram.Item> items = new ArrayList<>();
        payloads.forEach(payload -> items.add(new Datagram.Item(session.id, payload)));
        if (padded) {
            items.add(new Datagram.Item(Datagram.PADDING, new byte[100]));
        }
        long number = link.send(n -> new Datagram.Bundle(n, items));
        payloads.forEach(payload -> session.sent(number));
    }

    private void messages() throws IOException, Waits.Failure, InterruptedException {
        Session session = opened("echo", "");
        List<byte[]> small = new ArrayList<>(List.of(new byte[0], pattern(1), pattern(1_100)));
        for (byte[] payload : small) {
            check(link.fits(session.id, payload), payload.length + " bytes do not fit into one datagram");
            session.sendMessage(payload);
        }
        List<byte[]> bundled = List.of(Frame.utf8("a"), new byte[0], Frame.utf8("ccc"));
        bundle(session, bundled, false);
        byte[] padded = Frame.utf8("padded");
        bundle(session, List.of(padded), true);
        small.addAll(bundled);
        small.add(padded);
        link.await(small.size() + " messages", () -> session.messages.size() == small.size());
        check(same(small, session.messages), "other messages came back than were sent");
        session.messages.clear();
        for (int size : new int[] {5_000, 65_536}) {
            session.sendFragments(pattern(size), size == 5_000);
            awaitMessage(session, pattern(size));
        }
        closed(session);
    }

    private static boolean same(Iterable<byte[]> some, Iterable<byte[]> others) {
        List<byte[]> one = new ArrayList<>();
        some.forEach(one::add);
        List<byte[]> other = new ArrayList<>();
        others.forEach(other::add);
        Comparator<byte[]> order = Arrays::compare;
        one.sort(order);
        other.sort(order);
        return Arrays.deepEquals(one.toArray(), other.toArray());
    }

    private void messagesBack() throws Waits.Failure, InterruptedException {
        Session session = link.awaitServed(1).get(0);
        check(session.protocol.equals("echo") && session.outcome.equals("peer-closed"), "got " + session);
        check(session.nothingLost() && session.received() == 25, "expected 25 messages, and got " + session);
    }

    private void early() throws IOException, Waits.Failure, InterruptedException {
        Session session = link.next(Service.OPENER);
        session.sendMessage(Frame.utf8("one"));
        session.sendMessage(Frame.utf8("two"));
        link.pause(50);
        link.open(session, "echo", "");
        awaitAccept(session);
        awaitMessage(session, Frame.utf8("one"));
        awaitMessage(session, Frame.utf8("two"));
        closed(session);
        link.send(number -> new Datagram.Message(number, session.id, Frame.utf8("late")));
        Session next = opened("echo", "");
        echo(next, "on");
        closed(next);
    }

    private void signals() throws IOException, Waits.Failure, InterruptedException {
        Session session = opened("echo", "");
        int sent = 0;
        int back = 0;
        while (back < SIGNALS) {
            for (; sent < SIGNALS && session.hasSignalCredit(); sent++) {
                session.sendSignal(Frame.utf8(Integer.toString(sent)));
            }
            int until = sent;
            link.await("signals", () -> !session.signals.isEmpty() || until < SIGNALS && session.hasSignalCredit());
            for (; !session.signals.isEmpty(); back++) {
                String signal = new String(session.takeSignal());
                check(signal.equals(Integer.toString(back)), "expected signal " + back + ", and got " + signal);
                session.ackSignals();
            }
        }
        link.await("the signals to be acknowledged", session::allSignalsTaken);
        closed(session);
        check(session.signals.isEmpty(), "more than " + SIGNALS + " signals came back");
    }

    private void signalsBack() throws Waits.Failure, InterruptedException {
        Session session = link.awaitServed(1).get(0);
        check(session.protocol.equals("echo") && session.outcome.equals("peer-closed"), "got " + session);
        check(session.signalsEchoed() == SIGNALS, session.signalsEchoed() + " signals were sent back");
    }

    private void closeByPeer() throws IOException, Waits.Failure, InterruptedException {
        Session session = link.next(Service.OPENER);
        link.open(session, "close", "");
        over(session, "peer-closed", 0x155, "enough");
        check(session.framesRead.equals(List.of("ACCEPT", "CLOSE", "DONE")), "read " + session.framesRead);
    }

    private void crossed() throws IOException, Waits.Failure, InterruptedException {
        Session session = link.next(Service.HOLDING_OPENER);
        link.open(session, "close", "");
        link.await("CLOSE", () -> session.peerClose != null);
        check(session.peerClose.code() == 0x155 && session.peerClose.reason().equals("enough"),
            "read " + session.peerClose);
        session.close(0x200, "me too");
        session.answerClose();
        over(session, "crossed", 0x200, "me too");
    }

    private void closeOpening() throws IOException, Waits.Failure, InterruptedException {
        Session session = link.next(Service.OPENER);
        byte[] close = session.prepareClose(Session.NORMAL, "never mind").encode();
        link.open(session, "hold", "", close);
        over(session, "closed", Session.NORMAL, "never mind");
        boolean asExpected = session.framesRead.equals(List.of("CLOSE_ACK"))
            || session.framesRead.equals(List.of("ACCEPT", "CLOSE_ACK"));
        check(asExpected, "read " + session.framesRead);
    }

    private void closeCrossesAccept() throws Waits.Failure, InterruptedException {
        Session session = link.awaitServed(1).get(0);
        check(session.protocol.equals("hold-accept") && session.outcome.equals("peer-closed"), "got " + session);
        check(session.framesRead.equals(List.of("OPEN", "CLOSE", "DONE")), "read " + session.framesRead);
    }

    private void bareFin() throws IOException, Waits.Failure, InterruptedException {
        Session session = opened("echo", "");
        echo(session, "hello");
        session.closeBare();
        over(session, "closed", Session.NORMAL, "");
        check(session.framesRead.equals(List.of("ACCEPT", "CLOSE_ACK")), "read " + session.framesRead);
    }

    private void abort() throws IOException, Waits.Failure, InterruptedException {
        Session session = opened("echo", "");
        session.abort(0x199);
        awaitAbort(session, 0x199);
    }

    private void awaitAbort(Session session, long code) throws Waits.Failure, InterruptedException {
        link.await("RESET_STREAM or STOP_SENDING", () -> session.abortRead != null);
        check(session.abortRead == code, String.format("expected 0x%x, and got 0x%x", code, session.abortRead));
        over(session, "aborted", code, "");
    }

    private void aborted() throws IOException, Waits.Failure, InterruptedException {
        Session session = link.next(Service.OPENER);
        link.open(session, "abort", "");
        awaitAbort(session, 0x177);
    }

    private void shutdown(boolean openMore) throws IOException, Waits.Failure, InterruptedException {
        Session session = link.next(Service.HOLDING_OPENER);
        link.open(session, "shutdown", "");
        awaitAccept(session);
        session.sendMessage(Frame.utf8("go"));
        link.await("GOAWAY", () -> link.goAwayRead != null);
        check(link.goAwayRead.code() == MAINTENANCE && link.goAwayRead.reason().equals("maintenance"),
            "read " + link.goAwayRead);
        link.await("CLOSE", () -> session.peerClose != null);
        if (openMore) {
            Session more = link.next(Service.OPENER);
            link.open(more, "echo", "");
            link.await("REJECT", () -> more.outcome != null);
            check(more.outcome.equals("rejected") && more.code == Session.GOING_AWAY, "got " + more);
            check(link.goAwayRead.firstRefused() <= more.id, "first refused is " + link.goAwayRead.firstRefused());
            session.answerClose();
            link.awaitOver(more);
        } else {
            session.answerClose();
        }
        over(session, "peer-closed", MAINTENANCE, "maintenance");
        // Nothing of ours is under way: the last we wrote were CLOSE_ACK and FIN, and the peer has answered those.
        link.close(Session.NORMAL, "");
        link.await("our own end", () -> link.end != null);
    }

    private void unknown() throws IOException, Waits.Failure, InterruptedException {
        long other = link.openOther(new Out().integer(0x40).raw(Frame.utf8("ignore me")).done());
        link.await("STOP_SENDING", () -> link.stopped.containsKey(other));
        check(link.stopped.get(other) == Session.UNSUPPORTED, "it is stopped with code " + link.stopped.get(other));
        link.send(number -> new Datagram.Unknown(number, RESERVED, Frame.utf8("ignore me")));
        Session session = link.next(Service.OPENER);
        link.open(session, "echo", "v=1", frame(0x40, Frame.utf8("skip")));
        awaitAccept(session);
        check(Arrays.equals(session.acceptMetadata, Frame.utf8("v=1")), "ACCEPT has other metadata than OPEN");
        session.write(frame(0xa03f, new byte[0]));
        echo(session, "hello");
        session.sendSignal(Frame.utf8("hi"));
        session.write(frame(0xa03f, new byte[300]));
        link.await("a signal", () -> !session.signals.isEmpty());
        check(Arrays.equals(session.takeSignal(), Frame.utf8("hi")), "another signal came back");
        session.ackSignals();
        Out close = new Out();
        session.prepareClose(Session.NORMAL, "bye").value(close);
        session.write(frame(Frame.CLOSE, close.raw(new byte[] {1, 2, 3, 4}).done()));
        over(session, "closed", Session.NORMAL, "bye");
    }

    private void malformed(boolean byFrame) throws IOException, Waits.Failure, InterruptedException {
        Session a = opened("echo", "");
        Session b = opened("echo", "");
        if (byFrame) {
            a.write(new Out().integer(Frame.SIGNAL).integer(100_000).done());
        } else {
            link.send(number -> new Datagram.Fragment(number, a.id, 0, 10, 0, new byte[0]));
        }
        awaitAbort(a, Session.VIOLATION);
        echo(b, "hello");
        closed(b);
    }

    private void malformedLink() throws IOException, Waits.Failure, InterruptedException {
        Session session = opened("echo", "");
        link.writeLink(link.settings());
        awaitClose(Session.VIOLATION);
        check("lost".equals(session.outcome), "got " + session);
    }

    private void many() throws IOException, Waits.Failure, InterruptedException {
        List<Session> own = new ArrayList<>();
        for (int i = 0; i < MANY; i++) {
            Session session = link.next(Service.OPENER);
            link.open(session, "echo", "");
            own.add(session);
        }
        for (Session session : own) {
            awaitAccept(session);
            session.sendMessage(Frame.utf8("message of " + session.id));
        }
        for (Session session : own) {
            awaitMessage(session, Frame.utf8("message of " + session.id));
            session.close(Session.NORMAL, "bye");
        }
        for (Session session : own) {
            over(session, "closed", Session.NORMAL, "bye");
        }
        for (Session session : link.awaitServed(MANY)) {
            check(session.protocol.equals("echo") && session.outcome.equals("peer-closed"), "got " + session);
            check(session.nothingLost() && session.received() == 1, "expected one message, and got " + session);
        }
    }
}
