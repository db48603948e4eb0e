// One link: its two link streams, its datagrams, and the sessions on it (sections 4, 6 and 9 of PROTOCOL.md).
//
// The limits on silence (15 s) and idleness (20 s) are longer than this program lives, and left out.

import { Numbers } from "./arrivals.js";
import { Deferred, Queue, sleep } from "./async.js";
import { decodeDatagram, encodeDatagram, MalformedDatagram, PADDING, rawDatagram } from "./datagrams.js";
import { Code, encodeFrame, FrameReader, rawFrame } from "./frames.js";
import { Aborted } from "./quic.js";
import { Session, sessionId } from "./session.js";
import { concat, int, peekInt, Violation } from "./wire.js";

const LINK_STREAM = 0x00n;
const SMALLEST_DATAGRAM = 128;
const HEARTBEAT_MS = 5_000;
/** The header of a fragment: kind, number, session, message id, total and offset, none of them large here. */
const HEADER = 1 + 4 + 4 + 4 + 4 + 4;
const EARLY = { datagrams: 64, bytes: 65_536, ms: 1_000 };

/** @param {import("./quic.js").ReceiveStream} stream */
async function readUnlessReset(stream) {
  try {
    return await stream.read();
  } catch (error) {
    if (error instanceof Aborted) return undefined;
    throw error;
  }
}

/** Cuts a message into pieces. @param {Uint8Array} payload @param {number} size */
export function cut(payload, size) {
  const pieces = [];
  for (let offset = 0; offset < payload.length; offset += size) {
    pieces.push({ offset, payload: payload.subarray(offset, offset + size) });
  }
  return pieces;
}

/** @param {number} size */
const random = (size) => crypto.getRandomValues(new Uint8Array(size));

export class Link {
  #nextNumber = 0n;
  #nextOwn;
  /** The lowest id of the peer's sessions that was not acted on. */
  #firstRefused;
  /** @type {import("./quic.js").SendStream | undefined} */
  #stream;
  #goawaySent = false;
  #linkStreamRead = false;
  /** @type {Map<bigint, Session>} */
  #sessions = new Map();
  /** @type {{ session: bigint, piece: any, at: number }[]} */
  #early = [];
  /** The last heartbeat. @type {{ token: string, at: number } | undefined} */
  #heartbeat;
  /** Measured by heartbeats, since Deno does not tell it. @type {number | undefined} */
  #rtt;

  numbers = new Numbers();
  /** Sessions that the peer opens and somebody serves. @type {Queue<Session>} */
  arrivals = new Queue();
  /** Those that nobody serves. @type {Queue<Session>} */
  turnedAway = new Queue();
  /** The peer's SETTINGS. @type {Deferred<import("./frames.js").Frame>} */
  #settings = new Deferred();
  /** The peer's GOAWAY. @type {Deferred<import("./frames.js").Frame>} */
  #goaway = new Deferred();
  #goawayRead = false;
  /** An echo of a heartbeat. @type {Deferred<void>} */
  #echo = new Deferred();
  /** @type {Map<string, Deferred<void>>} */
  #pings = new Map();
  /** When something was written last that no peer answers: DONE, or a reset. */
  #unanswered = 0;
  #over = false;
  /** How many datagrams were thrown away. */
  discarded = 0;
  /** Whether anything of the peer's has come. */
  heard = false;

  /**
   * @param {import("./quic.js").Connection} conn
   * @param {(session: Session) => boolean} serve
   */
  constructor(conn, serve) {
    this.conn = conn;
    this.serve = serve;
    this.#nextOwn = conn.dialed ? 0n : 1n;
    this.#firstRefused = conn.dialed ? 1n : 0n;
    conn.ended.then((ending) => this.#ended(ending));
  }

  /** Takes what comes. */
  read() {
    this.#run(this.#readDatagrams());
    this.#run(this.#acceptSessions());
    this.#run(this.#acceptUniStreams());
  }

  /** @param {Uint8Array} settings SETTINGS besides the instance id @param {Uint8Array} frames to follow them */
  async start(settings = new Uint8Array(), frames = new Uint8Array()) {
    if (this.conn.maxDatagram < SMALLEST_DATAGRAM) {
      return this.fail(Code.unsupported, `datagrams of ${this.conn.maxDatagram} bytes only`);
    }
    this.#stream = await this.conn.openUni();
    const opening = encodeFrame({ type: "SETTINGS", instanceId: random(16) }, settings);
    this.#write(concat(int(LINK_STREAM), opening, frames));
    this.#beat();
  }

  get settings() {
    return this.#settings.promise;
  }

  get goaway() {
    return this.#goaway.promise;
  }

  get echo() {
    return this.#echo.promise;
  }

  get sessions() {
    return [...this.#sessions.values()];
  }

  /** How long to wait for stragglers. */
  get grace() {
    return Math.min(250, Math.max(10, (this.#rtt ?? 500) / 2));
  }

  /** Runs a loop, which ends with the link. @param {Promise<void>} loop */
  #run(loop) {
    loop.catch((error) => this.failed(error));
  }

  /** A loop has failed. @param {unknown} error */
  async failed(error) {
    if (error instanceof Violation) return this.fail(Code.violation, error.message);
    // Most often it is the link that has ended, which is known a little later.
    await sleep(50);
    if (!this.#over) this.fail(Code.internal, `${error}`);
  }

  /** Ends the link, since the peer broke the protocol on it. @param {bigint} code @param {string} why */
  fail(code, why) {
    console.error(`closing the link: ${why}`);
    this.conn.close(code, why);
  }

  /** @param {import("./quic.js").Ending} ending */
  #ended(ending) {
    const why = ending.by === "peer"
      ? `the link was closed by the peer: ${ending.code} ${ending.reason}`
      : ending.by === "here"
      ? "the link was closed here"
      : `the link ended: ${ending.text}`;
    this.#over = true;
    clearInterval(this.#timer);
    for (const session of this.#sessions.values()) session.lose(why);
    const error = new Error(why);
    this.arrivals.end(error);
    this.turnedAway.end(error);
    for (const deferred of [this.#settings, this.#goaway, this.#echo, ...this.#pings.values()]) deferred.reject(error);
  }

  // --- Sessions

  /** A session with its id, before it is opened. */
  prepare() {
    const session = new Session(this, this.#nextOwn, true);
    this.#sessions.set(session.id, session);
    this.#nextOwn += 2n;
    return session;
  }

  /** @param {string} protocol @param {string} metadata */
  async open(protocol, metadata = "", close = undefined) {
    const session = this.prepare();
    await session.open(protocol, new TextEncoder().encode(metadata), close);
    return session;
  }

  async #acceptSessions() {
    for await (const stream of this.conn.bidiStreams()) {
      this.heard = true;
      const session = new Session(this, sessionId(stream.send.id), false);
      this.#sessions.set(session.id, session);
      session.serve(stream);
    }
  }

  /** A session's OPEN was read. @param {Session} session */
  opened(session) {
    if (this.#goawaySent) return session.reject(Code.goingAway, "");
    if (session.id >= this.#firstRefused) this.#firstRefused = session.id + 2n;
    (this.serve(session) ? this.arrivals : this.turnedAway).push(session);
  }

  /** DONE was written, or a reset. */
  wroteLast() {
    this.#unanswered = performance.now();
  }

  sessionOver() {
    if (this.#goawayRead && this.sessions.every((session) => session.isOver)) this.#run(this.#closeInOrder());
  }

  /** Ends the link after the peer's GOAWAY, when everything on it is over. */
  async #closeInOrder() {
    await sleep(this.#unanswered + 3 * this.#probeTimeout - performance.now());
    this.conn.close(Code.normal);
  }

  /** An estimate, from a round trip that was measured once. */
  get #probeTimeout() {
    return 3 * (this.#rtt ?? 100) + 25;
  }

  // --- The link streams

  /** @param {Uint8Array} bytes */
  #write(bytes) {
    this.#stream?.write(bytes).catch(() => {}); // the end of the link says why
  }

  async #acceptUniStreams() {
    for await (const stream of this.conn.uniStreams()) {
      this.heard = true;
      this.#run(this.#readUniStream(stream));
    }
  }

  /** @param {import("./quic.js").ReceiveStream} stream */
  async #readUniStream(stream) {
    let start = new Uint8Array();
    /** @type {ReturnType<typeof peekInt>} */
    let type;
    while (!(type = peekInt(start, 0))) {
      const bytes = await readUnlessReset(stream);
      if (!bytes) return; // it ended before its type was complete
      start = concat(start, bytes);
    }
    if (type[0] !== LINK_STREAM) return await stream.stop();
    if (this.#linkStreamRead) throw new Violation("a second link stream");
    this.#linkStreamRead = true;
    const reader = new FrameReader();
    /** @type {Uint8Array | undefined} */
    let bytes = start.subarray(type[1]);
    for (; bytes; bytes = await readUnlessReset(stream)) {
      reader.push(bytes);
      for (let frame; (frame = reader.next());) this.#read(frame);
    }
    throw new Violation("the link stream ended");
  }

  #settingsRead = false;

  /** @param {import("./frames.js").Frame} frame */
  #read(frame) {
    if (this.#settingsRead === (frame.type === "SETTINGS")) throw new Violation(`${frame.type} out of order`);
    switch (frame.type) {
      case "SETTINGS":
        this.#settingsRead = true;
        return this.#settings.resolve(frame);
      case "PING":
        return this.#write(encodeFrame({ type: "PONG", token: frame.token }));
      case "PONG":
        return this.#pings.get(frame.token.toHex())?.resolve();
      case "GOAWAY":
        this.#goawayRead = true;
        this.#goaway.resolve(frame);
        return this.sessionOver();
      default:
        throw new Violation(`${frame.type} on a link stream`);
    }
  }

  /** Sends PING; settles with its PONG. */
  async ping() {
    const token = random(8);
    const pong = new Deferred();
    this.#pings.set(token.toHex(), pong);
    this.#write(encodeFrame({ type: "PING", token }));
    await pong.promise;
  }

  sendGoaway() {
    this.#goawaySent = true;
    const firstRefused = this.#firstRefused;
    this.#write(encodeFrame({ type: "GOAWAY", code: Code.goingAway, reason: "", deadline: 0n, firstRefused }));
  }

  /** Sends a frame, whatever it is. @param {bigint} type @param {Uint8Array} value */
  sendFrame(type, value) {
    this.#write(rawFrame(type, value));
  }

  // --- Datagrams

  /** @param {{ kind: string, [field: string]: any }} fields a datagram without its number, which is returned */
  sendDatagram(fields) {
    const number = this.#nextNumber++;
    this.#hand(encodeDatagram({ ...fields, number }));
    return number;
  }

  /** @param {bigint} kind @param {Uint8Array} body */
  sendRawDatagram(kind, body) {
    this.#hand(rawDatagram(kind, this.#nextNumber++, body));
  }

  /** @param {Uint8Array} bytes */
  #hand(bytes) {
    this.conn.sendDatagram(bytes).catch((error) => console.error(`datagram not sent: ${error.message}`));
  }

  /**
   * Sends a message, in pieces if it is too large for one datagram.
   * @param {Session} session @param {Uint8Array} payload
   */
  sendMessage(session, payload) {
    if (payload.length <= this.room) {
      session.countSent(this.sendDatagram({ kind: "message", session: session.id, payload }));
    } else {
      this.sendFragments(session, cut(payload, this.room), payload.length);
    }
  }

  /** How many bytes of a message fit into any datagram. */
  get room() {
    return this.conn.maxDatagram - HEADER;
  }

  /**
   * Sends the pieces of a message in the order given.
   * @param {Session} session @param {{ offset: number, payload: Uint8Array }[]} pieces @param {number} total
   */
  sendFragments(session, pieces, total) {
    const message = session.nextFragmented++;
    let number = 0n;
    for (const piece of pieces) {
      number = this.sendDatagram({ kind: "fragment", session: session.id, message, total, ...piece });
    }
    session.countSent(number);
  }

  /** @type {ReturnType<typeof setInterval> | undefined} */
  #timer;

  #beat() {
    const beat = () => {
      const token = random(8);
      this.#heartbeat = { token: token.toHex(), at: performance.now() };
      this.sendDatagram({ kind: "heartbeat", token });
    };
    beat();
    this.#timer = setInterval(beat, HEARTBEAT_MS);
  }

  async #readDatagrams() {
    for (;;) {
      const bytes = await this.conn.readDatagram();
      this.heard = true;
      try {
        const datagram = decodeDatagram(bytes);
        if (this.numbers.add(datagram.number)) this.#take(datagram);
        else this.discarded++;
      } catch (error) {
        if (!(error instanceof MalformedDatagram)) throw error;
        const fresh = error.number !== undefined && this.numbers.add(error.number);
        const session = error.session === undefined ? undefined : this.#sessions.get(error.session);
        if (fresh && session?.began && !session.isOver) {
          this.fail(Code.violation, `session ${session.id}: ${error.message}`);
        } else {
          this.discarded++;
        }
      }
    }
  }

  /** @param {import("./datagrams.js").Datagram} datagram */
  #take(datagram) {
    switch (datagram.kind) {
      case "message":
      case "fragment":
        return this.#takePiece(datagram.session, datagram);
      case "bundle":
        for (const item of datagram.items) {
          if (item.session !== PADDING) this.#takePiece(item.session, item);
        }
        return;
      case "heartbeat":
        return this.sendDatagram({ kind: "heartbeat-echo", token: datagram.token });
      case "heartbeat-echo":
        if (this.#heartbeat && datagram.token.toHex() === this.#heartbeat.token) {
          this.#rtt = performance.now() - this.#heartbeat.at;
          this.#echo.resolve();
        }
        return;
      case "credit":
        return; // it may be ignored by who sends little
      default:
        this.discarded++;
    }
  }

  /** Rule 1. @param {bigint} id @param {any} piece */
  #takePiece(id, piece) {
    const session = this.#sessions.get(id);
    const own = (id & 1n) === (this.conn.dialed ? 0n : 1n);
    if (session?.began && !session.isEarly) return session.take(piece);
    if (own) return void this.discarded++;
    this.#expireEarly();
    const held = this.#early.reduce((sum, early) => sum + early.piece.payload.length, piece.payload.length);
    if (this.#early.length >= EARLY.datagrams || held > EARLY.bytes) return void this.discarded++;
    this.#early.push({ session: id, piece, at: Date.now() });
  }

  #expireEarly() {
    const kept = this.#early.filter(({ at }) => Date.now() - at <= EARLY.ms);
    this.discarded += this.#early.length - kept.length;
    this.#early = kept;
  }

  /** Gives a session that was just accepted the messages that came before. @param {Session} session */
  deliverEarly(session) {
    this.#expireEarly();
    const early = this.#early.filter((early) => early.session === session.id);
    this.#early = this.#early.filter((early) => early.session !== session.id);
    for (const { piece } of early) session.take(piece);
  }
}
