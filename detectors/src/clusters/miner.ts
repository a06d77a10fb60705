import { clip } from "../episode.ts";
import { templateText } from "./line-template.ts";
import { loadTemplates, saveTemplates } from "./saved-templates.ts";
import { TemplateMiner } from "./template-miner.ts";

/** All that the detectors on templates know of how templates are mined. A template is named by its place, a small number. */
export type Miner = TemplateMiner;

export interface NamedTemplate {
  readonly id: string;
  readonly text: string;
}

export const startMiner = (): Miner => new TemplateMiner();

/** The place of a line's template, doubled, plus one when its words speak of an error. */
export const recognise = (miner: Miner, body: Uint8Array, timeMs: number): number => {
  const place = miner.classify(body);
  const template = miner.at(place);
  if (timeMs > template.last_seen_unix_ms) template.last_seen_unix_ms = timeMs;
  return place * 2 + (template.isError ? 1 : 0);
};

/** null for a place that holds no template. */
export const templateAt = (miner: Miner, place: number): NamedTemplate | null => {
  if (!miner.has(place)) return null;
  const template = miner.at(place);
  return { id: template.id, text: clip(templateText(template), 1000) };
};

/**
 * Where each template is now, when some went or were merged since the last line; else null. -1 is gone; two that name the same place have
 * become one.
 */
export const movedTemplates = (miner: Miner): Int32Array | null => miner.moved();

export const saveMiner = (miner: Miner): { readonly json: unknown; readonly known: Float64Array } => {
  const { json, forms } = saveTemplates(miner.state);
  return { json, known: forms };
};

export const loadMiner = (json: unknown, known: Float64Array): Miner => new TemplateMiner(loadTemplates(json, known));
