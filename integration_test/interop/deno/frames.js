// Control frames (sections 5 and 7 of PROTOCOL.md).

import { blob, concat, Fields, int, peekInt, Violation } from "./wire.js";

export const Code = {
  normal: 0x00n,
  violation: 0x01n,
  refused: 0x02n,
  goingAway: 0x05n,
  unsupported: 0x07n,
  internal: 0x08n,
};

export const MAX_SIGNALS = 16n;
const MAX_CONTENT = 16_384;
const MAX_REASON = 1_024;
const ROOM = 1_024;
const MAX_UNKNOWN = 65_536n;
const MAX_MS = 2n ** 31n - 1n;

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();

/** @param {Fields} fields */
function readText(fields) {
  const bytes = fields.blob();
  try {
    return decoder.decode(bytes);
  } catch {
    throw new Violation("text is not UTF-8", "malformed");
  }
}

/** @param {string} text */
const writeText = (text) => blob(encoder.encode(text));

// How a field is read and written.
const INT = { read: (/** @type {Fields} */ f) => f.int(), write: int };
const MS = {
  read: (/** @type {Fields} */ f) => {
    const ms = f.int();
    return ms > MAX_MS ? MAX_MS : ms;
  },
  write: int,
};
const TOKEN = { read: (/** @type {Fields} */ f) => f.take(8), write: (/** @type {Uint8Array} */ b) => b };
const BLOB = { read: (/** @type {Fields} */ f) => f.blob(), write: blob };
const TEXT = { read: readText, write: writeText };
const REASON = {
  read: (/** @type {Fields} */ f) => {
    const reason = readText(f);
    if (encoder.encode(reason).length > MAX_REASON) throw new Violation("reason too long", "malformed");
    return reason;
  },
  write: writeText,
};

/** @typedef {{ type: string, [field: string]: any }} Frame */
/** @type {Record<string, { id: bigint, limit: number, fields: Record<string, { read: Function, write: Function }> }>} */
const LAYOUT = {
  SETTINGS: { id: 0x00n, limit: ROOM, fields: {} },
  GOAWAY: {
    id: 0x01n,
    limit: MAX_REASON + ROOM,
    fields: { code: INT, reason: REASON, deadline: MS, firstRefused: INT },
  },
  PING: { id: 0x02n, limit: ROOM, fields: { token: TOKEN } },
  PONG: { id: 0x03n, limit: ROOM, fields: { token: TOKEN } },
  OPEN: { id: 0x10n, limit: MAX_CONTENT + ROOM, fields: { protocol: TEXT, metadata: BLOB } },
  ACCEPT: { id: 0x11n, limit: MAX_CONTENT + ROOM, fields: { metadata: BLOB } },
  REJECT: { id: 0x12n, limit: MAX_REASON + ROOM, fields: { code: INT, reason: REASON, retryAfter: MS } },
  SIGNAL: { id: 0x13n, limit: MAX_CONTENT + ROOM, fields: { payload: BLOB } },
  SIGNAL_ACK: { id: 0x14n, limit: ROOM, fields: { taken: INT } },
  REPORT: { id: 0x15n, limit: ROOM, fields: { received: INT, late: INT, dropped: INT } },
  CLOSE: {
    id: 0x16n,
    limit: MAX_REASON + ROOM,
    fields: { code: INT, reason: REASON, sent: INT, end: INT, signalsReceived: INT, signalsTaken: INT },
  },
  CLOSE_ACK: {
    id: 0x18n,
    limit: ROOM,
    fields: { sent: INT, end: INT, received: INT, late: INT, dropped: INT, signalsReceived: INT, signalsTaken: INT },
  },
  DONE: { id: 0x19n, limit: ROOM, fields: { received: INT, late: INT, dropped: INT } },
};

/** @type {Map<bigint, string>} */
const NAMES = new Map(Object.entries(LAYOUT).map(([name, { id }]) => [id, name]));

/** @type {Map<bigint, string>} */
const SETTINGS = new Map([
  [0x01n, "instanceId"],
  [0x02n, "maxMessage"],
  [0x03n, "maxSignal"],
  [0x04n, "maxSignals"],
  [0x05n, "window"],
]);

/** One setting. @param {bigint} id @param {Uint8Array} value */
export const setting = (id, value) => concat(int(id), blob(value));

/** @param {Frame} frame */
function encodeSettings(frame) {
  const parts = [];
  for (const [id, name] of SETTINGS) {
    const value = frame[name];
    if (value !== undefined) parts.push(setting(id, name === "instanceId" ? value : int(value)));
  }
  return concat(...parts);
}

/** @param {Fields} fields */
function decodeSettings(fields) {
  /** @type {Frame} */
  const frame = { type: "SETTINGS" };
  while (fields.left > 0) {
    const name = SETTINGS.get(fields.int());
    const value = new Fields(fields.blob());
    if (!name) continue;
    if (frame[name] !== undefined) throw new Violation(`setting ${name} comes twice`, "malformed");
    frame[name] = name === "instanceId" ? value.take(16) : value.int();
  }
  return frame;
}

/** A frame of any type and value. @param {bigint | number} type @param {Uint8Array} value */
export const rawFrame = (type, value) => concat(int(type), blob(value));

/** @param {Frame} frame @param {Uint8Array} trailing bytes behind the last field, as later versions have them */
export function encodeFrame(frame, trailing = new Uint8Array()) {
  const { id, fields } = LAYOUT[frame.type];
  const value = frame.type === "SETTINGS"
    ? encodeSettings(frame)
    : concat(...Object.entries(fields).map(([name, field]) => field.write(frame[name])));
  return rawFrame(id, concat(value, trailing));
}

/** @param {string} type @param {Uint8Array} value */
function decodeFrame(type, value) {
  const fields = new Fields(value);
  if (type === "SETTINGS") return decodeSettings(fields);
  /** @type {Frame} */
  const frame = { type };
  for (const [name, field] of Object.entries(LAYOUT[type].fields)) frame[name] = field.read(fields);
  const content = (frame.metadata?.length ?? 0) + (frame.protocol ? encoder.encode(frame.protocol).length : 0) +
    (frame.payload?.length ?? 0);
  if (content > MAX_CONTENT) throw new Violation(`${type} with ${content} bytes`, "malformed");
  if (
    frame.dropped > frame.received || frame.signalsTaken > frame.signalsReceived ||
    (frame.sent > 0n && frame.end === 0n)
  ) {
    throw new Violation(`${type} with counts that cannot be`, "malformed");
  }
  return frame;
}

/** Cuts a stream into frames, as its bytes come. */
export class FrameReader {
  #bytes = new Uint8Array();
  #skip = 0;
  #first = true;

  /** @param {Uint8Array} bytes */
  push(bytes) {
    this.#bytes = concat(this.#bytes, bytes);
  }

  /** Whether the stream, if it ended now, would end inside a frame. */
  get inside() {
    return this.#skip > 0 || this.#bytes.length > 0;
  }

  /** The next known frame, if it is there as a whole. @returns {Frame | undefined} */
  next() {
    for (;;) {
      const skipped = Math.min(this.#skip, this.#bytes.length);
      this.#skip -= skipped;
      this.#bytes = this.#bytes.subarray(skipped);
      const id = peekInt(this.#bytes, 0);
      if (!id) return undefined;
      const type = NAMES.get(id[0]);
      if (!type && this.#first) throw new Violation(`the first frame is of the unknown type ${id[0]}`);
      const length = peekInt(this.#bytes, id[1]);
      if (!length) return undefined;
      if (length[0] > (type ? LAYOUT[type].limit : MAX_UNKNOWN)) {
        throw new Violation(`frame of type ${id[0]} with ${length[0]} bytes`, "limit");
      }
      const end = length[1] + Number(length[0]);
      if (!type) {
        this.#bytes = this.#bytes.subarray(length[1]);
        this.#skip = Number(length[0]);
        continue;
      }
      if (this.#bytes.length < end) return undefined;
      const value = this.#bytes.subarray(length[1], end);
      this.#bytes = this.#bytes.subarray(end);
      this.#first = false;
      return decodeFrame(type, value);
    }
  }
}
