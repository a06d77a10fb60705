import type { WebhookConfig } from "../config.ts";
import { type AlertmanagerPayload, alertmanagerPayload } from "./alertmanager-webhook.ts";
import type { Delivery, Receiver } from "./receiver.ts";

/** What is read of an answer, for the error's sake. */
const ANSWER_BYTES_MAX = 1024;
const RETRY_AFTER_MS_MAX = 3_600_000;

const failed = (error: string, isFinal: boolean, retryAfterMs: number | null = null): Delivery => ({
  ok: false,
  isFinal,
  error,
  retryAfterMs,
});

/** Path and query of a webhook are often its password: a message names the host alone. */
const redact = (text: string, { url, bearer_token }: WebhookConfig): string => {
  const { host, pathname, search, username, password } = new URL(url);
  const secrets = [bearer_token, url, `${pathname}${search}`, search, pathname, username, password]
    .filter((secret): secret is string => secret !== undefined && secret.length > 3)
    .sort((a, b) => b.length - a.length);
  const redacted = secrets.reduce((left, secret) => left.replaceAll(secret, "[redacted]"), text);
  return `POST to ${host}: ${redacted}`;
};

const readHead = async (response: Response): Promise<string> => {
  if (response.body === null) return "";
  const reader = response.body.getReader();
  const chunks: Uint8Array[] = [];
  let size = 0;
  while (size < ANSWER_BYTES_MAX) {
    const { done, value } = await reader.read();
    if (done) break;
    chunks.push(value);
    size += value.byteLength;
  }
  await reader.cancel();
  return Buffer.concat(chunks).subarray(0, ANSWER_BYTES_MAX).toString("utf8");
};

/** RFC 9110, 10.2.3, in its form of seconds. */
const retryAfterMs = (response: Response): number | null => {
  const seconds = Number(response.headers.get("retry-after") ?? Number.NaN);
  return Number.isFinite(seconds) && seconds >= 0 ? Math.min(seconds * 1000, RETRY_AFTER_MS_MAX) : null;
};

const isFinalStatus = (status: number): boolean => status >= 300 && status < 500 && status !== 408 && status !== 429;

const causeOf = (thrown: unknown): string => {
  if (!(thrown instanceof Error)) return String(thrown);
  const cause = thrown.cause instanceof Error ? `: ${thrown.cause.message || thrown.cause.name}` : "";
  return `${thrown.message}${cause}`;
};

/** Any 2xx is a delivery. A redirect is not followed: where alerts go is the configuration's word. */
export const webhook: Receiver<WebhookConfig, AlertmanagerPayload> = {
  render: (incident, { name }, { externalUrl }) => alertmanagerPayload(incident, { receiver: name, externalUrl }),
  send: async (message, config, { deliveryId, signal }) => {
    const { url, bearer_token, timeout_ms } = config;
    const { username, password } = new URL(url);
    // fetch refuses a URL with credentials in it; sent as Basic they are what the URL meant.
    const target = new URL(url);
    target.username = "";
    target.password = "";
    const basic = `Basic ${Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`).toString("base64")}`;
    const authorization = bearer_token === undefined ? (username === "" ? undefined : basic) : `Bearer ${bearer_token}`;
    try {
      const response = await fetch(target, {
        method: "POST",
        redirect: "manual",
        headers: {
          "content-type": "application/json",
          "user-agent": "homeostat",
          "idempotency-key": deliveryId,
          ...(authorization !== undefined && { authorization }),
        },
        body: JSON.stringify(message),
        signal: AbortSignal.any([signal, AbortSignal.timeout(timeout_ms)]),
      });
      const answer = await readHead(response);
      if (response.ok) return { ok: true };
      const error = redact(`answered ${response.status} ${answer.trim().slice(0, 200)}`.trim(), config);
      return failed(error, isFinalStatus(response.status), retryAfterMs(response));
    } catch (thrown) {
      return failed(redact(causeOf(thrown), config), false);
    }
  },
};
