import { generateKeyPairSync } from "node:crypto";
import fc from "fast-check";
import { expect, test } from "vitest";
import { Command } from "./command.ts";
import { commandsOf, dispatchOf } from "./grant-signature.ts";
import { isCommand } from "./is-command.ts";

const { privateKey } = generateKeyPairSync("ed25519");
const HOSTS = ["web-1", "web-2", "web-3", "ünïcode"];

const commandText = (args: Record<string, unknown> = { text: "x", deep: [{ a: null }, 1.5, true] }): string => {
  const terms = {
    command_id: "job.1",
    job_id: "job",
    requested_by: "ada",
    executor: "simulate.echo",
    risk: "read_only" as const,
    targets: { sites: { east: { targeted: 1, of: 3 } } },
    approvals: [],
    issued_at_unix_ms: 1_800_000_000_000,
    not_after_unix_ms: 1_800_000_060_000,
    timeout_ms: 1_000,
    output_bytes_max: 1_000,
    limits: {},
  };
  const dispatch = dispatchOf(terms, { args: args as Command["args"], hosts: HOSTS, privateKey });
  return JSON.stringify(commandsOf(dispatch)(1));
};

const WHOLE = commandText();

/** A place in JSON, as the keys that lead to it. */
type Place = readonly string[];
const placesIn = (value: unknown, at: Place = []): Place[] => {
  if (typeof value !== "object" || value === null) return [at];
  return [at, ...Object.entries(value).flatMap(([key, member]) => placesIn(member, [...at, key]))];
};

const changedAt = (value: unknown, [key, ...rest]: Place, change: (old: unknown) => string): string => {
  if (key === undefined) return change(value);
  const members = Object.entries(value as object).map(([name, member]) => {
    const text = name === key ? changedAt(member, rest, change) : JSON.stringify(member);
    return Array.isArray(value) ? text : `${JSON.stringify(name)}:${text}`;
  });
  return Array.isArray(value) ? `[${members.join()}]` : `{${members.join()}}`;
};

const LENGTHS = [0, 1, 63, 64, 65, 88, 128, 129, 255, 256];
const NUMBERS = ["-1", "-0", "0", "0.5", "1", "3600000", "3600001", "1000000", "1000001", "1048576", "1048577"];
const FAR_NUMBERS = ["9223372036854", "9223372036855", "9007199254740991", "9007199254740992", "1e999"];
const OTHERS = ["null", "true", "[]", "{}", '{"a":1}', '{"__proto__":1}', '["a"]', '{"memory_bytes":4194304}'];
/** JSON in place of what stands there. */
const Replaced = fc.oneof(
  fc.constantFrom(...LENGTHS).map((length) => JSON.stringify("a".repeat(length))),
  fc.constantFrom(...NUMBERS, ...FAR_NUMBERS, ...OTHERS, '"read_only"', '"x"', '"A=="', '"\\ud800"'),
  fc.json(),
);
const MEMBERS = ['"more":1', '"__proto__":{}', '"limits":{}', `"${"k".repeat(65)}":1`, '"":1'];
const withMember = (old: unknown, member: string): string => {
  const text = JSON.stringify(old);
  return text.startsWith("{") ? `${text.slice(0, -1)}${text === "{}" ? "" : ","}${member}}` : text;
};

const seesIt = (text: string): void => {
  const value: unknown = JSON.parse(text);
  const isTaken = isCommand(value);
  const parsed = Command.safeParse(value);
  if (isTaken) expect({ text, ...parsed }).toStrictEqual({ text, success: true, data: JSON.parse(text) });
  else expect(text).not.toBe(WHOLE);
};

test("what control sends is seen for a command at once, without asking the schema", () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string({ maxLength: 64 }), fc.jsonValue(), { noNullPrototype: true }), (args) => {
      fc.pre(!JSON.stringify(args).includes('"__proto__"') && JSON.stringify(args).isWellFormed());
      fc.pre(!JSON.stringify(args).includes("\\ud"));
      expect(isCommand(JSON.parse(commandText(args)))).toBe(true);
    }),
  );
});

test("what is seen for a command the schema takes as it is, whatever was changed, left out or added", () => {
  const whole: unknown = JSON.parse(WHOLE);
  const places = placesIn(whole);
  for (const place of places) {
    for (const length of LENGTHS) seesIt(changedAt(whole, place, () => JSON.stringify("a".repeat(length))));
    for (const json of [...NUMBERS, ...FAR_NUMBERS, ...OTHERS]) seesIt(changedAt(whole, place, () => json));
    for (const member of MEMBERS) seesIt(changedAt(whole, place, (old) => withMember(old, member)));
  }
  const Change = fc.tuple(fc.constantFrom(...places), Replaced);
  fc.assert(
    fc.property(Change, ([place, json]) => seesIt(changedAt(whole, place, () => json))),
    { numRuns: 1_000 },
  );
});

test.each(["signed", "args", "host", "proof"])("a command without its %s is none", (field) => {
  const { [field]: _, ...rest } = JSON.parse(WHOLE) as Record<string, unknown>;
  expect(isCommand(rest)).toBe(false);
});

test("neither an object of another kind nor one that inherits what it should have is seen for a command", () => {
  const command = JSON.parse(WHOLE) as Record<string, unknown>;
  expect(isCommand(Object.assign(Object.create({}), command))).toBe(false);
  expect(isCommand(Object.create(command))).toBe(false);
  expect(isCommand([command])).toBe(false);
});
