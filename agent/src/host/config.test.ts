import { expect, test } from "vitest";
import { AgentConfig } from "./config.ts";

test("an empty configuration works, and lets nothing be changed", () => {
  expect(AgentConfig.parse({})).toMatchObject({ interval_ms: 1000, services: [], paths: [], commands: [], logs: [] });
});

const service = { name: "shop", manager: "process", command: "node" };
test.each([
  ["an unknown key", { intervall_ms: 1 }, "intervall_ms"],
  ["two services of one name", { services: [service, service] }, "services.1.name"],
  ["a process without a command", { services: [{ name: "shop", manager: "process" }] }, "services.0.command"],
  [
    "a unit with a command",
    { services: [{ name: "shop", manager: "systemd", unit: "shop.service", command: "x" }] },
    "services.0",
  ],
  ["a unit that is an option", { services: [{ name: "shop", manager: "systemd", unit: "--all" }] }, "services.0.unit"],
  ["a star in a directory", { logs: [{ path: "/var/*/a.log", service: "s" }] }, "logs.0.path"],
  ["a relative path", { paths: [{ name: "p", path: "tmp", limit_bytes: 1 }] }, "paths.0.path"],
  ["an executor that does not exist", { executors: ["shell.run"] }, "executors.0"],
  [
    "a pattern that is none",
    { commands: [{ name: "c", command: "/bin/x", params: { a: { type: "string", pattern: "(" } } }] },
    "commands.0.params.a.pattern",
  ],
  ["an unknown key in the policy", { policy: { denied: ["exec.run"] } }, "policy.denied"],
  ["a share above the whole", { policy: { max_share_of_site: 10 } }, "policy.max_share_of_site"],
  ["a command of an unknown risk", { commands: [{ name: "c", command: "/bin/x", risk: "low" }] }, "commands.0.risk"],
  ["no place for any command", { command_limits: { concurrent_max: 0 } }, "command_limits.concurrent_max"],
  ["a label that is none", { labels: { "a b": "c" } }, "labels"],
  ["a collector that does not exist", { collectors: { gpu: true } }, "collectors"],
])("refuses %s, and says where", (_, config, path) => {
  const parsed = AgentConfig.safeParse(config);
  const found = parsed.success
    ? []
    : parsed.error.issues.map((issue) =>
        [...issue.path, ...("keys" in issue ? (issue.keys as string[]) : [])].join("."),
      );
  expect(found.some((one) => one.startsWith(path))).toBe(true);
});
