import type { Answer } from "../../gateway/receiver-route.ts";
import type { BulkError, BulkItem } from "./bulk-request.ts";

/** Official clients speak to nothing that does not send it. */
const HEADERS = { "content-type": "application/json", "x-elastic-product": "Elasticsearch" } as const;

/** As bytes: to a string Fastify would add a charset. */
export const json = (body: unknown, status = 200): Answer => ({
  status,
  headers: HEADERS,
  body: Buffer.from(JSON.stringify(body)),
});

/** By status, as clients know them. */
const ERROR_TYPES: Readonly<Record<number, string>> = {
  400: "illegal_argument_exception",
  401: "security_exception",
  403: "security_exception",
  404: "resource_not_found_exception",
  408: "timeout_exception",
  413: "content_too_long_exception",
  415: "content_type_exception",
  429: "es_rejected_execution_exception",
  503: "unavailable_shards_exception",
};

export const failure = (status: number, reason: string): Answer => {
  const type = ERROR_TYPES[status] ?? "exception";
  return json({ error: { root_cause: [{ type, reason }], type, reason }, status }, status);
};

/** One result per item, in order; `isShort` leaves out what `filter_path` did not ask for. */
export const bulkAnswer = (
  items: readonly { readonly item: BulkItem; readonly error: BulkError | null }[],
  options: { readonly index: string; readonly isShort: boolean },
): Answer => {
  const results = items.map(({ item, error }, position) => {
    const where = { _index: item.index || options.index, _id: item.id || `${position}` };
    const status = error === null ? 201 : 400;
    const told = error === null ? { ...CREATED, status } : { status, error };
    return {
      [item.action]: options.isShort ? { status, ...(error === null ? {} : { error }) } : { ...where, ...told },
    };
  });
  return json({ took: 0, errors: items.some(({ error }) => error !== null), items: results });
};

const CREATED = {
  _version: 1,
  result: "created",
  _shards: { total: 1, successful: 1, failed: 0 },
  _seq_no: 0,
  _primary_term: 1,
} as const;
