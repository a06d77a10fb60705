import { BusError } from "@homeostat/schemas";
import { z } from "zod";
import type { Access } from "./access.ts";
import { ApiError, ErrorBody } from "./api-error.ts";
import type { ApiInstance } from "./api-instance.ts";
import { deciderOf } from "./principal.ts";

const LETTERS_MAX = 500;

export const Letter = z.strictObject({
  id: z.string().describe("topic/partition/offset"),
  reason: z.string(),
  detail: z.string(),
  at_unix_ms: z.number(),
  source_topic: z.string(),
  source_partition: z.number(),
  source_offset: z.number(),
  key: z.string(),
  replay_of: z.string().nullable().describe("the letter that the refused message was a replay of"),
  bytes: z.number(),
  schema: z.string().nullable(),
  producer: z.string().nullable(),
  sequence: z.number().nullable(),
  rows: z.number().nullable(),
});
export type Letter = z.infer<typeof Letter>;

const LetterContent = z.discriminatedUnion("kind", [
  z.strictObject({
    kind: z.literal("rows"),
    rows: z.array(z.record(z.string(), z.unknown())).readonly(),
    more: z.number(),
  }),
  z.strictObject({ kind: z.literal("bytes"), hex: z.string(), more: z.number(), problem: z.string() }),
]);
type LetterContent = z.infer<typeof LetterContent>;

const Replayed = z.strictObject({
  replayed: z
    .array(z.strictObject({ id: z.string(), topic: z.string(), rows: z.number().nullable() }))
    .readonly()
    .describe("rows: null where they cannot be counted"),
  refused: z.array(z.strictObject({ id: z.string(), message: z.string() })).readonly(),
});
type Replayed = z.infer<typeof Replayed>;

/** The dead letters; app gives it. */
export interface DeadLetterPort {
  list(filter: {
    readonly topic?: string | undefined;
    readonly reason?: string | undefined;
    readonly after?: string | undefined;
    readonly limit?: number | undefined;
  }): Promise<{ readonly letters: readonly Letter[]; readonly next: string | null }>;
  show(id: string): Promise<(Letter & { readonly content: LetterContent }) | null>;
  replay(ids: readonly string[], options: { readonly by: string; readonly dryRun: boolean }): Promise<Replayed>;
}

const errors = { "4xx": ErrorBody, "5xx": ErrorBody };
const Id = z.string().regex(/^[\w.-]{1,249}\/\d{1,9}\/\d{1,15}$/, "want topic/partition/offset");

const Filter = {
  topic: z.string().max(249).optional().describe("the letters' topic, or the one they come from"),
  reason: z.string().max(64).optional(),
  after: Id.optional().describe("the id at which the page before ended"),
  limit: z.coerce.number().int().min(1).max(LETTERS_MAX).optional(),
};

/** What the bus cannot do now is no fault of ours: the caller hears what it is. */
const busFailed = (error: unknown): never => {
  if (error instanceof BusError && error.retryable) throw new ApiError("timed_out", `the bus: ${error.message}`);
  throw error;
};

/** Reading them. Without a bus in this process there are none to read: `dlq` is null. */
export const dlqRoutes = (api: ApiInstance, dlq: DeadLetterPort): void => {
  api.get(
    "/dlq",
    {
      schema: {
        summary: "Dead letters: what could not be inserted, oldest first; kept seven days",
        querystring: z.strictObject(Filter),
        response: {
          200: z.strictObject({ letters: z.array(Letter).readonly(), next: z.string().nullable() }),
          ...errors,
        },
      },
    },
    ({ query }) => dlq.list(query).catch(busFailed),
  );

  api.get(
    "/dlq/letter",
    {
      schema: {
        summary: "A dead letter with its rows, or its first bytes where they cannot be read",
        querystring: z.strictObject({ id: Id }),
        response: { 200: Letter.extend({ content: LetterContent }), ...errors },
      },
    },
    async ({ query: { id } }) => {
      const letter = await dlq.show(id).catch(busFailed);
      if (letter === null) throw new ApiError("not_found", `no dead letter ${JSON.stringify(id)}`);
      return letter;
    },
  );
};

/** Under a scope that wants an admin. */
export const dlqReplayRoute = (api: ApiInstance, dlq: DeadLetterPort, access: Access): void => {
  api.post(
    "/dlq/replay",
    {
      schema: {
        summary:
          "Sends dead letters to the topics they come from; rows of a letter come into the store once, however often it is sent",
        security: [{ token: [] }],
        body: z.strictObject({
          ids: z.array(Id).min(1).max(LETTERS_MAX),
          by: z.string().min(1).max(255),
          dry_run: z.boolean().default(false),
        }),
        response: { 200: Replayed, ...errors },
      },
    },
    (request) => {
      const { ids, by, dry_run } = request.body;
      return dlq.replay(ids, { by: deciderOf(access.known(request), by), dryRun: dry_run }).catch(busFailed);
    },
  );
};
