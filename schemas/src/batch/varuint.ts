/** ClickHouse's VarUInt: LEB128, low seven bits first. We never need more than 32 bits (five bytes). */
export const varuintBytes = (value: number): number => {
  if (value < 0x80) return 1;
  if (value < 0x4000) return 2;
  if (value < 0x20_0000) return 3;
  return value < 0x1000_0000 ? 4 : 5;
};

/** Writes at `at` and answers where the next byte goes. */
export const writeVaruint = (target: Uint8Array, at: number, value: number): number => {
  let rest = value;
  let end = at;
  while (rest >= 0x80) {
    target[end++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  target[end++] = rest;
  return end;
};
