import { z } from "zod";

export interface Field {
  readonly path: string;
  readonly type: string;
  /** The variants of a discriminated union that have it, as `kind "kafka"`; empty when all have. */
  readonly variants: readonly string[];
  readonly isRequired: boolean;
  /** As JSON; null when there is none. */
  readonly defaultJson: string | null;
}

export interface Fields {
  readonly type: string;
  readonly rows: readonly Field[];
}

type JsonShape = z.core.JSONSchema.JSONSchema;

const isSchema = (value: unknown): value is JsonShape => typeof value === "object" && value !== null;

const BOUNDS = [
  ["minimum", "≥ "],
  ["exclusiveMinimum", "> "],
  ["maximum", "≤ "],
  ["exclusiveMaximum", "< "],
  ["minLength", "length ≥ "],
  ["maxLength", "length ≤ "],
  ["minItems", "items ≥ "],
  ["maxItems", "items ≤ "],
  ["pattern", ""],
] as const;

/** A number is left out where it says no more than the type does. */
const boundsOf = (schema: JsonShape): string =>
  BOUNDS.flatMap(([key, words]) => {
    const bound = schema[key];
    if (bound === undefined || Math.abs(Number(bound)) === Number.MAX_SAFE_INTEGER) return [];
    if (key === "pattern") return schema.format === undefined ? [`matches \`${bound}\``] : [];
    return [words + bound];
  }).join(", ");

const keysOf = ({ propertyNames }: JsonShape): string =>
  isSchema(propertyNames) && propertyNames.enum !== undefined ? `from ${propertyNames.enum.join(", ")} ` : "";

/** References to named schemas are links: the page has a section for each. Zod's only unnamed one is z.json(). */
const typeOf = (schema: JsonShape): string => {
  if (schema.$ref?.startsWith("__shared#")) return "any JSON";
  if (schema.$ref !== undefined) return `[${schema.$ref}](#${schema.$ref.toLowerCase()})`;
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum !== undefined) return schema.enum.map((value) => JSON.stringify(value)).join(" or ");
  const choices = schema.anyOf ?? schema.oneOf;
  if (choices !== undefined) return [...new Set(choices.filter(isSchema).map(typeOf))].join(" or ");
  const bounds = boundsOf(schema);
  const items = isSchema(schema.items) && !Array.isArray(schema.items) ? schema.items : undefined;
  const members = isSchema(schema.additionalProperties) ? schema.additionalProperties : undefined;
  const base =
    schema.type === "array" && items !== undefined
      ? `list of ${typeOf(items)}`
      : schema.type === "object" && schema.properties === undefined && members !== undefined
        ? `map ${keysOf(schema)}to ${typeOf(members)}`
        : (schema.format ?? [schema.type ?? "any JSON"].flat().join(" or "));
  return bounds === "" ? base : `${base} (${bounds})`;
};

/** Which variant of a discriminated union this is: `kind "kafka"`. */
const variantOf = (schema: JsonShape): string | undefined => {
  const tag = Object.entries(schema.properties ?? {}).find(([, field]) => isSchema(field) && field.const !== undefined);
  return tag && isSchema(tag[1]) ? `${tag[0]} ${JSON.stringify(tag[1].const)}` : undefined;
};

const choiceRows = (choice: JsonShape, prefix: string): readonly Field[] => {
  const variant = variantOf(choice);
  const rows = rowsOf(choice, prefix);
  return variant === undefined
    ? rows
    : rows.map((field) => (field.variants.length > 0 ? field : { ...field, variants: [variant] }));
};

const rowsOf = (schema: JsonShape, prefix: string): readonly Field[] => {
  const choices = (schema.anyOf ?? schema.oneOf)?.filter(isSchema);
  if (choices !== undefined)
    return mergeChoices(
      choices.flatMap((choice) => choiceRows(choice, prefix)),
      choices.length,
    );
  if (isSchema(schema.items) && !Array.isArray(schema.items)) return rowsOf(schema.items, `${prefix}[]`);
  const required = new Set(schema.required);
  const fields = Object.entries(schema.properties ?? {}).flatMap(([name, field]) => {
    if (!isSchema(field)) return [];
    const path = prefix === "" ? name : `${prefix}.${name}`;
    const isRequired = required.has(name) && field.default === undefined;
    const defaultJson = field.default === undefined ? null : JSON.stringify(field.default);
    return [{ path, type: typeOf(field), variants: [], isRequired, defaultJson }, ...rowsOf(field, path)];
  });
  const members = isSchema(schema.additionalProperties) ? rowsOf(schema.additionalProperties, `${prefix}.*`) : [];
  return [...fields, ...members];
};

/** A field that several choices of a union have stands once. One that only some have is required only within its variant. */
const mergeChoices = (rows: readonly Field[], choiceCount: number): readonly Field[] =>
  [...Map.groupBy(rows, ({ path }) => path).values()].map((same) => {
    const isEverywhere = same.length === choiceCount;
    const variants = isEverywhere ? [] : same.flatMap((row) => row.variants);
    return {
      path: same[0]?.path ?? "",
      type: [...new Set(same.map(({ type }) => type))].join(" or "),
      variants,
      isRequired: (isEverywhere || variants.length > 0) && same.every(({ isRequired }) => isRequired),
      defaultJson: same.find(({ defaultJson }) => defaultJson !== null)?.defaultJson ?? null,
    };
  });

/**
 * The fields of some named schemas, each as a flat list of paths. `io` is which side of defaults and transforms is told;
 * what JSON Schema cannot say is "any JSON".
 */
export const fieldsOf = (
  schemas: ReadonlyMap<string, z.ZodType>,
  io: "input" | "output",
): ReadonlyMap<string, Fields> => {
  const registry = z.registry<{ id: string }>();
  for (const [id, schema] of schemas) registry.add(schema, { id });
  const json = z.toJSONSchema(registry, { io, uri: (id) => id, unrepresentable: "any" }).schemas;
  return new Map(
    [...schemas.keys()].map((name) => {
      const schema = json[name] ?? {};
      return [name, { type: typeOf(schema), rows: rowsOf(schema, "") }];
    }),
  );
};
