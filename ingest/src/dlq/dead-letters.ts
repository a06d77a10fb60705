import { type Bus, type BusMessage, type Log, type OutgoingMessage, TOPICS } from "@homeostat/schemas";
import { contentOf, type Letter, type LetterContent, letterId, letterOf, parseLetterId } from "./letter.ts";
import { replayOf } from "./replay.ts";
import { scan, type Window } from "./scan.ts";

export const DEAD_LETTER_TOPICS: readonly string[] = Object.keys(TOPICS).filter((name) => name.endsWith(".dlq"));
/** Letters of one page, and of one replay. */
export const LETTERS_MAX = 500;
const SCAN_MS_MAX = 12_000;
/** A publish carries at most this many letters: 16 MiB of them. */
const LETTERS_PER_PUBLISH = 32;

export interface LetterFilter {
  /** The dead letters' topic or the one that they come from. */
  readonly topic?: string | undefined;
  readonly reason?: string | undefined;
  /** The id of the last letter of the page before. */
  readonly after?: string | undefined;
  /** At most LETTERS_MAX. */
  readonly limit?: number | undefined;
}

export interface LetterPage {
  readonly letters: readonly Letter[];
  /** What `after` wants for the next page; null at the end. */
  readonly next: string | null;
}

export interface Replayed {
  readonly replayed: readonly { readonly id: string; readonly topic: string; readonly rows: number | null }[];
  readonly refused: readonly { readonly id: string; readonly message: string }[];
}

/** The dead letters of telemetry, as they stand on the bus: kept seven days, oldest first. */
export interface DeadLetters {
  /** In the order of topic, partition and offset. */
  list(filter: LetterFilter): Promise<LetterPage>;
  /** null where there is no such letter (any more). */
  show(id: string): Promise<(Letter & { readonly content: LetterContent }) | null>;
  /** Sends letters to the topics they come from; `dryRun` says what would be sent. `by` is for the log. */
  replay(ids: readonly string[], options: { readonly by: string; readonly dryRun: boolean }): Promise<Replayed>;
}

interface DeadLetterPorts {
  readonly bus: Bus;
  readonly log: Log;
  /** Tells this process from others that read the same topics. */
  readonly name: string;
}

const topicsOf = (topic: string | undefined): readonly string[] =>
  topic === undefined
    ? DEAD_LETTER_TOPICS
    : DEAD_LETTER_TOPICS.filter((one) => one === topic || one === `${topic}.dlq`);

const placesOf = (id: string): readonly [string, number, number] => {
  const { topic, partition, offset } = parseLetterId(id) ?? { topic: "", partition: 0, offset: 0 };
  return [topic, partition, offset];
};

const inOrder = (a: string, b: string): number => {
  const [[topicA, partitionA, offsetA], [topicB, partitionB, offsetB]] = [placesOf(a), placesOf(b)];
  if (topicA !== topicB) return topicA < topicB ? -1 : 1;
  return partitionA - partitionB || offsetA - offsetB;
};

/** Behind the letter `after`. */
const windowAfter =
  (after: string | undefined): Window =>
  ({ topic, partition, earliestOffset, endOffset }) => {
    if (after === undefined) return { from: earliestOffset, to: endOffset };
    const [afterTopic, afterPartition, afterOffset] = placesOf(after);
    if (topic === afterTopic && partition === afterPartition) return { from: afterOffset + 1, to: endOffset };
    return inOrder(letterId({ topic, partition, offset: 0 }), after) > 0
      ? { from: earliestOffset, to: endOffset }
      : null;
  };

class BusDeadLetters implements DeadLetters {
  readonly #ports: DeadLetterPorts;
  /** One reader at a time: they share a group. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(ports: DeadLetterPorts) {
    this.#ports = ports;
  }

  async list({ topic, reason, after, limit = LETTERS_MAX }: LetterFilter): Promise<LetterPage> {
    const found = new Map<string, Letter[]>();
    await this.#scan(topicsOf(topic), windowAfter(after), (message) => {
      const letter = letterOf(message);
      if (reason !== undefined && letter.reason !== reason) return true;
      const place = `${message.topic}/${message.partition}`;
      const letters = found.get(place) ?? [];
      letters.push(letter);
      found.set(place, letters);
      return letters.length <= limit;
    });
    // A partition that changed hands meanwhile has been read twice.
    const byId = new Map([...found.values()].flat().map((letter) => [letter.id, letter]));
    const letters = [...byId.values()].sort((a, b) => inOrder(a.id, b.id));
    const page = letters.slice(0, limit);
    return { letters: page, next: letters.length > limit ? (page.at(-1)?.id ?? null) : null };
  }

  async show(id: string): Promise<(Letter & { readonly content: LetterContent }) | null> {
    const [message] = await this.#read([id]);
    return message === undefined ? null : { ...letterOf(message), content: contentOf(message.value) };
  }

  async replay(ids: readonly string[], { by, dryRun }: { by: string; dryRun: boolean }): Promise<Replayed> {
    const replayed: { id: string; topic: string; rows: number | null }[] = [];
    const refused: { id: string; message: string }[] = [];
    const waiting: OutgoingMessage[] = [];
    const send = async () => {
      const messages = waiting.splice(0);
      if (messages.length > 0) await this.#ports.bus.publish(messages);
    };
    const seen = new Set<string>();
    await this.#visit(ids, async (message) => {
      const id = letterId(message);
      seen.add(id);
      const replay = replayOf(message);
      if (typeof replay === "string") return void refused.push({ id, message: replay });
      const { source_topic } = letterOf(message);
      replayed.push({ id, topic: source_topic, rows: replay.rows });
      if (dryRun) return;
      this.#ports.log.info({ by, letter: id, topic: source_topic, rows: replay.rows }, "a dead letter is replayed");
      waiting.push(...replay.messages);
      if (waiting.length >= LETTERS_PER_PUBLISH) await send();
    });
    await send();
    for (const id of new Set(ids)) if (!seen.has(id)) refused.push({ id, message: "there is no such dead letter" });
    return { replayed, refused };
  }

  async #read(ids: readonly string[]): Promise<readonly BusMessage[]> {
    const messages: BusMessage[] = [];
    await this.#visit(ids, async (message) => void messages.push(message));
    return messages;
  }

  /** The letters with these ids; ids that are none are passed over. */
  async #visit(ids: readonly string[], visit: (message: BusMessage) => Promise<void>): Promise<void> {
    const wanted = new Set(ids);
    const places = [...wanted].map(parseLetterId).filter((place) => place !== null);
    const topics = DEAD_LETTER_TOPICS.filter((topic) => places.some((place) => place.topic === topic));
    const window: Window = ({ topic, partition }) => {
      const offsets = places
        .filter((one) => one.topic === topic && one.partition === partition)
        .map(({ offset }) => offset);
      return offsets.length === 0 ? null : { from: Math.min(...offsets), to: Math.max(...offsets) + 1 };
    };
    await this.#scan(topics, window, async (message) => {
      if (wanted.has(letterId(message))) await visit(message);
      return true;
    });
  }

  #scan(
    topics: readonly string[],
    window: Window,
    visit: (message: BusMessage) => Promise<boolean> | boolean,
  ): Promise<void> {
    if (topics.length === 0) return Promise.resolve();
    const { bus, name } = this.#ports;
    const done = this.#turn.then(() =>
      scan({ bus, group: `dead-letters-${name}`, topics, window, visit, timeoutMs: SCAN_MS_MAX }),
    );
    this.#turn = done.catch(() => undefined);
    return done;
  }
}

export const createDeadLetters = (ports: DeadLetterPorts): DeadLetters => new BusDeadLetters(ports);
