// node operate.mjs ENDPOINT < {"J": [[...]], "h": [...]}: locks, jobs and the emergency stop, in one story.

import { text } from "node:stream/consumers";
import { Session } from "./cim.mjs";

const { J, h } = JSON.parse(await text(process.stdin));
const [mine, other] = [new Session(process.argv[2]), new Session(process.argv[2])];
const told = {};

const codeOf = async (promise) => {
  try {
    await promise;
    return "";
  } catch (error) {
    return error.code ?? `a bug: ${error.stack}`;
  }
};

await mine.open();
await other.open();

// jobs
const key = "5".repeat(32);
const job = await mine.submit(J, h, { nRuns: 7, seed: 3, keep: true, key });
told.again = job === (await mine.submit(J, h, { nRuns: 7, seed: 3, keep: true, key }));
told.conflict = await codeOf(mine.submit(J, h, { nRuns: 8, seed: 3, keep: true, key }));
await mine.wait(job);
told.rows = (await other.fetch(job)).spins.length; // a job belongs to its user, not to a session
told.listed = (await mine.jobs(["done"])).map((each) => each.job === job);
mine.acknowledgeLater(job);
told.gone = await codeOf(mine.fetch(job));
await mine.acknowledge(job); // again, which does no harm
told.left = (await mine.jobs()).length;

// the lock
const locked = await mine.lock({ note: "adjusting the pump" });
told.note = (await other.lockInfo()).note;
told.locked = await codeOf(other.submit(J, h, { nRuns: 1, seed: 1 }));
told.underLock = (await mine.sample(J, h, { nRuns: 2, seed: 1 })).spins.length;
told.free = (await mine.unlock()).epoch === 0 && locked.epoch > 0;

// the emergency stop
const { stop } = await other.stop("smoke");
told.reason = (await mine.safety()).reason;
const waiting = await mine.submit(J, h, { nRuns: 1, seed: 9 });
told.queued = (await mine.jobs(["queued"])).map((each) => each.job === waiting);
await mine.cancel(waiting);
told.cancelled = await codeOf(mine.wait(waiting));
told.otherStop = await codeOf(mine.reset(stop + 1));
told.stopped = (await mine.reset(stop)).stop;

await mine.close();
await other.close();
process.stdout.write(JSON.stringify(told), () => process.exit(0));
