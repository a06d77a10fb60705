import { CommandResult } from "@homeostat/schemas";
import fc from "fast-check";
import { expect, test } from "vitest";
import { isResult } from "./is-result.ts";
import { fromAgentOf } from "./messages.ts";

const RESULT: CommandResult = {
  command_id: "job.0",
  host: "web-1",
  executor: "exec.run",
  state: "succeeded",
  exit_code: 0,
  stdout: "out",
  stderr: "",
  output_truncated: false,
  started_at_unix_ms: 1_800_000_000_000,
  ended_at_unix_ms: null,
  message: "",
};

/** What may stand where another value belongs: around each limit, and what is no such value at all. */
const Values = fc.oneof(
  fc.constantFrom<unknown>(null, true, "", "x", "running", 0, -0, -1, 0.5, 1, {}, [], [1]),
  fc.constantFrom(9_223_372_036_854, 9_223_372_036_855, 2 ** 53 - 1, 2 ** 53, Number.MAX_VALUE),
  fc.constantFrom(64, 65, 128, 129, 255, 256, 2_000, 2_001, 1_048_576, 1_048_577).map((length) => "a".repeat(length)),
  fc.constantFrom("ü".repeat(255), "\u{1f600}".repeat(128), "\ud800"),
);
const Fields = fc.dictionary(fc.constantFrom(...Object.keys(RESULT), "more", "__proto__", "toString"), Values, {
  maxKeys: 3,
});

test("what is taken for a result is one by the schema, as it is, and nearly all that the schema takes is taken", () => {
  let taken = 0;
  fc.assert(
    fc.property(Fields, fc.option(fc.constantFrom(...Object.keys(RESULT))), (changes, without) => {
      const members = Object.entries({ ...RESULT, ...changes }).filter(([key]) => key !== without);
      // As JSON tells it: with __proto__ as a member like any other.
      const text = `{${members.map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`).join()}}`;
      const value: unknown = JSON.parse(text);
      const parsed = CommandResult.safeParse(value);
      const isTaken = isResult(value);
      if (isTaken) expect(parsed.data).toEqual(value);
      // The schema counts a pair of surrogates once: such text may be longer, and is left to it.
      if (!/\p{Surrogate}|\p{Extended_Pictographic}/u.test(text)) expect(isTaken).toBe(parsed.success);
      taken += Number(isTaken);
    }),
    { numRuns: 2_000 },
  );
  expect(taken).toBeGreaterThan(50);
});

test("what an agent says is read as a message or not at all", () => {
  const said = (value: unknown) => fromAgentOf(Buffer.from(JSON.stringify(value)));
  expect(said({ type: "result", result: RESULT })).toEqual({ type: "result", result: RESULT });
  expect(said({ type: "clock", asked_at_unix_ms: 1 })).toEqual({ type: "clock", asked_at_unix_ms: 1 });
  expect(said({ type: "result", result: RESULT, more: 1 })).toBeNull();
  expect(said({ type: "result", result: { ...RESULT, host: "" } })).toBeNull();
  expect(said([{ type: "result", result: RESULT }])).toBeNull();
  expect(fromAgentOf(Buffer.from("{"))).toBeNull();
});
