import { parseArgs } from "node:util";
import { z } from "zod";
import { type ApiClient, connectTo } from "./client.ts";
import { FLAGS } from "./flags.ts";
import { table } from "./style.ts";
import { UsageError, type Verb, type VerbInput, verbsOf } from "./verb.ts";

const Letter = z.object({
  id: z.string(),
  reason: z.string(),
  detail: z.string(),
  at_unix_ms: z.number(),
  source_topic: z.string(),
  key: z.string(),
  replay_of: z.string().nullable(),
  bytes: z.number(),
  schema: z.string().nullable(),
  producer: z.string().nullable(),
  sequence: z.number().nullable(),
  rows: z.number().nullable(),
});
type Letter = z.infer<typeof Letter>;
const Page = z.object({ letters: z.array(Letter), next: z.string().nullable() });
const Content = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("rows"), rows: z.array(z.record(z.string(), z.unknown())), more: z.number() }),
  z.object({ kind: z.literal("bytes"), hex: z.string(), more: z.number(), problem: z.string() }),
]);
const Shown = Letter.extend({
  source_partition: z.number(),
  source_offset: z.number(),
  content: Content,
});
const Replayed = z.object({
  replayed: z.array(z.object({ id: z.string(), topic: z.string(), rows: z.number().nullable() })),
  refused: z.array(z.object({ id: z.string(), message: z.string() })),
});
type Replayed = z.infer<typeof Replayed>;

/** What `dlq list` shows at most; `--after` goes on. */
const LIST_MAX = 500;
/** One request's; the API takes no more. */
const REPLAY_MAX = 200;

interface Filter {
  readonly topic?: string | undefined;
  readonly reason?: string | undefined;
  readonly after?: string | undefined;
  readonly limit: number;
}

const page = (api: ApiClient, { topic, reason, after, limit }: Filter): Promise<z.infer<typeof Page>> => {
  const query = new URLSearchParams({ limit: String(limit) });
  for (const [name, value] of Object.entries({ topic, reason, after })) if (value !== undefined) query.set(name, value);
  return api.get(`/api/v1/dlq?${query}`, Page);
};

const line = (letter: Letter): readonly string[] => [
  letter.id,
  new Date(letter.at_unix_ms).toISOString(),
  letter.reason,
  letter.producer ?? letter.key,
  letter.rows === null ? `${letter.bytes} bytes` : `${letter.rows} ${letter.schema} rows`,
  letter.replay_of === null ? letter.detail : `${letter.detail} (replay of ${letter.replay_of})`,
];

const list = async ({ args, env, out }: VerbInput): Promise<number> => {
  const { values } = parseArgs({ args: [...args], options: FLAGS["dlq list"] });
  const { topic, reason, after } = values;
  const found = await page(connectTo(values, env), { topic, reason, after, limit: LIST_MAX });
  if (values.json) out(JSON.stringify(found));
  else if (found.letters.length === 0) out(found.next === null ? "no dead letters" : "no dead letters so far");
  else out(table([["letter", "since", "reason", "from", "holds", "detail"], ...found.letters.map(line)]));
  if (!values.json && found.next !== null) out(`there are more: homeostat dlq list --after ${found.next}`);
  return 0;
};

const show = async ({ args, env, out }: VerbInput): Promise<number> => {
  const { values, positionals } = parseArgs({ args: [...args], allowPositionals: true, options: FLAGS["dlq show"] });
  const [id, ...rest] = positionals;
  if (id === undefined || rest.length > 0) throw new UsageError("give exactly one dead letter: topic/partition/offset");
  const letter = await connectTo(values, env).get(`/api/v1/dlq/letter?id=${encodeURIComponent(id)}`, Shown);
  if (values.json) {
    out(JSON.stringify(letter));
    return 0;
  }
  const { content, ...headers } = letter;
  out(table([["header", "value"], ...Object.entries(headers).map(([name, value]) => [name, String(value)])]));
  if (content.kind === "rows") for (const row of content.rows) out(JSON.stringify(row));
  else out(`${content.problem}\n${content.hex.replace(/(.{2})/g, "$1 ").replace(/(.{48})/g, "$1\n")}`);
  if (content.more > 0) out(`and ${content.more} more ${content.kind}`);
  return 0;
};

/** The ids of all letters that stand there now, so that what a replay brings back is not replayed again. */
const allIds = async (api: ApiClient, filter: Pick<Filter, "topic" | "reason">): Promise<readonly string[]> => {
  const ids: string[] = [];
  let after: string | undefined;
  for (;;) {
    const found = await page(api, { ...filter, after, limit: LIST_MAX });
    ids.push(...found.letters.map(({ id }) => id));
    if (found.next === null) return ids;
    after = found.next;
  }
};

const idsOf = async (
  api: ApiClient,
  ids: readonly string[],
  values: { readonly all: boolean; readonly topic?: string | undefined; readonly reason?: string | undefined },
): Promise<readonly string[]> => {
  const isFiltered = values.topic !== undefined || values.reason !== undefined;
  if (values.all === ids.length > 0 || (isFiltered && !values.all))
    throw new UsageError("give dead letters (topic/partition/offset), or --all [--topic TOPIC] [--reason REASON]");
  return values.all ? allIds(api, { topic: values.topic, reason: values.reason }) : ids;
};

const tell = ({ replayed, refused }: Replayed, isDryRun: boolean, out: (line: string) => void): void => {
  const rows = replayed.reduce((sum, letter) => sum + (letter.rows ?? 0), 0);
  const unreadable = replayed.filter((letter) => letter.rows === null).length;
  const bytes = unreadable === 0 ? "" : `, ${unreadable} of them as they are because their rows cannot be read`;
  out(`${isDryRun ? "would replay" : "replayed"} ${replayed.length} dead letters, ${rows} rows${bytes}`);
  for (const { id, message } of refused) out(`not replayed: ${id}: ${message}`);
};

const replay = async ({ args, env, out, err }: VerbInput): Promise<number> => {
  const options = FLAGS["dlq replay"];
  const { values, positionals } = parseArgs({ args: [...args], allowPositionals: true, options });
  const api = connectTo(values, env);
  const ids = await idsOf(api, positionals, values);
  const [by, dry_run] = [values.by ?? env.USER ?? "unknown", values["dry-run"]];
  const done: Replayed = { replayed: [], refused: [] };
  for (let at = 0; at < ids.length; at += REPLAY_MAX) {
    const body = { ids: ids.slice(at, at + REPLAY_MAX), by, dry_run };
    const { replayed, refused } = await api.post("/api/v1/dlq/replay", body, Replayed).catch((error: unknown) => {
      if (at > 0) err(`stopped after ${at} of ${ids.length} dead letters; it does no harm to replay them all again`);
      throw error;
    });
    done.replayed.push(...replayed);
    done.refused.push(...refused);
  }
  if (values.json) out(JSON.stringify({ ...done, dry_run }));
  else tell(done, dry_run, out);
  return done.refused.length === 0 ? 0 : 1;
};

/** `homeostat dlq list | show | replay`: what could not be inserted. */
export const dlq: Verb = verbsOf("dlq", { list, show, replay });
