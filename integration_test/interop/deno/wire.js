// Integers and byte strings, of which frames and datagrams are made. Integers of the protocol have 62 bits, so they
// are bigints everywhere in this program.

/** What cannot be read, or breaks the protocol. `kind` is malformed, limit, or violation. */
export class Violation extends Error {
  /** @param {string} message @param {"malformed" | "limit" | "violation"} kind */
  constructor(message, kind = "violation") {
    super(message);
    this.kind = kind;
  }
}

/** @param {...Uint8Array} parts */
export function concat(...parts) {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** @param {Uint8Array} a @param {Uint8Array} b */
export const equal = (a, b) => a.length === b.length && a.every((byte, i) => byte === b[i]);

/** Writes an integer in its shortest form. @param {bigint | number} value */
export function int(value) {
  const v = BigInt(value);
  const log = v < 1n << 6n ? 0 : v < 1n << 14n ? 1 : v < 1n << 30n ? 2 : 3;
  const size = 1 << log;
  const bytes = new Uint8Array(size);
  for (let i = 0; i < size; i++) bytes[i] = Number((v >> BigInt(8 * (size - 1 - i))) & 0xffn);
  bytes[0] |= log << 6;
  return bytes;
}

/** @param {Uint8Array} bytes */
export const blob = (bytes) => concat(int(bytes.length), bytes);

/**
 * The integer that begins at a place, and the place behind it; nothing if it is cut short.
 * @param {Uint8Array} bytes @param {number} at @returns {[bigint, number] | undefined}
 */
export function peekInt(bytes, at) {
  if (at >= bytes.length) return undefined;
  const end = at + (1 << (bytes[at] >> 6));
  if (end > bytes.length) return undefined;
  let value = BigInt(bytes[at] & 0x3f);
  for (let i = at + 1; i < end; i++) value = value << 8n | BigInt(bytes[i]);
  return [value, end];
}

/** Reads fields one after the other. */
export class Fields {
  #bytes;
  #at = 0;

  /** @param {Uint8Array} bytes */
  constructor(bytes) {
    this.#bytes = bytes;
  }

  get left() {
    return this.#bytes.length - this.#at;
  }

  int() {
    const found = peekInt(this.#bytes, this.#at);
    if (!found) throw new Violation("integer cut short", "malformed");
    this.#at = found[1];
    return found[0];
  }

  /** @param {bigint | number} length */
  take(length) {
    if (length > this.left) throw new Violation("bytes cut short", "malformed");
    this.#at += Number(length);
    return this.#bytes.slice(this.#at - Number(length), this.#at);
  }

  blob() {
    return this.take(this.int());
  }

  rest() {
    return this.take(this.left);
  }
}
