import { createHash } from "node:crypto";
import type { Incident, Notification } from "@homeostat/schemas";
import { NotifiedEvent, type RemediationConfig } from "../config.ts";
import { alertmanagerPayload } from "./alertmanager-webhook.ts";
import type { Delivery } from "./receiver.ts";

type NotifyConfig = RemediationConfig["notify"];

const ERROR_CHARS_MAX = 500;

/** Between 0 and 1, the same for the same attempt: spreads receivers without making a decision depend on chance. */
const jitter = (deliveryId: string, attempts: number): number =>
  createHash("sha256").update(`${deliveryId} ${attempts}`).digest().readUInt32LE(0) / 2 ** 32;

/** Doubles up to the cap; the half of it is jitter. */
export const backoffMs = (deliveryId: string, attempts: number, config: NotifyConfig): number => {
  const full = Math.min(config.backoff_longest_ms, config.backoff_first_ms * 2 ** Math.min(attempts - 1, 30));
  return Math.round(full / 2 + (full / 2) * jitter(deliveryId, attempts));
};

/** One for each receiver that wants to hear of the event. The id names incident, version and receiver, so a repeated decision makes the same one. */
export const pendingNotifications = (
  event: string,
  incident: Incident,
  { receivers, notify }: Pick<RemediationConfig, "receivers" | "notify">,
  now: number,
): readonly Notification[] => {
  const notified = NotifiedEvent.safeParse(event);
  if (!notified.success) return [];
  return receivers
    .filter(({ events }) => events.includes(notified.data))
    .map(({ name }) => ({
      delivery_id: `${incident.incident_id}.${incident.version}.${name}`,
      receiver: name,
      incident_id: incident.incident_id,
      event: notified.data,
      state: "pending",
      payload: JSON.parse(
        JSON.stringify(alertmanagerPayload(incident, { receiver: name, externalUrl: notify.external_url })),
      ) as Notification["payload"],
      attempts: 0,
      next_attempt_at_unix_ms: now,
      created_at_unix_ms: now,
      last_error: "",
    }));
};

export const afterAttempt = (
  notification: Notification,
  delivery: Delivery,
  config: NotifyConfig,
  now: number,
): Notification => {
  const attempts = notification.attempts + 1;
  if (delivery.ok) return { ...notification, attempts, state: "delivered", last_error: "" };
  const last_error = delivery.error.slice(0, ERROR_CHARS_MAX).toWellFormed();
  const isTooOld = now - notification.created_at_unix_ms >= config.age_max_ms;
  if (delivery.isFinal || isTooOld || attempts >= config.attempts_max)
    return { ...notification, attempts, state: "dead", last_error };
  const wait = Math.max(backoffMs(notification.delivery_id, attempts, config), delivery.retryAfterMs ?? 0);
  return {
    ...notification,
    attempts,
    last_error,
    next_attempt_at_unix_ms: now + Math.min(wait, config.backoff_longest_ms),
  };
};

/** The oldest for each receiver and incident, since a later word must not overtake an earlier one. */
export const headsOfLine = (notifications: Iterable<Notification>): readonly Notification[] => {
  const heads = new Map<string, Notification>();
  for (const notification of notifications) {
    if (notification.state !== "pending") continue;
    const line = `${notification.receiver} ${notification.incident_id}`;
    const head = heads.get(line);
    if (head === undefined || notification.created_at_unix_ms < head.created_at_unix_ms) heads.set(line, notification);
  }
  return [...heads.values()];
};
