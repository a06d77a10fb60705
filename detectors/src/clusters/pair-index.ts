/**
 * Numbers by number, for one look-up per line: open addressing with linear probing (Knuth, The Art of Computer Programming, vol. 3, 6.4).
 * Entries only come; to take some away it is built anew.
 */
export interface PairIndex {
  size: number;
  keys: Uint32Array;
  /** Plus one; zero is free. */
  values: Uint32Array;
}

const CAPACITY_MIN = 64;
/** 2^32 / φ: Knuth's multiplicative hashing spreads keys that differ in few bits. */
const SPREAD = 0x9e3779b1;

export const makeIndex = (capacity = CAPACITY_MIN): PairIndex => ({
  size: 0,
  keys: new Uint32Array(capacity),
  values: new Uint32Array(capacity),
});

/** Where the key is, or where it would go. */
const placeOf = ({ keys, values }: PairIndex, key: number): number => {
  const mask = keys.length - 1;
  const spread = Math.imul(key, SPREAD);
  let at = (spread ^ (spread >>> 15)) & mask;
  while (values[at] !== 0 && keys[at] !== key) at = (at + 1) & mask;
  return at;
};

/** -1 when the key is not there. Keys are whole numbers of 32 bits, unsigned. */
export const find = (index: PairIndex, key: number): number => (index.values[placeOf(index, key)] as number) - 1;

export const insert = (index: PairIndex, key: number, value: number): void => {
  if (index.size * 2 >= index.keys.length) {
    const larger = makeIndex(index.keys.length * 2);
    for (let at = 0; at < index.keys.length; at++) {
      if (index.values[at] !== 0) put(larger, index.keys[at] as number, index.values[at] as number);
    }
    index.keys = larger.keys;
    index.values = larger.values;
  }
  put(index, key, value + 1);
  index.size++;
};

const put = (index: PairIndex, key: number, value: number): void => {
  const at = placeOf(index, key);
  index.keys[at] = key;
  index.values[at] = value;
};
