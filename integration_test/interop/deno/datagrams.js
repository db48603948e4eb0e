// Datagrams (section 6 of PROTOCOL.md).

import { blob, concat, Fields, int, Violation } from "./wire.js";

/** The session id of padding in a bundle. */
export const PADDING = 2n ** 62n - 1n;

const KINDS = {
  message: 0x00n,
  bundle: 0x01n,
  fragment: 0x02n,
  heartbeat: 0x10n,
  "heartbeat-echo": 0x11n,
  credit: 0x12n,
};
/** @type {Map<bigint, string>} */
const NAMES = new Map(Object.entries(KINDS).map(([name, id]) => [id, name]));
const LARGEST = 2n ** 62n - 2n;
const HEARTBEAT_SIZE = 20;

/** A datagram that cannot be read. `session` is the one to blame; it and the number are there if they could be read. */
export class MalformedDatagram extends Error {
  /** @param {string} message @param {bigint} [number] @param {bigint} [session] */
  constructor(message, number, session) {
    super(message);
    this.number = number;
    this.session = session;
  }
}

/** @typedef {{ kind: string, number: bigint, [field: string]: any }} Datagram */

/** A datagram of any kind. @param {bigint} kind @param {bigint} number @param {Uint8Array} body */
export const rawDatagram = (kind, number, body) => concat(int(kind), int(number), body);

/** @param {Datagram} d */
export function encodeDatagram(d) {
  const kind = KINDS[/** @type {keyof KINDS} */ (d.kind)];
  const body = encodeBody(d);
  const bytes = rawDatagram(kind, d.number, body);
  const padding = d.kind.startsWith("heartbeat") ? Math.max(0, HEARTBEAT_SIZE - bytes.length) : 0;
  return concat(bytes, new Uint8Array(padding));
}

/** @param {Datagram} d */
function encodeBody(d) {
  switch (d.kind) {
    case "message":
      return concat(int(d.session), d.payload);
    case "bundle":
      return concat(...d.items.flatMap((/** @type {any} */ item) => [int(item.session), blob(item.payload)]));
    case "fragment":
      return concat(int(d.session), int(d.message), int(d.total), int(d.offset), d.payload);
    case "credit":
      return concat(int(d.end), int(d.taken));
    default:
      return d.token;
  }
}

/** @param {Uint8Array} bytes @returns {Datagram} */
export function decodeDatagram(bytes) {
  const fields = new Fields(bytes);
  /** @type {bigint | undefined} */
  let seen;
  /** @type {bigint | undefined} */
  let session;
  try {
    const kind = NAMES.get(fields.int()) ?? "unknown";
    const number = fields.int();
    if (number > LARGEST) throw new Violation("number above 2^62-2");
    seen = number;
    switch (kind) {
      case "message":
        return { kind, number, session: fields.int(), payload: fields.rest() };
      case "bundle": {
        const items = [];
        do {
          session = undefined;
          session = fields.int();
          items.push({ session, payload: fields.blob() });
        } while (fields.left > 0);
        return { kind, number, items };
      }
      case "fragment": {
        session = fields.int();
        const [message, total, offset] = [fields.int(), fields.int(), fields.int()];
        const payload = fields.rest();
        if (message > LARGEST) throw new Violation("message id above 2^62-2");
        if (payload.length === 0) throw new Violation("fragment without payload");
        if (offset + BigInt(payload.length) > total) throw new Violation("fragment beyond the end of its message");
        return { kind, number, session, message, total, offset, payload };
      }
      case "heartbeat":
      case "heartbeat-echo":
        return { kind, number, token: fields.take(8) };
      case "credit": {
        const [end, taken] = [fields.int(), fields.int()];
        if (taken > end) throw new Violation("credit for more datagrams than there were numbers");
        return { kind, number, end, taken };
      }
      default:
        return { kind, number };
    }
  } catch (error) {
    if (!(error instanceof Violation)) throw error;
    throw new MalformedDatagram(error.message, seen, session);
  }
}
