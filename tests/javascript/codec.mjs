// Frames of the wire protocol, from docs/reference/protocol.md, "Frames".

import { decode as unpack, encode as pack } from "@msgpack/msgpack";

const MAJOR = 1;
const REQUEST = 1;
const KINDS = { 1: "request", 2: "reply", 3: "event" };
const MAX_HEADER = 65536;
const MAX_BUFFER = 1048576;
const MAX_BUFFERS = 4;
const MAX_ACKNOWLEDGED = 64;
const SIZES = {
  "|u1": 1, "|i1": 1, "<u2": 2, "<i2": 2, "<u4": 4, "<i4": 4, "<i8": 8, "<f4": 4, "<f8": 8,
};
const TOKEN = /^[0-9a-f]{32}$/;
const HEADER_KEYS = new Set(["id", "s", "ep", "ack", "b", "p"]);

export class Refused extends Error {
  constructor(code, sentence) {
    super(sentence);
    this.code = code;
  }
}

const refuse = (sentence, code = "protocol.local") => {
  throw new Refused(code, sentence);
};

// The frames of a request; buffers are [{dtype, shape, bytes}].
export function encodeRequest({ id, session = "", epoch = 0, safe = [], body, buffers = [] }) {
  const start = Buffer.alloc(8);
  start.write("CIM", "latin1");
  start.writeUInt8(MAJOR, 3);
  start.writeUInt8(REQUEST, 4);
  start.writeUInt16LE(buffers.length, 6);
  const header = { id, p: body };
  if (session) header.s = session;
  if (epoch) header.ep = epoch;
  if (safe.length) header.ack = safe;
  if (buffers.length) header.b = buffers.map(({ dtype, shape }) => ({ d: dtype, s: shape }));
  return [start, Buffer.from(pack(header)), ...buffers.map((buffer) => buffer.bytes)];
}

// What frames say: {kind, id, session, epoch, safe, body, buffers}; anything else is refused.
export function decode(frames) {
  if (frames.length < 2 || frames[0].length !== 8) refuse("no 8 bytes and a header");
  const [start, head, ...raw] = frames;
  if (start.toString("latin1", 0, 3) !== "CIM") refuse("this is not CIM");
  if (start[3] !== MAJOR) refuse(`major version ${start[3]}`, "protocol.version");
  const kind = KINDS[start[4]];
  if (!kind || start[5] !== 0) refuse("an unknown kind or flags");
  const promised = start.readUInt16LE(6);
  if (promised !== raw.length || promised > MAX_BUFFERS) refuse("another number of buffers");
  if (head.length > MAX_HEADER) refuse("the header is too long");
  const header = readHeader(head);
  return {
    kind,
    id: Buffer.from(header.id),
    session: header.s ?? "",
    epoch: header.ep ?? 0,
    safe: header.ack ?? [],
    body: header.p,
    buffers: readBuffers(header.b ?? [], raw),
  };
}

function readHeader(bytes) {
  let header;
  try {
    header = unpack(bytes, { useBigInt64: true, maxExtLength: 0, maxStrLength: 8192 });
  } catch (error) {
    refuse(`the header is no msgpack: ${error.message}`);
  }
  if (header === null || typeof header !== "object" || Array.isArray(header)) refuse("no map");
  refuseTwins(bytes);
  for (const key of Object.keys(header)) if (!HEADER_KEYS.has(key)) refuse(`unknown key ${key}`);
  if (!(header.id instanceof Uint8Array) || header.id.length !== 16) refuse("an id has 16 bytes");
  if (header.s && !TOKEN.test(header.s)) refuse("a token has 32 hexadecimal digits");
  const safe = header.ack ?? [];
  if (!Array.isArray(safe) || safe.length > MAX_ACKNOWLEDGED) refuse("at most 64 jobs are safe");
  if (!safe.every((job) => TOKEN.test(job))) refuse("a job has 32 hexadecimal digits");
  if (typeof header.p?.t !== "string") refuse("a message has a type");
  return plain(header);
}

// JavaScript's maps forget a key that comes twice, so keys of the first level are counted.
function refuseTwins(bytes) {
  if ((bytes[0] & 0xf0) !== 0x80) return; // not a map of up to 15 keys: more than a header has
  if ((bytes[0] & 0x0f) > HEADER_KEYS.size) refuse("more keys than a header has");
  const once = unpack(bytes, { useBigInt64: true });
  if (Object.keys(once).length !== (bytes[0] & 0x0f)) refuse("a key comes twice");
}

// Integers come as BigInt; those that fit become numbers, a seed of 63 bits stays one.
function plain(value) {
  if (typeof value === "bigint") return Number.isSafeInteger(Number(value)) ? Number(value) : value;
  if (Array.isArray(value)) return value.map(plain);
  if (value instanceof Uint8Array || value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, plain(each)]));
}

function readBuffers(descriptors, raw) {
  if (descriptors.length !== raw.length) refuse("a descriptor for each buffer");
  return descriptors.map(({ d: dtype, s: shape }, at) => {
    const size = SIZES[dtype] ?? refuse(`dtype ${dtype}`);
    if (!Array.isArray(shape) || shape.length > 3) refuse("at most three dimensions");
    const bytes = shape.reduce((product, length) => product * length, size);
    if (bytes !== raw[at].length || bytes > MAX_BUFFER) refuse("a buffer of another length");
    return { dtype, shape, bytes: raw[at] };
  });
}
