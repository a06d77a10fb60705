import type { FLAGS } from "./flags.ts";

export const PARTS = ["The platform", "On a running platform", "On its agents"] as const;

export interface VerbWords {
  readonly part: (typeof PARTS)[number];
  /** What follows the verb, without its flags. */
  readonly takes?: string;
  readonly what: string;
  /** Without `homeostat` in front. */
  readonly examples: readonly string[];
}

export const VERB_WORDS: Readonly<Record<keyof typeof FLAGS, VerbWords>> = {
  start: {
    part: "The platform",
    what: "run the platform; Ctrl-C stops it, the data stays",
    examples: ["start", "start --config /etc/homeostat/homeostat.yaml"],
  },
  "check-config": {
    part: "The platform",
    takes: "FILE",
    what: "say everything that is wrong with a configuration",
    examples: ["check-config homeostat.yaml"],
  },
  backtest: {
    part: "The platform",
    takes: "RULE",
    what: "say what a rule would have fired on the telemetry that is stored",
    examples: ["backtest cpu-unusual --since 7d", "backtest cpu-unusual --since 2d --until 1d --rules new-rules.yaml"],
  },
  drill: {
    part: "The platform",
    takes: "NAME… | --all",
    what: "break a real service and watch it heal: service-crash, log-errors, disk-filling",
    examples: ["drill service-crash", "drill --all --runs 3 --report-dir reports"],
  },
  simulate: {
    part: "The platform",
    what: "virtual agents with the real protocol, for load tests",
    examples: ["simulate --agents 1000 --servers 127.0.0.1:7443 --dir virtual --token-file token"],
  },
  completion: {
    part: "The platform",
    takes: "bash|zsh|fish",
    what: "completion for a shell",
    examples: ["completion bash > ~/.local/share/bash-completion/completions/homeostat"],
  },
  help: { part: "The platform", takes: "[VERB]", what: "this, or all about one verb", examples: ["help run"] },
  version: { part: "The platform", what: "which release this is", examples: ["version"] },
  status: {
    part: "On a running platform",
    what: "what runs where, and how it fares",
    examples: ["status", "status --json"],
  },
  reload: {
    part: "On a running platform",
    what: "read the configuration again: other rules, without a restart",
    examples: ["reload"],
  },
  incidents: {
    part: "On a running platform",
    what: "open and recent incidents",
    examples: ["incidents", "incidents --json | jq '.incidents[0]'"],
  },
  report: {
    part: "On a running platform",
    takes: "INCIDENT",
    what: "what happened, why, and what was done",
    examples: ["report INCIDENT", "report INCIDENT --format html > report.html"],
  },
  approve: {
    part: "On a running platform",
    takes: "RUN|JOB",
    what: "let a waiting remediation run or job go on",
    examples: ['approve JOB --note "agreed on the phone"'],
  },
  reject: {
    part: "On a running platform",
    takes: "RUN|JOB",
    what: "keep a waiting remediation run or job from going on",
    examples: ['reject JOB --note "not before Monday"'],
  },
  acknowledge: {
    part: "On a running platform",
    takes: "INCIDENT",
    what: "say that you have seen it",
    examples: ["acknowledge INCIDENT"],
  },
  ledger: {
    part: "On a running platform",
    what: "what became of every row that was produced; 1 when something is missing",
    examples: ["ledger", "ledger --host web-1 --since 2h"],
  },
  "dlq list": {
    part: "On a running platform",
    what: "what could not be inserted, and why (kept seven days)",
    examples: ["dlq list", "dlq list --topic telemetry.logs"],
  },
  "dlq show": {
    part: "On a running platform",
    takes: "LETTER",
    what: "its rows, or its first bytes",
    examples: ["dlq show LETTER"],
  },
  "dlq replay": {
    part: "On a running platform",
    takes: "LETTER… | --all",
    what: "send them again; rows come in once",
    examples: ["dlq replay --all --dry-run", "dlq replay LETTER"],
  },
  agents: {
    part: "On its agents",
    what: "who is there, and how they fare",
    examples: ["agents", "agents --labels role=web --state degraded", "agents --json | jq -r '.agents[].host'"],
  },
  "agents show": { part: "On its agents", takes: "HOST", what: "all about one", examples: ["agents show web-1"] },
  "agents update": {
    part: "On its agents",
    what: "a new version of the agent, in waves; one that does badly is taken back",
    examples: [
      "agents update --release homeostat-agent-1.2.0.tar.gz --labels canary=true",
      "agents update --version 1.2.0 --all --concurrency 50",
    ],
  },
  run: {
    part: "On its agents",
    takes: "EXECUTOR|COMMAND",
    what: "have something done on hosts, and wait for it",
    examples: [
      "run disk-report --on web-1",
      "run disk-report --labels role=web --percent 10",
      'run service.restart --arg service=shop --on web-1 --reason "stuck since noon"',
      "run disk-report --all --json | jq 'select(.type == \"summary\")'",
    ],
  },
  jobs: { part: "On its agents", what: "the newest jobs", examples: ["jobs", "jobs --state running --by ann"] },
  job: {
    part: "On its agents",
    takes: "JOB",
    what: "what became of a job, host by host",
    examples: ["job JOB", "job JOB --follow", "job JOB --wait-for 5m", "job JOB --state failed"],
  },
  cancel: {
    part: "On its agents",
    takes: "JOB",
    what: "end it: what has not begun never begins, what runs is ended",
    examples: ['cancel JOB --note "wrong hosts"'],
  },
  shell: {
    part: "On its agents",
    takes: "HOST",
    what: "a recorded session in a terminal, for a time, for roles that may",
    examples: ['shell web-1 --for 10m --reason "looking at the core dump"'],
  },
  replay: {
    part: "On its agents",
    takes: "SESSION|FILE.cast | --list",
    what: "play what was recorded of a session",
    examples: ["replay --list", "replay SESSION --speed 4"],
  },
  "plugins list": {
    part: "On its agents",
    what: "what is published, and what is wished where",
    examples: ["plugins list"],
  },
  "plugins status": {
    part: "On its agents",
    takes: "[NAME]",
    what: "how plugins fare on each host; 1 when one fails on any, or nobody knows NAME",
    examples: ["plugins status", "plugins status disk-report --site berlin"],
  },
  "plugins pack": {
    part: "On its agents",
    takes: "FOLDER",
    what: "an artefact of a folder, and its signed release",
    examples: ["plugins pack my-plugin --key publisher.pem"],
  },
  "plugins sign": {
    part: "On its agents",
    takes: "FILE",
    what: "the signed release of an artefact that is there already",
    examples: ["plugins sign my-plugin.tar.gz --manifest plugin.json --key publisher.pem"],
  },
  "plugins publish": {
    part: "On its agents",
    takes: "FILE",
    what: "put an artefact and its release where agents get it",
    examples: ["plugins publish my-plugin-1.0.0.tar.gz"],
  },
  "plugins wish": {
    part: "On its agents",
    takes: "NAME",
    what: "have hosts run a version, from now on and when they come later",
    examples: [
      "plugins wish my-plugin --version 1.0.0 --labels role=web",
      "plugins wish my-plugin --version 0.9.0 --all --pin",
    ],
  },
  "plugins unwish": {
    part: "On its agents",
    takes: "NAME",
    what: "take that back; who has it removes it",
    examples: ["plugins unwish my-plugin --all"],
  },
  "enroll token": {
    part: "On its agents",
    what: "a token with which an agent or a site server enrols, printed once",
    examples: [
      "enroll token --site berlin --host db-7",
      "enroll token --site berlin --for site",
      "enroll token --site berlin --uses 500 --expires 12h",
    ],
  },
  "enroll tokens": { part: "On its agents", what: "which tokens there are", examples: ["enroll tokens"] },
  "enroll withdraw": {
    part: "On its agents",
    takes: "TOKEN",
    what: "nobody enrols with it any more",
    examples: ["enroll withdraw TOKEN"],
  },
  "enroll list": {
    part: "On its agents",
    what: "who has enrolled, and until when their certificates are good",
    examples: ["enroll list --state quarantined"],
  },
  "enroll revoke": {
    part: "On its agents",
    takes: "HOST|SERVER",
    what: "it may not connect any more",
    examples: ['enroll revoke db-7 --reason "sold"', "enroll revoke site-3 --for site --site paris"],
  },
  "enroll quarantine": {
    part: "On its agents",
    takes: "HOST",
    what: "it reports, and is sent no commands",
    examples: ['enroll quarantine db-7 --reason "odd logins"'],
  },
  "enroll readmit": {
    part: "On its agents",
    takes: "HOST|SERVER",
    what: "out of quarantine; after a revocation it may enrol again",
    examples: ["enroll readmit db-7", "enroll readmit site-3 --for site --site paris"],
  },
  audit: {
    part: "On its agents",
    what: "who did what, and what was refused",
    examples: ["audit", "audit --from 1 --json", "audit --follow"],
  },
  "audit verify": {
    part: "On its agents",
    what: "prove that nothing was altered, taken away or put in; 1 when it is not whole",
    examples: ["audit verify"],
  },
};
