import { z } from "zod";

type JsonObject = Readonly<Record<string, unknown>>;
const isObject = (value: unknown): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const DEPTH_MAX = 16;

/** The same schema, but an object takes no property that is not named. A schema for further ones stays. */
const closed = (schema: unknown, depth = 0): unknown => {
  if (depth > DEPTH_MAX) throw new TypeError(`deeper than ${DEPTH_MAX} levels`);
  if (Array.isArray(schema)) return schema.map((part) => closed(part, depth + 1));
  if (!isObject(schema)) return schema;
  const parts = Object.entries(schema).map(([key, part]) => {
    if (key === "properties" || key === "$defs" || key === "patternProperties")
      return [key, isObject(part) ? mapValues(part, (one) => closed(one, depth + 1)) : part];
    const isSchema = ["items", "prefixItems", "anyOf", "oneOf", "allOf", "not", "additionalProperties"].includes(key);
    return [key, isSchema ? closed(part, depth + 1) : part];
  });
  const copy: Record<string, unknown> = Object.fromEntries(parts);
  const isOpen = copy.additionalProperties === undefined || copy.additionalProperties === true;
  if (isOpen && (copy.type === "object" || isObject(copy.properties))) copy.additionalProperties = false;
  return copy;
};

const mapValues = (of: JsonObject, map: (value: unknown) => unknown): JsonObject =>
  Object.fromEntries(Object.entries(of).map(([key, value]) => [key, map(value)]));

/**
 * A check made of a JSON Schema (draft 2020-12) for an object. Strict at every level.
 * @throws TypeError for what is no schema of an object, or asks for what zod's fromJSONSchema cannot do.
 */
export const strictSchema = (schema: JsonObject): z.ZodType => {
  if (schema.type !== "object") throw new TypeError(`want a schema with "type": "object"`);
  try {
    return z.fromJSONSchema(closed(schema) as Parameters<typeof z.fromJSONSchema>[0]);
  } catch (error) {
    throw new TypeError(`not a schema that can be used: ${error instanceof Error ? error.message : String(error)}`);
  }
};

/** What does not fit, as `args.path: why; …`; null when everything does. */
export const misfits = (schema: z.ZodType, value: unknown, what: string): string | null => {
  const parsed = schema.safeParse(value);
  if (parsed.success) return null;
  return parsed.error.issues
    .map(({ path, message }) => `${[what, ...path].join(".")}: ${message}`)
    .join("; ")
    .slice(0, 1_000);
};
