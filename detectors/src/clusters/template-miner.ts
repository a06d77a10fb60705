import { FormCache } from "./form-cache.ts";
import { LineScanner } from "./line-scanner.ts";
import {
  giveUp,
  type LineTemplate,
  noteValue,
  shapeOf,
  templateOf,
  tokenText,
  type Variable,
  valueAt,
  variablesOf,
  wildcardsFor,
} from "./line-template.ts";
import { differences, isEnumeration, isOneTemplate } from "./template-merge.ts";
import { splitAt } from "./template-split.ts";
import { variantKey } from "./template-variants.ts";
import { isVariable, WILDCARD } from "./token-kind.ts";
import { wordFlags } from "./vocabulary.ts";

/** Beyond this many, the tenth that was seen least recently makes room. */
export const LINE_TEMPLATES_MAX = 5000;
/** Places, those included whose template was merged into another. */
const PLACES_MAX = 3 * LINE_TEMPLATES_MAX;
/** Templates of one shape; beyond this many a new line goes to the one that it differs from least, whatever is protected. */
const SHAPE_TEMPLATES_MAX = 200;
/** Ids that were merged into others, as far as they are remembered; the oldest are forgotten. */
const MERGED_IDS_MAX = 20_000;

export interface TemplateState {
  readonly templates: LineTemplate[];
  /** By place: the place of the template that it was merged into, or its own. */
  readonly into: number[];
  readonly mergedIds: Map<string, string>;
  readonly lines: number;
  /** Triples as FormCache has them. */
  readonly forms: Float64Array;
}

const emptyState = (): TemplateState => ({
  templates: [],
  into: [],
  mergedIds: new Map(),
  lines: 0,
  forms: new Float64Array(),
});

/**
 * Templates of log lines, mined as they come. A line is scanned and masked in one pass; its masked form is looked up by hash, and only a form
 * that is not known is compared with the templates of its shape. Each new template starts on its own and is merged when the evidence is there
 * (a merged template's id leads to the other's for good), and split again when its wildcard turns out to be one of a few words.
 */
export class TemplateMiner {
  readonly scanner = new LineScanner();
  #templates: LineTemplate[];
  #into: number[];
  readonly #shapes = new Map<number, number[]>();
  /** By what they say, whatever their shape: a place that may have gone by now. */
  readonly #variants = new Map<number, number>();
  readonly #forms = new FormCache();
  readonly #mergedIds: Map<string, string>;
  #lines: number;
  #live = 0;
  #misses = 0;
  #hasMerged = false;

  constructor(state: TemplateState = emptyState()) {
    this.#templates = state.templates;
    this.#into = state.into;
    this.#mergedIds = state.mergedIds;
    this.#lines = state.lines;
    this.#index();
    this.#hasMerged = this.#live < this.#templates.length;
    for (let at = 0; at + 2 < state.forms.length; at += 3)
      this.#forms.set(state.forms[at] as number, state.forms[at + 1] as number, state.forms[at + 2] as number);
  }

  get state(): TemplateState {
    return {
      templates: this.#templates,
      into: this.#into,
      mergedIds: this.#mergedIds,
      lines: this.#lines,
      forms: this.#forms.entries(),
    };
  }

  /** Templates that are not merged into others. */
  get size(): number {
    return this.#live;
  }

  /** Lines whose masked form was not known. */
  get misses(): number {
    return this.#misses;
  }

  /** The place of the line's template. It means this template until `moved` tells otherwise, also after it was merged. */
  classify(bytes: Uint8Array): number {
    const { scanner } = this;
    scanner.scan(bytes);
    this.#lines++;
    let place = this.#forms.get(scanner.hash, scanner.otherHash);
    if (place < 0) {
      if (this.#isFull()) this.#makeRoom();
      this.#misses++;
      place = this.#find(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
      this.#forms.set(scanner.hash, scanner.otherHash, place);
    }
    place = this.current(place);
    const template = this.#templates[place] as LineTemplate;
    template.count++;
    template.seen = this.#lines;
    if (template.count >= template.reviewAt) this.#review(place);
    return place;
  }

  has(place: number): boolean {
    return place >= 0 && place < this.#templates.length;
  }

  /** The template that a place stands for now. */
  at(place: number): LineTemplate {
    return this.#templates[this.current(place)] as LineTemplate;
  }

  /** The place of the template that a place stands for now. */
  current(place: number): number {
    const into = this.#into;
    let at = place;
    for (let next = into[at] as number; next !== at; next = into[at] as number) {
      // Chains are halved as they are walked, so that they stay short.
      into[at] = into[next] as number;
      at = next;
    }
    return at;
  }

  /** The id that a template's id leads to now. */
  currentId(id: string): string {
    let at = id;
    for (let next = this.#mergedIds.get(at); next !== undefined; next = this.#mergedIds.get(at)) at = next;
    return at;
  }

  /** Which ids were merged into which. */
  get mergedIds(): ReadonlyMap<string, string> {
    return this.#mergedIds;
  }

  variables(place: number, bytes: Uint8Array): Variable[] {
    this.scanner.scan(bytes);
    return variablesOf(this.at(place), this.scanner, bytes);
  }

  #isFull(): boolean {
    return this.#live >= LINE_TEMPLATES_MAX || this.#templates.length >= PLACES_MAX;
  }

  /**
   * Where each place is now, if some moved since this was last asked; else null. -1: its template went, to make room at the caps. Two that
   * lead to the same place have become one. Ask before each line: a full miner makes room by itself, and then places mean something else.
   */
  moved(): Int32Array | null {
    const hasMerged = this.#hasMerged;
    this.#hasMerged = false;
    if (this.#isFull()) return this.#makeRoom();
    return hasMerged ? Int32Array.from(this.#into, (_, place) => this.current(place)) : null;
  }

  #makeRoom(): Int32Array {
    const live = this.#into.flatMap((into, place) => (into === place ? [place] : []));
    const excess = live.length < LINE_TEMPLATES_MAX ? 0 : Math.ceil(LINE_TEMPLATES_MAX / 10);
    const seen = (place: number): number => (this.#templates[place] as LineTemplate).seen;
    const gone = new Set([...live].sort((a, b) => seen(a) - seen(b) || a - b).slice(0, excess));
    const kept = live.filter((place) => !gone.has(place));
    const places = new Int32Array(this.#templates.length).fill(-1);
    kept.forEach((place, index) => {
      places[place] = index;
    });
    for (let place = 0; place < places.length; place++) places[place] = places[this.current(place)] as number;
    this.#templates = kept.map((place) => this.#templates[place] as LineTemplate);
    this.#into = kept.map((_, index) => index);
    this.#forms.renumber((place) => places[place] as number);
    this.#index();
    return places;
  }

  #index(): void {
    this.#shapes.clear();
    this.#variants.clear();
    this.#live = 0;
    for (let place = 0; place < this.#templates.length; place++) {
      if (this.#into[place] !== place) continue;
      this.#enter(place);
      const key = variantKey(this.#templates[place] as LineTemplate);
      if (key !== null && !this.#variants.has(key)) this.#variants.set(key, place);
    }
  }

  #enter(place: number): void {
    const { shape } = this.#templates[place] as LineTemplate;
    const places = this.#shapes.get(shape);
    if (places === undefined) this.#shapes.set(shape, [place]);
    else places.push(place);
    this.#live++;
  }

  #add(template: LineTemplate): number {
    const place = this.#templates.length;
    this.#templates.push(template);
    this.#into.push(place);
    this.#mergedIds.delete(template.id);
    this.#enter(place);
    return place;
  }

  /** Finds or makes the template of a masked form that is not known. */
  #find(bytes: Buffer): number {
    const shape = shapeOf(this.scanner);
    const places = this.#shapes.get(shape) ?? [];
    const covering = this.#covering(places, bytes);
    if (covering >= 0) return covering;
    const template = templateOf(this.scanner, bytes, shape);
    if (places.length >= SHAPE_TEMPLATES_MAX) return this.#force(places, template);
    const added = this.#add(template);
    let grown = added;
    for (let next: number | null = added; next !== null; next = this.#look(next)) grown = next;
    this.#joinVariant(grown);
    return added;
  }

  /** The template with the fewest wildcards that takes the line; -1 for none. */
  #covering(places: readonly number[], bytes: Buffer): number {
    const { scanner } = this;
    let best = -1;
    let least = Number.POSITIVE_INFINITY;
    for (const place of places) {
      const wildcards = wildcardsFor(this.#templates[place] as LineTemplate, scanner, bytes);
      if (wildcards < 0 || wildcards >= least) continue;
      best = place;
      least = wildcards;
    }
    if (best < 0 || least === 0) return best;
    const template = this.#templates[best] as LineTemplate;
    for (let at = 0; at < template.kinds.length; at++) {
      if (template.kinds[at] !== WILDCARD) continue;
      const kind = scanner.kinds[at] as number;
      const text = isVariable(kind) ? "" : tokenText(scanner, bytes, at);
      noteValue(template, at, { kind, hash: scanner.hashes[at] as number, flags: wordFlags(kind, text), text });
    }
    return best;
  }

  /** The shape is full: the line goes to the template that it differs from least. */
  #force(places: readonly number[], template: LineTemplate): number {
    let best = places[0] as number;
    let least: readonly number[] | null = null;
    for (const place of places) {
      const { differing } = differences(template, this.#templates[place] as LineTemplate);
      if (least !== null && differing.length >= least.length) continue;
      best = place;
      least = differing;
    }
    giveUp(this.#templates[best] as LineTemplate, least ?? []);
    return best;
  }

  /** The second look: is a template one with others of its shape? Answers the place of what came of it; null when nothing did. */
  #look(place: number): number | null {
    const template = this.#templates[place] as LineTemplate;
    const others: { place: number; differing: number[] }[] = [];
    for (const other of this.#shapes.get(template.shape) ?? []) {
      if (other === place) continue;
      const { differing, isProtected } = differences(template, this.#templates[other] as LineTemplate);
      if (!isProtected) others.push({ place: other, differing });
    }
    others.sort((a, b) => a.differing.length - b.differing.length);
    const tried = new Set<string>();
    for (const { differing } of others) {
      const key = differing.join();
      if (tried.has(key)) continue;
      tried.add(key);
      const alike = others.filter((other) => other.differing.every((at) => differing.includes(at)));
      const group = [place, ...alike.map((other) => other.place)];
      const members = group.map((at) => this.#templates[at] as LineTemplate);
      if (isOneTemplate(members, differing)) return this.#merge(group, differing);
    }
    return null;
  }

  /** A template that says the same in another shape: both become the shorter one. */
  #joinVariant(place: number): void {
    const template = this.#templates[place] as LineTemplate;
    const key = variantKey(template);
    if (key === null) return;
    const known = this.#variants.get(key);
    const other = known === undefined ? place : this.current(known);
    const variant = this.#templates[other] as LineTemplate;
    if (other === place || variantKey(variant) !== key) this.#variants.set(key, place);
    else if (variant.shape !== template.shape) {
      const [from, into] = variant.kinds.length <= template.kinds.length ? [place, other] : [other, place];
      this.#count(from, into);
      this.#leave(from, into);
      this.#variants.set(key, into);
    }
  }

  #count(from: number, into: number): void {
    const [merged, kept] = [this.#templates[from] as LineTemplate, this.#templates[into] as LineTemplate];
    kept.count += merged.count;
    kept.last_seen_unix_ms = Math.max(kept.last_seen_unix_ms, merged.last_seen_unix_ms);
  }

  /** All go into the oldest. */
  #merge(group: readonly number[], differing: readonly number[]): number {
    const oldest = group.reduce((least, place) => Math.min(least, place));
    const kept = this.#templates[oldest] as LineTemplate;
    giveUp(kept, differing);
    for (const place of group) {
      if (place === oldest) continue;
      const merged = this.#templates[place] as LineTemplate;
      for (const at of differing)
        for (const value of merged.values.get(at) ?? [valueAt(merged, at)]) noteValue(kept, at, value);
      this.#count(place, oldest);
      this.#leave(place, oldest);
    }
    return oldest;
  }

  #leave(place: number, into: number): void {
    const merged = this.#templates[place] as LineTemplate;
    const kept = this.#templates[into] as LineTemplate;
    const places = this.#shapes.get(merged.shape) as number[];
    places.splice(places.indexOf(place), 1);
    this.#into[place] = into;
    this.#hasMerged = true;
    this.#templates[place] = kept;
    this.#live--;
    if (merged.id === kept.id) return;
    // What leads on from here would lead in a circle.
    this.#mergedIds.delete(kept.id);
    this.#mergedIds.set(merged.id, kept.id);
    if (this.#mergedIds.size <= MERGED_IDS_MAX) return;
    const [oldest] = this.#mergedIds.keys();
    if (oldest !== undefined) this.#mergedIds.delete(oldest);
  }

  /** After many lines: a wildcard that took a few words only is given back. The template keeps its first word, the others get templates of their own. */
  #review(place: number): void {
    const template = this.#templates[place] as LineTemplate;
    template.reviewAt = template.count * 2;
    const at = [...template.values.keys()].find((token) => isEnumeration(template, token));
    if (at === undefined) return;
    for (const part of splitAt(template, at)) this.#add(part);
    this.#forms.renumber((form) => (this.current(form) === place ? -1 : form));
  }
}
