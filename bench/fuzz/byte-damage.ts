import type { Dice } from "./dice.ts";

/** Grown inputs are cut here: what is larger is the caps' business, which other tests look at. */
const BYTES_MAX = 65_536;

/** Lengths and counts that lie, text that is none, numbers at the edges. */
const HOSTILE = [
  "ffffffff0f",
  "ffffffffffffffffff01",
  "80808080808080808080",
  "ffffffffffffffffffff",
  "ffffff7f",
  "8080808010",
  "00000000",
  "ffffffff",
  "ffffffffffffff7f",
  "000000000000f07f",
  "020000000000f07f",
  "000000000000f8ff",
  "ff",
  "c0af",
  "eda080",
  "f4908080",
  "efbfbe",
  "00",
  "0a",
  "220a5c",
].map((hex) => Buffer.from(hex, "hex"));

type Damage = (bytes: Buffer, dice: Dice, other: Buffer) => Buffer;

const flip: Damage = (bytes, dice) => {
  const at = dice.below(bytes.length);
  const changed = Buffer.from(bytes);
  changed[at] = (changed[at] ?? 0) ^ (1 << dice.below(8));
  return changed;
};

const set: Damage = (bytes, dice) => {
  const changed = Buffer.from(bytes);
  changed[dice.below(bytes.length)] = dice.pick([0, 1, 0x0a, 0x22, 0x7f, 0x80, 0xff, dice.below(256)]);
  return changed;
};

const overwrite: Damage = (bytes, dice) => {
  const changed = Buffer.from(bytes);
  dice.pick(HOSTILE).copy(changed, dice.below(bytes.length));
  return changed;
};

const insert: Damage = (bytes, dice) => {
  const at = dice.below(bytes.length + 1);
  return Buffer.concat([bytes.subarray(0, at), dice.pick(HOSTILE), bytes.subarray(at)]);
};

const remove: Damage = (bytes, dice) => {
  const at = dice.below(bytes.length);
  return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + dice.below(16))]);
};

const cut: Damage = (bytes, dice) => bytes.subarray(0, dice.below(bytes.length));

const repeat: Damage = (bytes, dice) => {
  const at = dice.below(bytes.length);
  const part = bytes.subarray(at, at + 1 + dice.below(64));
  const times = dice.pick([1, 2, 7, 200]);
  return Buffer.concat([bytes.subarray(0, at), ...Array.from({ length: times }, () => part), bytes.subarray(at)]);
};

/** The beginning of one and the end of another. */
const splice: Damage = (bytes, dice, other) =>
  Buffer.concat([bytes.subarray(0, dice.below(bytes.length)), other.subarray(dice.below(other.length))]);

const DAMAGES: readonly Damage[] = [flip, flip, set, set, overwrite, insert, remove, cut, repeat, splice];

export const damageBytes = (bytes: Buffer, dice: Dice, other: Buffer): Buffer => {
  if (bytes.length === 0) return Buffer.from(dice.pick(HOSTILE));
  return dice.pick(DAMAGES)(bytes, dice, other).subarray(0, BYTES_MAX);
};
