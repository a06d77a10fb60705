import type { Facts, Finding, Incident, Plan, RemediationRun } from "@homeostat/schemas";
import type { Refusal } from "../actions/action.ts";
import { ACTIONS } from "../actions/catalog.ts";
import { FactQuery, type Verification } from "../actions/fact-query.ts";
import type { RemediationConfig } from "../config.ts";
import type { Runbook } from "../runbooks/runbook.ts";
import { fillIn, variablesOf } from "../runbooks/template.ts";

const MS_PER_S = 1000;

/** A runbook with the names of one finding in it. */
interface FilledRunbook {
  readonly runbook: Runbook;
  readonly params: unknown;
  readonly verification: Verification;
  readonly queries: readonly FactQuery[];
}

const fill = (runbook: Runbook, finding: Finding): FilledRunbook => {
  const variables = variablesOf(finding);
  const action = ACTIONS[runbook.action];
  const params = action.params.parse(fillIn(runbook.params, variables));
  const facts = runbook.verify.facts.map((query) => FactQuery.parse(fillIn(query, variables)));
  const { checks, for_s, timeout_s } = runbook.verify;
  return {
    runbook,
    params,
    verification: { facts, checks, for_ms: for_s * MS_PER_S, timeout_ms: timeout_s * MS_PER_S },
    queries: [...facts, ...action.facts(params, finding.entity)],
  };
};

/** The runbook as it reads for this run; a refusal when the configuration or the finding no longer carries it. */
export const runbookOf = (
  run: RemediationRun,
  incident: Incident,
  config: Pick<RemediationConfig, "runbooks">,
): FilledRunbook | Refusal => {
  const runbook = config.runbooks.find(({ name }) => name === run.runbook);
  if (runbook === undefined)
    return { refused: `the configuration has no runbook ${run.runbook} any more`, mayPass: false };
  const finding = incident.findings.find(({ finding_id }) => run.finding_ids.includes(finding_id));
  if (finding === undefined) return { refused: "the incident no longer holds the finding", mayPass: false };
  try {
    return fill(runbook, finding);
  } catch (thrown) {
    return { refused: thrown instanceof Error ? thrown.message.slice(0, 500) : String(thrown), mayPass: false };
  }
};

export const planRun = (filled: FilledRunbook, run: RemediationRun, incident: Incident, facts: Facts): Plan | Refusal =>
  ACTIONS[filled.runbook.action].plan(filled.params, facts, {
    target: incident.entity,
    runId: run.run_id,
    verification: filled.verification,
  });
