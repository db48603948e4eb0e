// The command line: see the README of the folder above.

import { cases, dialOnly, impossible } from "./cases.js";
import { Code } from "./frames.js";
import { Stage } from "./stage.js";
import { runVectors } from "./vectors.js";

const LIMIT_MS = 10_000;
/** @type {Record<string, string>} */
const NOTES = {
  dial: "Deno shows no certificate of the peer, so its id was not checked",
  listen: "Deno asks for no client certificate, so the peer is anonymous here and its id was not checked",
};

/** @param {unknown} value @param {number} status @returns {never} */
function end(value, status) {
  console.log(JSON.stringify(value));
  Deno.exit(status);
}

/** @param {string} why @returns {never} */
function usage(why) {
  console.error(`${why}
usage: peer --version
       peer vectors FRAMES DATAGRAMS
       peer --role listen|dial --case CASE --address ADDRESS --cert FILE --key FILE --peer-id ID`);
  Deno.exit(2);
}

/** @param {string[]} args */
function parse(args) {
  const names = ["role", "case", "address", "cert", "key", "peer-id"];
  /** @type {Record<string, string>} */
  const options = {};
  for (let i = 0; i < args.length; i += 2) {
    const name = args[i].replace(/^--/, "");
    if (!args[i].startsWith("--") || !names.includes(name) || i + 1 >= args.length) usage(`cannot read ${args[i]}`);
    options[name] = args[i + 1];
  }
  for (const name of names) if (!(name in options)) usage(`--${name} is missing`);
  const { role } = options;
  const name = options.case;
  if (role !== "listen" && role !== "dial") return usage(`there is no role ${role}`);
  if (!(Object.hasOwn(cases, name) || Object.hasOwn(impossible, name))) usage(`there is no case ${name}`);
  if (role === "listen" && dialOnly.includes(name)) usage(`${name} is for dialers only`);
  if (!/^[a-z2-7]{51}[aq]$/i.test(options["peer-id"])) usage(`${options["peer-id"]} is not an id`);
  const [, v6, v4, port] = options.address.match(/^(?:\[(.+)\]|([^:]+)):(\d+)$/) ?? [];
  if (!port) usage(`cannot read the address ${options.address}`);
  try {
    const identity = { cert: Deno.readTextFileSync(options.cert), key: Deno.readTextFileSync(options.key) };
    return { role, name, address: { hostname: v6 ?? v4, port: Number(port) }, identity };
  } catch (error) {
    return usage(/** @type {Error} */ (error).message);
  }
}

/** @param {string[]} args */
async function play(args) {
  const { role, name, address, identity } = parse(args);
  if (Object.hasOwn(impossible, name)) end({ case: name, ok: false, impossible: impossible[name] }, 3);
  const stage = new Stage(role === "listen", address, identity);
  const note = NOTES[role];
  const fail = async (/** @type {string} */ why) => {
    await stage.close(Code.internal, "the case has failed");
    end({ case: name, ok: false, why, note, sessions: stage.sessions }, 1);
  };
  setTimeout(() => fail(`waited for ${stage.waits}`), LIMIT_MS);
  try {
    await cases[name](stage);
  } catch (error) {
    return await fail(/** @type {Error} */ (error).message);
  }
  await stage.close(Code.normal, "");
  end({ case: name, ok: true, note, sessions: stage.sessions }, 0);
}

const [command, ...rest] = Deno.args;
if (command === "--version") {
  end({ stack: "deno", version: Deno.version.deno, language: "JavaScript" }, 0);
} else if (command === "vectors") {
  if (rest.length !== 2) usage("vectors takes two files");
  const outcome = runVectors(rest[0], rest[1]);
  end(outcome, outcome.ok ? 0 : 1);
} else {
  await play(Deno.args);
}
