import type { Incident, RemediationRun } from "@homeostat/schemas";
import { beforeAll, describe, expect, it } from "vitest";
import { PureEngine, START, someFinding } from "../testing/pure-engine.ts";
import { buildReport } from "./build.ts";
import { renderHtml } from "./html.ts";
import { renderMarkdown } from "./markdown.ts";
import type { EvidenceRows } from "./report.ts";

/** A healed incident, as the engine's own middle makes it. */
const heal = (finding: Parameters<typeof someFinding>[0]): { incident: Incident; runs: RemediationRun[] } => {
  const engine = new PureEngine();
  engine.now += 2000;
  engine.say(someFinding({ detected_at_unix_ms: engine.now, ...finding }));
  engine.now += 1000;
  engine.tell({ kind: "tick" });
  engine.gather(
    (name) => ({ "declared path usage": 950, "declared path limit": 1000, "path utilization": 0.95 })[name] ?? 0,
  );
  const [step] = engine.steps();
  if (step === undefined) throw new Error("nothing to do");
  const outcome = {
    status: "succeeded",
    retryable: false,
    command_id: step.step.idempotency_key,
    exit_code: 0,
    message: "done",
  } as const;
  engine.tell({ kind: "step_ended", runId: step.runId, outcome });
  const [known] = [...engine.world.incidents.values()].flatMap(({ findings }) => findings);
  if (known !== undefined) engine.say({ ...known, state: "resolved" });
  for (const _ of [1, 2]) {
    engine.now += 5000;
    engine.gather((name) => (name === "path utilization" ? 0.6 : 1));
  }
  const [incident] = [...engine.world.incidents.values()];
  if (incident === undefined) throw new Error("no incident");
  return { incident, runs: [...engine.world.runs.values()] };
};

const evidence = {
  query: "log_search",
  params: { service_name: "shop" },
  from_unix_ms: START,
  to_unix_ms: START + 10_000,
  summary: "errors of the stream",
};
const answer = (...lines: string[]): EvidenceRows => [
  {
    series: [
      {
        name: "errors",
        unit: "1",
        points: [
          [START, 0],
          [START + 1000, null],
          [START + 2000, 12.5],
        ],
      },
    ],
    lines: lines.map((text) => ({ at_unix_ms: START + 1000, text })),
    error: null,
  },
];

describe("the report", () => {
  it("names the process that died, and why not the others", () => {
    const report = buildReport({ ...heal({}), evidence: [] });
    expect(report.root_cause).toMatchObject({ hypothesis: "process_died", confidence: "high" });
    expect(report.times).toMatchObject({ detect_ms: 2000, explain_ms: 1000, recover_ms: 8000 });
    expect(report.actions).toMatchObject([
      { state: "succeeded", verdict: "healed", steps: [{ outcome: { status: "succeeded" } }] },
    ]);
    const losers = report.hypotheses.filter(({ name }) => name !== "process_died");
    for (const { why_not } of losers) expect(why_not).toBeTruthy();
  });

  it("tells a state that only a restart could mend from a dependency that failed", () => {
    const logs = {
      detector: "log_templates",
      labels: {},
      rule: "log-errors",
      summary: "shop logs errors",
      evidence: [evidence],
    };
    const healed = buildReport({ ...heal(logs), evidence: answer("connect ECONNREFUSED 127.0.0.1:4000") });
    expect(healed.root_cause.hypothesis).toBe("stuck_state");
    expect(healed.hypotheses.find(({ name }) => name === "dependency_failed")?.why_not).toMatch(
      /restart of it alone helped/,
    );
  });

  it("names storage that filled up", () => {
    const path = {
      entity: { host: "a", path: "dumps" },
      rule: "path-filling",
      labels: { metric: "homeostat.path.utilization", "path.name": "dumps" },
    };
    expect(buildReport({ ...heal(path), evidence: [] }).root_cause.hypothesis).toBe("storage_filled");
  });

  it("says unknown when the evidence is thin", () => {
    const engine = new PureEngine();
    engine.say(
      someFinding({
        detector: "baseline",
        rule: "odd",
        labels: {},
        entity: { host: "a" },
        summary: "something is odd",
      }),
    );
    const [incident] = [...engine.world.incidents.values()];
    if (incident === undefined) throw new Error("no incident");
    const report = buildReport({ incident, runs: [], evidence: [] });
    expect(report.root_cause).toMatchObject({ hypothesis: null, confidence: "unknown" });
    expect(report.next.join()).toMatch(/not known/);
    for (const { why_not } of report.hypotheses) expect(why_not).toBeTruthy();
  });

  it("holds a change shortly before for the likelier cause only when nothing explains more", () => {
    const engine = new PureEngine();
    engine.say(someFinding({ detector: "baseline", rule: "odd", labels: {}, summary: "latency is odd" }));
    const [incident] = [...engine.world.incidents.values()];
    if (incident === undefined) throw new Error("no incident");
    const changes = [{ at_unix_ms: START - 60_000, summary: "release 1.2.3" }];
    expect(buildReport({ incident, runs: [], evidence: [], changes }).root_cause.hypothesis).toBe("recent_change");
  });
});

describe("rendering lines that are hostile", () => {
  const lines = [
    "<script>alert(1)</script>",
    "``` \n# not a heading",
    "[click](javascript:alert(1))",
    "\u001b[31mred\u001b[0m \u202egnp.exe",
    "</pre><img src=x onerror=alert(1)>",
    "| a | b |",
  ];
  let html = "";
  let markdown = "";
  beforeAll(() => {
    const logs = {
      detector: "log_templates",
      labels: {},
      summary: `shop: ${lines.join(" ")}`.slice(0, 300),
      evidence: [evidence],
    };
    const report = buildReport({ ...heal(logs), evidence: answer(...lines) });
    html = renderHtml(report);
    markdown = renderMarkdown(report);
  });

  it("puts no tag, no script and no foreign address into the HTML", () => {
    const tags = new Set([...html.matchAll(/<([a-z0-9]+)/gi)].map(([, tag]) => tag?.toLowerCase()));
    for (const tag of ["script", "img", "iframe", "a", "link", "object"]) expect(tags).not.toContain(tag);
    expect(html).not.toMatch(/<[^>]*\son\w+=/i);
    expect(html).toContain("&lt;script&gt;");
    expect(html).toContain("default-src 'none'");
  });

  it("draws the series with its gap, and the timeline", () => {
    const paths = [...html.matchAll(/<path class="series s0" d="([^"]+)"/g)].map(([, d]) => d);
    expect(paths).toHaveLength(1);
    expect(paths[0]?.match(/M/g)).toHaveLength(2);
    expect(html).toContain('class="phase healing"');
    expect(html).not.toContain("NaN");
  });

  it("puts no steering character into either", () => {
    const steering = /(?![\t\n])\p{Cc}|[\u202a-\u202e]/u;
    for (const text of [html, markdown]) expect(text).not.toMatch(steering);
  });

  it("keeps the lines within their fence and out of the markup in Markdown", () => {
    const [fence] = markdown.match(/^`{4,}(?=text$)/m) ?? [];
    expect(fence).toBeDefined();
    expect(markdown).not.toMatch(/^# not a heading/m);
    const outside = markdown
      .split(/^`{4,}.*$/m)
      .filter((_, index) => index % 2 === 0)
      .join("");
    expect(outside).not.toMatch(/(?<!\\)\[click(?<!\\)\]/);
    expect(outside).not.toMatch(/(?<!\\)<script/);
  });
});
