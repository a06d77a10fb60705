import { createHash } from "node:crypto";
import { z } from "zod";
import { clip } from "../episode.ts";

/*
 * Templates of masked log lines, grown as they come, after Drain (He, Zhu, Zheng, Lyu: "Drain: An Online Log Parsing Approach with Fixed Depth Tree",
 * ICWS 2017): lines are compared only within one leaf, which is chosen by their number of words and by their first word, and join the template
 * with which they share enough words; where they differ, the template gets a wildcard.
 */

/** Beyond this many, the tenth that was seen least recently makes room. */
export const TEMPLATES_MAX = 5000;
/** Masked lines that are recognised at once; beyond this many all are forgotten and found again through the tree. */
const KNOWN_LINES_MAX = 20_000;
/** A leaf with so many templates takes new lines into its first template that protected words allow, or not at all. */
const LEAF_TEMPLATES_MAX = 200;
const WORDS_MAX = 128;
/** The share of equal words, wildcards not counted, from which on a line belongs to a template. */
const SIMILARITY_MIN = 0.6;
const WILDCARD = "<*>";

/** Words that say what happened: a template never gives them up for a wildcard, lest "VM Started" and "VM Paused" be one. */
const PROTECTED = new Set(
  (
    "start started starting stop stopped stopping pause paused pausing resume resumed resuming restart restarted restarting run running exit exited " +
    "open opened opening close closed closing connect connected connecting disconnect disconnected reconnect reconnected " +
    "create created creating delete deleted deleting remove removed removing add added adding update updated insert inserted " +
    "enable enabled disable disabled allow allowed deny denied accept accepted reject rejected refuse refused grant granted revoke revoked " +
    "succeed succeeded success successful successfully fail failed failing failure complete completed abort aborted cancel cancelled canceled " +
    "up down on off online offline healthy unhealthy ready unready available unavailable active inactive live alive dead lost found missing " +
    "mount mounted unmount unmounted attach attached detach detached lock locked unlock unlocked acquire acquired release released " +
    "login logout authenticated unauthenticated authorized unauthorized valid invalid expired timeout timed killed crashed panicked recovered " +
    "ok error errors warning warn info debug trace fatal critical panic exception true false yes no not never none null " +
    "get head post put patch delete read write increase increased decrease decreased high low full empty join joined leave left leader follower"
  ).split(" "),
);

const bare = (word: string): string => word.toLowerCase().replaceAll(/^[^\p{L}]+|[^\p{L}]+$/gu, "");
const isProtected = (word: string): boolean => PROTECTED.has(bare(word));

const ERROR_WORDS =
  /\b(?:error|exception|fatal|panic|critical|traceback|segfault|segmentation fault|out of memory|unhandled|core dumped)\b/i;

const Template = z.strictObject({
  /** From the masked line that was the first of its kind: it stays when wildcards come, and is the same on every machine that saw the same line first. */
  id: z.string(),
  words: z.array(z.string()),
  count: z.number(),
  last_seen_unix_ms: z.number(),
});
export type Template = z.infer<typeof Template>;

/** `known` maps a masked line's key to its template's place, doubled, plus one when the line has a word that speaks of an error. */
export interface TemplateTree {
  templates: Template[];
  leaves: Map<string, number[]>;
  known: Map<number, number>;
}

export const makeTree = (): TemplateTree => ({ templates: [], leaves: new Map(), known: new Map() });

export const templateText = (template: Template | undefined): string => clip(template?.words.join(" ") ?? "", 1000);

const wordsOf = (text: string): string[] => {
  const words = text.split(" ");
  return words.length <= WORDS_MAX ? words : [...words.slice(0, WORDS_MAX - 1), WILDCARD];
};

/** A first word with a mask in it is no criterion. */
const leafOf = (words: readonly string[]): string => {
  const first = words[0] ?? "";
  return `${words.length} ${first.includes("<") ? WILDCARD : first}`;
};

/** Equal words, or -1 when a protected word would have to give way. */
const equalWords = (template: readonly string[], words: readonly string[]): number => {
  let equal = 0;
  for (let at = 0; at < words.length; at++) {
    const [known, word] = [template[at] as string, words[at] as string];
    if (known === word) equal++;
    else if (isProtected(word) || isProtected(known)) return -1;
  }
  return equal;
};

const bestIn = (tree: TemplateTree, leaf: readonly number[], words: readonly string[]): number | null => {
  let best: number | null = null;
  let bestEqual = Math.ceil(words.length * SIMILARITY_MIN) - 1;
  for (const place of leaf) {
    const equal = equalWords((tree.templates[place] as Template).words, words);
    if (equal <= bestEqual) continue;
    best = place;
    bestEqual = equal;
  }
  return best;
};

const generalise = (template: Template, words: readonly string[]): void => {
  template.words = template.words.map((word, at) => (word === words[at] ? word : WILDCARD));
};

const addTemplate = (tree: TemplateTree, text: string, words: string[]): number => {
  const id = createHash("sha256").update(text).digest("hex").slice(0, 16);
  tree.templates.push({ id, words, count: 0, last_seen_unix_ms: 0 });
  return tree.templates.length - 1;
};

/** Finds or makes the template of a masked line that is not known yet. */
const place = (tree: TemplateTree, text: string): number => {
  const words = wordsOf(text);
  const key = leafOf(words);
  const leaf = tree.leaves.get(key) ?? [];
  tree.leaves.set(key, leaf);
  const best = bestIn(tree, leaf, words);
  if (best !== null) {
    generalise(tree.templates[best] as Template, words);
    return best;
  }
  if (leaf.length >= LEAF_TEMPLATES_MAX) {
    const tolerant = leaf.find((at) => equalWords((tree.templates[at] as Template).words, words) >= 0) ?? leaf[0];
    if (tolerant !== undefined) return tolerant;
  }
  const added = addTemplate(tree, text, words);
  leaf.push(added);
  return added;
};

/** The template's place, doubled, plus one when the line speaks of an error. `text` is asked for only when the line is new. */
export const classify = (tree: TemplateTree, key: number, text: () => string): number => {
  const known = tree.known.get(key);
  if (known !== undefined) return known;
  if (tree.known.size >= KNOWN_LINES_MAX) tree.known.clear();
  const line = text();
  const classified = place(tree, line) * 2 + (ERROR_WORDS.test(line) ? 1 : 0);
  tree.known.set(key, classified);
  return classified;
};

/** Makes room at the cap. Answers each template's new place, -1 for those that went; null when there was room. */
export const evict = (tree: TemplateTree): Int32Array | null => {
  if (tree.templates.length < TEMPLATES_MAX) return null;
  const byAge = tree.templates
    .map((template, at) => ({ at, seen: template.last_seen_unix_ms }))
    .sort((a, b) => a.seen - b.seen || a.at - b.at);
  const gone = new Set(byAge.slice(0, Math.ceil(TEMPLATES_MAX / 10)).map(({ at }) => at));
  const places = new Int32Array(tree.templates.length).fill(-1);
  const kept = tree.templates.filter((_, at) => !gone.has(at));
  let next = 0;
  for (let at = 0; at < places.length; at++) if (!gone.has(at)) places[at] = next++;
  tree.templates = kept;
  tree.known.clear();
  tree.leaves = leavesOf(kept, tree.leaves, places);
  return places;
};

const leavesOf = (
  templates: readonly Template[],
  before: ReadonlyMap<string, readonly number[]>,
  places: Int32Array,
): Map<string, number[]> => {
  const leaves = new Map<string, number[]>();
  for (const [key, leaf] of before) {
    const kept = leaf.map((at) => places[at] ?? -1).filter((at) => at >= 0 && at < templates.length);
    if (kept.length > 0) leaves.set(key, kept);
  }
  return leaves;
};

export const SavedTree = z.strictObject({
  templates: z.array(Template).max(TEMPLATES_MAX + 1),
  leaves: z.array(z.tuple([z.string(), z.array(z.int().min(0))])),
});

export const saveTree = ({ templates, leaves }: TemplateTree): z.infer<typeof SavedTree> => ({
  templates: templates.map((template) => ({ ...template })),
  leaves: [...leaves],
});

export const knownLines = ({ known }: TemplateTree): Float64Array => {
  const pairs = new Float64Array(known.size * 2);
  let at = 0;
  for (const [key, classified] of known) {
    pairs[at++] = key;
    pairs[at++] = classified;
  }
  return pairs;
};

export const loadTree = (json: unknown, lines: Float64Array): TemplateTree => {
  const { templates, leaves } = SavedTree.parse(json);
  const known = new Map<number, number>();
  for (let at = 0; at + 1 < lines.length; at += 2) known.set(lines[at] as number, lines[at + 1] as number);
  return { templates, leaves: new Map(leaves), known };
};
