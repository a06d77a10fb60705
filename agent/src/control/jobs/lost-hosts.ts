import type { Job } from "@homeostat/schemas";

/** Places in a job's hosts, ascending. */
export interface LostHosts {
  readonly lost: readonly number[];
  /** Where each dispatch begins. */
  readonly starts: readonly number[];
}

export const encodeLostHosts = ({ lost, starts }: LostHosts): NonNullable<Job["lost_hosts"]> => ({
  lost: bitsOf(lost),
  dispatch_starts: bitsOf(starts),
});

/** Of a record with `count` hosts. */
export const decodeLostHosts = (record: NonNullable<Job["lost_hosts"]>, count: number): LostHosts => ({
  lost: placesOf(record.lost, count),
  starts: placesOf(record.dispatch_starts, count),
});

const bitsOf = (places: readonly number[]): string => {
  const bytes = Buffer.alloc(((places.at(-1) ?? -1) >> 3) + 1);
  for (const place of places) bytes[place >> 3] = (bytes[place >> 3] ?? 0) | (1 << (place & 7));
  return bytes.toString("base64");
};

const placesOf = (bits: string, count: number): number[] => {
  const bytes = Buffer.from(bits, "base64");
  const places: number[] = [];
  for (let place = 0; place < Math.min(count, bytes.length * 8); place += 1)
    if (((bytes[place >> 3] ?? 0) >> (place & 7)) & 1) places.push(place);
  return places;
};
