import type { Agent } from "@homeostat/agent";
import type { Control } from "@homeostat/agent/control";
import type { SiteServer } from "@homeostat/agent/site";
import type { Runner } from "@homeostat/detectors";
import { DEAD_LETTER_TOPICS, type Ingest, TELEMETRY_GROUP } from "@homeostat/ingest";
import type { Engine } from "@homeostat/remediation";
import type { Bus } from "@homeostat/schemas";
import type { LiveStore } from "./live-store.ts";
import type { Receivers } from "./receivers.ts";
import type { Reload } from "./reload.ts";

export interface Component {
  readonly name: string;
  readonly state: "ok" | "degraded" | "failing";
  /** A sentence for a person. */
  readonly detail: string;
  readonly figures: Readonly<Record<string, number>>;
}

/** The parts that run in this process; null where one does not. */
export interface Parts {
  readonly bus: Bus | null;
  readonly store: LiveStore | null;
  readonly agent: Agent | null;
  readonly receivers: Receivers | null;
  readonly control: Control | null;
  readonly siteServer: SiteServer | null;
  readonly ingest: Ingest | null;
  readonly runner: Runner | null;
  readonly engine: Engine | null;
  /** How rules are changed while the platform runs. */
  readonly reload: Reload;
}

const TELEMETRY_TOPICS = ["telemetry.logs", "telemetry.metrics"] as const;
/** Behind by more messages than this, what detectors and queries see is not the present. */
const LAG_MESSAGES_MAX = 1000;

const sum = (numbers: readonly number[]): number => numbers.reduce((total, number) => total + number, 0);

/** Batches of each topic of telemetry that ingest has yet to do: what the ledger's balance asks for. */
export const waitingBatches = async (bus: Bus): Promise<ReadonlyMap<string, number>> =>
  new Map(
    await Promise.all(
      TELEMETRY_TOPICS.map(async (topic) => [topic, sum(await bus.lag(TELEMETRY_GROUP, topic))] as const),
    ),
  );

const lagOf = async (bus: Bus, group: string, topics: readonly string[]): Promise<number> =>
  sum((await Promise.all(topics.map((topic) => bus.lag(group, topic)))).flat());

const storeHealth = async (store: LiveStore): Promise<Component> => {
  const trouble = store.trouble();
  const answers = trouble === null && (await store.current().ping());
  return {
    name: "store",
    state: answers ? "ok" : "failing",
    detail: trouble ?? (answers ? store.about : `${store.about} does not answer`),
    figures: {},
  };
};

const agentHealth = (agent: Agent): Component => {
  const { state, problems, ledger, spool_bytes } = agent.status();
  const dropped = sum(Object.values(ledger.dropped));
  return {
    name: "agent",
    state: state === "online" ? "ok" : "degraded",
    detail: problems.length === 0 ? `${ledger.delivered} records delivered` : problems.join("; "),
    figures: { produced: ledger.produced, delivered: ledger.delivered, spooled: ledger.spooled, dropped, spool_bytes },
  };
};

const receiversHealth = ({ gateway, topics, places }: Receivers): Component => {
  const { failing, heldBytes, receivers, remembered } = gateway();
  const counts = [...receivers, ...(topics?.().receivers ?? [])];
  const accepted = sum(counts.map((count) => count.accepted));
  const rejected = sum(counts.flatMap((count) => Object.values(count.rejected)));
  const well = `${accepted} records taken, ${rejected} refused, at ${places.join(", ")}`;
  return {
    name: "receivers",
    state: failing === null ? "ok" : "failing",
    detail: failing === null ? well : `the bus takes nothing: ${failing.error}`,
    figures: { accepted, rejected, held_bytes: heldBytes, series: remembered.series, dead: topics?.().dead ?? 0 },
  };
};

const ingestHealth = async (ingest: Ingest, bus: Bus): Promise<Component> => {
  const { failing, counts } = ingest.status();
  const lag = await lagOf(bus, TELEMETRY_GROUP, TELEMETRY_TOPICS);
  const deadLetters = await lagOf(bus, "nobody", DEAD_LETTER_TOPICS);
  const isBehind = lag > LAG_MESSAGES_MAX;
  const well = `${counts.rowsInserted} rows inserted, ${lag} batches wait`;
  return {
    name: "ingest",
    state: failing !== null ? "failing" : isBehind ? "degraded" : "ok",
    detail: failing === null ? well : `nothing is written: ${failing.error}`,
    figures: {
      lag,
      rows_inserted: counts.rowsInserted,
      duplicates: counts.duplicates,
      dead_letters: deadLetters,
      records_malformed: counts.recordsMalformed,
      messages_expired: counts.messagesExpired,
    },
  };
};

const detectorsHealth = (runner: Runner, reload: Reload): Component => {
  const { rules, readiness, partitions } = runner.status();
  const trouble = reload.problem() ?? partitions.map(({ last_error }) => last_error).find((error) => error !== "");
  const lag = sum(partitions.map(({ lag_messages }) => lag_messages));
  const subjects = sum(partitions.map((partition) => partition.subjects));
  const warming = sum(Object.values(readiness).map(({ warming_up }) => warming_up));
  const learning = warming === 0 ? "" : `; ${warming} baselines are warming up`;
  return {
    name: "detectors",
    state: trouble !== undefined || lag > LAG_MESSAGES_MAX ? "degraded" : "ok",
    detail: trouble ?? `${rules.length} rules watch ${subjects} series and streams${learning}`,
    figures: {
      lag,
      subjects,
      warming_up: warming,
      findings: sum(partitions.map(({ findings_published }) => findings_published)),
    },
  };
};

const remediationHealth = (engine: Engine): Component => {
  const { role, incidents_open, runs_live, notifications_pending, notifications_dead, last_error } = engine.status();
  return {
    name: "remediation",
    state: role === "stopped" || last_error !== null ? "degraded" : "ok",
    detail: last_error ?? `${role}; ${incidents_open} incidents open, ${runs_live} runs under way`,
    figures: {
      incidents_open,
      runs_live,
      notifications_pending,
      notifications_dead,
      is_leader: role === "leader" ? 1 : 0,
    },
  };
};

const controlHealth = (control: Control): Component => {
  const { role, agents, sessions, servers, jobs_open, invocations_open, held, audit_is_whole, last_error } =
    control.health();
  const known = sum(Object.values(agents));
  const trouble = audit_is_whole
    ? last_error
    : "the audit log does not hold what this platform wrote: homeostat audit verify";
  return {
    name: "control",
    state: !audit_is_whole ? "failing" : role === "stopped" || last_error !== null ? "degraded" : "ok",
    detail: trouble ?? `${role}; ${known} agents, ${sessions} of them by channel; ${jobs_open} jobs open`,
    figures: {
      agents: known,
      sessions,
      servers,
      jobs_open,
      invocations_open,
      held,
      is_leader: role === "leader" ? 1 : 0,
    },
  };
};

const siteHealth = (server: SiteServer): Component => {
  const { agents, control, pending, refused, frames } = server.stats();
  return {
    name: "site server",
    state: control ? "ok" : "degraded",
    detail: control
      ? `${agents} agents at ${server.address}`
      : `control is out of reach; ${agents} agents stay connected`,
    figures: { agents, pending, refused: sum(Object.values(refused)), frames_dropped: frames.dropped },
  };
};

/** Asks every part now; a part that cannot be asked is failing, and says why. */
export const readHealth = async ({
  bus,
  store,
  agent,
  receivers,
  control,
  siteServer,
  ingest,
  runner,
  engine,
  reload,
}: Parts): Promise<readonly Component[]> => {
  const asks: readonly (readonly [string, () => Component | Promise<Component>] | null)[] = [
    store && ["store", () => storeHealth(store)],
    agent && ["agent", () => agentHealth(agent)],
    receivers && ["receivers", () => receiversHealth(receivers)],
    control && ["control", () => controlHealth(control)],
    siteServer && ["site server", () => siteHealth(siteServer)],
    ingest && bus && ["ingest", () => ingestHealth(ingest, bus)],
    runner && ["detectors", () => detectorsHealth(runner, reload)],
    engine && ["remediation", () => remediationHealth(engine)],
  ];
  return Promise.all(
    asks
      .filter((ask) => ask !== null)
      .map(async ([name, ask]) => {
        try {
          return await ask();
        } catch (error) {
          return {
            name,
            state: "failing",
            detail: error instanceof Error ? error.message : String(error),
            figures: {},
          } as const;
        }
      }),
  );
};
