// What this side does with the sessions that the peer opens, by their protocol. `abort` is missing, since Deno cannot
// reset a stream.

import { Ended } from "./session.js";
import { Code } from "./frames.js";

const EMPTY = new Uint8Array();

/** @param {import("./session.js").Session} session */
async function echoMessages(session) {
  for (;;) session.sendMessage(await session.messages.next());
}

/** @param {import("./session.js").Session} session */
async function echoSignals(session) {
  for (;;) await session.sendSignal(await session.takeSignal());
}

/** @type {Record<string, (session: import("./session.js").Session) => void | Promise<void>>} */
const services = {
  async echo(session) {
    session.accept(session.metadata);
    await Promise.all([echoMessages(session), echoSignals(session)]);
  },
  reject(session) {
    session.reject(0x1f4n, "not today", 1_500n);
  },
  close(session) {
    session.accept(EMPTY);
    session.close(0x155n, "enough");
  },
  hold() {
    // A session that is closed before it is answered gets CLOSE_ACK alone.
  },
  "hold-accept"(session) {
    session.onClose = () => session.accept(EMPTY);
  },
  "hold-reject"(session) {
    session.onClose = () => services.reject(session);
  },
};

/** Says whether somebody serves the session. @param {import("./session.js").Session} session */
export function serve(session) {
  if (!Object.hasOwn(services, session.protocol)) {
    session.reject(Code.refused, `nobody serves ${session.protocol}`);
    return false;
  }
  Promise.resolve(services[session.protocol](session)).catch((error) => {
    if (!(error instanceof Ended)) console.error(`${session.protocol}: ${error.message}`);
  });
  return true;
}
