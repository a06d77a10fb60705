import { type Bus, BusError, type BusMessage, type Log, TOPICS } from "@homeostat/schemas";
import { contentOf, type Letter, type LetterContent, letterId, letterOf, parseLetterId } from "./letter.ts";
import { type Replay, replayOf } from "./replay.ts";
import { type Scanned, scan, type Window } from "./scan.ts";

export const DEAD_LETTER_TOPICS: readonly string[] = Object.keys(TOPICS).filter((name) => name.endsWith(".dlq"));
/** Letters of one page, and of one replay. */
export const LETTERS_MAX = 500;
const SCAN_MS_MAX = 12_000;
/** As large as an id may say it. */
const OFFSET_MAX = 999_999_999_999_999;
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
  /**
   * In the order of topic, partition and offset. What takes longer than SCAN_MS_MAX to look through gives the letters of the part that was looked
   * through, perhaps none, and where to go on.
   */
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
  /** How long one reading may take; SCAN_MS_MAX. */
  readonly scanMs?: number;
}

/** A letter on its way to the topic that it comes from. */
interface Outgoing extends Replay {
  readonly id: string;
  readonly topic: string;
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

/** Up to which letter everything was looked at, when time was over. @throws when that is no further than before. */
const lookedThrough = (left: Scanned["left"], after: string | undefined): string => {
  const ends = [...left].map(([place, offset]) => ({ offset, id: `${place}/${Math.max(0, offset)}` }));
  const [first] = ends.sort((a, b) => inOrder(a.id, b.id));
  if (first === undefined) throw tooSlow();
  if (first.offset >= 0) return first.id;
  const [topic, partition] = placesOf(first.id);
  // Nothing of this partition: what was looked at ends with the one before.
  const before = partition > 0 ? `${topic}/${partition - 1}/${OFFSET_MAX}` : null;
  if (before === null || (after !== undefined && inOrder(before, after) <= 0)) throw tooSlow();
  return before;
};

const tooSlow = (): BusError =>
  new BusError("unreachable", "the bus did not give the dead letters in time", { retryable: true });

class BusDeadLetters implements DeadLetters {
  readonly #ports: DeadLetterPorts;
  /** One reader at a time: they share a group. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(ports: DeadLetterPorts) {
    this.#ports = ports;
  }

  async list({ topic, reason, after, limit = LETTERS_MAX }: LetterFilter): Promise<LetterPage> {
    const found = new Map<string, Letter[]>();
    const { isComplete, left } = await this.#scan(topicsOf(topic), windowAfter(after), (message) => {
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
    const end = isComplete ? null : lookedThrough(left, after);
    const known = end === null ? letters : letters.filter(({ id }) => inOrder(id, end) <= 0);
    const page = known.slice(0, limit);
    return { letters: page, next: known.length > limit ? (page.at(-1)?.id ?? null) : end };
  }

  async show(id: string): Promise<(Letter & { readonly content: LetterContent }) | null> {
    const [message] = await this.#read([id]);
    return message === undefined ? null : { ...letterOf(message), content: contentOf(message.value) };
  }

  async replay(ids: readonly string[], { by, dryRun }: { by: string; dryRun: boolean }): Promise<Replayed> {
    const replayed: { id: string; topic: string; rows: number | null }[] = [];
    const refused: { id: string; message: string }[] = [];
    const waiting: Outgoing[] = [];
    const send = async () => {
      for (const { id, error } of await this.#send(waiting.splice(0), by)) {
        replayed.splice(
          replayed.findIndex((one) => one.id === id),
          1,
        );
        refused.push({ id, message: `the bus refuses it: ${error.message}` });
      }
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
      waiting.push({ id, topic: source_topic, ...replay });
      if (waiting.length >= LETTERS_PER_PUBLISH) await send();
    });
    await send();
    for (const id of new Set(ids)) if (!seen.has(id)) refused.push({ id, message: "there is no such dead letter" });
    return { replayed, refused };
  }

  /** One publish; what the bus will never take is found letter by letter, and does not keep the others back. */
  async #send(letters: readonly Outgoing[], by: string): Promise<readonly { id: string; error: Error }[]> {
    if (letters.length === 0) return [];
    try {
      await this.#ports.bus.publish(letters.flatMap(({ messages }) => messages));
    } catch (error) {
      if (!(error instanceof BusError) || error.retryable) throw error;
      const [first] = letters;
      if (letters.length === 1 && first !== undefined) return [{ id: first.id, error }];
      const refused = [];
      for (const letter of letters) refused.push(...(await this.#send([letter], by)));
      return refused;
    }
    for (const { id, topic, rows } of letters)
      this.#ports.log.info({ by, letter: id, topic, rows }, "a dead letter was replayed");
    return [];
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
    const { isComplete } = await this.#scan(topics, window, async (message) => {
      if (wanted.has(letterId(message))) await visit(message);
      return true;
    });
    if (!isComplete) throw tooSlow();
  }

  #scan(
    topics: readonly string[],
    window: Window,
    visit: (message: BusMessage) => Promise<boolean> | boolean,
  ): Promise<Scanned> {
    if (topics.length === 0) return Promise.resolve({ isComplete: true, left: new Map() });
    const { bus, name, scanMs = SCAN_MS_MAX } = this.#ports;
    const done = this.#turn.then(() =>
      scan({ bus, group: `dead-letters-${name}`, topics, window, visit, timeoutMs: scanMs }),
    );
    this.#turn = done.catch(() => undefined);
    return done;
  }
}

export const createDeadLetters = (ports: DeadLetterPorts): DeadLetters => new BusDeadLetters(ports);
