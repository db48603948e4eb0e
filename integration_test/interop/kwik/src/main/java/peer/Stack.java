package peer;

import java.io.IOException;
import java.net.DatagramSocket;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.security.GeneralSecurityException;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.Semaphore;
import java.util.function.Consumer;
import tech.kwik.core.ConnectionTerminatedEvent;
import tech.kwik.core.QuicClientConnection;
import tech.kwik.core.QuicConnection;
import tech.kwik.core.QuicStream;
import tech.kwik.core.frame.ConnectionCloseFrame;
import tech.kwik.core.frame.DatagramFrame;
import tech.kwik.core.frame.QuicFrame;
import tech.kwik.core.frame.ResetStreamFrame;
import tech.kwik.core.frame.StopSendingFrame;
import tech.kwik.core.log.NullLogger;
import tech.kwik.core.packet.QuicPacket;
import tech.kwik.core.server.ApplicationProtocolConnection;
import tech.kwik.core.server.ApplicationProtocolConnectionFactory;
import tech.kwik.core.server.ServerConnectionConfig;
import tech.kwik.core.server.ServerConnector;

/** All that is particular to kwik. */
final class Stack {
    static final String ALPN = "quicpeer/1";

    private static final int STREAMS = 100;
    private static final int LINK_STREAMS = 8;
    private static final long STREAM_BUFFER = 300_000;
    private static final Duration IDLE = Duration.ofSeconds(30);
    /** Less than a case has, so that a handshake that hangs is told as what it is. */
    private static final Duration CONNECT = Duration.ofSeconds(8);

    /** kwik's own limit for a datagram forgets the tag of 16 bytes that encryption adds to the packet. */
    private static final int TAG = 16;
    /** The type and length of a DATAGRAM frame, as kwik counts them. */
    private static final int FRAME_HEADER = 3;
    private static final int LEAST_FRAME = 128;

    /** How a connection ended. A code is there unless it was lost. */
    record End(boolean byPeer, Kind kind, long code, String reason) {
        enum Kind {
            /** CONNECTION_CLOSE of type 0x1d. */
            APPLICATION,
            /** CONNECTION_CLOSE of type 0x1c. */
            TRANSPORT,
            LOST
        }

        /** Whether the peer's application closed with this code. */
        boolean isOfPeer(long withCode) {
            return byPeer && kind == Kind.APPLICATION && code == withCode;
        }

        boolean isTlsAlert() {
            return kind == Kind.TRANSPORT && code >= 0x100 && code <= 0x1ff;
        }

        @Override
        public String toString() {
            String who = byPeer ? "the peer" : "this side";
            return kind == Kind.LOST ? "lost (" + reason + ")"
                : String.format("closed by %s, %s code 0x%x (%s)", who, kind.name().toLowerCase(), code, reason);
        }
    }

    /** What a connection reports, on threads of kwik's that must not be held up. */
    interface Events {
        void streamOpened(QuicStream stream);

        void datagram(byte[] payload);

        void streamReset(long stream, long code);

        void sendingStopped(long stream, long code);

        void ended(End end);
    }

    /**
     * Sees the frames that come in. kwik tells an application that a stream was reset, but not with which code; nor
     * does it tell of STOP_SENDING (which it answers by itself, with the same code), and it does not keep the codes
     * "application 0x00" and "no error" of CONNECTION_CLOSE apart. Its logger is shown every packet.
     */
    private static final class Observer extends NullLogger {
        private final Events events;
        private final Semaphore datagramsLeft = new Semaphore(0);

        Observer(Events events) {
            this.events = events;
        }

        @Override
        public void sent(Instant time, QuicPacket packet) {
            for (QuicFrame frame : packet.getFrames()) {
                if (frame instanceof DatagramFrame) {
                    datagramsLeft.release();
                }
            }
        }

        @Override
        public void sent(Instant time, List<QuicPacket> packets) {
            packets.forEach(packet -> sent(time, packet));
        }

        @Override
        public void received(Instant time, int datagram, QuicPacket packet) {
            for (QuicFrame frame : packet.getFrames()) {
                if (frame instanceof ResetStreamFrame reset) {
                    events.streamReset(reset.getStreamId(), reset.getErrorCode());
                } else if (frame instanceof StopSendingFrame stop) {
                    events.sendingStopped(stop.getStreamId(), stop.getErrorCode());
                } else if (frame instanceof ConnectionCloseFrame close) {
                    End.Kind kind = close.getFrameType() == 0x1d ? End.Kind.APPLICATION : End.Kind.TRANSPORT;
                    events.ended(new End(true, kind, close.getErrorCode(), close.getReasonPhrase()));
                }
            }
        }

        @Override
        public void error(String message) {
            System.err.println("kwik: " + message);
        }

        @Override
        public void error(String message, Throwable error) {
            System.err.println("kwik: " + message + ": " + error);
        }
    }

    /**
     * A connection, with datagrams that leave in the order in which they are handed over. kwik puts each one in front
     * of all that waits, so that a burst would leave in reverse order, and before every stream. This gives it one at a
     * time.
     */
    static final class Connection {
        final QuicConnection quic;
        private final BlockingQueue<byte[]> queue = new LinkedBlockingQueue<>();

        private Connection(QuicConnection quic, Observer observer) {
            this.quic = quic;
            Thread sender = new Thread(() -> {
                try {
                    while (true) {
                        quic.sendDatagram(queue.take());
                        observer.datagramsLeft.acquire();
                    }
                } catch (InterruptedException e) {
                    throw new IllegalStateException("nothing interrupts this thread", e);
                }
            }, "datagrams");
            sender.setDaemon(true);
            sender.start();
        }

        void sendDatagram(byte[] payload) {
            queue.add(payload);
        }

        /** Whether the peer takes datagrams that are long enough for the protocol (section 3.2). */
        boolean peerTakesDatagrams() {
            return quic.canSendDatagram() && quic.maxDatagramDataSize() + FRAME_HEADER >= LEAST_FRAME;
        }

        /** The longest payload of one datagram. */
        int largestDatagram() {
            return quic.maxDatagramDataSize() - TAG;
        }
    }

    private static void report(QuicConnection connection, Events events) {
        connection.setDatagramHandler(events::datagram);
        connection.setConnectionListener(event -> {
            // What the peer closed, the observer has seen in full.
            if (!event.closedByPeer()) {
                events.ended(ownEnd(event));
            }
        });
    }

    private static End ownEnd(ConnectionTerminatedEvent event) {
        if (event.closeReason() != ConnectionTerminatedEvent.CloseReason.ImmediateClose) {
            return new End(false, End.Kind.LOST, 0, event.closeReason().name());
        }
        boolean transport = event.hasTransportError();
        // Code 0 is no error for kwik, whose code it may be.
        Long code = transport ? event.transportErrorCode() : event.applicationErrorCode();
        return new End(false, transport ? End.Kind.TRANSPORT : End.Kind.APPLICATION, code == null ? 0 : code,
            event.errorDescription());
    }

    /**
     * Prepares to dial; connect() on the client connection that is returned then does. Without identity, no
     * certificate is presented.
     */
    static Connection dialer(InetSocketAddress address, Identity identity, Identity.Trust trust,
            boolean datagrams, Events events) throws IOException {
        Observer observer = new Observer(events);
        QuicClientConnection.Builder builder = QuicClientConnection.newBuilder()
            .host(address.getAddress().getHostAddress())
            .port(address.getPort())
            .socketFactory(destination -> new DatagramSocket(0, InetAddress.getLoopbackAddress()))
            .applicationProtocol(ALPN)
            .maxIdleTimeout(IDLE)
            .connectTimeout(CONNECT)
            .defaultStreamReceiveBufferSize(STREAM_BUFFER)
            .maxOpenPeerInitiatedBidirectionalStreams(STREAMS)
            .maxOpenPeerInitiatedUnidirectionalStreams(LINK_STREAMS)
            .logger(observer)
            // This one is for the host name, which would be checked against the certificate otherwise ...
            .noServerCertificateCheck()
            // ... and this one puts our own trust in the place of "no check".
            .customTrustManager(trust);
        if (identity != null) {
            builder.clientCertificate(identity.certificate()).clientCertificateKey(identity.key());
        }
        if (datagrams) {
            builder.enableDatagramExtension();
        }
        QuicClientConnection connection = builder.build();
        connection.setPeerInitiatedStreamCallback(events::streamOpened);
        report(connection, events);
        return new Connection(connection, observer);
    }

    /**
     * Listens on the port. kwik's server asks no client for a certificate, and so the peer is nobody. It is
     * told of when its handshake is complete.
     */
    static void listen(DatagramSocket socket, Identity identity, boolean datagrams, Events events,
            Consumer<Connection> established) throws GeneralSecurityException, IOException {
        Observer observer = new Observer(events);
        char[] password = "of the key in memory".toCharArray();
        KeyStore store = KeyStore.getInstance("PKCS12");
        store.load(null, null);
        store.setKeyEntry("peer", identity.key(), password, new Certificate[] {identity.certificate()});
        ServerConnector connector = ServerConnector.builder()
            .withSocket(socket)
            .withKeyStore(store, "peer", password)
            .withConfiguration(ServerConnectionConfig.builder()
                .maxIdleTimeout((int) IDLE.toMillis())
                .maxUnidirectionalStreamBufferSize(STREAM_BUFFER)
                .maxBidirectionalStreamBufferSize(STREAM_BUFFER)
                .maxConnectionBufferSize(10 * STREAM_BUFFER)
                .maxOpenPeerInitiatedBidirectionalStreams(STREAMS)
                .maxOpenPeerInitiatedUnidirectionalStreams(LINK_STREAMS)
                .retryRequired(ServerConnectionConfig.RetryRequired.Never)
                .connectionIdLength(8)
                .build())
            .withLogger(observer)
            .build();
        connector.registerApplicationProtocol(ALPN, new ApplicationProtocolConnectionFactory() {
            @Override
            public ApplicationProtocolConnection createConnection(String protocol, QuicConnection connection) {
                report(connection, events);
                established.accept(new Connection(connection, observer));
                return new ApplicationProtocolConnection() {
                    @Override
                    public void acceptPeerInitiatedStream(QuicStream stream) {
                        events.streamOpened(stream);
                    }
                };
            }

            @Override
            public int maxConcurrentPeerInitiatedBidirectionalStreams() {
                return STREAMS;
            }

            @Override
            public int maxConcurrentPeerInitiatedUnidirectionalStreams() {
                return LINK_STREAMS;
            }

            @Override
            public boolean enableDatagramExtension() {
                return datagrams;
            }
        });
        connector.start();
    }
}
