import { type CommandResult, hasEnded, type OutgoingMessage } from "@homeostat/schemas";
import { LaneFullError, type PublishLane } from "./publish-lane.ts";

export interface ResultPorts {
  /** Of what agents tell, which is true whoever passes it on. */
  readonly heardLane: PublishLane;
  /** Of what control decides. Fenced: another leader may have handed out meanwhile what is called expired or cancelled here. */
  readonly concludedLane: PublishLane;
  /** As written by this control. */
  prove(message: OutgoingMessage): OutgoingMessage;
  /** Its end is on the bus already, and is not `lost`. */
  isKnown(result: CommandResult): boolean;
  /** It is on the bus. Must not throw. */
  settled(result: CommandResult): void;
  /** When it is the last that its job waits for, `record` is published with the job's end: resolves when it is settled; rejects when the term is over. null: it is not. */
  endWith(result: CommandResult, record: OutgoingMessage): Promise<void> | null;
  /** While the record of its job, which was over already, is being written anew; rejects when that fails. */
  amending(result: CommandResult): Promise<void> | null;
  acknowledge(host: string, commandIds: readonly string[]): void;
  count(reason: string): void;
  /** After a failure that another try may help: resolves when to try again; rejects when the term is over. */
  pause(): Promise<void>;
  fail(message: string, thrown: unknown): void;
}

interface Way {
  readonly lane: PublishLane;
  /** Of what an agent tells: names it among those under way. */
  readonly key: string | null;
}

/** Results on their way: first to the bus, then to whoever waits for them, then the agent is told that it may forget. */
export class Results {
  readonly #ports: ResultPorts;
  /** On their way: what agents say of them meanwhile, the same or another end, is nothing new. */
  readonly #underWay = new Set<string>();

  constructor(ports: ResultPorts) {
    this.#ports = ports;
  }

  /** From an agent's session. */
  heard(host: string, result: CommandResult): void {
    const { count, isKnown, heardLane } = this.#ports;
    if (result.host !== host) count("result_of_another_host");
    else if (!hasEnded(result.state)) count("result_without_an_end");
    else if (isKnown(result)) this.#acknowledge(result);
    else this.#take(result, { lane: heardLane, key: `${result.command_id}\n${host}` });
  }

  #take(result: CommandResult, way: Way & { readonly key: string }): void {
    if (this.#underWay.has(way.key)) {
      this.#ports.count("result_told_again");
      return;
    }
    this.#underWay.add(way.key);
    const record = this.#recordOf(result);
    const ending = this.#ports.endWith(result, record);
    if (ending === null) this.#push(result, record, way);
    else
      ending.then(
        () => this.#arrived(result, way.key),
        // The term is over.
        () => undefined,
      );
  }

  /** It is on the bus, and what follows from that is done. */
  #arrived(result: CommandResult, key: string): void {
    this.#underWay.delete(key);
    this.#acknowledge(result);
  }

  /** Decided by control itself. */
  concluded(result: CommandResult): void {
    this.#push(result, this.#recordOf(result), { lane: this.#ports.concludedLane, key: null });
  }

  #recordOf(result: CommandResult): OutgoingMessage {
    const value = Buffer.from(JSON.stringify(result));
    return this.#ports.prove({ topic: "agent.results", key: result.host, value });
  }

  #push(result: CommandResult, message: OutgoingMessage, way: Way): void {
    const { settled, count } = this.#ports;
    try {
      way.lane.add(message, (published) => {
        if (!published.ok) {
          this.#pushAgain(published.thrown, () => this.#push(result, message, way));
          return;
        }
        settled(result);
        if (way.key !== null) this.#arrived(result, way.key);
      });
    } catch (thrown) {
      // The agent tells it again: nothing is lost by not taking it now.
      if (thrown instanceof LaneFullError && way.key !== null) {
        this.#underWay.delete(way.key);
        count("results_full");
      } else this.#pushAgain(thrown, () => this.#push(result, message, way));
    }
  }

  #pushAgain(thrown: unknown, push: () => void): void {
    this.#ports.fail("a result could not be published, trying again", thrown);
    // Rejected: the term is over, and the next one hears it again.
    this.#ports.pause().then(push, () => undefined);
  }

  /** Not before what follows from it for a job that was over is durable too: the agent would not tell it to the next leader. */
  #acknowledge(result: CommandResult): void {
    const { acknowledge, amending } = this.#ports;
    const told = amending(result);
    if (told === null) acknowledge(result.host, [result.command_id]);
    // Rejected: the term is over.
    else
      told.then(
        () => acknowledge(result.host, [result.command_id]),
        () => undefined,
      );
  }
}
