import type { Finding, Incident, RemediationRun } from "@homeostat/schemas";
import type { EvidenceRows, Hypothesis } from "./report.ts";

/** Something that people or machines changed: a release, a configuration. */
export interface Change {
  readonly at_unix_ms: number;
  readonly summary: string;
}

export interface Clues {
  readonly incident: Incident;
  readonly runs: readonly RemediationRun[];
  readonly evidence: EvidenceRows;
  readonly changes: readonly Change[];
}

interface Clue {
  readonly weight: number;
  readonly text: string;
}

interface Candidate {
  readonly name: string;
  readonly statement: string;
  readonly clues: readonly (Clue | false)[];
}

const CHANGE_WINDOW_MS = 1_800_000;
/** What a hypothesis must bring before it is more likely than not. */
const PRIOR = -1.5;
/** Below this, or this close to the next, the honest answer is "unknown". */
const SCORE_MIN = 0.6;
const MARGIN_MIN = 0.1;

// Alternations of literals only: their time is linear in the line, whatever a log holds.
const UNREACHABLE =
  /ECONNREFUSED|ECONNRESET|ENOTFOUND|EHOSTUNREACH|connection refused|unreachable|no such host|timed out|timeout/i;
const OUT_OF_MEMORY = /out of memory|oom-kill|OOMKilled|heap limit|ENOMEM/i;
const DISK_FULL = /ENOSPC|no space left|disk full|quota exceeded/i;

const isDown = ({ rule, labels }: Finding): boolean =>
  labels.metric === "homeostat.service.up" || rule.includes("service-down");
const isLogs = ({ detector }: Finding): boolean => detector === "log_templates";
const isResource = (finding: Finding): boolean =>
  finding.entity.path !== undefined ||
  finding.category === "capacity" ||
  /^(system|process|homeostat\.path)\./.test(finding.labels.metric ?? "");
const isStorage = (finding: Finding): boolean =>
  finding.entity.path !== undefined || /^(system\.filesystem|homeostat\.path)\./.test(finding.labels.metric ?? "");

const helped = (runs: readonly RemediationRun[], action: string): RemediationRun | undefined =>
  runs.find((run) => run.state === "succeeded" && run.plan?.action === action);

const didNotHelp = (runs: readonly RemediationRun[], action: string): RemediationRun | undefined =>
  runs.find(
    (run) =>
      run.times.started_at_unix_ms !== null &&
      ["escalated", "inconclusive", "rolled_back"].includes(run.state) &&
      run.plan?.action === action,
  );

const says = (clues: Clues, pattern: RegExp): string | null => {
  const texts = [
    ...clues.incident.findings.filter(isLogs).flatMap(({ summary, labels }) => [labels.template ?? "", summary]),
    ...clues.evidence.flatMap(({ lines }) => lines.map(({ text }) => text.slice(0, 2000))),
  ];
  return texts.find((text) => pattern.test(text))?.slice(0, 200) ?? null;
};

const quoted = (prefix: string, text: string): string => `${prefix}: “${text}”`;

const candidates = (clues: Clues): readonly Candidate[] => {
  const { incident, runs, changes } = clues;
  const symptoms = incident.findings.filter(({ category }) => category !== "data_health");
  const down = symptoms.find(isDown);
  const logs = symptoms.find(isLogs);
  const resource = symptoms.find((finding) => isResource(finding) && !isDown(finding));
  const storage = symptoms.find(isStorage);
  const sick = incident.findings.find(({ category }) => category === "data_health");
  const restarted = helped(runs, "restart_service");
  const restartedInVain = didNotHelp(runs, "restart_service");
  const freed = helped(runs, "free_disk");
  const unreachable = says(clues, UNREACHABLE);
  const memory = says(clues, OUT_OF_MEMORY);
  const full = says(clues, DISK_FULL);
  const begun = incident.times.started_at_unix_ms;
  const change = changes.find(({ at_unix_ms }) => at_unix_ms <= begun && begun - at_unix_ms <= CHANGE_WINDOW_MS);
  const who = incident.entity.service ?? incident.entity.path ?? incident.entity.host;
  return [
    {
      name: "process_died",
      statement: `The process of ${who} ended, and nothing started it again.`,
      clues: [
        down !== undefined && { weight: 2, text: quoted("a finding says that it was down", down.summary) },
        restarted !== undefined && down !== undefined && { weight: 1.5, text: "starting it again was enough" },
        restartedInVain !== undefined && { weight: -2, text: "starting it again was not enough" },
        down === undefined && { weight: -2, text: "no finding says that the process was gone" },
        memory !== null && { weight: -0.5, text: quoted("memory ran out first", memory) },
      ],
    },
    {
      name: "stuck_state",
      statement: `${who} ran on in a state that only a fresh start could mend: it held on to something that was no longer so.`,
      clues: [
        logs !== undefined && { weight: 1, text: quoted("it logged errors while it ran", logs.summary) },
        logs !== undefined && down === undefined && { weight: 0.5, text: "its process was there all the time" },
        logs !== undefined &&
          restarted !== undefined && { weight: 1.5, text: "a restart of it alone ended the errors" },
        logs !== undefined &&
          unreachable !== null &&
          restarted !== undefined && {
            weight: 0.5,
            text: quoted("what it could not reach was reached after the restart", unreachable),
          },
        restartedInVain !== undefined && { weight: -2, text: "a restart did not end it" },
        down !== undefined && { weight: -1.5, text: "its process was gone" },
        logs === undefined && { weight: -1, text: "it logged nothing unusual" },
      ],
    },
    {
      name: "dependency_failed",
      statement: `Something that ${who} depends on failed or could not be reached.`,
      clues: [
        unreachable !== null && { weight: 2, text: quoted("its log speaks of another party", unreachable) },
        restartedInVain !== undefined &&
          unreachable !== null && { weight: 1, text: "a restart of it alone did not help" },
        restarted !== undefined && { weight: -1.5, text: "a restart of it alone helped, so the other party was well" },
        unreachable === null && { weight: -1, text: "nothing in the evidence names another party" },
      ],
    },
    {
      name: "storage_filled",
      statement: `Storage filled up: ${storage?.entity.path ?? who}.`,
      clues: [
        storage !== undefined && { weight: 2, text: quoted("a finding about storage", storage.summary) },
        full !== null && { weight: 1.5, text: quoted("the log says so", full) },
        freed !== undefined && { weight: 1.5, text: "freeing space was enough" },
        storage === undefined && full === null && { weight: -2, text: "no finding speaks of storage" },
      ],
    },
    {
      name: "resources_exhausted",
      statement: `A resource other than storage ran short for ${who}.`,
      clues: [
        resource !== undefined &&
          !isStorage(resource) && { weight: 1.5, text: quoted("a finding about a resource", resource.summary) },
        memory !== null && { weight: 2, text: quoted("the log speaks of memory", memory) },
        (resource === undefined || isStorage(resource)) &&
          memory === null && { weight: -1, text: "no finding speaks of processor or memory" },
      ],
    },
    {
      name: "recent_change",
      statement: `A change shortly before broke it: ${change?.summary ?? "none is known"}`,
      clues: [
        change !== undefined && {
          weight: 2,
          text: quoted(`changed ${Math.round((begun - change.at_unix_ms) / 1000)} s before`, change.summary),
        },
        change === undefined && { weight: -2, text: "no change is known in the half hour before" },
      ],
    },
    {
      name: "observer_sick",
      statement: `The observer is in trouble on ${incident.entity.host}; what it saw may be wrong.`,
      clues: [
        sick !== undefined && { weight: 2, text: quoted("the data's health was in doubt", sick.summary) },
        sick !== undefined && symptoms.length === 0 && { weight: 1, text: "nothing else was found" },
        sick === undefined && { weight: -2, text: "no finding doubts the data" },
      ],
    },
  ];
};

const logistic = (x: number): number => 1 / (1 + Math.exp(-x));

const weigh = ({ name, statement, clues }: Candidate): Hypothesis => {
  const present = clues.filter((clue): clue is Clue => clue !== false);
  const sum = present.reduce((total, { weight }) => total + weight, PRIOR);
  const texts = (sign: number) => present.filter(({ weight }) => Math.sign(weight) === sign).map(({ text }) => text);
  return {
    name,
    statement,
    score: Math.round(logistic(sum) * 100) / 100,
    for: texts(1),
    against: texts(-1),
    why_not: null,
  };
};

const whyNot = (loser: Hypothesis, winner: Hypothesis | null): string => {
  const against = loser.against[0];
  if (loser.for.length === 0) return against ?? "nothing speaks for it";
  if (against !== undefined) return against;
  return winner === null
    ? "what speaks for it is too little"
    : `it explains less than ${winner.name.replaceAll("_", " ")}`;
};

/** Best first. The winner is null when the evidence is thin or two explanations are as good: "unknown" is an answer. */
export const rankHypotheses = (
  clues: Clues,
): { readonly winner: Hypothesis | null; readonly hypotheses: readonly Hypothesis[] } => {
  const ranked = candidates(clues)
    .map(weigh)
    .sort((a, b) => b.score - a.score);
  const [first, second] = ranked;
  const isClear = first !== undefined && first.score >= SCORE_MIN && first.score - (second?.score ?? 0) >= MARGIN_MIN;
  const winner = isClear ? first : null;
  return { winner, hypotheses: ranked.map((one) => (one === winner ? one : { ...one, why_not: whyNot(one, winner) })) };
};
