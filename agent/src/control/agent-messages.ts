import type { Heartbeat } from "@homeostat/schemas";
import type { FromAgent } from "../channel/messages.ts";
import type { Acks } from "./acks.ts";
import type { Identities } from "./identity/identities.ts";
import type { Jobs } from "./jobs/jobs.ts";
import type { PublishLane } from "./publish-lane.ts";
import type { Registry } from "./registry.ts";
import type { Results } from "./results.ts";

export interface AgentMessagesPorts {
  readonly results: Results;
  readonly jobs: Jobs;
  readonly registry: Registry;
  readonly acks: Acks;
  readonly identities: Identities;
  readonly beatsLane: PublishLane;
  /** Of what this term writes. */
  readonly headers: Readonly<Record<string, string>>;
  readonly now: () => number;
  send(host: string, message: string): void;
  /** Its labels are others. */
  onAgent(host: string): void;
  count(reason: string): void;
  fail(message: string, thrown: unknown): void;
}

/** What agents say in their sessions. Each speaks for itself alone. */
export class AgentMessages {
  readonly #ports: AgentMessagesPorts;
  /** Identities change one after the other: who asks again and again must not stand before a revocation. */
  readonly #renewing = new Set<string>();
  /** Hosts with a heartbeat on its way to the bus, and their newest since: who says many fills nobody's way there. */
  readonly #beats = new Map<string, Heartbeat | null>();

  constructor(ports: AgentMessagesPorts) {
    this.#ports = ports;
  }

  heard(host: string, message: FromAgent): void {
    const { results, jobs, acks, send, count, now } = this.#ports;
    switch (message.type) {
      case "result":
        results.heard(host, message.result);
        break;
      case "progress":
        if (message.progress.host === host) jobs.progressed(message.progress);
        else count("progress_of_another_host");
        break;
      case "heartbeat":
        this.#heardBeat(host, message.heartbeat);
        break;
      case "clock": {
        const { asked_at_unix_ms } = message;
        send(host, JSON.stringify({ type: "clock", asked_at_unix_ms, control_unix_ms: now() }));
        break;
      }
      case "renew":
        void this.#renew(host, message);
        break;
      case "leaving":
        acks.leaving(host);
        break;
    }
  }

  #heardBeat(host: string, beat: Heartbeat): void {
    const { registry, onAgent, count } = this.#ports;
    if (beat.host !== host) {
      count("heartbeat_of_another_host");
      return;
    }
    if (registry.heard(beat, "in its session")) onAgent(host);
    if (this.#beats.has(host)) this.#beats.set(host, beat);
    else this.#publishBeat(host, beat);
  }

  #publishBeat(host: string, beat: Heartbeat): void {
    const { beatsLane, headers, count, fail } = this.#ports;
    this.#beats.set(host, null);
    beatsLane
      .push({ topic: "agent.heartbeats", key: host, value: Buffer.from(JSON.stringify(beat)), headers })
      // The next one comes soon.
      .catch((thrown: unknown) => {
        count("heartbeat_not_published");
        fail("a heartbeat could not be published", thrown);
      })
      .then(() => {
        const next = this.#beats.get(host);
        this.#beats.delete(host);
        if (next !== null && next !== undefined) this.#publishBeat(host, next);
      });
  }

  async #renew(host: string, { spki, signature }: Extract<FromAgent, { type: "renew" }>): Promise<void> {
    const { identities, send, count, fail } = this.#ports;
    if (this.#renewing.has(host)) {
      count("renewal_busy");
      return;
    }
    this.#renewing.add(host);
    try {
      const renewed = await identities.renew(host, spki, signature);
      if ("refused" in renewed) count(`renewal_${renewed.refused}`);
      else send(host, JSON.stringify({ type: "certificate", pem: renewed.pem }));
    } catch (thrown) {
      fail(`the certificate of ${host} could not be renewed`, thrown);
    } finally {
      this.#renewing.delete(host);
    }
  }
}
