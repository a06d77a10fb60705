import { RequestError } from "../../gateway/receiver-route.ts";
import { documentOf, type ShippedDocument } from "./document.ts";
import { FIELDS_MAX } from "./flat-fields.ts";

/** `update` and `delete` are understood, and refused: records that were taken are never changed. */
export type BulkAction = "index" | "create" | "update" | "delete";

export interface BulkItem {
  readonly action: BulkAction;
  readonly index: string;
  readonly id: string;
  readonly outcome: { readonly document: ShippedDocument } | { readonly error: BulkError };
}

export interface BulkError {
  readonly type: "mapper_parsing_exception" | "illegal_argument_exception";
  readonly reason: string;
}

/** A request that has more is refused whole; shippers send some thousand at most. */
export const ITEMS_MAX = 100_000;

/** Two for each item, and as many empty ones. */
const LINES_MAX = 4 * ITEMS_MAX;

/** Twice what a record may have; a longer one is not even parsed. */
export const DOCUMENT_LENGTH_MAX = 524_288;

const NEWLINE = 0x0a;

/**
 * The body of a _bulk request (https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-bulk): per item a line that says what to do,
 * and for all but `delete` one with the document. A document that cannot be read makes its item an error.
 * @throws RequestError 400 when a line that says what to do cannot be read: what follows could not be told apart.
 */
export const decodeBulk = (body: Buffer): BulkItem[] => {
  if (body.length === 0) throw new RequestError(400, "request body is required");
  if (body[body.length - 1] !== NEWLINE) {
    throw new RequestError(400, "The bulk request must be terminated by a newline [\\n]");
  }
  const items: BulkItem[] = [];
  const lines = new Lines(body);
  for (let line = lines.next(); line !== null; line = lines.next()) {
    if (line.trim() === "") continue;
    if (items.length === ITEMS_MAX) throw new RequestError(413, `more than ${ITEMS_MAX} items in one bulk request`);
    items.push(itemAt(line, lines));
  }
  return items;
};

class Lines {
  readonly #body: Buffer;
  #at = 0;
  number = 0;

  constructor(body: Buffer) {
    this.#body = body;
  }

  next(): string | null {
    if (this.#at >= this.#body.length) return null;
    if (this.number === LINES_MAX) throw new RequestError(413, `more than ${LINES_MAX} lines in one bulk request`);
    const end = this.#body.indexOf(NEWLINE, this.#at);
    const line = this.#body.toString("utf8", this.#at, end);
    this.#at = end + 1;
    this.number++;
    return line;
  }
}

const ACTIONS: ReadonlySet<string> = new Set<BulkAction>(["index", "create", "update", "delete"]);

const isAction = (name: string): name is BulkAction => ACTIONS.has(name);

const itemAt = (line: string, lines: Lines): BulkItem => {
  const { action, metadata } = actionOf(line, lines.number);
  const index = typeof metadata._index === "string" ? metadata._index : "";
  const id = typeof metadata._id === "string" ? metadata._id : "";
  if (action === "delete") return { action, index, id, outcome: { error: unsupported(action) } };
  const source = lines.next();
  if (source === null) throw new RequestError(400, `line ${lines.number}: [${action}] is not followed by a document`);
  if (action === "update") return { action, index, id, outcome: { error: unsupported(action) } };
  return { action, index, id, outcome: outcomeOf(source) };
};

const unsupported = (action: BulkAction): BulkError => ({
  type: "illegal_argument_exception",
  reason: `[${action}] is not supported: records are only ever added`,
});

const actionOf = (
  line: string,
  number: number,
): { action: BulkAction; metadata: Readonly<Record<string, unknown>> } => {
  const parsed = parsedObject(line);
  const [entry, ...others] = parsed === null ? [] : Object.entries(parsed);
  const [action = "", metadata] = entry ?? [];
  if (others.length > 0 || !isAction(action) || typeof metadata !== "object" || metadata === null) {
    const shown = JSON.stringify(line.slice(0, 100));
    throw new RequestError(
      400,
      `Malformed action/metadata line [${number}], expected {"index": {…}} or {"create": {…}}, got ${shown}`,
    );
  }
  return { action, metadata: metadata as Readonly<Record<string, unknown>> };
};

const parsedObject = (text: string): Readonly<Record<string, unknown>> | null => {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== "object" || value === null || Array.isArray(value)) return null;
    return value as Readonly<Record<string, unknown>>;
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
};

/** Only a document that is longer than this can have so many fields that parsing it takes long. */
const LONG_DOCUMENT_LENGTH = 32_768;

/** Why a document is not even parsed: names are what costs, some microseconds each. */
const tooMuch = (source: string): string | null => {
  if (source.length > DOCUMENT_LENGTH_MAX) {
    return `a document of ${source.length} characters, at most ${DOCUMENT_LENGTH_MAX} are taken`;
  }
  if (source.length < LONG_DOCUMENT_LENGTH) return null;
  let names = 0;
  for (let at = source.indexOf('":'); at >= 0; at = source.indexOf('":', at + 2)) {
    if (source[at - 1] !== "\\") names++;
  }
  // Objects within arrays have names too, and are no fields.
  return names > 4 * FIELDS_MAX ? `a document of more than ${4 * FIELDS_MAX} names` : null;
};

const outcomeOf = (source: string): BulkItem["outcome"] => {
  const reason = tooMuch(source);
  if (reason !== null) return { error: { type: "mapper_parsing_exception", reason } };
  const fields = parsedObject(source);
  const document = fields === null ? "failed to parse: expected a JSON object" : documentOf(fields);
  return typeof document === "string"
    ? { error: { type: "mapper_parsing_exception", reason: document } }
    : { document };
};
