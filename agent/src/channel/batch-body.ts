/** The topics that a site takes batches for; a frame names one by its place here. */
export const BATCH_TOPICS = ["telemetry.logs", "telemetry.metrics"] as const;

export interface TopicBatch {
  readonly topic: string;
  readonly value: Uint8Array;
}

/** u8 topic, u32be length. */
export const BATCH_HEADER_BYTES = 5;

/** Parts of a body: headers and values, the one after the other. */
export const batchParts = (batches: readonly TopicBatch[]): Uint8Array[] =>
  batches.flatMap(({ topic, value }) => {
    const index = (BATCH_TOPICS as readonly string[]).indexOf(topic);
    if (index === -1) throw new Error(`the channel takes no ${topic}`);
    const header = Buffer.allocUnsafe(BATCH_HEADER_BYTES);
    header.writeUInt8(index, 0);
    header.writeUInt32BE(value.length, 1);
    return [header, value];
  });

/** Views into the body; null when it is malformed. */
export const readBatches = (body: Buffer): TopicBatch[] | null => {
  const batches: TopicBatch[] = [];
  for (let at = 0; at < body.length; ) {
    if (at + BATCH_HEADER_BYTES > body.length) return null;
    const topic = BATCH_TOPICS[body.readUInt8(at)];
    const end = at + BATCH_HEADER_BYTES + body.readUInt32BE(at + 1);
    if (topic === undefined || end > body.length) return null;
    batches.push({ topic, value: body.subarray(at + BATCH_HEADER_BYTES, end) });
    at = end;
  }
  return batches;
};
