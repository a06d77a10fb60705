import type { OutgoingBatch } from "./link.ts";

/** The topics that a relay takes batches for; a frame names one by its place here. */
export const RELAY_TOPICS = ["telemetry.logs", "telemetry.metrics"] as const;
export const RELAY_BODY_BYTES_MAX = 2 * 1_048_576;

/** A body is frames one after the other: u8 topic, u32 length (little-endian), value. */
export const encodeFrames = (batches: readonly OutgoingBatch[]): Buffer => {
  const body = Buffer.allocUnsafeSlow(batches.reduce((sum, { value }) => sum + 5 + value.length, 0));
  let at = 0;
  for (const { topic, value } of batches) {
    const index = (RELAY_TOPICS as readonly string[]).indexOf(topic);
    if (index === -1) throw new Error(`a relay takes no ${topic}`);
    at = body.writeUInt8(index, at);
    at = body.writeUInt32LE(value.length, at);
    body.set(value, at);
    at += value.length;
  }
  return body;
};

/** Views into the body; null when it is malformed. */
export const decodeFrames = (body: Buffer): OutgoingBatch[] | null => {
  const batches: OutgoingBatch[] = [];
  for (let at = 0; at < body.length; ) {
    if (at + 5 > body.length) return null;
    const topic = RELAY_TOPICS[body.readUInt8(at)];
    const end = at + 5 + body.readUInt32LE(at + 1);
    if (topic === undefined || end > body.length) return null;
    batches.push({ topic, value: body.subarray(at + 5, end) });
    at = end;
  }
  return batches;
};
