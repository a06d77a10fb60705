import { Risk } from "@homeostat/schemas";
import { z } from "zod";
import type { CommandParam, DeclaredCommand } from "../config.ts";
import type { Confine } from "./child-limits.ts";
import { type Executor, refusalOf } from "./executor.ts";
import { runProcess } from "./process-group.ts";

const Args = z.strictObject({ name: z.string().min(1).max(128), args: z.record(z.string(), z.json()).default({}) });

/** Runs what the operator has declared, with arguments that fit what was declared for them. */
export const execRun = (commands: readonly DeclaredCommand[], confine: Confine): Executor => ({
  name: "exec.run",
  // The highest of those that are declared; of one of them, its own.
  risk: highest(commands.map(({ risk }) => risk)),
  prepare(args) {
    const parsed = Args.safeParse(args);
    if (!parsed.success) return refusalOf(parsed.error);
    const declared = commands.find(({ name }) => name === parsed.data.name);
    if (declared === undefined) return { refused: `no command named ${parsed.data.name} is declared here` };
    const values = paramsOf(declared).safeParse(parsed.data.args);
    if (!values.success) return refusalOf(values.error);
    const argv = declared.args.map((arg) => fill(arg, values.data));
    return {
      target: `command:${declared.name}`,
      risk: declared.risk,
      run: (execution) => runProcess({ command: declared.command, args: argv }, execution, confine),
    };
  },
});

const highest = (risks: readonly Risk[]): Risk => Risk.options.findLast((risk) => risks.includes(risk)) ?? "read_only";

const fill = (template: string, values: Readonly<Record<string, unknown>>): string =>
  template.replace(/\{([a-z][a-z0-9_]*)\}/g, (_, name: string) => String(values[name]));

const paramsOf = (command: DeclaredCommand) =>
  z.strictObject(Object.fromEntries(Object.entries(command.params).map(([name, param]) => [name, paramSchema(param)])));

const paramSchema = (param: CommandParam): z.ZodType => {
  if (param.type === "boolean") return z.boolean();
  if (param.type === "string") return stringSchema(param);
  const number = param.type === "integer" ? z.int() : z.number();
  return number.min(param.min ?? -Number.MAX_VALUE).max(param.max ?? Number.MAX_VALUE);
};

const stringSchema = (param: Extract<CommandParam, { type: "string" }>): z.ZodType => {
  const allowed = param.enum;
  if (allowed !== undefined)
    return z.string().refine((value) => allowed.includes(value), { error: "not among the allowed values" });
  const text = z
    .string()
    .max(param.max_length)
    .regex(/^[^\0]*$/, "must not hold a NUL byte");
  if (param.pattern === undefined) return text.regex(/^(?!-)/, "must not begin with -");
  return text.regex(new RegExp(`^(?:${param.pattern})$`, "u"), "does not match the pattern");
};
