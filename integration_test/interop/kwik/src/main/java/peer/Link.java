package peer;

import java.io.IOException;
import java.io.InputStream;
import java.security.SecureRandom;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Deque;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import java.util.function.Consumer;
import tech.kwik.core.QuicStream;

/**
 * One link: the link streams, the datagrams, and the sessions (sections 4, 6, 9).
 *
 * <p>All state is guarded by the link itself. What kwik reports is handed to one thread first, because kwik's threads
 * must not wait for the lock: whoever holds it may be waiting in a write for them.
 */
final class Link implements Stack.Events {
    private static final int LINK_STREAM = 0x00;
    private static final int HEARTBEAT_MS = 5_000;
    private static final int RECENT = 8_192;

    private static final int EARLY_DATAGRAMS = 64;
    private static final int EARLY_BYTES = 64 * 1024;
    private static final long EARLY_NANOS = 1_000_000_000L;

    private final Waits waits;
    private final boolean client;
    private final ScheduledExecutorService loop = Executors.newSingleThreadScheduledExecutor(task -> {
        Thread thread = new Thread(task, "link");
        thread.setDaemon(true);
        return thread;
    });

    private Stack.Connection connection;
    private QuicStream linkStream;
    private final FrameParser parser = new FrameParser();
    /** That of the peer's, or -1 before it came. */
    private long linkStreamId = -1;
    private final byte[] instance = random(16);

    /** Every session of this link, and those streams of the peer's that may become one. */
    private final Map<Long, Session> sessions = new TreeMap<>();
    private long nextOwn;
    private long nextOfPeer;

    // Datagrams.
    private long nextNumber;
    private long highest = -1;
    private final long[] seen = new long[RECENT];
    private final Deque<Early> early = new ArrayDeque<>();

    Frame.Settings peerSettings;
    Frame.GoAway goAwayRead;
    private long firstRefused = Long.MAX_VALUE;
    final List<byte[]> pongs = new ArrayList<>();
    final List<byte[]> echoes = new ArrayList<>();
    /** Codes of STOP_SENDING for unidirectional streams of ours, by stream. */
    final Map<Long, Long> stopped = new TreeMap<>();
    Stack.End end;
    private Throwable broken;

    /** A message of a session that the peer opens, and that is not open yet. */
    private record Early(long session, int size, long at, Consumer<Session> give) {
    }

    Link(Waits waits, boolean client) {
        this.waits = waits;
        this.client = client;
        nextOwn = client ? 0 : 1;
        nextOfPeer = client ? 1 : 0;
        Arrays.fill(seen, -1);
    }

    // ---- The beginning.

    /** The connection is there, or will be: what it reports goes to this link. */
    synchronized void attach(Stack.Connection to) {
        connection = to;
    }

    /** The handshake is complete: opens the link stream with SETTINGS and what else a case writes there at once. */
    synchronized void begin(byte[] settings, byte[]... further) throws IOException {
        if (connection.quic.canReceiveDatagram() && !connection.peerTakesDatagrams()) {
            connection.quic.close(Session.UNSUPPORTED, "the peer takes no datagrams");
            return;
        }
        linkStream = connection.quic.createStream(false);
        Out out = new Out().integer(LINK_STREAM).raw(settings);
        for (byte[] bytes : further) {
            out.raw(bytes);
        }
        writeLink(out.done());
        loop.scheduleAtFixedRate(() -> post(() -> {
            if (end == null && connection.quic.canSendDatagram()) {
                heartbeat(random(8));
            }
        }), HEARTBEAT_MS, HEARTBEAT_MS, TimeUnit.MILLISECONDS);
    }

    byte[] settings() {
        return new Frame.Settings(instance, null, null, null, null).encode();
    }

    static byte[] random(int size) {
        byte[] bytes = new byte[size];
        new SecureRandom().nextBytes(bytes);
        return bytes;
    }

    // ---- What a case does.

    /** Waits until something is so. The end of the link is a failure, unless it is what makes it so. */
    synchronized void await(String what, BooleanSupplier so) throws Waits.Failure, InterruptedException {
        waits.what = what;
        while (!so.getAsBoolean()) {
            if (broken != null) {
                throw new Waits.Failure("waited for " + what + ", and failed with " + broken);
            }
            Waits.check(end == null, "expected " + what + ", and the link was " + end);
            long left = waits.leftMs();
            Waits.check(left > 0, "waited in vain for " + what);
            wait(left);
        }
    }

    /** Waits until a session is over for its application, and its stream too. */
    void awaitOver(Session session) throws Waits.Failure, InterruptedException {
        await("the end of " + session, () -> session.outcome != null && session.streamOver());
    }

    /** Waits until the peer has opened so many sessions, and all sessions are over. */
    List<Session> awaitServed(int count) throws Waits.Failure, InterruptedException {
        await(count + " sessions of the peer to be over", () -> served().size() == count
            && served().stream().allMatch(s -> s.outcome != null && s.streamOver()));
        return served();
    }

    private List<Session> served() {
        return sessions.values().stream().filter(s -> !s.opener && s.protocol != null).toList();
    }

    /** A session with the id that comes next. Its messages may be sent before it is opened. */
    synchronized Session next(Service service) {
        Session session = new Session(this, nextOwn, true, null, service);
        nextOwn += 2;
        return session;
    }

    /** Opens a session, and writes further bytes with OPEN. */
    synchronized void open(Session session, String protocol, String metadata, byte[]... further) throws IOException {
        QuicStream stream = connection.quic.createStream(true);
        if (sessionId(stream) != session.id) {
            throw new IllegalStateException("stream " + stream.getStreamId() + " is not that of session " + session.id);
        }
        sessions.put(session.id, session);
        session.open(stream, protocol, Frame.utf8(metadata), further);
        read(stream, bytes -> session.data(bytes), session::finRead);
    }

    synchronized void ping(byte[] token) {
        writeLink(new Frame.Ping(token).encode());
    }

    /** Lets time pass. */
    synchronized void pause(long ms) throws InterruptedException {
        long until = System.nanoTime() + ms * 1_000_000;
        for (long left = ms; left > 0; left = (until - System.nanoTime()) / 1_000_000) {
            wait(left);
        }
    }

    synchronized void heartbeat(byte[] token) {
        send(number -> new Datagram.Heartbeat(number, false, token));
    }

    /** Refuses what was not acted on, and asks the peer to end the link. */
    synchronized void goAway() {
        firstRefused = nextOfPeer;
        writeLink(new Frame.GoAway(Session.GOING_AWAY, "done", 0, firstRefused).encode());
    }

    synchronized void writeLink(byte[] bytes) {
        try {
            linkStream.getOutputStream().write(bytes);
        } catch (IOException e) {
            System.err.println("link stream: " + e.getMessage());
        }
    }

    /** Opens a unidirectional stream of another type; returns its id. */
    synchronized long openOther(byte[] bytes) throws IOException {
        QuicStream stream = connection.quic.createStream(false);
        stream.getOutputStream().write(bytes);
        return stream.getStreamId();
    }

    synchronized void close(long code, String reason) {
        if (end == null) {
            connection.quic.close(code, reason);
        }
    }

    /** Gives kwik the time to send what it has, the end included. */
    void finish() throws InterruptedException {
        if (connection == null) {
            return;
        }
        close(Session.NORMAL, "");
        connection.quic.closeAndWait(Duration.ofMillis(Math.min(400, waits.leftMs())));
    }

    synchronized List<Object> report() {
        List<Object> all = new ArrayList<>();
        sessions.values().stream().filter(s -> s.protocol != null).forEach(s -> all.add(s.report()));
        return all;
    }

    /** Whether anything of the peer's came over the link. */
    synchronized boolean carriedAnything() {
        return linkStreamId >= 0 || !sessions.isEmpty() || highest >= 0;
    }

    // ---- Datagrams.

    interface Numbered {
        Datagram with(long number);
    }

    /** Hands a datagram over; returns its number. */
    synchronized long send(Numbered datagram) {
        long number = nextNumber++;
        byte[] bytes = datagram.with(number).encode();
        if (end == null) {
            connection.sendDatagram(bytes);
        }
        return number;
    }

    /** Whether a message can go in one datagram. */
    boolean fits(long session, byte[] payload) {
        return new Datagram.Message(nextNumber, session, payload).encode().length <= connection.largestDatagram();
    }

    /** Sends a message in fragments; returns the highest number that carried any of it. */
    long sendFragments(long session, long message, byte[] payload, boolean reversed) {
        int header = new Datagram.Fragment(nextNumber, session, message, payload.length, payload.length, payload)
            .encode().length - payload.length;
        // The number may grow by bytes on the way.
        int size = connection.largestDatagram() - header - 4;
        List<Integer> offsets = new ArrayList<>();
        for (int at = 0; at < payload.length; at += size) {
            offsets.add(reversed ? 0 : offsets.size(), at);
        }
        long last = -1;
        for (int at : offsets) {
            byte[] piece = Arrays.copyOfRange(payload, at, Math.min(at + size, payload.length));
            last = send(number -> new Datagram.Fragment(number, session, message, payload.length, at, piece));
        }
        return last;
    }

    private void datagramRead(byte[] bytes) {
        Datagram datagram;
        try {
            datagram = Datagram.decode(bytes);
        } catch (Datagram.Malformed m) {
            Session blamed = sessions.get(m.session);
            if (blamed != null && blamed.accepted() && blamed.outcome == null) {
                blamed.violated(Violation.malformed("datagram: " + m.getMessage()));
            }
            return;
        }
        if (!isNew(datagram.number())) {
            return;
        }
        if (datagram instanceof Datagram.Message message) {
            give(message.session(), bytes.length, session -> session.message(message.payload()));
        } else if (datagram instanceof Datagram.Bundle bundle) {
            for (Datagram.Item item : bundle.items()) {
                if (item.session() != Datagram.PADDING) {
                    give(item.session(), item.payload().length, session -> session.message(item.payload()));
                }
            }
        } else if (datagram instanceof Datagram.Fragment fragment) {
            give(fragment.session(), bytes.length, session -> session.fragment(fragment));
        } else if (datagram instanceof Datagram.Heartbeat heartbeat && heartbeat.echo()) {
            echoes.add(heartbeat.token());
        } else if (datagram instanceof Datagram.Heartbeat heartbeat) {
            send(number -> new Datagram.Heartbeat(number, true, heartbeat.token()));
        }
    }

    private boolean isNew(long number) {
        int place = (int) (number % RECENT);
        if (number <= highest - RECENT || seen[place] == number) {
            return false;
        }
        seen[place] = number;
        highest = Math.max(highest, number);
        return true;
    }

    /** By Rule 1: now, later, or never. */
    private void give(long id, int size, Consumer<Session> to) {
        Session session = sessions.get(id);
        boolean ofPeer = (id & 1) == (client ? 1 : 0);
        if (session == null && ofPeer && id >= nextOfPeer || session != null && session.incoming()) {
            long now = System.nanoTime();
            early.removeIf(e -> now - e.at > EARLY_NANOS);
            int held = early.stream().mapToInt(Early::size).sum();
            if (early.size() < EARLY_DATAGRAMS && held + size <= EARLY_BYTES) {
                early.add(new Early(id, size, now, to));
            }
        } else if (session != null) {
            to.accept(session);
        }
    }

    /** An OPEN has come: every one is judged. */
    void judge(Session session, Frame.Open open) {
        if (session.id >= firstRefused) {
            session.reject(new Frame.Reject(Session.GOING_AWAY, "", 0));
        } else {
            session.service = Service.of(open.protocol());
            session.service.opened(session, open);
        }
    }

    /** A session of the peer's has been accepted: what came before goes to it first. */
    void giveEarly(Session session) {
        long now = System.nanoTime();
        List<Early> kept = early.stream().filter(e -> e.session == session.id).toList();
        early.removeAll(kept);
        for (Early e : kept) {
            if (now - e.at <= EARLY_NANOS) {
                e.give.accept(session);
            }
        }
    }

    // ---- What kwik reports.

    private void post(Runnable event) {
        loop.execute(() -> {
            synchronized (this) {
                try {
                    event.run();
                } catch (RuntimeException e) {
                    broken = e;
                    e.printStackTrace();
                }
                notifyAll();
            }
        });
    }

    void later(long ms, Runnable event) {
        loop.schedule(() -> post(event), ms, TimeUnit.MILLISECONDS);
    }

    long graceMs() {
        return Math.min(250, Math.max(10, connection.quic.getStats().smoothedRtt() / 2));
    }

    private static long sessionId(QuicStream stream) {
        long id = stream.getStreamId();
        return id >> 2 << 1 | id & 1;
    }

    @Override
    public void streamOpened(QuicStream stream) {
        post(() -> {
            if (stream.isUnidirectional()) {
                readOther(stream);
                return;
            }
            Session session = new Session(this, sessionId(stream), false, stream, Service.NOBODY);
            sessions.put(session.id, session);
            nextOfPeer = Math.max(nextOfPeer, session.id + 2);
            read(stream, session::data, session::finRead);
        });
    }

    /** Reads a stream to its end, on a thread of its own since kwik's streams block. */
    private void read(QuicStream stream, Consumer<byte[]> data, Runnable fin) {
        Thread reader = new Thread(() -> {
            byte[] buffer = new byte[8_192];
            try {
                InputStream in = stream.getInputStream();
                for (int n = in.read(buffer); n >= 0; n = in.read(buffer)) {
                    byte[] bytes = Arrays.copyOf(buffer, n);
                    post(() -> data.accept(bytes));
                }
                post(fin);
            } catch (IOException e) {
                // Reset, stopped by us, or the end of the link: all of them are reported.
            }
        }, "stream " + stream.getStreamId());
        reader.setDaemon(true);
        reader.start();
    }

    /** Reads a unidirectional stream: the link stream, or one that is stopped. */
    private void readOther(QuicStream stream) {
        read(stream, new Consumer<>() {
            private byte[] start = new byte[0];
            private boolean isLinkStream;
            private boolean isStopped;

            @Override
            public void accept(byte[] bytes) {
                if (isLinkStream) {
                    linkData(bytes);
                    return;
                }
                if (isStopped) {
                    return;
                }
                In in = new In(new Out().raw(start).raw(bytes).done());
                long type = in.integerOrNone();
                if (type < 0) {
                    start = in.rest();
                } else if (type != LINK_STREAM) {
                    isStopped = true;
                    stream.abortReading(Session.UNSUPPORTED);
                } else if (linkStreamId >= 0) {
                    close(Session.VIOLATION, "a second link stream");
                } else {
                    isLinkStream = true;
                    linkStreamId = stream.getStreamId();
                    linkData(in.rest());
                }
            }
        }, () -> {
            if (stream.getStreamId() == linkStreamId) {
                close(Session.VIOLATION, "the link stream has ended");
            }
        });
    }

    private void linkData(byte[] bytes) {
        try {
            parser.feed(bytes, this::linkFrame);
        } catch (Violation v) {
            close(Session.VIOLATION, v.getMessage());
        }
    }

    private void linkFrame(Frame frame) throws Violation {
        if (peerSettings == null) {
            Violation.require(frame instanceof Frame.Settings, "SETTINGS is not the first frame");
            peerSettings = (Frame.Settings) frame;
        } else if (frame instanceof Frame.GoAway goAway) {
            goAwayRead = goAway;
        } else if (frame instanceof Frame.Ping ping) {
            writeLink(new Frame.Pong(ping.token()).encode());
        } else if (frame instanceof Frame.Pong pong) {
            pongs.add(pong.token());
        } else {
            throw new Violation(Violation.Kind.ORDER, Vectors.name(frame) + " on the link stream");
        }
    }

    @Override
    public void datagram(byte[] payload) {
        post(() -> datagramRead(payload));
    }

    @Override
    public void streamReset(long stream, long code) {
        post(() -> {
            if (stream == linkStreamId) {
                close(Session.VIOLATION, "the link stream was reset");
            } else if ((stream & 2) == 0) {
                aborted(stream, code, true);
            }
        });
    }

    @Override
    public void sendingStopped(long stream, long code) {
        post(() -> {
            if ((stream & 2) == 0) {
                aborted(stream, code, false);
            } else {
                stopped.put(stream, code);
            }
        });
    }

    private void aborted(long stream, long code, boolean byReset) {
        Session session = sessions.get(stream >> 2 << 1 | stream & 1);
        if (session != null) {
            session.aborted(code, byReset);
        }
    }

    @Override
    public void ended(Stack.End how) {
        post(() -> {
            if (end == null) {
                end = how;
                sessions.values().forEach(Session::linkEnded);
            }
        });
    }
}
