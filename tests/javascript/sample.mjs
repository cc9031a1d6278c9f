// node sample.mjs ENDPOINT < {"J": [[…]], "h": […], "n_runs": 20, "seed": 3}

import { text } from "node:stream/consumers";
import { Session } from "./cim.mjs";

const { J, h, n_runs: nRuns, seed } = JSON.parse(await text(process.stdin));
const session = new Session(process.argv[2]);
try {
  await session.open();
  const samples = await session.sample(J, h, { nRuns, seed });
  await session.close();
  process.stdout.write(JSON.stringify(samples), () => process.exit(0));
} catch (error) {
  process.stdout.write(JSON.stringify({ code: error.code ?? "", message: error.message }), () =>
    process.exit(1),
  );
}
