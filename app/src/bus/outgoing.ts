import {
  BusError,
  KEY_AND_HEADERS_BYTES_MAX,
  MESSAGE_BYTES_MAX,
  METADATA_BYTES_MAX,
  type OutgoingMessage,
  PUBLISH_BYTES_MAX,
} from "@homeostat/schemas";

/** A message that has been checked, with what it will take. */
export interface CheckedMessage {
  readonly message: OutgoingMessage;
  readonly headers: string | null;
  readonly bytes: number;
}

const tooLarge = (message: string) => new BusError("too_large", message, { retryable: false });

const check = (message: OutgoingMessage, partitionsOf: (topic: string) => number | undefined): CheckedMessage => {
  const { topic, key, value, partition } = message;
  const partitions = partitionsOf(topic);
  if (partitions === undefined)
    throw new BusError("unknown_topic", `topic ${topic} is not one of this bus`, { retryable: false });
  if (partition !== undefined && !(Number.isInteger(partition) && partition >= 0 && partition < partitions))
    throw new BusError("unknown_topic", `topic ${topic} has the partitions 0 to ${partitions - 1}, not ${partition}`, {
      retryable: false,
    });
  const valueBytes = value?.length ?? 0;
  if (valueBytes > MESSAGE_BYTES_MAX)
    throw tooLarge(
      `a message of ${valueBytes} bytes for topic ${topic}, key ${key.slice(0, 200)}: at most ${MESSAGE_BYTES_MAX}`,
    );
  const headers = message.headers === undefined ? null : JSON.stringify(message.headers);
  const otherBytes = Buffer.byteLength(key) + (headers === null ? 0 : Buffer.byteLength(headers));
  if (otherBytes > KEY_AND_HEADERS_BYTES_MAX)
    throw tooLarge(
      `key and headers of ${otherBytes} bytes for topic ${topic}, key ${key.slice(0, 200)}: at most ${KEY_AND_HEADERS_BYTES_MAX}`,
    );
  return { message, headers, bytes: valueBytes + otherBytes };
};

/** Refuses what no bus takes, before anything is written. */
export const checkOutgoing = (
  messages: readonly OutgoingMessage[],
  partitionsOf: (topic: string) => number | undefined,
): { readonly checked: readonly CheckedMessage[]; readonly bytes: number } => {
  const checked = messages.map((message) => check(message, partitionsOf));
  const bytes = checked.reduce((sum, one) => sum + one.bytes, 0);
  if (bytes > PUBLISH_BYTES_MAX)
    throw tooLarge(`${messages.length} messages of ${bytes} bytes in one publish: at most ${PUBLISH_BYTES_MAX}`);
  return { checked, bytes };
};

/** The offset is a programmer's; the metadata may have grown with the input. */
export const checkCommit = (offset: number, metadata: string): void => {
  if (!Number.isSafeInteger(offset) || offset < 0) throw new RangeError(`commit of offset ${offset}`);
  const bytes = Buffer.byteLength(metadata);
  if (bytes > METADATA_BYTES_MAX) throw tooLarge(`commit metadata of ${bytes} bytes: at most ${METADATA_BYTES_MAX}`);
};
