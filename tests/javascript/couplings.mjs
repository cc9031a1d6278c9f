// Couplings as bytes and their digest, from docs/reference/protocol.md, "Couplings".

import { createHash } from "node:crypto";

// J (n, n), symmetric, and h (n), as arrays of numbers, in the canonical form of dense couplings.
export function payloadOf(J, h) {
  const n = J.length;
  const upper = [];
  for (let i = 0; i < n; i++) for (let j = i + 1; j < n; j++) upper.push(J[i][j] + 0);
  const dtype = smallest(upper, true);
  const hasField = h.some((value) => value !== 0);
  const fieldDtype = hasField ? smallest(h, false) : null;
  const spec = { format: "triu", n_spins: n, dtype, field_dtype: fieldDtype, nnz: 0 };
  const parts = [written(upper, dtype)];
  if (hasField) parts.push(written(h, fieldDtype));
  const bytes = Buffer.concat(parts);
  const line = `triu ${n} ${dtype} ${fieldDtype ?? "-"} 0\n`;
  const digest = createHash("sha256").update(line, "ascii").update(bytes).digest("hex");
  return { spec, bytes, digest: `sha256:${digest}` };
}

function smallest(values, mayBePacked) {
  if (mayBePacked && values.length) {
    if (values.every((value) => Math.abs(value) === 1)) return "bits";
    if (values.every((value) => value === 0 || Math.abs(value) === 1)) return "trits";
  }
  const integers = values.every(Number.isInteger);
  const [low, high] = values.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [0, 0]);
  if (integers && low >= -128 && high <= 127) return "|i1";
  if (integers && low >= -32768 && high <= 32767) return "<i2";
  return values.every((value) => Math.fround(value) === value) ? "<f4" : "<f8";
}

function written(values, dtype) {
  if (dtype === "bits") {
    const bytes = Buffer.alloc(Math.ceil(values.length / 8));
    values.forEach((value, at) => {
      if (value > 0) bytes[at >> 3] |= 1 << (at & 7);
    });
    return bytes;
  }
  if (dtype === "trits") {
    const bytes = Buffer.alloc(Math.ceil(values.length / 4));
    values.forEach((value, at) => (bytes[at >> 2] |= (value & 3) << (2 * (at & 3))));
    return bytes;
  }
  const view = { "|i1": Int8Array, "<i2": Int16Array, "<f4": Float32Array, "<f8": Float64Array };
  // typed arrays are little endian on every machine that Node runs on
  return Buffer.from(view[dtype].from(values, (value) => value + 0).buffer);
}

// Spins (rows, n) of -1 and +1 from a buffer of a result.
export function spinsOf({ shape: [rows, width], bytes }, n) {
  if (width !== Math.ceil(n / 8)) throw new Error(`${width} bytes for ${n} spins`);
  return Array.from({ length: rows }, (_, row) =>
    Array.from({ length: n }, (_, j) => (bytes[row * width + (j >> 3)] >> (j & 7)) & 1 ? 1 : -1),
  );
}

// E(s) = -1/2 s'Js - h's
export function energy(J, h, spins) {
  let total = 0;
  for (let i = 0; i < spins.length; i++) {
    let local = h[i];
    for (let j = 0; j < spins.length; j++) local += 0.5 * J[i][j] * spins[j];
    total -= local * spins[i];
  }
  return total;
}
