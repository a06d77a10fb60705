import { z } from "zod";

/**
 * What the agent and a plugin say to each other: one JSON object on each line, the agent's on the plugin's stdin, the plugin's on its
 * stdout. docs/PLUGINS.md tells it line by line.
 */
export const PROTOCOL = 1;

/** Of one line, with its newline. */
export const LINE_BYTES_MAX = 262_144;
const OUTPUT_CHARS_MAX = 65_536;
const LOG_CHARS_MAX = 8_192;
const ATTRIBUTES_MAX = 16;

/** static: the whole conversation's first and only line from the agent. resident: `hello` once, then calls and cancellations. */
export type ToPlugin =
  | {
      readonly protocol: typeof PROTOCOL;
      readonly call: "execute" | "collect" | "selftest";
      readonly executor: string | null;
      readonly args: unknown;
      readonly config: unknown;
    }
  | {
      readonly hello: {
        readonly protocol: typeof PROTOCOL;
        readonly name: string;
        readonly version: string;
        readonly config: unknown;
      };
    }
  | {
      readonly id: number;
      readonly call: "execute" | "health";
      readonly executor: string | null;
      readonly args: unknown;
    }
  | { readonly cancel: number };

const Attributes = z
  .record(z.string().min(1).max(64), z.string().max(256))
  .refine((attributes) => Object.keys(attributes).length <= ATTRIBUTES_MAX, {
    error: `at most ${ATTRIBUTES_MAX} attributes`,
  });

export const PluginMetric = z.strictObject({
  name: z.string().regex(/^[A-Za-z_][A-Za-z0-9_./-]{0,127}$/, "want a letter, then letters, digits, _ . / -"),
  value: z.number(),
  kind: z.enum(["gauge", "counter"]).default("gauge"),
  /** UCUM, as in OpenTelemetry. */
  unit: z.string().max(32).default("1"),
  attributes: Attributes.default({}),
});
export type PluginMetric = z.infer<typeof PluginMetric>;

export const PluginLogEntry = z.strictObject({
  body: z.string().max(LOG_CHARS_MAX),
  severity: z.enum(["trace", "debug", "info", "warn", "error", "fatal"]).default("info"),
  attributes: Attributes.default({}),
});
export type PluginLogEntry = z.infer<typeof PluginLogEntry>;

export const PluginResult = z.strictObject({
  state: z.enum(["succeeded", "failed"]),
  message: z.string().max(2_000).default(""),
  exit_code: z.int().min(-2_147_483_648).max(2_147_483_647).nullable().default(null),
});
export type PluginResult = z.infer<typeof PluginResult>;

const CallId = z.int().min(1);
/** By the one key that says what a line is. `id` belongs to calls of resident plugins. */
const LINES = {
  output: z.strictObject({
    output: z.string().max(OUTPUT_CHARS_MAX),
    stream: z.enum(["stdout", "stderr"]).default("stdout"),
    id: CallId.optional(),
  }),
  metric: z.strictObject({ metric: PluginMetric }),
  log: z.strictObject({ log: PluginLogEntry }),
  result: z.strictObject({ result: PluginResult, id: CallId.optional() }),
  ready: z.strictObject({ ready: z.strictObject({ protocol: z.literal(PROTOCOL) }) }),
};
type LineOf<Kind extends keyof typeof LINES> = { readonly kind: Kind } & z.infer<(typeof LINES)[Kind]>;
export type FromPlugin = { [Kind in keyof typeof LINES]: LineOf<Kind> }[keyof typeof LINES];

const KINDS = Object.keys(LINES) as (keyof typeof LINES)[];
const WHY_CHARS_MAX = 300;

/** One line of a plugin, checked; or what is wrong with it, without what it holds. */
export const parsePluginLine = (line: string): FromPlugin | { readonly bad: string } => {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (error) {
    if (error instanceof SyntaxError) return { bad: "not JSON" };
    throw error;
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) return { bad: "not a JSON object" };
  const kind = KINDS.find((key) => Object.hasOwn(value, key));
  if (kind === undefined) return { bad: `none of the keys ${KINDS.join(", ")}` };
  const parsed = LINES[kind].safeParse(value);
  if (parsed.success) return { kind, ...parsed.data } as FromPlugin;
  const why = parsed.error.issues.map(({ path, message }) => `${path.join(".")}: ${message}`).join("; ");
  return { bad: `${kind}: ${why}`.slice(0, WHY_CHARS_MAX) };
};
