// One session: the control stream's frames, the states of section 8 of PROTOCOL.md, and the counts.
//
// Its time limits are left out. Each of them ends in a reset with a code, which Deno cannot send; the program's own
// limit of 10 s covers them.

import { Assembler } from "./arrivals.js";
import { Deferred, Queue, sleep } from "./async.js";
import { Code, encodeFrame, FrameReader, MAX_SIGNALS } from "./frames.js";
import { Aborted } from "./quic.js";
import { concat, Violation } from "./wire.js";

const MAX_MESSAGE = 65_536n;
/** @type {Uint8Array} */
const NOTHING = new Uint8Array();
/** How long STOP_SENDING may come behind RESET_STREAM. */
const STOP_MS = 25;

/** The session's end, as calls on it get it. */
export class Ended extends Error {}

/** @param {bigint} stream */
export const sessionId = (stream) => stream >> 2n << 1n | stream & 1n;

export class Session {
  #link;
  /** @type {import("./quic.js").Stream | undefined} */
  #stream;
  #assembler = new Assembler();

  /** @type {Queue<Uint8Array>} */
  messages = new Queue();
  /** @type {Queue<Uint8Array>} */
  signals = new Queue();
  /** The acceptor's metadata; fails if the session ends without ACCEPT. @type {Deferred<Uint8Array>} */
  #accepted = new Deferred();
  /** Both directions of the stream have ended. @type {Deferred<void>} */
  #over = new Deferred();
  /** Wakes those that wait for credit for signals. @type {Deferred<void>} */
  #credit = new Deferred();
  /** What calls get. @type {Ended | undefined} */
  #stopped;

  /** Called when CLOSE is read and none was sent, before it is answered. @type {() => void | Promise<void>} */
  onClose = () => {};

  // What this side counts.
  sent = 0n;
  end = 0n;
  received = 0n;
  late = 0n;
  /** The next message id of a message in fragments. */
  nextFragmented = 0n;
  #signalsSent = 0n;
  #signalsReceived = 0n;
  #signalsTaken = 0n;
  /** How many of this side's signals the peer's application has taken. */
  signalsAcknowledged = 0n;

  // What was read and sent. A bare FIN takes the place of CLOSE.
  #openRead = false;
  #answered = false;
  #rejectSent = false;
  /** @type {{ code: bigint, reason: string, bare: boolean } | undefined} */
  #closeSent;
  #closeRead = false;
  #ackSent = false;
  #ackRead = false;
  #doneRead = false;
  #frozen = false;
  #finSent = false;

  /** The types of all frames that were read. @type {string[]} */
  frames = [];
  /** The retry-after of REJECT. @type {bigint | undefined} */
  retryAfter;
  /** @type {{ end: string, code: bigint, reason: string } | undefined} */
  cause;
  peerSent = -1n;
  peerReceived = -1n;

  /** @param {import("./link.js").Link} link @param {bigint} id @param {boolean} opener */
  constructor(link, id, opener) {
    this.#link = link;
    this.id = id;
    this.opener = opener;
    this.protocol = "";
    this.metadata = new Uint8Array();
  }

  /** Whether OPEN was sent or read. */
  get began() {
    return this.opener ? this.#stream !== undefined : this.#openRead;
  }

  isOver = false;

  get accepted() {
    return this.#accepted.promise;
  }

  get over() {
    return this.#over.promise;
  }

  // --- The opener's and the acceptor's calls

  /**
   * @param {string} protocol @param {Uint8Array} metadata
   * @param {{ code: bigint, reason: string }} [close] to take it back in the same write
   */
  async open(protocol, metadata, close) {
    this.#stream = await this.#link.conn.openBidi();
    if (sessionId(this.#stream.send.id) !== this.id) throw new Error(`session ${this.id} got another stream`);
    this.protocol = protocol;
    const open = encodeFrame({ type: "OPEN", protocol, metadata });
    this.writeRaw(close ? concat(open, this.#closeFrame(close.code, close.reason)) : open);
    this.#run();
  }

  /** @param {import("./quic.js").Stream} stream */
  serve(stream) {
    this.#stream = stream;
    this.#run();
  }

  /** @param {Uint8Array} metadata */
  accept(metadata) {
    this.#answered = true;
    this.#write({ type: "ACCEPT", metadata });
    this.#link.deliverEarly(this);
  }

  /** @param {bigint} code @param {string} reason @param {bigint} retryAfter */
  reject(code, reason, retryAfter = 0n) {
    this.#rejectSent = true;
    this.#write({ type: "REJECT", code, reason, retryAfter });
    this.#setCause("rejected", code, reason);
    this.#finish();
  }

  /** @param {Uint8Array} payload */
  sendMessage(payload) {
    this.#link.sendMessage(this, payload);
  }

  /** Counts messages that were sent, the last piece of them with this number. @param {bigint} number */
  countSent(number, messages = 1n) {
    this.sent += messages;
    this.end = number + 1n;
  }

  /** Waits for credit. @param {Uint8Array} payload */
  async sendSignal(payload) {
    while (this.#signalsSent - this.signalsAcknowledged >= MAX_SIGNALS) await this.#creditChange();
    this.#signalsSent++;
    this.#write({ type: "SIGNAL", payload });
  }

  async takeSignal() {
    const signal = await this.signals.next();
    this.#signalsTaken++;
    this.#write({ type: "SIGNAL_ACK", taken: this.#signalsTaken });
    return signal;
  }

  /** Until the peer has acknowledged all signals. */
  async signalsTaken() {
    while (this.signalsAcknowledged < this.#signalsSent) await this.#creditChange();
  }

  async #creditChange() {
    if (this.#stopped) throw this.#stopped;
    await this.#credit.promise;
  }

  /**
   * @param {bigint} code @param {string} reason
   * @param {Uint8Array} trailing more bytes, as a later version may have them behind the last field
   */
  close(code, reason, trailing = NOTHING) {
    if (this.cause || this.#closeSent || this.#ackSent) return;
    this.writeRaw(this.#closeFrame(code, reason, trailing));
  }

  /** Ends the stream without CLOSE, which means the same with code 0. */
  finishBare() {
    this.#closeSent = { code: Code.normal, reason: "", bare: true };
    this.#finish();
  }

  /** @param {Uint8Array} bytes */
  writeRaw(bytes) {
    this.#stream?.send.write(bytes).catch((error) => {
      // What else can fail here is the link, of which the reading side tells.
      if (error instanceof Aborted) this.#setCause("aborted", error.code, "");
    });
  }

  // --- The link's calls

  /** Whether messages from the peer wait for this side's answer. */
  get isEarly() {
    return !this.opener && !this.#answered && !this.cause;
  }

  /** Takes a message, or a piece of one. @param {{ payload: Uint8Array, message?: bigint, total?: bigint, offset?: bigint }} piece */
  take(piece) {
    if (piece.total !== undefined && piece.total > MAX_MESSAGE) {
      return this.#link.fail(Code.violation, `session ${this.id}: a message of ${piece.total} bytes`);
    }
    const payload = piece.total === undefined ? piece.payload : this.#assembler.add(/** @type {any} */ (piece));
    if (!payload) return;
    if (this.#frozen || this.cause) {
      this.late++;
    } else {
      this.received++;
      this.messages.push(payload);
    }
  }

  /** The link has ended. @param {string} why */
  lose(why) {
    this.#setCause("lost", 0n, why);
    this.#finSent = true;
    this.isOver = true;
    this.#over.resolve();
  }

  // --- Frames

  /** Nothing can follow a bare FIN. @param {import("./frames.js").Frame} frame */
  #write(frame) {
    if (!this.#finSent) this.writeRaw(encodeFrame(frame));
  }

  /** @param {bigint} code @param {string} reason @param {Uint8Array} trailing */
  #closeFrame(code, reason, trailing = NOTHING) {
    this.#closeSent = { code, reason, bare: false };
    const { sent, end } = this;
    const [signalsReceived, signalsTaken] = [this.#signalsReceived, this.#signalsTaken];
    return encodeFrame({ type: "CLOSE", code, reason, sent, end, signalsReceived, signalsTaken }, trailing);
  }

  #finish() {
    if (this.#finSent) return;
    this.#finSent = true;
    // It fails if the peer has stopped or lost the stream, and then there is nothing to finish.
    this.#stream?.send.finish().catch(() => {});
  }

  /** The first cause stays; all calls get it. @param {string} end @param {bigint} code @param {string} reason */
  #setCause(end, code, reason) {
    this.cause ??= { end, code, reason };
    this.#stopCalls(`session ${this.id} is over: ${end} ${code} ${reason}`);
  }

  /** @param {string} why */
  #stopCalls(why) {
    this.#stopped ??= new Ended(why);
    this.messages.end(this.#stopped);
    this.signals.end(this.#stopped);
    this.#accepted.reject(this.#stopped);
    this.#credit.reject(this.#stopped);
  }

  async #run() {
    const reader = new FrameReader();
    try {
      for (let bytes; (bytes = await this.#stream?.receive.read());) {
        reader.push(bytes);
        for (let frame; (frame = reader.next());) await this.#read(frame);
      }
      if (reader.inside) throw new Violation("FIN inside a frame");
      await this.#readFin();
    } catch (error) {
      if (error instanceof Aborted) {
        this.#setCause("aborted", error.code, "");
        // The answer is RESET_STREAM with the same code. Deno sends it when a stream is finished that the peer has stopped.
        await sleep(STOP_MS);
      } else if (error instanceof Violation && this.cause) {
        await this.#stream?.receive.stop(); // it concerns nobody any more
      } else {
        return this.#link.failed(error);
      }
      this.#finish();
      this.#link.wroteLast();
    }
    this.isOver = true;
    this.#over.resolve();
    this.#link.sessionOver();
  }

  /** @param {import("./frames.js").Frame} frame */
  #inOrder({ type }) {
    const open = this.#answered && !this.#ackRead && !this.#doneRead;
    switch (type) {
      case "OPEN":
        return !this.opener && !this.#openRead;
      case "ACCEPT":
      case "REJECT":
        return this.opener && !this.#answered && !this.#ackRead;
      case "SIGNAL":
      case "REPORT":
        return open && !this.#closeRead;
      case "SIGNAL_ACK":
        return open;
      case "CLOSE":
        return (this.opener ? open : this.#openRead) && !this.#closeRead && !this.#ackRead;
      case "CLOSE_ACK":
        return this.#closeSent !== undefined && !this.#ackRead;
      case "DONE":
        return this.#ackSent && !this.#closeSent && !this.#doneRead;
      default:
        return false;
    }
  }

  /** @param {import("./frames.js").Frame} frame */
  async #read(frame) {
    this.frames.push(frame.type);
    if (this.#rejectSent) return; // it crossed REJECT
    if (!this.#inOrder(frame)) throw new Violation(`${frame.type} out of order`);
    this.#checkCounts(frame);
    switch (frame.type) {
      case "OPEN":
        this.#openRead = true;
        this.protocol = frame.protocol;
        this.metadata = frame.metadata;
        return this.#link.opened(this);
      case "ACCEPT":
        this.#answered = true;
        if (!this.#closeSent) this.#accepted.resolve(frame.metadata);
        return;
      case "REJECT":
        this.retryAfter = frame.retryAfter;
        this.#setCause("rejected", frame.code, frame.reason);
        return this.#finish();
      case "SIGNAL":
        if (this.#signalsReceived - this.#signalsTaken >= MAX_SIGNALS) throw new Violation("a signal without credit");
        this.#signalsReceived++;
        return this.signals.push(frame.payload);
      case "SIGNAL_ACK":
        if (frame.taken > this.signalsAcknowledged) this.signalsAcknowledged = frame.taken;
        this.#credit.resolve();
        this.#credit = new Deferred();
        return;
      case "CLOSE":
        return await this.#readClose(frame.code, frame.reason, { sent: frame.sent, end: frame.end });
      case "CLOSE_ACK":
        return await this.#readCloseAck(frame);
      case "DONE":
        this.#doneRead = true;
        this.peerReceived = frame.received;
    }
  }

  /** No count can be above what was sent, nor below what has come. @param {import("./frames.js").Frame} frame */
  #checkCounts(frame) {
    if (frame.received > this.sent) throw new Violation(`${frame.type} with more messages than were sent`);
    if (frame.signalsReceived > this.#signalsSent || frame.taken > this.#signalsSent) {
      throw new Violation(`${frame.type} with more signals than were sent`);
    }
    if (frame.sent < this.received) throw new Violation(`${frame.type} with fewer messages than came`);
    if (frame.type === "CLOSE_ACK" && this.#closeRead && frame.sent !== this.peerSent) {
      throw new Violation("CLOSE_ACK with other counts than CLOSE");
    }
  }

  /**
   * Reads CLOSE, or a bare FIN, which has no counts.
   * @param {bigint} code @param {string} reason @param {{ sent: bigint, end: bigint } | undefined} counts
   */
  async #readClose(code, reason, counts) {
    this.#closeRead = true;
    if (counts) this.peerSent = counts.sent;
    if (!this.#closeSent) {
      this.#stopCalls(`session ${this.id} is closed by the peer: ${code} ${reason}`);
      await this.onClose();
      if (this.#rejectSent) return;
    }
    if (this.opener || this.#answered) await this.#awaitStragglers(counts);
    this.#frozen = true;
    this.#write({
      type: "CLOSE_ACK",
      sent: this.sent,
      end: this.end,
      received: this.received,
      late: this.late,
      dropped: 0n,
      signalsReceived: this.#signalsReceived,
      signalsTaken: this.#signalsTaken,
    });
    this.#ackSent = true;
    if (!this.#closeSent) {
      this.#setCause("peer-closed", code, reason);
      this.#finish();
    }
    this.#finishCrossed();
  }

  /** @param {import("./frames.js").Frame} frame */
  async #readCloseAck(frame) {
    this.#ackRead = true;
    this.peerSent = frame.sent;
    this.peerReceived = frame.received;
    if (this.#closeRead || !this.#closeSent) return this.#finishCrossed();
    const { code, reason, bare } = this.#closeSent;
    this.#setCause("closed", code, reason);
    await this.#awaitStragglers({ sent: frame.sent, end: frame.end });
    this.#frozen = true;
    if (bare) return;
    this.#write({ type: "DONE", received: this.received, late: this.late, dropped: 0n });
    this.#link.wroteLast();
    this.#finish();
  }

  /** After a crossed close FIN comes when both are acknowledged. */
  #finishCrossed() {
    if (!this.#closeSent || !this.#ackSent || !this.#ackRead) return;
    this.#setCause("crossed", this.#closeSent.code, this.#closeSent.reason);
    this.#finish();
  }

  async #readFin() {
    if (!this.opener && !this.#openRead) throw new Violation("FIN before OPEN");
    if (this.opener && !this.#answered && !this.#ackRead && !this.cause) {
      this.#setCause("rejected", Code.internal, "");
    } else if (!this.cause && !this.#closeRead) {
      await this.#readClose(Code.normal, "", undefined);
      this.#setCause("peer-closed", Code.normal, ""); // a close of one's own stays unconfirmed
    }
    if (!this.cause) this.#setCause("lost", 0n, "FIN instead of CLOSE_ACK");
    this.#finish();
  }

  /** Waits for messages that CLOSE or CLOSE_ACK has overtaken. @param {{ sent: bigint, end: bigint } | undefined} counts */
  async #awaitStragglers(counts) {
    const grace = this.#link.grace;
    if (!counts) return await sleep(grace);
    const read = Date.now();
    while (this.received < counts.sent && Date.now() < this.#link.numbers.noticed(counts.end, read) + grace) {
      await sleep(2);
    }
  }
}
