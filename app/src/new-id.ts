import { randomUUID } from "node:crypto";

/**
 * A UUID of version 7 (RFC 9562, 5.7): milliseconds since 1970 first, 74 random bits behind. What is written at one time lies together in an
 * index by such names. (`crypto.randomUUIDv7` came with Node 24.16.)
 */
export const newId = (nowUnixMs: number): string => {
  const time = nowUnixMs.toString(16).padStart(12, "0");
  return `${time.slice(0, 8)}-${time.slice(8)}-7${randomUUID().slice(15)}`;
};
