/*
 * Requests are made once and then sent many times, each time at a time of its own: the same body sent twice is a retry, and peers refuse
 * samples that are not newer. A form of time that always takes as many bytes is looked for in the finished bytes and written over.
 */

/** Stands for the time until it is written over. It takes as many bytes as the present in every form below. */
export const MARK_UNIX_MS = 1_111_111_111_000;

/** A time as a protocol has it, always as many bytes. */
export type TimeForm = (unixMs: number) => Buffer;

export const fixedNanoseconds: TimeForm = (unixMs) => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(unixMs) * 1_000_000n);
  return bytes;
};

const varint = (value: number): Buffer => {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80);
  return Buffer.from([...bytes, rest]);
};

export const varintMilliseconds: TimeForm = varint;
export const varintSeconds: TimeForm = (unixMs) => varint(Math.floor(unixMs / 1000));
export const isoMilliseconds: TimeForm = (unixMs) => Buffer.from(new Date(unixMs).toISOString());

export class Template {
  readonly #bytes: Buffer;
  readonly #form: TimeForm;
  readonly #places: readonly { readonly at: number; readonly offsetMs: number }[];

  /** `offsetsMs`: the times that stand in it, after the mark. */
  constructor(bytes: Buffer, form: TimeForm, offsetsMs: readonly number[] = [0]) {
    this.#bytes = bytes;
    this.#form = form;
    this.#places = offsetsMs.flatMap((offsetMs) => placesOf(bytes, form(MARK_UNIX_MS + offsetMs), offsetMs));
    if (this.#places.length === 0) throw new Error("the request holds no time to write over");
  }

  at(unixMs: number): Buffer {
    const bytes = Buffer.from(this.#bytes);
    for (const { at, offsetMs } of this.#places) this.#form(unixMs + offsetMs).copy(bytes, at);
    return bytes;
  }
}

const placesOf = (bytes: Buffer, mark: Buffer, offsetMs: number) => {
  const places: { at: number; offsetMs: number }[] = [];
  for (let at = bytes.indexOf(mark); at >= 0; at = bytes.indexOf(mark, at + mark.length)) places.push({ at, offsetMs });
  return places;
};
