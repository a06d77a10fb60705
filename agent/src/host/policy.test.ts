import type { CommandArgs, Grant, Risk } from "@homeostat/schemas";
import { describe, expect, test } from "vitest";
import { AgentPolicy, createPolicyCheck } from "./policy.ts";

const grant = (changes: Partial<Grant> = {}): Grant => ({
  command_id: "c1",
  job_id: "j1",
  requested_by: "ann",
  executor: "exec.run",
  args_sha256: "0".repeat(64),
  risk: "reversible",
  targets: { root: "0".repeat(64), count: 1, sites: {} },
  approvals: [],
  issued_at_unix_ms: 1,
  not_after_unix_ms: 2,
  timeout_ms: 1_000,
  output_bytes_max: 0,
  limits: {},
  ...changes,
});
const inSite = (targeted: number, of: number, site = "dc-1") => ({
  targets: { ...grant().targets, sites: { [site]: { targeted, of } } },
});
const by = (...names: string[]) => ({ approvals: names.map((name) => ({ by: name, at_unix_ms: 1 })) });
const asked = (
  policy: Record<string, unknown>,
  changes: Partial<Grant> = {},
  { args = { name: "clean" }, risk = "read_only" }: { args?: CommandArgs; risk?: Risk } = {},
) => createPolicyCheck(AgentPolicy.parse(policy), () => "dc-1")({ grant: grant(changes), args, risk });

describe("a host's own policy", () => {
  test("allows by default what is granted as dangerous as it is here, with a second person for what destroys", () => {
    expect(asked({})).toBeNull();
    expect(asked({}, { risk: "destructive", ...by("bob") }, { risk: "destructive" })).toBeNull();
    expect(asked({}, { risk: "destructive" }, { risk: "destructive" })).toContain("wants 1 approvals");
  });

  test.each<[string, Record<string, unknown>, Partial<Grant>, CommandArgs]>([
    ["an executor that is not allowed", { executors: { allow: ["service.*"] } }, {}, {}],
    ["an executor that is denied, though it is allowed", { executors: { allow: ["*"], deny: ["exec.*"] } }, {}, {}],
    ["a command that is not allowed", { commands: { allow: ["restart-*"] } }, {}, { name: "clean" }],
    ["a command that is denied, though it is allowed", { commands: { deny: ["cl?an"] } }, {}, { name: "clean" }],
    ["a command of no name", {}, {}, {}],
    ["a command whose name is no text", {}, {}, { name: ["clean"] }],
    ["a requester that is not allowed", { requested_by: { allow: ["remediation/*"] } }, {}, { name: "clean" }],
    ["a requester that is denied", { requested_by: { deny: ["ann"] } }, {}, { name: "clean" }],
    ["a glob's dot taken for any character", { commands: { allow: ["a.b"] } }, {}, { name: "axb" }],
    ["a name around a glob", { commands: { allow: ["clean"] } }, {}, { name: "clean\nrm" }],
  ])("refuses %s", (_, policy, changes, args) => {
    expect(asked(policy, changes, { args })).toEqual(expect.any(String));
  });

  test.each<[Risk, Risk]>([
    ["read_only", "reversible"],
    ["read_only", "destructive"],
    ["reversible", "destructive"],
  ])("refuses what is granted as %s and is %s here", (granted, here) => {
    expect(asked({}, { risk: granted, ...by("bob") }, { risk: here })).toContain(`is ${here} here`);
  });

  test("refuses what is above its max_risk, however it was approved", () => {
    expect(asked({ max_risk: "reversible" }, { risk: "destructive", ...by("bob", "eve") })).toContain("max_risk");
    expect(asked({ max_risk: "reversible" }, { risk: "reversible" })).toBeNull();
  });

  test.each<[string, Partial<Grant>, boolean]>([
    ["by another", by("bob"), true],
    ["by nobody", by(), false],
    ["by who asked for it", by("ann"), false],
    ["by who asked for it under another spelling", by(" Ann", "ANN ", "ａｎｎ"), false],
    ["by a name of blanks", by("  "), false],
  ])("takes for an approval of what destroys one %s: %s", (_, approvals, isTaken) => {
    expect(asked({}, { risk: "destructive", ...approvals }) === null).toBe(isTaken);
  });

  test("counts each person once", () => {
    const policy = { approvals_min: { reversible: 2 } };
    expect(asked(policy, by("bob", "bob", "Bob"))).toContain("wants 2 approvals");
    expect(asked(policy, by("bob", "eve"))).toBeNull();
  });

  test("takes the operator's declaration for the approval where it is told to, and nowhere else", () => {
    const destructive: Partial<Grant> = { risk: "destructive" };
    expect(asked({}, { ...destructive, executor: "files.free" })).toBeNull();
    expect(asked({ approved_by_declaration: [] }, { ...destructive, executor: "files.free" })).toContain("approvals");
    expect(asked({ approved_by_declaration: ["exec.run"] }, destructive)).toBeNull();
  });

  test.each<[string, Partial<Grant>, boolean]>([
    ["a tenth exactly", inSite(10, 100), true],
    ["more than a tenth", inSite(11, 100), false],
    ["one of one", inSite(1, 1), false],
    ["nothing of this site", inSite(1, 100, "dc-2"), false],
    ["nothing at all", {}, false],
    ["a site that every object has", inSite(1, 100, "constructor"), false],
  ])("with a limit of a tenth of its site, and a grant that says %s: %s", (_, changes, isAllowed) => {
    expect(asked({ max_share_of_site: 0.1 }, changes) === null).toBe(isAllowed);
  });

  test("does not take what every object has for a site", () => {
    const check = createPolicyCheck(AgentPolicy.parse({ max_share_of_site: 1 }), () => "constructor");
    expect(check({ grant: grant(), args: { name: "clean" }, risk: "read_only" })).toContain("does not say");
  });

  test("holds arguments against a schema of its own", () => {
    const policy = {
      args: {
        "files.free": {
          type: "object",
          properties: { path: { enum: ["cache"] }, target_bytes: { type: "integer", maximum: 1_000 } },
          required: ["path", "target_bytes"],
          additionalProperties: false,
        },
      },
    };
    const free = (args: CommandArgs) => asked(policy, { executor: "files.free" }, { args });
    expect(free({ path: "cache", target_bytes: 1_000 })).toBeNull();
    expect(free({ path: "cache", target_bytes: 1_001 })).toContain("args.target_bytes");
    expect(free({ path: "data", target_bytes: 1 })).toContain("args.path");
    expect(free({ path: "cache", target_bytes: 1, more: 1 })).toContain("policy");
    expect(free({})).toContain("policy");
  });

  test("stays as it was when the agent began", () => {
    const policy = AgentPolicy.parse({ max_risk: "read_only", executors: { deny: ["exec.run"] } });
    const check = createPolicyCheck(policy, () => "");
    policy.max_risk = "destructive";
    policy.executors.deny.length = 0;
    expect(check({ grant: grant(), args: { name: "clean" }, risk: "read_only" })).toContain("does not allow exec.run");
    expect(check({ grant: grant({ executor: "x" }), args: {}, risk: "read_only" })).toContain("max_risk");
  });

  test.each([
    ["an unknown key", { exekutors: {} }],
    ["a share above the whole", { max_share_of_site: 1.1 }],
    ["a share of nothing", { max_share_of_site: 0 }],
    ["a risk that there is not", { max_risk: "harmless" }],
    ["an empty glob", { executors: { allow: [""] } }],
  ])("is no policy with %s", (_, policy) => {
    expect(AgentPolicy.safeParse(policy).success).toBe(false);
  });

  test("with a schema that cannot be checked keeps the agent from beginning", () => {
    const policy = AgentPolicy.parse({ args: { "exec.run": { type: "no such type" } } });
    expect(() => createPolicyCheck(policy, () => "")).toThrow("policy.args.exec.run");
  });
});
