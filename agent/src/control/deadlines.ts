/** Deadlines are kept by the second: nothing here is due to the millisecond. */
const BUCKET_MS = 1_000;

/** What is due when, for hundreds of thousands of things that are mostly over long before. Adding and taking back cost the same as in a set. */
export class Deadlines<T> {
  readonly #buckets = new Map<number, Set<T>>();

  add(atUnixMs: number, item: T): void {
    const bucket = bucketOf(atUnixMs);
    const items = this.#buckets.get(bucket);
    if (items === undefined) this.#buckets.set(bucket, new Set([item]));
    else items.add(item);
  }

  delete(atUnixMs: number, item: T): void {
    const bucket = bucketOf(atUnixMs);
    const items = this.#buckets.get(bucket);
    if (items?.delete(item) === true && items.size === 0) this.#buckets.delete(bucket);
  }

  /** Takes out what is due: never early, up to a second late. */
  due(nowUnixMs: number): readonly T[] {
    const due: T[] = [];
    for (const [bucket, items] of this.#buckets) {
      if (bucket * BUCKET_MS > nowUnixMs) continue;
      this.#buckets.delete(bucket);
      due.push(...items);
    }
    return due;
  }
}

const bucketOf = (atUnixMs: number): number => Math.floor(atUnixMs / BUCKET_MS) + 1;
