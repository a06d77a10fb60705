import { createPrivateKey } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import { crc32 } from "node:zlib";
import {
  acceptHandshake,
  beginHandshake,
  EnrolError,
  enrol,
  FromAgent,
  fromAgentOf,
  SealError,
  saidToAgent,
  ToAgent,
} from "@homeostat/agent/testing";
import {
  Command,
  canonicalJson,
  commandsOf,
  dispatchOf,
  SignedCancel,
  signCancel,
  verifyCancel,
  verifyCommand,
} from "@homeostat/schemas";
import { type AgentSide, filesInMemory, HOST } from "./agent-side.ts";
import { artefactTargets } from "./artefact-targets.ts";
import { damageBytes } from "./byte-damage.ts";
import { Dice } from "./dice.ts";
import { framesTarget, uplinkTarget } from "./frame-targets.ts";
import { damageJson } from "./json-damage.ts";
import type { Outcome, Target } from "./targets.ts";
import { Violation } from "./world.ts";

type Damage = (bytes: Buffer, dice: Dice, other: Buffer) => Buffer;
type Try = (input: Buffer) => Outcome | Promise<Outcome>;

const DAMAGES_MAX = 3;
/** One in so many is left as it was: it has to be taken. */
const WHOLE_ONE_IN = 8;

const damagedOrWhole =
  (seeds: readonly Buffer[], damage: Damage) =>
  (dice: Dice): Buffer => {
    let bytes = dice.pick(seeds);
    const times = dice.below(WHOLE_ONE_IN) === 0 ? 0 : 1 + dice.below(DAMAGES_MAX);
    for (let time = 0; time < times; time++) bytes = damage(bytes, dice, dice.pick(seeds));
    return bytes;
  };

/** A certificate is issued and written down for each case. */
const REPLY_COST = 20;

const target = (name: string, make: Target["make"], attempt: Try, cost = 1): Target => ({
  name,
  cost,
  make,
  runGroup: async (_world, inputs) => {
    const outcomes: Outcome[] = [];
    for (const input of inputs) outcomes.push(await attempt(input));
    return outcomes;
  },
});

/** Where what is damaged is made anew for each case, an input is what chance begins from. */
const chance = (dice: Dice): Buffer => {
  const seed = Buffer.alloc(4);
  seed.writeUInt32LE(dice.below(2 ** 32));
  return seed;
};
const diceOf = (input: Buffer): Dice => new Dice(crc32(input));

const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));
const parsed = (input: Buffer): unknown => {
  try {
    return JSON.parse(input.toString("utf8"));
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
};
const same = (one: unknown, other: unknown): boolean => canonicalJson(one) === canonicalJson(other);
const must = (holds: boolean, what: string): void => {
  if (!holds) throw new Violation(what);
};

const agentOf = ({ identity }: AgentSide) => ({
  host: HOST,
  certificatePem: identity.certificate,
  privateKey: createPrivateKey(identity.private_key),
});

const controlOf = ({ signingKey, authorityPem }: AgentSide) => ({
  signingKey,
  authorities: [authorityPem],
  now: Date.now(),
  mayConnect: () => null,
});

const handshakes = (side: AgentSide): Target[] => {
  const agent = agentOf(side);
  const { hello } = beginHandshake(agent, Date.now());
  const jsonEnd = 2 + hello.readUInt16BE(0);
  /** The JSON in it, with its length put right. */
  const inside: Damage = (bytes, dice, other) => {
    if (bytes.length < 2 || dice.below(2) === 0) return damageBytes(bytes, dice, other);
    const end = Math.min(bytes.length, 2 + bytes.readUInt16BE(0));
    const part = damageJson(bytes.subarray(2, end), dice, other.subarray(2, jsonEnd)).subarray(0, 65_535);
    const length = Buffer.alloc(2);
    length.writeUInt16BE(part.length);
    return Buffer.concat([length, part, bytes.subarray(end)]);
  };
  const pair = () => {
    const mine = beginHandshake(agent, Date.now());
    const theirs = acceptHandshake(mine.hello, controlOf(side));
    if ("refused" in theirs) throw new Violation(`a whole hello was refused: ${theirs.refused}`);
    return { mine, theirs };
  };
  const refusedBySeal = (error: unknown): Outcome => {
    if (error instanceof SealError) return "refused";
    throw error;
  };
  return [
    target("hello", damagedOrWhole([hello], inside), (input) => {
      const accepted = acceptHandshake(input, controlOf(side));
      if ("refused" in accepted) return "refused";
      must(
        accepted.host === HOST && input.subarray(0, jsonEnd).equals(hello.subarray(0, jsonEnd)),
        "another hello was taken",
      );
      return "taken";
    }),
    target("welcome", chance, (input) => {
      const { mine, theirs } = pair();
      const welcome = damagedOrWhole([theirs.welcome], inside)(diceOf(input));
      try {
        const session = mine.finish(welcome, [side.commandKey]);
        must(welcome.equals(theirs.welcome), "another welcome was taken");
        must(session.open(theirs.session.seal(input)).equals(input), "the sessions differ");
        return "taken";
      } catch (error) {
        return refusedBySeal(error);
      }
    }),
    target("sealed", chance, (input) => {
      const { mine, theirs } = pair();
      const session = mine.finish(theirs.welcome, [side.commandKey]);
      const plain = Buffer.from(`{"type":"clock","seed":"${input.toString("hex")}"}`);
      const sealed = theirs.session.seal(plain);
      const damaged = damagedOrWhole([sealed, theirs.session.seal(plain)], damageBytes)(diceOf(input));
      try {
        must(session.open(damaged).equals(plain) && damaged.equals(sealed), "another message opened");
        return "taken";
      } catch (error) {
        return refusedBySeal(error);
      }
    }),
  ];
};

const enrolments = (side: AgentSide): Target[] => [
  target("enrol_request", damagedOrWhole([json(side.request)], damageJson), async (input) => {
    const request = parsed(input);
    const reply = await side.identities.enrol(request);
    side.check();
    if ("refused" in reply) return "refused";
    must(same(request, side.request), "another request was taken");
    return "taken";
  }),
  target(
    "enrol_reply",
    chance,
    async (input) => {
      let isGenuine = false;
      let written = 0;
      const exchange = async (asked: unknown): Promise<unknown> => {
        const genuine = await side.identities.enrol(asked);
        const damaged = parsed(damagedOrWhole([json(genuine)], damageJson)(diceOf(input)));
        isGenuine = isDeepStrictEqual(damaged, JSON.parse(JSON.stringify(genuine)));
        return damaged;
      };
      const files = { ...files0, write: () => void written++ };
      try {
        await enrol({ token: side.token, kind: "agent", host: "web-2", files, exchange });
        must(isGenuine && written === 1, "another reply was taken");
        return "taken";
      } catch (error) {
        if (!(error instanceof EnrolError)) throw error;
        must(!isGenuine && written === 0, `a whole reply was refused, or a refused one written down: ${error.message}`);
        return "refused";
      }
    },
    REPLY_COST,
  ),
];
/** One key for all of them: asked again, control answers the same. */
const files0 = filesInMemory(() => undefined);

const TERMS = {
  command_id: "job-1.1",
  job_id: "job-1",
  requested_by: "ada",
  executor: "service.restart",
  risk: "reversible" as const,
  targets: { sites: { fuzz: { targeted: 3, of: 9 } } },
  approvals: [{ by: "bob", at_unix_ms: 1_780_000_000_000 }],
  issued_at_unix_ms: 1_780_000_000_000,
  not_after_unix_ms: 1_780_000_600_000,
  timeout_ms: 60_000,
  output_bytes_max: 65_536,
  limits: { cpu_percent: 50 },
};
const ARGS = { service: "nginx", deep: { list: [1, 2.5, null, true, "é"], empty: {} } };

const grants = (side: AgentSide): Target[] => {
  const dispatch = dispatchOf(TERMS, {
    args: ARGS,
    hosts: ["web-0", HOST, "web-2", "web-3", "web-4"],
    privateKey: side.signingKey,
  });
  const commandOf = commandsOf(dispatch);
  const [mine, another] = [commandOf(1), commandOf(2)];
  const options = { host: HOST, trustedKeys: [side.commandKey] };
  const cancel = { command_id: "job-1.1", hosts: [HOST], cancelled_by: "ada", at_unix_ms: 1, not_after_unix_ms: 2 };
  const cancels = [signCancel(cancel, side.signingKey), signCancel({ ...cancel, hosts: [] }, side.signingKey)];
  return [
    target("command", damagedOrWhole([json(mine), json(another)], damageJson), (input) => {
      const value = parsed(input);
      const verified = verifyCommand(value, options);
      if ("refused" in verified) return "refused";
      must(Command.safeParse(value).success, "the schema refuses what was verified");
      must(
        same(verified.grant, mine.signed.grant) && same(verified.args, mine.args) && verified.command.host === HOST,
        "another grant was taken",
      );
      must(same(verified.command.proof, mine.proof), "another proof was taken");
      return "taken";
    }),
    target("cancel", damagedOrWhole(cancels.map(json), damageJson), (input) => {
      const value = parsed(input);
      const verified = verifyCancel(value, options);
      if ("refused" in verified) return "refused";
      must(SignedCancel.safeParse(value).success, "the schema refuses what was verified");
      must(
        cancels.some((one) => same(one.cancel, verified.cancel)),
        "another cancellation was taken",
      );
      return "taken";
    }),
  ];
};

const RESULT = {
  command_id: "job-1.1",
  host: HOST,
  executor: "exec.run",
  state: "succeeded",
  exit_code: 0,
  stdout: "out é\n",
  stderr: "",
  output_truncated: false,
  started_at_unix_ms: 1_780_000_000_000,
  ended_at_unix_ms: null,
  message: "",
};
const PROGRESS = {
  command_id: "c",
  host: HOST,
  at_unix_ms: 5,
  state: "running",
  output: { stream: "stdout", sequence: 1, data: "aGk=" },
};
const LEDGER = { produced: 1, delivered: 1, spooled: 0, dropped: { spool_full: 2 } };
const HEARTBEAT = {
  host: HOST,
  agent_version: "1.2.3",
  state: "online",
  problems: ["the clock"],
  at_unix_ms: 1,
  started_at_unix_ms: 1,
  ledger: LEDGER,
  topics: { "telemetry.logs": LEDGER },
  checkpoints: [{ topic: "telemetry.logs", producer: "p", sequence: 1, rows: 1 }],
  spool_bytes: 1,
  labels: { role: "web" },
};
const FROM_AGENT = [
  { type: "result", result: RESULT },
  { type: "result", result: { ...RESULT, exit_code: null, started_at_unix_ms: null } },
  { type: "progress", progress: PROGRESS },
  { type: "heartbeat", heartbeat: HEARTBEAT },
  { type: "renew", spki: "-----BEGIN PUBLIC KEY-----", signature: "aGk=" },
  { type: "clock", asked_at_unix_ms: 1.5 },
].map(json);
const TO_AGENT = [
  { type: "ack", command_ids: ["a", "b"] },
  { type: "input", command_id: "a", data: "aGk=" },
  { type: "resize", command_id: "a", columns: 80, rows: 24 },
  { type: "desired", desired: { plugins: [] } },
  { type: "certificate", pem: "-----BEGIN CERTIFICATE-----" },
  { type: "clock", asked_at_unix_ms: 1, control_unix_ms: 2 },
  [
    { type: "ack", command_ids: ["a"] },
    { type: "command", command: { signed: {}, host: HOST } },
    { type: "cancel", cancel: {} },
  ],
].map(json);

const messages: Target[] = [
  target("from_agent", damagedOrWhole(FROM_AGENT, damageJson), (input) => {
    const read = fromAgentOf(input);
    const bySchema = FromAgent.safeParse(parsed(input));
    // What is read without the schema is what the schema would read.
    must(isDeepStrictEqual(read, bySchema.success ? bySchema.data : null), "it was read in two ways");
    return read === null ? "refused" : "taken";
  }),
  target("to_agent", damagedOrWhole(TO_AGENT, damageJson), (input) => {
    const said = saidToAgent(parsed(input));
    return said?.every((one) => ToAgent.safeParse(one).success) === true ? "taken" : "refused";
  }),
];

/** The ways into agent and control: frames, handshakes, enrolment, grants, messages, artefacts. */
export const agentTargets = (side: AgentSide): readonly Target[] => [
  framesTarget,
  uplinkTarget(side),
  ...handshakes(side),
  ...enrolments(side),
  ...grants(side),
  ...messages,
  ...artefactTargets(side.dir),
];
