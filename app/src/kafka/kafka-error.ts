import { BusError } from "@homeostat/schemas";

const CODES: Readonly<Record<string, { readonly code: BusError["code"]; readonly retryable: boolean }>> = {
  UNKNOWN_TOPIC_OR_PARTITION: { code: "unknown_topic", retryable: true },
  MESSAGE_TOO_LARGE: { code: "too_large", retryable: false },
  RECORD_LIST_TOO_LARGE: { code: "too_large", retryable: false },
  ILLEGAL_GENERATION: { code: "not_owner", retryable: false },
  UNKNOWN_MEMBER_ID: { code: "not_owner", retryable: false },
  REBALANCE_IN_PROGRESS: { code: "not_owner", retryable: false },
  FENCED_INSTANCE_ID: { code: "not_owner", retryable: false },
  KAFKA_STORAGE_ERROR: { code: "full", retryable: true },
  TOPIC_AUTHORIZATION_FAILED: { code: "unreachable", retryable: false },
  GROUP_AUTHORIZATION_FAILED: { code: "unreachable", retryable: false },
  CLUSTER_AUTHORIZATION_FAILED: { code: "unreachable", retryable: false },
  SASL_AUTHENTICATION_FAILED: { code: "unreachable", retryable: false },
};
const CAUSES_MAX = 10;

/** kafkajs wraps the broker's answer in its own errors, several deep; the type that the broker gave is the one that tells. */
const brokerType = (thrown: unknown): string | null => {
  let error: unknown = thrown;
  for (let depth = 0; depth < CAUSES_MAX && error instanceof Error; depth += 1) {
    if ("type" in error && typeof error.type === "string") return error.type;
    error = error.cause;
  }
  return null;
};

/** What passes within seconds after a topic was made, a broker has started, or a leader has changed. */
const PASSING = new Set([
  "NOT_LEADER_FOR_PARTITION",
  "LEADER_NOT_AVAILABLE",
  "UNKNOWN_TOPIC_OR_PARTITION",
  "NOT_COORDINATOR_FOR_GROUP",
  "GROUP_COORDINATOR_NOT_AVAILABLE",
  "GROUP_LOAD_IN_PROGRESS",
]);

export const isPassing = (thrown: unknown): boolean => PASSING.has(brokerType(thrown) ?? "");

export const busErrorOf = (thrown: unknown, doing: string): BusError => {
  if (thrown instanceof BusError) return thrown;
  const type = brokerType(thrown);
  const { code, retryable } = (type === null ? undefined : CODES[type]) ?? { code: "unreachable", retryable: true };
  const why = thrown instanceof Error ? thrown.message : String(thrown);
  return new BusError(code, `${doing}: ${type === null ? "" : `${type}, `}${why}`, { retryable, cause: thrown });
};
