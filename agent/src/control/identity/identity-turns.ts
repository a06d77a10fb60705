import { type AgentIdentity, type EnrolmentToken, identityKey, type Log, tokenKey } from "@homeostat/schemas";
import type { EnrolRefused } from "../../channel/enrolment.ts";
import type { IdentityStore, IdentityWrite } from "./identity-store.ts";
import { isRefused, refuse } from "./request-checks.ts";

/** Changes that wait for their turn; whoever comes then is told to come again. */
const WAITING_MAX = 4_096;
/** Written together: a write of the bus costs as much as all of these, and the first need not wait long for the last. */
const TURN_MAX = 64;

/** What is written, with what those before in the same turn are going to write. */
export interface IdentityView {
  identity(key: string): AgentIdentity | undefined;
  token(id: string): EnrolmentToken | undefined;
  readonly size: { readonly identities: number; readonly tokens: number };
}

export interface Decided<Outcome> {
  readonly outcome: Outcome;
  readonly writes: readonly IdentityWrite[];
  /** Once it is written. */
  readonly audit?: () => Promise<void>;
}

type Decide<Outcome> = (view: IdentityView) => Promise<Decided<Outcome> | EnrolRefused>;

interface Waiting {
  readonly decide: Decide<object>;
  readonly resolve: (outcome: object) => void;
}

/** Changes are decided one after the other, so that what was checked is still so when it is written; what gathers is written as one. */
export class IdentityTurns {
  readonly #store: IdentityStore;
  readonly #log: Log;
  readonly #waiting: Waiting[] = [];
  #running: Promise<void> | null = null;

  constructor(store: IdentityStore, log: Log) {
    this.#store = store;
    this.#log = log;
  }

  /** Resolves when it is written and in the audit log, or with why it is not. */
  take<Outcome extends object>(decide: Decide<Outcome>): Promise<Outcome | EnrolRefused> {
    if (this.#waiting.length >= WAITING_MAX)
      return Promise.resolve(refuse("busy", "too many wait already; try again later"));
    return new Promise((resolve) => {
      this.#waiting.push({ decide, resolve: resolve as (outcome: object) => void });
      this.#running ??= this.#run();
    });
  }

  async idle(): Promise<void> {
    await this.#running;
  }

  async #run(): Promise<void> {
    // What else comes at this moment goes with it.
    await null;
    while (this.#waiting.length > 0) await this.#turn(this.#waiting.splice(0, TURN_MAX));
    this.#running = null;
  }

  async #turn(changes: readonly Waiting[]): Promise<void> {
    const draft = new Draft(this.#store);
    const decided: { readonly resolve: Waiting["resolve"]; readonly of: Decided<object> | EnrolRefused }[] = [];
    for (const { decide, resolve } of changes) {
      const of = await decide(draft).catch((thrown: unknown) => this.#failed(thrown));
      if (!isRefused(of)) draft.add(of.writes);
      decided.push({ resolve, of });
    }
    // Nobody is answered before: also a refusal may rest on what another is to write.
    const fault = await draft.write().then(
      () => null,
      (thrown: unknown) => this.#failed(thrown),
    );
    await Promise.all(decided.map(async ({ resolve, of }) => resolve(fault ?? (await this.#outcomeOf(of)))));
  }

  async #outcomeOf(of: Decided<object> | EnrolRefused): Promise<object> {
    if (isRefused(of)) return of;
    return (of.audit?.() ?? Promise.resolve()).then(
      () => of.outcome,
      (thrown: unknown) => this.#failed(thrown),
    );
  }

  #failed(thrown: unknown): EnrolRefused {
    this.#log.error({ err: thrown }, "an identity could not be written");
    return refuse("unavailable", "it could not be written down; try again");
  }
}

class Draft implements IdentityView {
  readonly #store: IdentityStore;
  /** By key: of several writes of one key the last counts. */
  readonly #writes = new Map<string, IdentityWrite>();
  #identities = 0;
  #tokens = 0;

  constructor(store: IdentityStore) {
    this.#store = store;
  }

  get size(): IdentityView["size"] {
    const { identities, tokens } = this.#store.size;
    return { identities: identities + this.#identities, tokens: tokens + this.#tokens };
  }

  identity(key: string): AgentIdentity | undefined {
    const write = this.#writes.get(key);
    if (write === undefined) return this.#store.identity(key);
    return write.record === null || write.record.kind === "token" ? undefined : write.record;
  }

  token(id: string): EnrolmentToken | undefined {
    const write = this.#writes.get(tokenKey(id));
    if (write === undefined) return this.#store.token(id);
    return write.record?.kind === "token" ? write.record : undefined;
  }

  add(writes: readonly IdentityWrite[]): void {
    for (const write of writes) {
      const { key, record } = write;
      if (record?.kind === "token") this.#tokens += this.token(record.id) === undefined ? 1 : 0;
      else if (record !== null) this.#identities += this.identity(identityKey(record)) === undefined ? 1 : 0;
      this.#writes.set(key, write);
    }
  }

  async write(): Promise<void> {
    if (this.#writes.size > 0) await this.#store.write([...this.#writes.values()]);
  }
}
