import { deflateSync, gzipSync, zstdCompressSync } from "node:zlib";
import fc from "fast-check";
import { compressSync } from "snappy";
import { hostileValue, readOrRefuse } from "../../test/fixtures/batch/hostile-values.ts";
import { damageBytes } from "./byte-damage.ts";
import type { Dice } from "./dice.ts";
import { damageJson } from "./json-damage.ts";
import { damageProtobuf } from "./protobuf-damage.ts";
import { SEEDS } from "./seeds.ts";
import type { World } from "./world.ts";

type Damage = (bytes: Buffer, dice: Dice, other: Buffer) => Buffer;

export type Outcome = "taken" | "refused";

/** One way in. `runGroup` hands a group of inputs over at once. */
export interface Target {
  readonly name: string;
  /** One case of it takes the place of so many. */
  readonly cost?: number;
  readonly make: (dice: Dice) => Buffer;
  readonly runGroup: (world: World, inputs: readonly Buffer[]) => Promise<readonly Outcome[]>;
}

const PROTOBUF = "application/x-protobuf";
const JSON_TYPE = "application/json";

const DAMAGES_MAX = 4;

const damaged =
  (seeds: readonly Buffer[], damage: Damage) =>
  (dice: Dice): Buffer => {
    let bytes = dice.pick(seeds);
    const times = 1 + dice.below(DAMAGES_MAX);
    for (let time = 0; time < times; time++) bytes = damage(bytes, dice, dice.pick(seeds));
    return bytes;
  };

/** Structure first, bytes now and then. */
const protobuf: Damage = (bytes, dice, other) =>
  (dice.below(3) === 0 ? damageBytes : damageProtobuf)(bytes, dice, other);

const outcomeOf = (status: number): Outcome => (status < 300 ? "taken" : "refused");

interface HttpTarget {
  readonly url: string;
  readonly type: string;
  readonly damage: Damage;
  /** The damaged message is sent in a whole snappy block. */
  readonly isSnappy?: boolean;
}

const http = (name: keyof typeof SEEDS, { url, type, damage, isSnappy = false }: HttpTarget): Target => ({
  name,
  make: damaged(SEEDS[name], damage),
  runGroup: async (world, inputs) => {
    const headers = { "content-type": type, ...(isSnappy ? { "content-encoding": "snappy" } : {}) };
    const send = (body: Buffer) => world.post({ url, headers, body: isSnappy ? compressSync(body) : body });
    return (await Promise.all(inputs.map(send))).map(outcomeOf);
  },
});

const BOMB = Buffer.alloc(4 * 1_048_576);

/** Bodies under each coding; some unpack to more than the cap. The first byte of an input says which coding it is. */
const CODINGS = [
  ["gzip", gzipSync],
  ["deflate", deflateSync],
  ["zstd", zstdCompressSync],
  ["snappy", compressSync],
] as const;

const PACKED = CODINGS.flatMap(([, pack], index) =>
  [SEEDS.otlp_logs[0], Buffer.alloc(2000, 7), BOMB].map((body) =>
    Buffer.concat([Buffer.from([index]), pack(body ?? Buffer.alloc(0))]),
  ),
);

const decompress: Target = {
  name: "decompress",
  make: damaged(PACKED, (bytes, dice, other) =>
    Buffer.concat([bytes.subarray(0, 1), damageBytes(bytes.subarray(1), dice, other.subarray(1))]),
  ),
  runGroup: async (world, inputs) => {
    const send = (input: Buffer): Promise<number> => {
      const [encoding] = CODINGS[(input[0] ?? 0) % CODINGS.length] ?? ["gzip"];
      return world.post({
        url: "/v1/logs",
        headers: { "content-type": PROTOBUF, "content-encoding": encoding },
        body: input.subarray(1),
      });
    };
    return (await Promise.all(inputs.map(send))).map(outcomeOf);
  },
};

const syslog: Target = {
  name: "syslog",
  make: damaged(SEEDS.syslog, damageBytes),
  runGroup: async (world, inputs) => {
    await world.syslog(inputs);
    return inputs.map(() => "taken" as const);
  },
};

/** Values that are damaged in every layer and sealed again (test/fixtures/batch/hostile-values.ts). */
const batch: Target = {
  name: "batch",
  make: (dice) => Buffer.from(fc.sample(hostileValue, { numRuns: 1, seed: dice.below(2 ** 31) })[0] ?? []),
  runGroup: (_world, inputs) =>
    Promise.resolve(inputs.map((input) => (readOrRefuse(input) === "read" ? "taken" : "refused"))),
};

const REMOTE_WRITE = { url: "/api/v1/write", damage: protobuf } as const;

export const TARGETS: readonly Target[] = [
  batch,
  http("otlp_logs", { url: "/v1/logs", type: PROTOBUF, damage: protobuf }),
  http("otlp_logs_json", { url: "/v1/logs", type: JSON_TYPE, damage: damageJson }),
  http("otlp_metrics", { url: "/v1/metrics", type: PROTOBUF, damage: protobuf }),
  http("otlp_metrics_json", { url: "/v1/metrics", type: JSON_TYPE, damage: damageJson }),
  http("remote_write", { ...REMOTE_WRITE, type: PROTOBUF }),
  http("remote_write_2", { ...REMOTE_WRITE, type: `${PROTOBUF};proto=io.prometheus.write.v2.Request` }),
  http("loki_json", { url: "/loki/api/v1/push", type: JSON_TYPE, damage: damageJson }),
  http("loki", { url: "/loki/api/v1/push", type: PROTOBUF, damage: protobuf, isSnappy: true }),
  http("elasticsearch", { url: "/_bulk", type: "application/x-ndjson", damage: damageJson }),
  syslog,
  decompress,
];
