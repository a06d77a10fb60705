import { idOf, type LineTemplate, REVIEW_LINES_MIN } from "./line-template.ts";
import { PROTECTED } from "./vocabulary.ts";

/** Gives a wildcard's values back: the first to the template itself, each of the others to a new one. They are protected from now on, so that they stay apart. */
export const splitAt = (template: LineTemplate, at: number): LineTemplate[] => {
  const [first, ...others] = template.values.get(at) ?? [];
  template.values.delete(at);
  if (first === undefined) return [];
  const parts = others.map((value) => {
    const part = { ...copyOf(template), splitFrom: template.id };
    return restore(part, at, value);
  });
  restore(template, at, first);
  return parts.map((part) => ({ ...part, id: idOf(part.texts, part.kinds) }));
};

const copyOf = (template: LineTemplate): LineTemplate => ({
  ...template,
  kinds: template.kinds.slice(),
  hashes: template.hashes.slice(),
  flags: template.flags.slice(),
  texts: [...template.texts],
  values: new Map([...template.values].map(([place, values]) => [place, [...values]])),
  count: 0,
  reviewAt: REVIEW_LINES_MIN,
});

const restore = (
  template: LineTemplate,
  at: number,
  value: { kind: number; hash: number; flags: number; text: string },
): LineTemplate => {
  template.kinds[at] = value.kind;
  template.hashes[at] = value.hash;
  template.flags[at] = value.flags | PROTECTED;
  template.texts[at] = value.text;
  return template;
};
