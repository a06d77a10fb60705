import type { Entity, Finding } from "@homeostat/schemas";

/** `{{entity.host}}`, `{{entity.service}}`, `{{entity.path}}`, `{{labels.<name>}}`: what a runbook may take over from the finding that it answers. */
const PLACEHOLDER = /\{\{([^{}]*)\}\}/g;
const KNOWN = /^(entity\.(host|service|path)|labels\..{1,100})$/;

export type Variables = Readonly<Record<string, string>>;

export const variablesOf = ({ entity, labels }: Pick<Finding, "entity" | "labels">): Variables => {
  const ofEntity = Object.entries(entity satisfies Entity).map(([key, value]) => [`entity.${key}`, String(value)]);
  const ofLabels = Object.entries(labels).map(([key, value]) => [`labels.${key}`, value]);
  return Object.fromEntries([...ofEntity, ...ofLabels]) as Variables;
};

/** The names that a JSON value refers to, known or not. */
export const placeholders = (value: unknown): readonly string[] => {
  if (typeof value === "string") return [...value.matchAll(PLACEHOLDER)].map((match) => match[1] ?? "");
  if (Array.isArray(value)) return value.flatMap(placeholders);
  if (typeof value === "object" && value !== null) return Object.values(value).flatMap(placeholders);
  return [];
};

export const isKnownPlaceholder = (name: string): boolean => KNOWN.test(name);

/** The value with every placeholder filled in, once: what is put in is never read again. Throws an Error that names what is missing. */
export const fillIn = (value: unknown, variables: Variables): unknown => {
  if (typeof value === "string") {
    return value.replace(PLACEHOLDER, (_, name: string) => {
      const known = Object.hasOwn(variables, name) ? variables[name] : undefined;
      if (known === undefined) throw new Error(`the finding has no ${name}`);
      return known;
    });
  }
  if (Array.isArray(value)) return value.map((member) => fillIn(member, variables));
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, fillIn(member, variables)]));
  }
  return value;
};
