// What a case is played with: the endpoint, the links, and what is waited for.

import { sleep } from "./async.js";
import { Code } from "./frames.js";
import { Link } from "./link.js";
import { Endpoint } from "./quic.js";
import { serve } from "./services.js";

/** How long a CONNECTION_CLOSE may take to leave the process. */
const FLUSH_MS = 50;

/** @typedef {{ hostname: string, port: number }} Address */

export class Stage {
  #listens;
  #address;
  #endpoint;
  /** @type {Link[]} */
  #links = [];
  /** @type {Set<string>} */
  #waits = new Set();

  /** @param {boolean} listens @param {Address} address @param {{ cert: string, key: string }} identity */
  constructor(listens, address, identity) {
    this.#listens = listens;
    this.#address = address;
    this.#endpoint = new Endpoint(listens ? address : { hostname: address.hostname, port: 0 }, identity);
  }

  get waits() {
    return [...this.#waits].join(", ") || "nothing";
  }

  /** Waits, and keeps for what. @template T @param {string} what @param {Promise<T>} promise */
  async until(what, promise) {
    this.#waits.add(what);
    try {
      return await promise;
    } finally {
      this.#waits.delete(what);
    }
  }

  /** The connection of the case. */
  async #connect(anonymous = false) {
    if (!this.#listens) return await this.until("the handshake", this.#endpoint.dial(this.#address, anonymous));
    this.#endpoint.listen();
    console.log(`listening ${this.#address.hostname}:${this.#endpoint.port}`);
    return await this.until("a connection", this.#endpoint.accept());
  }

  /** @param {import("./quic.js").Connection} conn */
  #read(conn) {
    const link = new Link(conn, serve);
    this.#links.push(link);
    link.read();
    return link;
  }

  /**
   * @param {import("./quic.js").Connection} conn
   * @param {{ settings?: Uint8Array, frames?: Uint8Array }} opening
   */
  async #start(conn, opening = {}) {
    const link = this.#read(conn);
    await link.start(opening.settings, opening.frames);
    return link;
  }

  /**
   * The link of the case; `both` makes a dialer listen as well. A peer that dials begins with a session that nobody
   * serves, which is waited for: some cases end the link soon.
   * @param {{ anonymous?: boolean, both?: boolean, settings?: Uint8Array, frames?: Uint8Array }} how
   */
  async link(how = {}) {
    if (how.both && !this.#listens) this.#endpoint.listen();
    const link = await this.#start(await this.#connect(how.anonymous), how);
    if (this.#listens) {
      const hello = await this.until("the session that the peer begins with", link.turnedAway.next());
      await this.until("the end of the session that the peer begins with", hello.over);
    }
    return link;
  }

  /** A second link, the other way, by the same two ports. @param {Link} first */
  async linkBack(first) {
    const { hostname, port } = first.conn.remote;
    const conn = this.#listens
      ? await this.until("the second handshake", this.#endpoint.dial({ hostname, port }, false))
      : await this.until("a second connection", this.#endpoint.accept());
    if (conn.remote.hostname !== hostname || conn.remote.port !== port) {
      throw new Error(`expected the second link to be with port ${port}, and it is with ${conn.remote.port}`);
    }
    return await this.#start(conn);
  }

  /**
   * How the connection ends, which the peer has to refuse. Nothing is sent on it: to a packet that crosses the alert
   * the peer may answer with a stateless reset, and quinn, when both arrive together, tells of the reset alone.
   * @returns {Promise<import("./quic.js").Ending>}
   */
  async refusal(anonymous = false) {
    let conn;
    try {
      conn = await this.#connect(anonymous);
    } catch (error) {
      return { by: "transport", text: /** @type {Error} */ (error).message };
    }
    const link = this.#read(conn);
    const ending = await this.until("the end of the link", conn.ended);
    if (link.heard) throw new Error("expected nothing of the peer's, and something came");
    return ending;
  }

  /** The end of most cases: GOAWAY, and the peer ends the link. @param {Link} link */
  async finish(link) {
    link.sendGoaway();
    const ending = await this.until("CONNECTION_CLOSE", link.conn.ended);
    if (ending.by !== "peer" || ending.code !== Code.normal) {
      const shown = JSON.stringify(ending, (_, v) => typeof v === "bigint" ? Number(v) : v);
      throw new Error(`expected CONNECTION_CLOSE with code 0, and came ${shown}`);
    }
  }

  /** All sessions of which OPEN was sent or read, as they are reported. */
  get sessions() {
    return this.#links.flatMap((link) => link.sessions).filter((session) => session.began).map((session) => ({
      id: Number(session.id),
      end: session.cause?.end ?? "lost",
      code: Number(session.cause?.code ?? 0n),
      reason: session.cause?.reason ?? "",
      sent: Number(session.sent),
      received: Number(session.received),
      peer_sent: Number(session.peerSent),
      peer_received: Number(session.peerReceived),
    }));
  }

  /** Ends what is still there. @param {bigint} code @param {string} reason */
  async close(code, reason) {
    for (const link of this.#links) {
      if (link.discarded > 0) console.error(`${link.discarded} datagrams or messages were thrown away`);
      link.conn.close(code, reason);
    }
    await sleep(FLUSH_MS);
    this.#endpoint.close();
  }
}
