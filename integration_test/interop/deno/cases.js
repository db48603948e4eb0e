// The cases of the matrix, as the README of the folder above has them.

import { sleep } from "./async.js";
import { PADDING } from "./datagrams.js";
import { Code, rawFrame, setting } from "./frames.js";
import { cut } from "./link.js";
import { Aborted } from "./quic.js";
import { blob, concat, equal, int } from "./wire.js";

/** @typedef {import("./link.js").Link} Link */
/** @typedef {import("./session.js").Session} Session */
/** @typedef {import("./stage.js").Stage} Stage */

const encoder = new TextEncoder();
const bytes = (/** @type {string} */ text) => encoder.encode(text);
const EMPTY = bytes("");

/** Bytes that are not all the same. @param {number} size */
const filled = (size) => Uint8Array.from({ length: size }, (_, i) => (i * 7 + (i >> 8)) & 0xff);

/** @param {unknown} value @returns {string} */
const show = (value) =>
  JSON.stringify(value, (_, v) => {
    if (v instanceof Uint8Array) return v.length > 40 ? `${v.length} bytes` : new TextDecoder().decode(v);
    return typeof v === "bigint" ? `0x${v.toString(16)}` : v;
  }) ?? "nothing";

/** @param {boolean} condition @param {string} why */
function check(condition, why) {
  if (!condition) throw new Error(why);
}

/** @param {string} what @param {unknown} got @param {unknown} want */
function checkIs(what, got, want) {
  const same = got instanceof Uint8Array && want instanceof Uint8Array ? equal(got, want) : show(got) === show(want);
  check(same, `${what}: expected ${show(want)}, and came ${show(got)}`);
}

/**
 * Waits until a session is over, and checks how.
 * @param {Stage} stage @param {Session} session @param {string} end @param {bigint} code @param {string} reason
 */
async function checkOver(stage, session, end, code, reason) {
  await stage.until(`the end of session ${session.id}'s stream`, session.over);
  checkIs(`the end of session ${session.id}`, session.cause, { end, code, reason });
}

/** All messages came, both ways. @param {Session} session @param {bigint} [messages] */
function checkCounts(session, messages) {
  const { sent, received, peerSent, peerReceived } = session;
  const want = messages ?? sent;
  checkIs(
    `the counts of session ${session.id}`,
    { sent, received, peerSent, peerReceived },
    { sent: want, received: want, peerSent: want, peerReceived: want },
  );
}

/** @param {Stage} stage @param {Link} link @param {string} protocol @param {string} metadata */
async function open(stage, link, protocol, metadata = "") {
  return await stage.until(`a stream for ${protocol}`, link.open(protocol, metadata));
}

/** @param {Stage} stage @param {Session} session @param {Uint8Array} message */
async function expectMessage(stage, session, message) {
  const got = await stage.until(`a message of session ${session.id}`, session.messages.next());
  checkIs(`a message of session ${session.id}`, got, message);
}

/** @param {Stage} stage @param {Session} session @param {string} message */
async function exchange(stage, session, message) {
  session.sendMessage(bytes(message));
  await expectMessage(stage, session, bytes(message));
}

/** @param {Stage} stage @param {Session} session @param {string} metadata */
async function expectAccept(stage, session, metadata = "") {
  const got = await stage.until(`ACCEPT of session ${session.id}`, session.accepted);
  checkIs("the metadata of ACCEPT", got, bytes(metadata));
}

/** @param {Stage} stage @param {Session} session */
async function close(stage, session) {
  session.close(Code.normal, "bye");
  await checkOver(stage, session, "closed", Code.normal, "bye");
}

/** @param {Stage} stage @param {Link} link */
async function openEcho(stage, link) {
  const session = await open(stage, link, "echo", "v=1");
  await expectAccept(stage, session, "v=1");
  await exchange(stage, session, "hello");
  await close(stage, session);
  checkCounts(session, 1n);
}

/** A session that the peer opens. @param {Stage} stage @param {Link} link @param {string} protocol */
async function arrival(stage, link, protocol) {
  const session = await stage.until(`a session for ${protocol}`, link.arrivals.next());
  checkIs("its protocol", session.protocol, protocol);
  return session;
}

/** Serves an `echo` session that the peer closes. @param {Stage} stage @param {Link} link @param {bigint} [messages] */
async function serveEcho(stage, link, messages) {
  const session = await arrival(stage, link, "echo");
  await stage.until(`the end of session ${session.id}'s stream`, session.over);
  checkIs(`how session ${session.id} ended`, session.cause?.end, "peer-closed");
  checkCounts(session, messages);
  return session;
}

/** @param {Stage} stage @param {Link} link */
async function serveAccept(stage, link) {
  const session = await serveEcho(stage, link, 1n);
  checkIs("the peer's close", session.cause, { end: "peer-closed", code: 0x100n, reason: "fine" });
}

/** @param {Stage} stage @param {Link} link @param {string} protocol */
async function expectRejecting(stage, link, protocol) {
  const session = await arrival(stage, link, protocol);
  await checkOver(stage, session, "rejected", 0x1f4n, "not today");
  return session;
}

/** @param {Stage} stage @param {Session} session */
async function expectReset(stage, session, code = Code.violation) {
  await checkOver(stage, session, "aborted", code, "");
}

/** Opens two `echo` sessions, does something bad on the first, and checks that the second lives. */
/** @param {Stage} stage @param {(link: Link, session: Session) => void} bad */
async function malformed(stage, bad) {
  const link = await stage.link();
  const [a, b] = [await open(stage, link, "echo"), await open(stage, link, "echo")];
  await expectAccept(stage, a);
  await expectAccept(stage, b);
  bad(link, a);
  await expectReset(stage, a);
  await exchange(stage, b, "hello");
  await close(stage, b);
  checkCounts(b, 1n);
  await stage.finish(link);
}

/** @param {Stage} stage @param {(link: Link) => Promise<unknown>} play */
async function plain(stage, play) {
  const link = await stage.link();
  await play(link);
  await stage.finish(link);
}

/** @param {Stage} stage @param {boolean} second whether to open a session once GOAWAY is read */
async function shutdown(stage, second) {
  const link = await stage.link();
  const session = await open(stage, link, "shutdown");
  await expectAccept(stage, session);
  /** @type {Session | undefined} */
  let refused;
  session.onClose = async () => {
    if (!second) return;
    await link.goaway;
    refused = await link.open("echo");
    await refused.over;
  };
  session.sendMessage(bytes("go"));
  const goaway = await stage.until("GOAWAY", link.goaway);
  checkIs("GOAWAY", [goaway.code, goaway.reason], [0x100n, "maintenance"]);
  await checkOver(stage, session, "peer-closed", 0x100n, "maintenance");
  checkIs("the messages", [session.sent, session.peerReceived], [1n, 1n]);
  if (second) checkIs("the second session", [refused?.cause?.end, refused?.cause?.code], ["rejected", Code.goingAway]);
  checkIs("how the link ended", (await stage.until("the end of the link", link.conn.ended)).by, "here");
}

/** The link has to be refused, before anything comes on it. @param {Stage} stage @param {{ anonymous: boolean, alert: boolean }} how */
async function expectRefusal(stage, { anonymous, alert }) {
  const ending = await stage.refusal(anonymous);
  const refused = ending.by === "transport"
    ? ending.text.startsWith("aborted by peer: the cryptographic handshake failed")
    : ending.by === "peer" && ending.code === Code.refused && !alert;
  check(refused, `expected a TLS alert, and came ${show(ending)}`);
}

/** @type {Record<string, (stage: Stage) => Promise<void>>} */
export const cases = {
  handshake: (stage) =>
    plain(stage, async (link) => {
      const settings = await stage.until("SETTINGS", link.settings);
      checkIs("the size of the instance id", settings.instanceId?.length, 16);
      await stage.until("PONG", link.ping());
      await stage.until("the echo of a heartbeat", link.echo);
      await serveEcho(stage, link, 0n);
    }),

  refused: (stage) => expectRefusal(stage, { anonymous: false, alert: false }),

  open: (stage) => plain(stage, (link) => openEcho(stage, link)),

  "open-rejected": (stage) =>
    plain(stage, async (link) => {
      const session = await open(stage, link, "reject");
      await checkOver(stage, session, "rejected", 0x1f4n, "not today");
      checkIs("retry-after", session.retryAfter, 1_500n);
    }),

  accept: (stage) => plain(stage, (link) => serveAccept(stage, link)),

  reject: (stage) => plain(stage, (link) => expectRejecting(stage, link, "reject")),

  messages: (stage) =>
    plain(stage, async (link) => {
      const session = await open(stage, link, "echo");
      await expectAccept(stage, session);
      const id = session.id;
      /** @param {string[]} items @param {{ session: bigint, payload: Uint8Array }[]} more */
      const sendBundle = (items, ...more) => {
        const messages = items.map((item) => ({ session: id, payload: bytes(item) }));
        session.countSent(link.sendDatagram({ kind: "bundle", items: [...messages, ...more] }), BigInt(items.length));
      };
      const small = [EMPTY, bytes("1"), filled(1_100)];
      for (const payload of small) session.countSent(link.sendDatagram({ kind: "message", session: id, payload }));
      const bundled = ["a", "", "ccc"];
      sendBundle(bundled);
      sendBundle(["padded"], { session: PADDING, payload: filled(100) });
      const middle = filled(5_000);
      link.sendFragments(session, cut(middle, 1_000).reverse(), middle.length);
      const missing = [...small, ...bundled.map(bytes), bytes("padded"), middle];
      while (missing.length > 0) {
        const got = await stage.until(`${missing.length} echoes`, session.messages.next());
        const place = missing.findIndex((message) => equal(message, got));
        check(place >= 0, `a message of ${got.length} bytes came that was not sent`);
        missing.splice(place, 1);
      }
      const large = filled(65_536);
      session.sendMessage(large);
      await expectMessage(stage, session, large);
      await close(stage, session);
      checkCounts(session, 9n);
    }),

  "messages-back": (stage) => plain(stage, (link) => serveEcho(stage, link, 25n)),

  early: (stage) =>
    plain(stage, async (link) => {
      const session = link.prepare();
      session.sendMessage(bytes("one"));
      session.sendMessage(bytes("two"));
      await sleep(50);
      await stage.until("a stream for echo", session.open("echo", EMPTY));
      await expectMessage(stage, session, bytes("one"));
      await expectMessage(stage, session, bytes("two"));
      await close(stage, session);
      checkCounts(session, 2n);
      await sleep(50); // a datagram would overtake DONE and FIN
      link.sendDatagram({ kind: "message", session: session.id, payload: bytes("late") });
      const other = await open(stage, link, "echo");
      await exchange(stage, other, "on");
      await close(stage, other);
      checkCounts(other, 1n);
    }),

  signals: (stage) =>
    plain(stage, async (link) => {
      const session = await open(stage, link, "echo");
      await expectAccept(stage, session);
      const send = async () => {
        for (let i = 0; i < 40; i++) await session.sendSignal(bytes(`${i}`));
      };
      const take = async () => {
        for (let i = 0; i < 40; i++) checkIs(`signal ${i}`, await session.takeSignal(), bytes(`${i}`));
      };
      await stage.until("40 signals, there and back", Promise.all([send(), take()]));
      await stage.until("the acknowledgement of 40 signals", session.signalsTaken());
      await close(stage, session);
      checkCounts(session, 0n);
    }),

  "signals-back": (stage) =>
    plain(stage, async (link) => {
      const session = await serveEcho(stage, link, 0n);
      checkIs("signals that were acknowledged", session.signalsAcknowledged, 40n);
    }),

  "close-by-peer": (stage) =>
    plain(stage, async (link) => {
      const session = await open(stage, link, "close");
      await checkOver(stage, session, "peer-closed", 0x155n, "enough");
      checkIs("the frames that came", session.frames, ["ACCEPT", "CLOSE", "DONE"]);
      checkCounts(session, 0n);
    }),

  "close-here": (stage) =>
    plain(stage, async (link) => {
      const session = await arrival(stage, link, "close");
      await checkOver(stage, session, "closed", 0x155n, "enough");
      checkCounts(session, 0n);
    }),

  crossed: (stage) =>
    plain(stage, async (link) => {
      const session = link.prepare();
      session.onClose = () => session.close(0x200n, "me too");
      await stage.until("a stream for close", session.open("close", EMPTY));
      await checkOver(stage, session, "crossed", 0x200n, "me too");
      checkIs("the frames that came", session.frames, ["ACCEPT", "CLOSE", "CLOSE_ACK"]);
      checkCounts(session, 0n);
    }),

  "close-opening": (stage) =>
    plain(stage, async (link) => {
      const session = link.prepare();
      const taken = session.open("hold", EMPTY, { code: Code.normal, reason: "never mind" });
      await stage.until("a stream for hold", taken);
      await checkOver(stage, session, "closed", Code.normal, "never mind");
      check(session.frames.at(-1) === "CLOSE_ACK", `expected CLOSE_ACK, and came ${session.frames}`);
      checkCounts(session, 0n);
    }),

  "close-crosses-accept": (stage) =>
    plain(stage, async (link) => {
      const session = await arrival(stage, link, "hold-accept");
      await stage.until(`the end of session ${session.id}'s stream`, session.over);
      checkIs("how the session ended", session.cause?.end, "peer-closed");
      checkCounts(session, 0n);
    }),

  "close-crosses-reject": (stage) =>
    plain(stage, async (link) => {
      const session = await expectRejecting(stage, link, "hold-reject");
      checkIs("the frames that came", session.frames, ["OPEN", "CLOSE"]);
    }),

  "bare-fin": (stage) =>
    plain(stage, async (link) => {
      const session = await open(stage, link, "echo");
      await expectAccept(stage, session);
      await exchange(stage, session, "hello");
      session.finishBare();
      await checkOver(stage, session, "closed", Code.normal, "");
      checkIs("the frames that came", session.frames, ["ACCEPT", "CLOSE_ACK"]);
      checkCounts(session, 1n);
    }),

  aborted: (stage) =>
    plain(stage, async (link) => {
      await expectReset(stage, await open(stage, link, "abort"), 0x177n);
    }),

  shutdown: (stage) => shutdown(stage, false),

  goaway: (stage) => shutdown(stage, true),

  async unknown(stage) {
    const more = concat(setting(0x17n, bytes("abc")), setting(0x3fn, EMPTY), setting(0x40n, bytes("x")));
    const frames = concat(rawFrame(0x17n, bytes("reserved")), rawFrame(0xf123n, bytes("unknown")));
    const link = await stage.link({ settings: more, frames });
    const stream = await stage.until("a unidirectional stream", link.conn.openUni());
    link.sendRawDatagram(0x17n, bytes("reserved"));

    const session = await open(stage, link, "echo", "v=1");
    session.writeRaw(concat(rawFrame(0x40n, EMPTY), rawFrame(0xa03fn, filled(300))));
    await expectAccept(stage, session, "v=1");
    await exchange(stage, session, "hello");
    await session.sendSignal(bytes("hi"));
    checkIs("the signal", await stage.until("the signal", session.takeSignal()), bytes("hi"));
    await stage.until("the acknowledgement of the signal", session.signalsTaken());
    session.close(Code.normal, "bye", bytes("more"));
    await checkOver(stage, session, "closed", Code.normal, "bye");
    checkCounts(session, 1n);

    const stopped = await stage.until("STOP_SENDING", untilStopped(stream));
    checkIs("the code of STOP_SENDING", stopped, Code.unsupported);
    await stage.finish(link);
  },

  "malformed-frame": (stage) =>
    malformed(stage, (_, session) => session.writeRaw(concat(int(0x13), int(100_000), filled(100)))),

  "malformed-datagram": (stage) =>
    malformed(stage, (link, { id }) => link.sendRawDatagram(0x02n, concat(int(id), int(0), int(9), int(0)))),

  async "malformed-link"(stage) {
    const link = await stage.link();
    const session = await open(stage, link, "echo");
    await expectAccept(stage, session);
    link.sendFrame(0x00n, EMPTY);
    const ending = await stage.until("CONNECTION_CLOSE", link.conn.ended);
    check(
      ending.by === "peer" && ending.code === Code.violation,
      `expected CONNECTION_CLOSE 0x1, and came ${show(ending)}`,
    );
    await stage.until("the end of the session", session.over);
    checkIs("how the session ended", session.cause?.end, "lost");
  },

  many: (stage) =>
    plain(stage, async (link) => {
      const own = async (/** @type {number} */ i) => {
        const session = await open(stage, link, "echo");
        await exchange(stage, session, `message ${i}`);
        await close(stage, session);
        checkCounts(session, 1n);
      };
      const twenty = Array.from({ length: 20 }, (_, i) => i);
      await Promise.all([...twenty.map(own), ...twenty.map(() => serveEcho(stage, link, 1n))]);
    }),

  async anonymous(stage) {
    const link = await stage.link({ anonymous: true });
    await openEcho(stage, link);
    await stage.finish(link);
  },

  "anonymous-refused": (stage) => expectRefusal(stage, { anonymous: true, alert: true }),

  async "one-port"(stage) {
    const first = await stage.link({ both: true });
    await Promise.all([openEcho(stage, first), serveAccept(stage, first)]);
    const second = await stage.linkBack(first);
    await openEcho(stage, second);
    await Promise.all([stage.finish(first), stage.finish(second)]);
  },
};

/** Writes until the peer stops the stream, and tells its code. @param {import("./quic.js").SendStream} stream */
async function untilStopped(stream) {
  for (;;) {
    try {
      await stream.write(concat(int(0x40), blob(bytes("anything"))));
    } catch (error) {
      if (error instanceof Aborted) return error.code;
      throw error;
    }
    await sleep(10);
  }
}

/** Cases that Deno makes impossible, and why. @type {Record<string, string>} */
export const impossible = {
  "wrong-id": "Deno's QUIC neither shows the peer's certificate nor verifies its key",
  abort: "Deno's QUIC cannot reset or stop a stream with a code",
  "no-datagrams": "Deno's QUIC always offers datagrams",
};

export const dialOnly = ["anonymous", "anonymous-refused"];
