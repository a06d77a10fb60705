import { describe, expect, test } from "vitest";
import { OptionsError, parseOptions } from "./options.ts";

const problemsOf = (text: string): readonly string[] => {
  try {
    parseOptions(text, "test.yaml");
  } catch (error) {
    if (error instanceof OptionsError) return error.problems;
    throw error;
  }
  return [];
};

describe("a configuration", () => {
  test("may be empty: everything has a default", () => {
    const options = parseOptions("", "nothing");
    expect(options.bus.kind).toBe("embedded");
    expect(options.store.kind).toBe("embedded");
    expect(options.http).toEqual({ host: "127.0.0.1", port: 7070 });
  });

  test("is frozen through and through", () => {
    const options = parseOptions("agent: { logs: [{ path: /var/log/x.log, service: x }] }", "test.yaml");
    expect(Object.isFrozen(options.agent.logs[0])).toBe(true);
  });

  test.each([
    { name: "an unknown key at the top", text: "colour: blue", problem: "colour: unknown key" },
    { name: "an unknown key deep down", text: "http: { prot: 1 }", problem: "http.prot: unknown key" },
    { name: "a wrong type", text: "http: { port: high }", problem: "http.port: " },
    {
      name: "a list's member",
      text: "agent: { logs: [{ path: x.log, service: x }] }",
      problem: "agent.logs[0].path: ",
    },
    { name: "a key that stands twice", text: "http: {}\nhttp: {}", problem: "Map keys must be unique" },
    {
      name: "a broker without a port",
      text: "bus: { kind: kafka, brokers: [kafka] }",
      problem: "bus.brokers[0]: want host:port",
    },
    { name: "a store that does not exist", text: "store: { kind: postgres }", problem: "store.kind: " },
    {
      name: "a secret in the open",
      text: "store: { kind: clickhouse, url: http://x:8123, password: hunter2 }",
      problem: "store.password: ",
    },
    {
      name: "an embedded bus without its readers",
      text: "parts: [ingest]",
      problem: "parts: the embedded bus lives in one process",
    },
    {
      name: "a lone agent that trusts nobody",
      text: "parts: [agent]\nbus: { kind: kafka, brokers: ['k:1'] }",
      problem: "trust: ",
    },
    {
      name: "two receivers of one name",
      text: `remediation: { receivers: [${"{name: a, kind: webhook, url: http://x/},".repeat(2)}] }`,
      problem: "remediation.receivers[1].name: ",
    },
    { name: "text that is no YAML", text: "a: [", problem: "Flow sequence" },
  ])("with $name is refused and says where", ({ text, problem }) => {
    expect(problemsOf(text).join("\n")).toContain(problem);
  });

  test("is told all its problems at once", () => {
    expect(problemsOf("colour: blue\nhttp: { port: 99999 }\nagent: { interval_ms: 0 }").length).toBe(3);
  });

  test("never repeats what a secret might be", () => {
    expect(problemsOf("store: { kind: clickhouse, url: http://x:8123, password: hunter2 }").join()).not.toContain(
      "hunter2",
    );
  });
});
