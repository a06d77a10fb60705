import type { z } from "zod";
import type { Runbook } from "./runbook.ts";

const serviceIsUp = {
  facts: [
    {
      name: "service up",
      metric: "homeostat.service.up",
      labels: { "host.name": "{{entity.host}}", "service.name": "{{entity.service}}" },
      aggregate: "last",
      window_s: 15,
    },
  ],
  checks: [{ fact: "service up", op: "ge", value: 1 }],
} as const;

/**
 * Shipped runbooks may act alone, since each is held by a fact that only a declared service or path has (`homeostat.service.up`,
 * `homeostat.path.*`): elsewhere there is no data, and the guard `fresh_signals` lets no run start.
 */
export const DEFAULT_RUNBOOKS: readonly z.input<typeof Runbook>[] = [
  {
    name: "restart-crashed-service",
    description: "A declared service is down: start it again.",
    match: {
      detectors: ["threshold"],
      severity_min: "warning",
      entity_has: ["service"],
      labels: { metric: "homeostat.service.up" },
    },
    autonomy: "auto",
    action: "restart_service",
    params: { service: "{{entity.service}}" },
    verify: { ...serviceIsUp, facts: [...serviceIsUp.facts], checks: [...serviceIsUp.checks], for_s: 5, timeout_s: 45 },
  },
  {
    name: "restart-erroring-service",
    description: "A declared service began to log errors as it never did: start it afresh.",
    match: { detectors: ["log_templates"], severity_min: "critical", entity_has: ["service"] },
    autonomy: "auto",
    action: "restart_service",
    params: { service: "{{entity.service}}" },
    verify: { ...serviceIsUp, facts: [...serviceIsUp.facts], checks: [...serviceIsUp.checks], for_s: 5, timeout_s: 90 },
  },
  {
    name: "free-declared-path",
    description: "A declared path fills up: delete its oldest files, as its declaration allows.",
    match: {
      detectors: ["threshold"],
      severity_min: "warning",
      entity_has: ["path"],
      labels: { metric: "homeostat.path.*", "path.name": "*" },
    },
    autonomy: "auto",
    action: "free_disk",
    params: { path: "{{labels.path.name}}", to_utilization: 0.7 },
    verify: {
      facts: [
        {
          name: "path utilization",
          metric: "homeostat.path.utilization",
          labels: { "host.name": "{{entity.host}}", "path.name": "{{labels.path.name}}" },
          aggregate: "last",
          window_s: 30,
        },
      ],
      checks: [{ fact: "path utilization", op: "lt", value: 0.8 }],
      for_s: 5,
      timeout_s: 60,
    },
  },
];
