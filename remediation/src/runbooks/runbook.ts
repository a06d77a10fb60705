import { Autonomy, Severity } from "@homeostat/schemas";
import { z } from "zod";
import { ACTIONS, type ActionName } from "../actions/catalog.ts";
import { Check, FactQuery } from "../actions/fact-query.ts";
import { fillIn, isKnownPlaceholder, placeholders } from "./template.ts";

/** `*` stands for any run of characters, everything else for itself. */
const Pattern = z.string().min(1).max(255);

const Match = z.strictObject({
  /** Any of these rules; none given means every rule. */
  rules: z.array(Pattern).max(50).default([]),
  detectors: z.array(Pattern).max(50).default([]),
  severity_min: Severity.default("info"),
  /** What the finding's entity must say beside its host. */
  entity_has: z
    .array(z.enum(["service", "path"]))
    .max(2)
    .default([]),
  labels: z.record(z.string().min(1).max(100), Pattern).default({}),
});

const Verify = z.strictObject({
  facts: z
    .array(
      FactQuery.extend({ labels: FactQuery.shape.labels.default({}), window_s: FactQuery.shape.window_s.default(15) }),
    )
    .max(16)
    .default([]),
  checks: z.array(Check).min(1).max(20),
  /** Every check must hold this long without a break, and the findings must be resolved. */
  for_s: z.int().min(0).max(3600).default(5),
  timeout_s: z.int().min(1).max(86_400).default(60),
});

const Shape = z.strictObject({
  name: z.string().regex(/^[a-z][a-z0-9-]{0,63}$/, "want lower-case words with dashes"),
  description: z.string().max(1000).default(""),
  match: Match.prefault({}),
  autonomy: Autonomy.default("suggest"),
  action: z.enum(Object.keys(ACTIONS) as [ActionName, ...ActionName[]]),
  params: z.record(z.string().max(64), z.json()).default({}),
  verify: Verify,
  cooldown_ms: z.int().min(0).max(86_400_000).default(60_000),
});

const problem = (context: z.core.$RefinementCtx, path: readonly PropertyKey[], message: string): undefined => {
  context.addIssue({ code: "custom", path: [...path], message });
};

const checkPlaceholders = (runbook: z.infer<typeof Shape>, context: z.core.$RefinementCtx): undefined => {
  const used = { params: runbook.params, verify: runbook.verify };
  for (const [place, value] of Object.entries(used)) {
    for (const name of new Set(placeholders(value))) {
      if (!isKnownPlaceholder(name)) problem(context, [place], `unknown placeholder {{${name}}}`);
      else if (name === "entity.service" && !runbook.match.entity_has.includes("service"))
        problem(context, ["match", "entity_has"], "must list service, since {{entity.service}} is used");
      else if (name === "entity.path" && !runbook.match.entity_has.includes("path"))
        problem(context, ["match", "entity_has"], "must list path, since {{entity.path}} is used");
      else if (name.startsWith("labels.") && !Object.hasOwn(runbook.match.labels, name.slice(7)))
        problem(
          context,
          ["match", "labels"],
          `must name ${name.slice(7)}, since {{${name}}} is used ("*" takes any value)`,
        );
    }
  }
};

const ANY_VALUE = {
  get: () => "x",
  getOwnPropertyDescriptor: () => ({ value: "x", configurable: true, enumerable: true }),
};

const checkParams = (runbook: z.infer<typeof Shape>, context: z.core.$RefinementCtx): undefined => {
  const filled = fillIn(runbook.params, new Proxy({}, ANY_VALUE));
  const parsed = ACTIONS[runbook.action].params.safeParse(filled);
  for (const issue of parsed.error?.issues ?? []) problem(context, ["params", ...issue.path], issue.message);
};

const checkFacts = ({ verify }: z.infer<typeof Shape>, context: z.core.$RefinementCtx): undefined => {
  const names = verify.facts.map((fact) => fact.name);
  names.forEach((name, index) => {
    if (names.indexOf(name) < index) problem(context, ["verify", "facts", index, "name"], `${name} is measured twice`);
    if (!verify.checks.some((check) => check.fact === name))
      problem(context, ["verify", "facts", index], `no check looks at ${name}`);
  });
  verify.checks.forEach((check, index) => {
    if (!names.includes(check.fact))
      problem(context, ["verify", "checks", index, "fact"], `no fact is called ${check.fact}`);
  });
  if (verify.for_s >= verify.timeout_s)
    problem(context, ["verify", "timeout_s"], `must be above for_s (${verify.for_s})`);
};

/** What to do about a finding, as data. */
export const Runbook = Shape.superRefine((runbook, context) => {
  checkPlaceholders(runbook, context);
  checkParams(runbook, context);
  checkFacts(runbook, context);
});
export type Runbook = z.infer<typeof Runbook>;

/** In order of preference: the first that matches a finding answers it. */
export const Runbooks = z
  .array(Runbook)
  .max(200)
  .superRefine((runbooks, context) => {
    runbooks.forEach(({ name }, index) => {
      const first = runbooks.findIndex((other) => other.name === name);
      if (first < index) problem(context, [index, "name"], `${name} is the name of runbook ${first} already`);
    });
  });
export type Runbooks = z.infer<typeof Runbooks>;
