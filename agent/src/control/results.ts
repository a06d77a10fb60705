import { type CommandResult, hasEnded, type OutgoingMessage } from "@homeostat/schemas";
import { LaneFullError, type PublishLane } from "./publish-lane.ts";

/** Of one acknowledgement. */
const ACKS_MAX = 1_000;

export interface ResultPorts {
  /** Of what agents tell, which is true whoever passes it on. */
  readonly heardLane: PublishLane;
  /** Of what control decides. Fenced: another leader may have handed out meanwhile what is called expired or cancelled here. */
  readonly concludedLane: PublishLane;
  /** As written by this control. */
  prove(message: OutgoingMessage): OutgoingMessage;
  /** Its end is on the bus already, and is not `lost`. */
  isKnown(result: CommandResult): boolean;
  /** It is on the bus. */
  settled(result: CommandResult): void;
  acknowledge(host: string, commandIds: readonly string[]): void;
  count(reason: string): void;
  /** After a failure that another try may help: resolves when to try again; rejects when the term is over. */
  pause(): Promise<void>;
  fail(message: string, thrown: unknown): void;
}

/** Results on their way: first to the bus, then to whoever waits for them, then the agent is told that it may forget. */
export class Results {
  readonly #ports: ResultPorts;
  #acks = new Map<string, string[]>();

  constructor(ports: ResultPorts) {
    this.#ports = ports;
  }

  /** From an agent's session. */
  heard(host: string, result: CommandResult): void {
    const { count, isKnown } = this.#ports;
    if (result.host !== host) {
      count("result_of_another_host");
      return;
    }
    if (!hasEnded(result.state)) {
      count("result_without_an_end");
      return;
    }
    if (isKnown(result)) {
      this.#acknowledge(result);
      return;
    }
    const { heardLane } = this.#ports;
    void this.#publish(result, { lane: heardLane, isToldAgain: true }).then((isDurable) => {
      if (isDurable) this.#acknowledge(result);
    });
  }

  /** Decided by control itself. */
  concluded(result: CommandResult): void {
    void this.#publish(result, { lane: this.#ports.concludedLane, isToldAgain: false });
  }

  async #publish(
    result: CommandResult,
    { lane, isToldAgain }: { readonly lane: PublishLane; readonly isToldAgain: boolean },
  ): Promise<boolean> {
    const { prove, settled, count, pause, fail } = this.#ports;
    const value = Buffer.from(JSON.stringify(result));
    const message = prove({ topic: "agent.results", key: result.host, value });
    for (;;) {
      try {
        await lane.push(message);
        settled(result);
        return true;
      } catch (thrown) {
        // The agent tells it again: nothing is lost by not taking it now.
        if (thrown instanceof LaneFullError && isToldAgain) {
          count("results_full");
          return false;
        }
        fail("a result could not be published, trying again", thrown);
      }
      try {
        await pause();
      } catch {
        return false;
      }
    }
  }

  #acknowledge({ host, command_id }: CommandResult): void {
    if (this.#acks.size === 0) setImmediate(() => this.#sendAcks());
    const acks = this.#acks.get(host);
    if (acks === undefined) this.#acks.set(host, [command_id]);
    else acks.push(command_id);
  }

  #sendAcks(): void {
    const acks = this.#acks;
    this.#acks = new Map();
    for (const [host, commandIds] of acks)
      for (let at = 0; at < commandIds.length; at += ACKS_MAX)
        this.#ports.acknowledge(host, commandIds.slice(at, at + ACKS_MAX));
  }
}
