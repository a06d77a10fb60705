import { ToAgent } from "../channel/messages.ts";

type Fields = Readonly<Record<string, unknown>>;

const COMMAND_ID_CHARS_MAX = 128;
const ACKNOWLEDGED_MAX = 1_000;

/** Of what control says all day, whether the schema takes it as it is: asking the schema would copy each command, only to be read again. */
const isPlain = (value: unknown): value is ToAgent => {
  if (!isObject(value) || Object.keys(value).length !== 2) return false;
  const { type } = value;
  if (type === "command") return isObject(value.command) && !Object.hasOwn(value.command, "__proto__");
  return type === "ack" && Array.isArray(value.command_ids) && areIds(value.command_ids);
};

const isObject = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype;

const areIds = (values: readonly unknown[]): boolean =>
  values.length <= ACKNOWLEDGED_MAX &&
  values.every((value) => typeof value === "string" && value.length <= COMMAND_ID_CHARS_MAX);

/** What control says to this agent, from JSON. */
export const readMessage = (value: unknown): ToAgent | { readonly flaw: string } => {
  if (isPlain(value)) return value;
  const parsed = ToAgent.safeParse(value);
  return parsed.success ? parsed.data : { flaw: parsed.error.issues[0]?.message ?? "malformed" };
};
