// Runs the codec through the test vectors.

import { decodeDatagram, encodeDatagram, MalformedDatagram } from "./datagrams.js";
import { encodeFrame, FrameReader } from "./frames.js";
import { equal, Violation } from "./wire.js";

/** @param {string} text */
const bytes = (text) => text === "-" ? new Uint8Array() : Uint8Array.fromHex(text);

/** @param {string} text @returns {[string, string][][]} */
function blocks(text) {
  return text.replace(/^#.*\n/gm, "").split(/\n{2,}/).filter((block) => block.trim() !== "").map((block) =>
    block.trim().split("\n").map((line) => {
      const [, key, value] = line.match(/^([a-z-]+): (.*)$/) ?? [];
      if (key === undefined) throw new Error(`cannot read the line "${line}"`);
      return /** @type {[string, string]} */ ([key, value]);
    })
  );
}

/** What a value must be for the codec, going by the field's name. @param {string} key @param {string} value */
function field(key, value) {
  if (["protocol", "reason"].includes(key)) return new TextDecoder().decode(bytes(value));
  return ["metadata", "payload", "token", "instance-id"].includes(key) ? bytes(value) : BigInt(value);
}

/** @param {any} value @returns {string} */
const show = (value) =>
  JSON.stringify(
    Object.fromEntries(Object.entries(value).sort(([a], [b]) => a < b ? -1 : 1)),
    (_, v) => typeof v === "bigint" ? `${v}` : v instanceof Uint8Array ? v.toHex() : v,
  );

/** @param {any} got @param {any} want */
function expect(got, want) {
  if (show(got) !== show(want)) throw new Error(`${show(got)} instead of ${show(want)}`);
}

/** Reads all frames of a stream. @param {Uint8Array} wire */
function readStream(wire) {
  const reader = new FrameReader();
  reader.push(wire);
  const frames = [];
  let outcome = "end";
  try {
    for (let frame; (frame = reader.next());) frames.push(frame);
    if (reader.inside) outcome = "truncated";
  } catch (error) {
    if (!(error instanceof Violation)) throw error;
    outcome = error.kind;
  }
  return { frames, outcome };
}

/** @param {[string, string][]} block */
function tryFrame(block) {
  const vector = Object.fromEntries(block);
  const wire = bytes(vector.wire);
  const { frames, outcome } = readStream(wire);
  if (vector.stream) {
    const types = frames.map(({ type }) => type).join(" ") || "-";
    const broken = outcome === "end" || outcome === "truncated" ? outcome : "violation";
    return expect({ types, outcome: broken }, { types: vector.frames, outcome: vector.stream });
  }
  if (vector.error) return expect({ frames, outcome }, { frames: [], outcome: vector.error });
  /** @type {any} */
  const frame = { type: vector.frame };
  for (const [key, value] of block) {
    if (["name", "frame", "only", "wire"].includes(key)) continue;
    frame[key.replace(/-ms$/, "").replace(/-(.)/g, (_, letter) => letter.toUpperCase())] = field(key, value);
  }
  expect({ outcome, length: frames.length }, { outcome: "end", length: 1 });
  expect(frames[0], frame);
  if (vector.only !== "decode" && !equal(encodeFrame(frame), wire)) throw new Error("written otherwise");
}

/** @param {[string, string][]} block */
function tryDatagram(block) {
  const vector = Object.fromEntries(block);
  const wire = bytes(vector.wire);
  if (vector.kind === "invalid") {
    try {
      decodeDatagram(wire);
    } catch (error) {
      if (!(error instanceof MalformedDatagram)) throw error;
      return expect({ session: `${error.session ?? "-"}` }, { session: vector.session });
    }
    throw new Error("taken, though it is invalid");
  }
  /** @type {any} */
  const datagram = { kind: vector.kind };
  for (const [key, value] of block) {
    if (["name", "kind", "only", "wire"].includes(key)) continue;
    if (key === "item") {
      const [session, payload] = value.split(" ");
      (datagram.items ??= []).push({ session: BigInt(session), payload: bytes(payload) });
    } else {
      datagram[key] = field(key, value);
    }
  }
  expect(decodeDatagram(wire), datagram);
  if (vector.only !== "decode" && !equal(encodeDatagram(datagram), wire)) throw new Error("written otherwise");
}

/** @param {string} frames @param {string} datagrams the names of the two files */
export function runVectors(frames, datagrams) {
  let tried = 0;
  for (const [file, attempt] of /** @type {const} */ ([[frames, tryFrame], [datagrams, tryDatagram]])) {
    for (const block of blocks(Deno.readTextFileSync(file))) {
      tried++;
      try {
        attempt(block);
      } catch (error) {
        return { ok: false, tried, why: `${block[0][1]}: ${/** @type {Error} */ (error).message}` };
      }
    }
  }
  return { ok: true, tried };
}
