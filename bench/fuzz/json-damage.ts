import { damageBytes } from "./byte-damage.ts";
import type { Dice } from "./dice.ts";

/** Values that nobody expects, as they stand in the text. */
const HOSTILE: readonly unknown[] = [
  null,
  true,
  -1,
  0,
  1e308,
  -1e308,
  9_007_199_254_740_992,
  "",
  "-1",
  "18446744073709551616",
  "9223372036854775807",
  "NaN",
  "Infinity",
  "1e999",
  "1.5",
  "\u0000",
  "\ud800",
  "\uffff",
  "x".repeat(5000),
  "🜚".repeat(100),
  [],
  {},
  [[[[[[[[[[[[]]]]]]]]]]]],
  { a: { b: { c: { d: { e: {} } } } } },
  [null, 1, "a", {}],
  Array.from({ length: 2000 }, () => 0),
  Object.fromEntries(Array.from({ length: 1500 }, (_, index) => [`k${index}`, "v"])),
  "2026-13-45T99:99:99Z",
  "12345678-1234",
];

/** Keys that mean something to JavaScript, or nothing to anybody. */
const KEYS = ["__proto__", "constructor", "toString", "", "\ud800", "a.b..c", "@timestamp", "values", "key"];

type Node = Record<string, unknown> | unknown[];

const isNode = (value: unknown): value is Node => typeof value === "object" && value !== null;

const damageNode = (node: Node, dice: Dice): void => {
  const entries = Object.entries(node);
  if (entries.length === 0) return;
  const [key, child] = dice.pick(entries);
  if (isNode(child) && Object.keys(child).length > 0 && dice.below(4) > 0) {
    damageNode(child, dice);
    return;
  }
  const put = (name: string, value: unknown): void => {
    Object.defineProperty(node, name, { value, enumerable: true, configurable: true, writable: true });
  };
  const choice = dice.below(6);
  if (choice === 0) Array.isArray(node) ? node.splice(Number(key), 1) : Reflect.deleteProperty(node, key);
  else if (choice === 1 && Array.isArray(node))
    node.push(...Array.from({ length: dice.pick([1, 3, 500]) }, () => child));
  else if (choice === 1) put(dice.pick(KEYS), child);
  else put(key, dice.pick(HOSTILE));
};

const DEEP = 20_000;

/** A document of one line, or of several (NDJSON), with one of its lines damaged. */
export const damageJson = (bytes: Buffer, dice: Dice, other: Buffer): Buffer => {
  const choice = dice.below(40);
  if (choice < 8) return damageBytes(bytes, dice, other);
  if (choice === 8) return Buffer.from(`${"[".repeat(DEEP)}${"]".repeat(dice.below(2) * DEEP)}`);
  const lines = bytes.toString("utf8").split("\n");
  const at = dice.below(lines.length);
  try {
    const document: unknown = JSON.parse(lines[at] ?? "");
    if (!isNode(document)) return damageBytes(bytes, dice, other);
    damageNode(document, dice);
    lines[at] = JSON.stringify(document);
  } catch (error) {
    // Not JSON, or nested too deep for what JavaScript has.
    if (error instanceof SyntaxError || error instanceof RangeError) return damageBytes(bytes, dice, other);
    throw error;
  }
  return Buffer.from(lines.join("\n"));
};
