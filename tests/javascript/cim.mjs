// A session with a machine: hello, couplings, a job, its samples, bye.

import { randomBytes } from "node:crypto";
import { Dealer } from "zeromq";
import { decode, encodeRequest } from "./codec.mjs";
import { energy, payloadOf, spinsOf } from "./couplings.mjs";

const OLDEST = [1, 0];
const NEWEST = [1, 0];
const PATIENCE_MS = 5000;
const ATTEMPTS = 3;

// What a server answers with `error`; programs branch on `code`.
export class CimError extends Error {
  constructor({ code, message, hint = "", details = {} }) {
    super(hint ? `${message} (${hint})` : message);
    Object.assign(this, { code, details });
  }
}

export class Session {
  #endpoint;
  #socket;
  #waiting = new Map();
  #token = "";
  #epoch = 0;
  #safe = new Set();

  constructor(endpoint) {
    this.#endpoint = endpoint;
    this.#connect();
  }

  // What the machine can do, and what the server takes.
  async open() {
    const hello = { t: "hello", protocols: [OLDEST, NEWEST], client: "cim.mjs" };
    const welcome = await this.ask(hello, "welcome");
    this.#token = welcome.session;
    this.limits = welcome.limits;
    this.capabilities = welcome.capabilities;
    return welcome;
  }

  // Samples of J (n, n) and h (n): {spins, energies, record}, in the order of the runs.
  async sample(J, h, options) {
    const job = await this.submit(J, h, options);
    await this.wait(job);
    const { spins, record } = await this.fetch(job);
    return { spins, energies: spins.map((row) => energy(J, h, row)), record };
  }

  // ---- jobs: each outlives this session with `keep`, and belongs to its user

  async submit(J, h, { nRuns, seed, schedule = null, keep = false, key = newToken() }) {
    const payload = payloadOf(J, h);
    const coupling = { digest: payload.digest, bits: null, gauge_seed: null };
    await this.#load(coupling, payload);
    const request = { t: "sample", key, coupling, schedule, n_runs: nRuns, seed, keep };
    return (await this.ask(request, "job.status")).job;
  }

  // Waits until a job is done; an error is that with which it ended.
  async wait(job) {
    for (;;) {
      const status = await this.ask({ t: "job.wait", job, timeout_s: 1.5 }, "job.status");
      if (status.state === "done") return status;
      if (status.error) throw new CimError(status.error);
    }
  }

  async fetch(job) {
    const spins = [];
    for (;;) {
      const request = { t: "job.result", job, first: spins.length };
      const { body, buffers } = await this.#exchange(request, [], ["job.batch"]);
      spins.push(...spinsOf(buffers[0], body.n_spins));
      if (spins.length === body.n_runs) return { spins, record: body.record };
    }
  }

  // The result is safe: the server may drop it.
  acknowledge(job) {
    return this.ask({ t: "job.ack", job }, "job.status");
  }

  // The same, said with the next request that is answered; at most 64 at a time.
  acknowledgeLater(job) {
    this.#safe.add(job);
  }

  cancel(job) {
    return this.ask({ t: "job.cancel", job }, "job.status");
  }

  // All jobs of this user, page after page.
  async jobs(states = []) {
    const found = [];
    for (let after = null; ; ) {
      const page = await this.ask({ t: "job.list", states, after }, "job.listed");
      found.push(...page.jobs);
      if (!page.more) return found;
      after = page.cursor;
    }
  }

  // ---- the lock: its epoch goes along with every request from now on

  async lock({ note = "", forS = null, stands = false } = {}) {
    const request = { t: "device.lock", key: newToken(), note, for_s: forS, stands };
    const state = await this.ask(request, "lock.state");
    if (!state.is_yours) throw new Error(`${state.holder} has the machine`);
    this.#epoch = state.epoch;
    return state;
  }

  async unlock() {
    const state = await this.ask({ t: "device.unlock" }, "lock.state");
    this.#epoch = 0;
    return state;
  }

  lockInfo() {
    return this.ask({ t: "lock.info" }, "lock.state");
  }

  // ---- the emergency stop

  stop(reason = "") {
    return this.ask({ t: "device.estop", reason }, "safety.state");
  }

  reset(stop) {
    return this.ask({ t: "device.reset", stop }, "safety.state");
  }

  safety() {
    return this.ask({ t: "safety.info" }, "safety.state");
  }

  async close() {
    await this.ask({ t: "bye" }, "farewell");
    this.#socket.close();
  }

  // Send a request and return the body of its reply, which must be of the type expected.
  async ask(body, ...expected) {
    return (await this.#exchange(body, [], expected)).body;
  }

  async #exchange(body, buffers, expected) {
    const id = randomBytes(16);
    const safe = [...this.#safe];
    const request = { id, session: this.#token, epoch: this.#epoch, safe, body, buffers };
    for (let attempt = 1; ; attempt++) {
      const answered = new Promise((resolve) => this.#waiting.set(id.toString("hex"), resolve));
      await this.#socket.send(encodeRequest(request));
      const reply = await Promise.race([answered, late()]);
      if (reply !== undefined) {
        checked(reply, expected);
        safe.forEach((job) => this.#safe.delete(job));
        return reply;
      }
      if (attempt === ATTEMPTS) throw new Error(`${this.#endpoint} does not answer`);
      this.#connect(); // ZeroMQ loses what is in flight: again, with the same id
    }
  }

  #connect() {
    this.#socket?.close();
    this.#socket = new Dealer({ linger: 0 });
    this.#socket.connect(this.#endpoint);
    this.#read(this.#socket);
  }

  async #read(socket) {
    for await (const frames of socket) {
      const reply = decode(frames);
      const id = reply.id.toString("hex");
      this.#waiting.get(id)?.(reply);
      this.#waiting.delete(id);
    }
  }

  async #load(coupling, { spec, bytes }) {
    const begin = { t: "couplings.begin", coupling, spec };
    const answer = await this.ask(begin, "couplings.loaded", "couplings.upload");
    if (answer.t === "couplings.loaded") return; // a server that holds them takes no bytes
    const { upload, chunk_bytes: size, credit } = answer;
    const offsets = [];
    for (let offset = 0; offset < bytes.length; offset += size) offsets.push(offset);
    const send = async () => {
      for (let offset = offsets.shift(); offset !== undefined; offset = offsets.shift()) {
        const chunk = bytes.subarray(offset, offset + size);
        const buffer = { dtype: "|u1", shape: [chunk.length], bytes: chunk };
        await this.#exchange({ t: "couplings.chunk", upload, offset }, [buffer], ["couplings.taken"]);
      }
    };
    await Promise.all(Array.from({ length: credit }, send)); // at most `credit` unanswered
    await this.ask({ t: "couplings.commit", upload }, "couplings.loaded");
  }
}

function newToken() {
  return randomBytes(16).toString("hex");
}

function late() {
  return new Promise((resolve) => setTimeout(resolve, PATIENCE_MS).unref());
}

function checked(reply, expected) {
  if (reply.body.t === "error") throw new CimError(reply.body);
  if (!expected.includes(reply.body.t)) throw new Error(`an answer of type ${reply.body.t}`);
}
