import fc from "fast-check";
import { expect, test } from "vitest";
import { ToAgent } from "../channel/messages.ts";
import { readMessage } from "./read-message.ts";

const Id = fc.oneof(fc.string({ maxLength: 4 }), fc.constantFrom("a".repeat(128), "a".repeat(129)));
const Ids = fc.oneof(
  fc.array(fc.oneof(Id, fc.integer())),
  fc.constantFrom(1_000, 1_001).map((count) => Array(count).fill("id")),
);
const Key = fc.oneof(fc.constantFrom("__proto__", "signed", "args"), fc.string({ maxLength: 3 }));
const Order = fc.oneof(
  fc.jsonValue(),
  fc.array(fc.tuple(Key, fc.jsonValue())).map((pairs) => new Map(pairs)),
);
const Type = fc.oneof(fc.constantFrom("command", "ack", "cancel"), fc.string({ maxLength: 3 }));
const Rest = fc.dictionary(fc.constantFrom("command", "command_ids", "cancel", "more"), fc.oneof(fc.jsonValue(), Ids));
const Message = fc.oneof(
  fc.tuple(Type, Order).map(([type, command]) => `{"type":${text(type)},"command":${text(command)}}`),
  fc.tuple(Type, Ids).map(([type, ids]) => `{"type":${text(type)},"command_ids":${text(ids)}}`),
  fc.tuple(Type, Rest).map(([type, rest]) => text({ type, ...rest })),
  fc.json(),
);

/** JSON; of a Map its pairs, so that any key can be written. */
const text = (value: unknown): string => {
  if (!(value instanceof Map)) return JSON.stringify(value);
  return `{${[...value].map(([key, member]) => `${JSON.stringify(key)}:${JSON.stringify(member)}`).join()}}`;
};

test("every message is read as its schema reads it", () => {
  fc.assert(
    fc.property(Message, (json) => {
      const parsed = ToAgent.safeParse(JSON.parse(json));
      const read = readMessage(JSON.parse(json));
      if (parsed.success) expect(read).toStrictEqual(parsed.data);
      else expect(read).toStrictEqual({ flaw: parsed.error.issues[0]?.message });
    }),
    { numRuns: 2_000 },
  );
});
