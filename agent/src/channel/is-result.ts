import { type CommandResult, InvocationState } from "@homeostat/schemas";

const STATES: ReadonlySet<unknown> = new Set(InvocationState.options);
const FIELDS = 11;
const COMMAND_ID_CHARS_MAX = 128;
const HOST_CHARS_MAX = 255;
const EXECUTOR_CHARS_MAX = 64;
const OUTPUT_CHARS_MAX = 1_048_576;
const MESSAGE_CHARS_MAX = 2_000;
const UNIX_MS_MAX = 9_223_372_036_854;

const isText = (value: unknown, charsMin: number, charsMax: number): boolean =>
  typeof value === "string" && value.length >= charsMin && value.length <= charsMax;

const isTimeOrNull = (value: unknown): boolean =>
  value === null || (Number.isSafeInteger(value) && Number(value) >= 0 && Number(value) <= UNIX_MS_MAX);

/** True: the schema `CommandResult` takes it, as it is. False says nothing. For what was read from JSON; a tenth of the cost of asking the schema. */
export const isResult = (value: unknown): value is CommandResult => {
  if (typeof value !== "object" || value === null || Object.keys(value).length !== FIELDS) return false;
  const result = value as Readonly<Record<string, unknown>>;
  return (
    isText(result.command_id, 1, COMMAND_ID_CHARS_MAX) &&
    isText(result.host, 1, HOST_CHARS_MAX) &&
    isText(result.executor, 0, EXECUTOR_CHARS_MAX) &&
    STATES.has(result.state) &&
    (result.exit_code === null || Number.isSafeInteger(result.exit_code)) &&
    isText(result.stdout, 0, OUTPUT_CHARS_MAX) &&
    isText(result.stderr, 0, OUTPUT_CHARS_MAX) &&
    typeof result.output_truncated === "boolean" &&
    isTimeOrNull(result.started_at_unix_ms) &&
    isTimeOrNull(result.ended_at_unix_ms) &&
    isText(result.message, 0, MESSAGE_CHARS_MAX)
  );
};
