// Deno's QUIC, as the protocol wants to see it.
//
// What Deno lacks: it shows no certificate of the peer, its listener asks for none, and a stream can neither be reset
// nor stopped with a code. So the peer's id is not checked here (the caller says so in its output), and whoever aborts
// has to end the link.

const TRANSPORT = {
  alpnProtocols: ["quicpeer/1"],
  maxIdleTimeout: 30_000,
  maxConcurrentBidirectionalStreams: 64,
  maxConcurrentUnidirectionalStreams: 8,
};

/** The peer reset a stream, or asked to stop it. */
export class Aborted extends Error {
  /** @param {string} message @param {bigint} code */
  constructor(message, code) {
    super(message);
    this.code = code;
  }
}

/** Deno tells the code of a reset in the text of an error only. @param {any} error */
function translate(error) {
  const [, code] = error.message.match(/^(?:stream reset|sending stopped) by peer: error (\d+)$/) ?? [];
  return code === undefined ? error : new Aborted(error.message, BigInt(code));
}

export class SendStream {
  #writer;

  /** @param {Deno.QuicSendStream} stream */
  constructor(stream) {
    this.id = stream.id;
    this.#writer = stream.getWriter();
    this.#writer.closed.catch(() => {}); // each write says it too
  }

  /** @param {Uint8Array} bytes */
  async write(bytes) {
    await this.#writer.write(bytes).catch((error) => {
      throw translate(error);
    });
  }

  /** Sends FIN; or, if the peer asked to stop the stream, RESET_STREAM with the peer's code. */
  async finish() {
    await this.#writer.close();
  }
}

export class ReceiveStream {
  #reader;

  /** @param {Deno.QuicReceiveStream} stream */
  constructor(stream) {
    this.id = stream.id;
    this.#reader = stream.getReader();
  }

  /** The next bytes; nothing at FIN. @returns {Promise<Uint8Array | undefined>} */
  async read() {
    const { value } = await this.#reader.read().catch((error) => {
      throw translate(error);
    });
    return value;
  }

  /** Sends STOP_SENDING. Its code is 0, whatever one would like. */
  async stop() {
    await this.#reader.cancel().catch(() => {}); // it fails if the stream is gone
  }
}

/** @typedef {{ send: SendStream, receive: ReceiveStream }} Stream */

/**
 * How a connection ended: by this side's close, by the peer's application, or otherwise (a TLS alert, a timeout).
 * @typedef {{ by: "here" } | { by: "peer", code: bigint, reason: string } | { by: "transport", text: string }} Ending
 */

export class Connection {
  #conn;
  #closing = false;

  /** @param {Deno.QuicConn} conn @param {boolean} dialed */
  constructor(conn, dialed) {
    this.#conn = conn;
    this.dialed = dialed;
    /** @type {Promise<Ending>} */
    this.ended = conn.closed.then(
      ({ closeCode, reason }) => this.#closing ? { by: "here" } : { by: "peer", code: BigInt(closeCode), reason },
      (error) => ({ by: "transport", text: error.message }),
    );
  }

  get remote() {
    const { hostname, port } = this.#conn.remoteAddr;
    return { hostname, port };
  }

  /** The largest payload of a datagram; 0 if the peer takes none. */
  get maxDatagram() {
    return this.#conn.maxDatagramSize;
  }

  /** @returns {Promise<Stream>} */
  async openBidi() {
    const { writable, readable } = await this.#conn.createBidirectionalStream({ waitUntilAvailable: true });
    return { send: new SendStream(writable), receive: new ReceiveStream(readable) };
  }

  async openUni() {
    return new SendStream(await this.#conn.createUnidirectionalStream({ waitUntilAvailable: true }));
  }

  /** @returns {AsyncGenerator<Stream>} */
  async *bidiStreams() {
    for await (const { writable, readable } of this.#conn.incomingBidirectionalStreams) {
      yield { send: new SendStream(writable), receive: new ReceiveStream(readable) };
    }
  }

  async *uniStreams() {
    for await (const readable of this.#conn.incomingUnidirectionalStreams) yield new ReceiveStream(readable);
  }

  /** @param {Uint8Array} bytes */
  sendDatagram(bytes) {
    return this.#conn.sendDatagram(bytes);
  }

  readDatagram() {
    return this.#conn.readDatagram();
  }

  /** @param {bigint} code @param {string} reason */
  close(code, reason = "") {
    this.#closing = true;
    this.#conn.close({ closeCode: Number(code), reason });
  }
}

/** One UDP port, which dials and accepts. */
export class Endpoint {
  #endpoint;
  #identity;
  /** @type {Deno.QuicListener | undefined} */
  #listener;

  /**
   * @param {{ hostname: string, port: number }} address
   * @param {{ cert: string, key: string }} identity
   */
  constructor(address, identity) {
    this.#endpoint = new Deno.QuicEndpoint(address);
    this.#identity = identity;
  }

  get port() {
    return this.#endpoint.addr.port;
  }

  listen() {
    this.#listener = this.#endpoint.listen({ ...TRANSPORT, ...this.#identity });
  }

  async accept() {
    if (!this.#listener) throw new Error("accept before listen");
    const incoming = await this.#listener.incoming();
    return new Connection(await incoming.accept(), false);
  }

  /**
   * `cert` and `key` are options that Deno's documentation does not know. Without the command line's
   * --unsafely-ignore-certificate-errors Deno would want a chain to a CA; the server's signature is checked all the
   * same, as long as that option names hosts.
   * @param {{ hostname: string, port: number }} address @param {boolean} anonymous
   */
  async dial(address, anonymous) {
    const identity = anonymous ? {} : this.#identity;
    const options = { ...TRANSPORT, ...address, ...identity, endpoint: this.#endpoint };
    return new Connection(await Deno.connectQuic(options), true);
  }

  close() {
    this.#endpoint.close();
  }
}
