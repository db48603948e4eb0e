// What a receiver keeps about datagrams: which numbers came, and messages of which pieces are missing.

const WINDOW = 8_192n;
const MAX_INCOMPLETE = 8;
const MAX_INCOMPLETE_BYTES = 256 * 1_024;
const INCOMPLETE_MS = 1_000;
const MAX_PAST = 256;

/** The datagram numbers that have come, and when the gaps between them were noticed. */
export class Numbers {
  /** One above the highest number. */
  #end = 0n;
  /** @type {Map<bigint, number>} the missing numbers of the window, and when each was noticed */
  #missing = new Map();

  /** Takes a number; says false if it came before, or is too old to tell. @param {bigint} number */
  add(number) {
    if (number < this.#end) return this.#missing.delete(number);
    const now = Date.now();
    const bottom = number + 1n - WINDOW;
    for (let n = bottom > this.#end ? bottom : this.#end; n < number; n++) this.#missing.set(n, now);
    for (const n of this.#missing.keys()) {
      if (n >= bottom) break;
      this.#missing.delete(n);
    }
    this.#end = number + 1n;
    return true;
  }

  /**
   * When the last of the missing numbers below `end` was noticed, which was at `read` at the latest.
   * @param {bigint} end @param {number} read
   */
  noticed(end, read) {
    if (end > this.#end) return read;
    return Math.max(0, ...[...this.#missing].filter(([n]) => n < end).map(([, at]) => Math.min(at, read)));
  }
}

/** Puts the messages of one session together. */
export class Assembler {
  /** @type {Map<bigint, { bytes: Uint8Array, filled: Uint8Array, left: number, since: number }>} */
  #incomplete = new Map();
  /** @type {Set<bigint>} messages that are whole, or were given up */
  #past = new Set();

  /**
   * Takes a piece; returns the message when it is whole.
   * @param {{ message: bigint, total: bigint, offset: bigint, payload: Uint8Array }} piece
   * @returns {Uint8Array | undefined}
   */
  add({ message, total, offset, payload }) {
    this.#expire();
    if (this.#past.has(message)) return undefined;
    let whole = this.#incomplete.get(message);
    if (!whole) {
      const size = Number(total);
      whole = { bytes: new Uint8Array(size), filled: new Uint8Array(size), left: size, since: Date.now() };
      this.#incomplete.set(message, whole);
      this.#makeRoom();
    }
    if (whole.bytes.length !== Number(total)) return this.#giveUp(message);
    for (const [i, byte] of payload.entries()) {
      const at = Number(offset) + i;
      if (whole.filled[at] && whole.bytes[at] !== byte) return this.#giveUp(message);
      whole.left -= 1 - whole.filled[at];
      whole.filled[at] = 1;
      whole.bytes[at] = byte;
    }
    if (whole.left > 0) return undefined;
    this.#giveUp(message);
    return whole.bytes;
  }

  /** @param {bigint} message @returns {undefined} */
  #giveUp(message) {
    this.#incomplete.delete(message);
    this.#past.add(message);
    const [oldest] = this.#past;
    if (this.#past.size > MAX_PAST) this.#past.delete(oldest);
  }

  #expire() {
    for (const [message, { since }] of this.#incomplete) {
      if (Date.now() - since > INCOMPLETE_MS) this.#giveUp(message);
    }
  }

  /** The oldest give way. */
  #makeRoom() {
    let held = [...this.#incomplete.values()].reduce((sum, { bytes }) => sum + bytes.length, 0);
    for (const [message, { bytes }] of this.#incomplete) {
      if (this.#incomplete.size <= MAX_INCOMPLETE && held <= MAX_INCOMPLETE_BYTES) break;
      held -= bytes.length;
      this.#giveUp(message);
    }
  }
}
