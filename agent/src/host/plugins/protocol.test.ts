import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { misfits, strictSchema } from "./args-schema.ts";
import { parsePluginLine } from "./protocol.ts";

describe("a line of a plugin", () => {
  it("of whatever bytes is either one of the five kinds or told as bad", () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.json(),
          fc.json().map((json) => `{"metric":${json}}`),
        ),
        (line) => {
          const parsed = parsePluginLine(line);
          if ("bad" in parsed) expect(parsed.bad.length).toBeLessThanOrEqual(300);
          else expect(["output", "metric", "log", "result", "ready"]).toContain(parsed.kind);
        },
      ),
    );
  });

  it.each([
    ['{"metric":{"name":"a b","value":1}}', "metric: metric.name"],
    ['{"metric":{"name":"a","value":"1"}}', "metric: metric.value"],
    ['{"metric":{"name":"a","value":1e999}}', "metric: metric.value"],
    ['{"metric":{"name":"a","value":1,"labels":{}}}', 'Unrecognized key: "labels"'],
    ['{"result":{"state":"done"}}', "result: result.state"],
    ['{"ready":{"protocol":2}}', "ready: ready.protocol"],
    ['{"output":"x","id":0}', "output: id"],
    ['{"secret":"hunter2"}', "none of the keys output, metric, log, result, ready"],
  ])("%s is bad, and why is told without what it holds", (line, why) => {
    const parsed = parsePluginLine(line);
    expect(parsed).toEqual({ bad: expect.stringContaining(why) });
    expect(JSON.stringify(parsed)).not.toContain("hunter2");
  });
});

describe("a schema of arguments", () => {
  it("is closed at every level, whatever it says itself", () => {
    const inner = { type: "object", properties: { n: { type: "integer" } }, additionalProperties: true };
    const schema = strictSchema({ type: "object", properties: { o: inner, list: { type: "array", items: inner } } });
    expect(misfits(schema, { o: { n: 1 }, list: [{ n: 2 }] }, "args")).toBeNull();
    expect(misfits(schema, { o: { n: 1, x: 1 } }, "args")).toContain('args.o: Unrecognized key: "x"');
    expect(misfits(schema, { list: [{ x: 1 }] }, "args")).toContain("args.list.0");
    expect(misfits(schema, { x: 1 }, "args")).toContain('Unrecognized key: "x"');
  });

  it.each([
    ["is none of an object", { type: "string" }],
    ["says nothing", {}],
    ["points elsewhere", { type: "object", properties: { a: { $ref: "http://example.com/x" } } }],
    ["has a type that is none", { type: "object", properties: { a: { type: "text" } } }],
  ])("that %s cannot be used", (_, schema) => {
    expect(() => strictSchema(schema)).toThrow(TypeError);
  });
});
