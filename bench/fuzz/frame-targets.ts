import { createPrivateKey } from "node:crypto";
import { once } from "node:events";
import { Duplex, duplexPair } from "node:stream";
import { setImmediate as turn } from "node:timers/promises";
import { crc32 } from "node:zlib";
import { beginHandshake, Connection, FRAME, jsonBody } from "@homeostat/agent/testing";
import { type AgentSide, HOST, SITE } from "./agent-side.ts";
import { damageBytes } from "./byte-damage.ts";
import { Dice } from "./dice.ts";
import { damageJson } from "./json-damage.ts";
import type { Outcome, Target } from "./targets.ts";
import { Violation } from "./world.ts";

const HEADER_BYTES = 5;
const FRAMES_MAX = 6;
const QUEUE_BYTES_MAX = 8_388_608;
/** Small, so that frames are met that are too long. */
const FRAME_BYTES_MAX = 4_096;

const frame = (type: number, ...parts: readonly Buffer[]): Buffer => {
  const body = Buffer.concat(parts);
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt32BE(body.length + 1, 0);
  header.writeUInt8(type, 4);
  return Buffer.concat([header, body]);
};

interface Cut {
  readonly frames: readonly string[];
  readonly isClosed: boolean;
}

const shown = (type: number, body: Buffer): string => `${type} ${body.toString("base64")}`;

/** How the bytes are to be read, whatever chunks they come in. */
const cut = (bytes: Buffer): Cut => {
  const frames: string[] = [];
  for (let at = 0; at + HEADER_BYTES <= bytes.length; ) {
    const length = bytes.readUInt32BE(at);
    if (length < 1 || length > FRAME_BYTES_MAX) return { frames, isClosed: true };
    const end = at + 4 + length;
    if (end > bytes.length) break;
    frames.push(shown(bytes[at + 4] ?? 0, bytes.subarray(at + HEADER_BYTES, end)));
    at = end;
  }
  return { frames, isClosed: false };
};

const cutByConnection = (bytes: Buffer, dice: Dice): Cut => {
  const frames: string[] = [];
  let closed = 0;
  const stream = new Duplex({ read: () => undefined, write: (_chunk, _encoding, done) => done() });
  const connection = new Connection(stream, {
    frameBytesMax: FRAME_BYTES_MAX,
    queueBytesMax: QUEUE_BYTES_MAX,
    onFrame: (type, body) => void frames.push(shown(type, body)),
    onClose: () => void closed++,
  });
  const most = dice.pick([1, 2, 7, 64, 5_000]);
  for (let at = 0; at < bytes.length; ) {
    const chunk = bytes.subarray(at, at + 1 + dice.below(most));
    connection.read(Buffer.from(chunk));
    at += chunk.length;
  }
  const isClosed = connection.isClosed;
  connection.destroy("the end");
  if (closed !== 1) throw new Violation(`it was closed ${closed} times`);
  return { frames, isClosed };
};

const BODIES = [
  Buffer.alloc(0),
  Buffer.from("{}"),
  Buffer.alloc(300, 7),
  Buffer.alloc(FRAME_BYTES_MAX - 1, 1),
  Buffer.from('{"protocol":1}'),
];

const streamOf = (dice: Dice, frames: readonly Buffer[]): Buffer =>
  Buffer.concat(Array.from({ length: 1 + dice.below(FRAMES_MAX) }, () => dice.pick(frames)));

/** Frames over a stream that is damaged and comes in chunks of any size. */
export const framesTarget: Target = {
  name: "frames",
  make: (dice) => {
    const bytes = streamOf(
      dice,
      BODIES.map((body) => frame(1 + dice.below(18), body)),
    );
    return dice.below(4) === 0 ? bytes : damageBytes(bytes, dice, bytes);
  },
  runGroup: async (_world, inputs) => {
    // Streams that were ended take leave in a turn of their own.
    await turn();
    return inputs.map((input) => {
      const expected = cut(input);
      const found = cutByConnection(input, new Dice(crc32(input)));
      if (found.isClosed !== expected.isClosed || found.frames.join() !== expected.frames.join())
        throw new Violation(`${expected.frames.length} frames were read as ${found.frames.length}`);
      return found.isClosed ? "refused" : "taken";
    });
  },
};

const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};

/** Each with the bytes in front of its JSON, if it has any. */
const uplinkFrames = (side: AgentSide): readonly (readonly [number, Buffer, Buffer])[] => {
  const none = Buffer.alloc(0);
  const { hello } = beginHandshake(
    { host: HOST, certificatePem: side.identity.certificate, privateKey: createPrivateKey(side.identity.private_key) },
    Date.now(),
  );
  const fetch = { request: 1, sha256: "0".repeat(64), offset: 0, length: 1_000 };
  return [
    [FRAME.agentUp, u32(7), jsonBody({ host: HOST, address: "10.0.0.1" })],
    [FRAME.agentUp, u32(8), jsonBody({ host: "web-2", address: "" })],
    [FRAME.handshake, u32(7), hello],
    [FRAME.sealed, u32(7), Buffer.alloc(80, 3)],
    [FRAME.agentDown, u32(7), none],
    [FRAME.fetch, none, jsonBody(fetch)],
    [FRAME.enrol, u32(3), jsonBody(side.request)],
    [FRAME.ping, none, none],
  ];
};

/** A hostile site server at control's end of an uplink. Taken: control has not hung up. */
export const uplinkTarget = (side: AgentSide): Target => {
  const frames = uplinkFrames(side);
  const hello = jsonBody({ protocol: 1, site: SITE, server: "s1" });
  const run = async (input: Buffer): Promise<Outcome> => {
    const [ofSite, ofControl] = duplexPair();
    side.control.attach(ofControl);
    let isOver = false;
    ofSite.on("end", () => {
      isOver = true;
    });
    ofSite.on("error", () => undefined);
    ofSite.resume();
    ofSite.write(input);
    for (let turns = 0; turns < 4; turns++) await turn();
    side.check();
    const outcome = isOver || ofSite.destroyed ? "refused" : "taken";
    if (!ofSite.destroyed) {
      const closed = once(ofSite, "close");
      ofSite.destroy();
      await closed;
    }
    return outcome;
  };
  return {
    name: "uplink",
    make: (dice) => {
      const isSound = dice.below(8) > 0;
      const first = frame(FRAME.hello, isSound ? hello : damageJson(hello, dice, hello));
      const rest = Array.from({ length: 1 + dice.below(FRAMES_MAX) }, () => {
        const [type, before, body] = dice.pick(frames);
        const kind = dice.below(4);
        if (kind === 0) return frame(type, before, body);
        if (kind === 1) return frame(dice.below(20), before, body);
        return frame(type, kind === 2 ? before : damageBytes(before, dice, u32(8)), damageJson(body, dice, hello));
      });
      return Buffer.concat([first, ...rest]);
    },
    runGroup: async (_world, inputs) => {
      const outcomes: Outcome[] = [];
      for (const input of inputs) outcomes.push(await run(input));
      return outcomes;
    },
  };
};
