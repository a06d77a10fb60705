import { EXIT_CODES } from "./exit-code.ts";

export const HELP = `homeostat watches a fleet and heals it.

  homeostat start [--config FILE]         run the platform (Ctrl-C stops it; the data stays;
                                          changed rules are taken up at once, and at SIGHUP)
  homeostat check-config FILE             say everything that is wrong with a configuration
  homeostat backtest RULE --since 7d      say what a rule would have fired on the telemetry that is stored
            [--until 1d] [--config FILE] [--rules FILE] [--json]
  homeostat drill NAME… | --all           break a real service and watch it being healed
            [--runs N] [--json] [--verbose] [--report-dir DIR]
            names: service-crash, log-errors, disk-filling
  homeostat simulate --agents N --servers HOST:PORT --dir DIR [--token-file FILE] [--workers N]
                                          virtual agents with the real protocol, for load tests
  homeostat completion bash|zsh|fish      completion for a shell: source <(homeostat completion bash)

On a running platform (its data_dir is read from ./homeostat.yaml, otherwise --data-dir DIR; --json for programs), or elsewhere
(--api URL or HOMEOSTAT_API, with --token-file FILE or HOMEOSTAT_TOKEN):
  homeostat status                        what runs where, and how it fares
  homeostat reload                        read the configuration again: other rules, without a restart
  homeostat incidents                     open and recent incidents
  homeostat report INCIDENT [--format markdown|html|json]
  homeostat approve RUN|JOB [--note TEXT]  let a waiting remediation run or job go on
  homeostat reject RUN|JOB [--note TEXT]
  homeostat acknowledge INCIDENT
  homeostat ledger [--host H] [--since 1d]  what became of every row that was produced; 1 when something is missing
  homeostat dlq list [--topic T] [--reason R]  what could not be inserted, and why (kept seven days)
  homeostat dlq show LETTER               its rows, or its first bytes
  homeostat dlq replay LETTER… | --all [--topic T] [--reason R] [--dry-run]   send them again; rows come in once

On its agents (docs/COMMANDS.md tells more):
  homeostat agents [--labels EXPR] [--site S] [--state S] | agents show HOST
  homeostat agents update --release FILE | --version V    a new version of the agent, in waves of 1, 2, 4 …:
            --on … | --labels EXPR | --site S | --all    each goes on trial, and the first that is taken back stops it
            [--concurrency N] [--max-errors N] [--dry-run] [--reason TEXT] [--wait-for 1h | --detach]
  homeostat run EXECUTOR|COMMAND          have something done, and wait for it
            --on HOST[,HOST…] | --labels EXPR | --site S | --all, [--percent P]
            [--arg NAME=VALUE]… [--args JSON] [--reason TEXT] [--dry-run]
            [--no-ramp] [--concurrency N] [--max-errors N] [--timeout 60s] [--expires 10m]
            [--cpu PERCENT] [--memory 512M] [--risk read_only|reversible|destructive]
            [--wait-for 5m | --detach] [--exit-code] [--raw]
  homeostat jobs [--state S] [--by NAME] [--host H] [--executor E]
  homeostat job JOB [--follow] [--host H] [--state S] [--raw]
  homeostat cancel JOB [--note TEXT]
  homeostat plugins list | status [NAME] | pack FOLDER --key FILE | sign FILE --manifest FILE --key FILE
  homeostat plugins publish FILE | unwish NAME (--on … | --all)
  homeostat plugins wish NAME --version V (--on … | --all) [--config FILE] [--pin] [--disable] [--at-once]
  homeostat enroll token --site S [--for agent|site] [--host H [--again]] [--uses N] [--expires 1h]
  homeostat enroll tokens | withdraw TOKEN
  homeostat enroll list | revoke HOST | quarantine HOST | readmit HOST [--reason TEXT]
  homeostat audit [--from N] [--follow] | audit verify
  homeostat shell HOST [--for 15m] [--reason TEXT]   a recorded session
  homeostat replay SESSION|FILE.cast [--speed 2] [--idle-max 2s] [--raw] | replay --list
  homeostat help | version

Examples:
  npm start
  npm run drill -- service-crash
  npx homeostat backtest cpu-unusual --since 7d
  npx homeostat incidents --json | jq '.incidents[0]'
  npx homeostat run disk-report --labels role=web --percent 10
  npx homeostat run service.restart --arg service=shop --on web-1 --reason "stuck since noon"

Exit codes: 0 done, 1 failed or not healed, 2 called wrongly, 130 stopped by Ctrl-C. Of run and job:
${EXIT_CODES.map(([code, meaning]) => `  ${String(code).padStart(3)}  ${meaning}`).join("\n")}
NO_COLOR is honoured.`;
