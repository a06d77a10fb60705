import { z } from "zod";
import { type LineTemplate, shapeOf } from "./line-template.ts";
import type { TemplateState } from "./template-miner.ts";

const Value = z.strictObject({ kind: z.int(), hash: z.int(), flags: z.int(), text: z.string() });

const SavedTemplate = z.strictObject({
  place: z.int().min(0),
  id: z.string(),
  split_from: z.string().nullable(),
  is_error: z.boolean(),
  texts: z.array(z.string()),
  /** One number a token: its hash, kind, gap and flags. */
  tokens: z.array(z.int()),
  values: z.array(z.tuple([z.int().min(0), z.array(Value)])),
  count: z.number(),
  review_at: z.number(),
  seen: z.number(),
  last_seen_unix_ms: z.number(),
});

export const SavedTemplates = z.strictObject({
  templates: z.array(SavedTemplate),
  into: z.array(z.int().min(0)),
  merged_ids: z.array(z.tuple([z.string(), z.string()])),
  lines: z.number(),
});

/** Six bits of flags, one of the gap, five of the kind; 32 of the hash above them. */
const packToken = (template: LineTemplate, at: number): number =>
  ((template.hashes[at] as number) >>> 0) * 4096 +
  (((template.kinds[at] as number) << 7) | ((template.gaps[at] as number) << 6) | (template.flags[at] as number));

const saveTemplate = (template: LineTemplate, place: number): z.infer<typeof SavedTemplate> => ({
  place,
  id: template.id,
  split_from: template.splitFrom,
  is_error: template.isError,
  texts: template.texts,
  tokens: template.texts.map((_, at) => packToken(template, at)),
  values: [...template.values],
  count: template.count,
  review_at: template.reviewAt,
  seen: template.seen,
  last_seen_unix_ms: template.last_seen_unix_ms,
});

const loadTemplate = (saved: z.infer<typeof SavedTemplate>): LineTemplate => {
  const kinds = Uint8Array.from(saved.tokens, (token) => (token >>> 7) & 31);
  const hashes = Int32Array.from(saved.tokens, (token) => Math.floor(token / 4096) | 0);
  return {
    id: saved.id,
    splitFrom: saved.split_from,
    isError: saved.is_error,
    kinds,
    hashes,
    gaps: Uint8Array.from(saved.tokens, (token) => (token >>> 6) & 1),
    flags: Uint8Array.from(saved.tokens, (token) => token & 63),
    texts: [...saved.texts],
    values: new Map(saved.values),
    shape: shapeOf({ count: kinds.length, kinds, hashes }),
    count: saved.count,
    reviewAt: saved.review_at,
    seen: saved.seen,
    last_seen_unix_ms: saved.last_seen_unix_ms,
  };
};

/** Plain JSON; the masked lines that are recognised at once go as numbers beside it. */
export const saveTemplates = ({
  templates,
  into,
  mergedIds,
  lines,
  forms,
}: TemplateState): {
  readonly json: z.infer<typeof SavedTemplates>;
  readonly forms: Float64Array;
} => ({
  json: {
    templates: templates.flatMap((template, place) => (into[place] === place ? [saveTemplate(template, place)] : [])),
    into: [...into],
    merged_ids: [...mergedIds],
    lines,
  },
  forms,
});

/** @throws ZodError when the JSON is not what `saveTemplates` gave, RangeError when its places do not agree. */
export const loadTemplates = (json: unknown, forms: Float64Array): TemplateState => {
  const saved = SavedTemplates.parse(json);
  const { into } = saved;
  const byPlace = new Map(saved.templates.map((template) => [template.place, loadTemplate(template)]));
  const templates = into.map((_, place) => {
    let at = place;
    // A chain has no more links than there are places: what goes on is a circle, and holds no template.
    for (let links = 0; into[at] !== at && links < into.length; links++) at = into[at] ?? place;
    const template = byPlace.get(at);
    if (template === undefined)
      throw new RangeError(`saved templates do not agree: place ${place} leads to ${at}, which holds none`);
    return template;
  });
  for (let at = 2; at < forms.length; at += 3)
    if (!((forms[at] as number) < into.length))
      throw new RangeError(`saved forms do not agree: place ${forms[at]} of ${into.length}`);
  return { templates, into: [...into], mergedIds: new Map(saved.merged_ids), lines: saved.lines, forms };
};
