import {
  BATCH_ROWS_MAX,
  BatchBuilder,
  type LineHead,
  LogLines,
  type TelemetryRow,
  type TextSpan,
} from "@homeostat/schemas";
import type { LogSource } from "../config.ts";
import { type LogLine, parseJson, parseText } from "./log-line.ts";
import { LINE_BYTES_MAX, type RawLine } from "./tailed-file.ts";
import { TextHeadReader } from "./text-head.ts";

/** Incompressible text at this size, and one more line of invalid bytes, still make a message that the bus takes. */
const BATCH_BYTES = 262_144;
/** Lines are gathered up to here before they join the batch. One of the greatest length fits. */
const LINES = { rowsMax: 1024, bodyBytesMax: LINE_BYTES_MAX };
/** Beside its text, in a record's attributes: a key, lengths and a running total. */
const SHARED_BYTES = 32;
const NS_PER_MS = 1_000_000n;

/** Where lines come from; the same object for as long as it is the same place. */
export interface Origin {
  readonly path: string;
  readonly source: LogSource;
}

/** Lines of log files as they become a batch: those of text column by column, the others as rows. */
export class LineBatch {
  readonly #host: string;
  readonly #builder = new BatchBuilder("logs");
  readonly #heads = new TextHeadReader();
  /** The newest lines, all of one origin: they join the builder before any other does. */
  readonly #lines = new LogLines(LINES);
  #linesOf: Origin | null = null;
  #sharedBytes = 0;
  #arrivalUnixMs = 0;
  #arrivals = 0;

  constructor(host: string) {
    this.#host = host;
  }

  get rowCount(): number {
    return this.#builder.rowCount + this.#lines.rowCount;
  }

  get isFull(): boolean {
    const bytes = this.#builder.byteLength + this.#lines.byteLength + this.#lines.rowCount * this.#sharedBytes;
    return bytes >= BATCH_BYTES || this.rowCount >= BATCH_ROWS_MAX;
  }

  /** Lines that tell no time are of this one, or of the latest before when the clock went back. */
  arriveAt(nowUnixMs: number): void {
    if (nowUnixMs > this.#arrivalUnixMs) this.#arrivals = 0;
    this.#arrivalUnixMs = Math.max(nowUnixMs, this.#arrivalUnixMs);
  }

  append(origin: Origin, line: RawLine, nowUnixMs: number): void {
    const { text } = line;
    const isPlain = line.isUtf8 && !line.isPartial && line.lengthBytes <= LINE_BYTES_MAX;
    if (!isPlain || origin.source.format !== "text") {
      this.#appendRow(origin, line, nowUnixMs);
      return;
    }
    const head = this.#heads.read(text.bytes, text.from, text.to);
    this.#appendLine(origin, head.isKnown ? head : this.#slowHead(text, nowUnixMs), text);
  }

  /** Empty again. */
  finish(name: { readonly producer: string; readonly sequence: number }): Uint8Array {
    this.#joinLines();
    return this.#builder.finish(name);
  }

  #appendLine(origin: Origin, head: LineHead, text: TextSpan): void {
    if (this.#linesOf !== origin) {
      this.#joinLines();
      this.#linesOf = origin;
      this.#sharedBytes = SHARED_BYTES + origin.path.length + origin.source.service.length + this.#host.length;
    }
    if (this.#lines.push(head, text)) return;
    this.#joinLines();
    this.#appendLine(origin, head, text);
  }

  /** Where the bytes do not tell it plainly. */
  #slowHead({ bytes, from, to }: TextSpan, nowUnixMs: number): LineHead {
    const { timestampNs, severityNumber: severity } = parseText(bytes.toString("utf8", from, to), nowUnixMs);
    if (timestampNs === null) return { unixMs: this.#arrivalUnixMs, ns: this.#arrivals++, severity };
    return { unixMs: Number(timestampNs / NS_PER_MS), ns: Number(timestampNs % NS_PER_MS), severity };
  }

  #joinLines(): void {
    if (this.#linesOf === null) return;
    this.#builder.appendRun(this.#lines.run(this.#sharedBy(this.#linesOf)));
    this.#lines.reset();
    this.#linesOf = null;
  }

  #sharedBy({ path, source }: Origin): Omit<TelemetryRow<"logs">, "timestamp" | "severity_number" | "body"> {
    return {
      service_name: source.service,
      host_name: this.#host,
      trace_id: "",
      span_id: "",
      attributes: { "log.file.path": path },
    };
  }

  /** A line of JSON, or one with something to say of itself. */
  #appendRow(origin: Origin, line: RawLine, nowUnixMs: number): void {
    this.#joinLines();
    const text = line.text.bytes.toString("utf8", line.text.from, line.text.to);
    const isJson = origin.source.format === "json";
    const parsed: LogLine = isJson ? parseJson(text, nowUnixMs) : parseText(text, nowUnixMs);
    const shared = this.#sharedBy(origin);
    const attributes = Object.assign(parsed.attributes, shared.attributes);
    if (line.lengthBytes > LINE_BYTES_MAX) {
      attributes["log.truncated"] = "true";
      attributes["log.original_length"] = String(line.lengthBytes);
    }
    if (line.isPartial) attributes["log.partial"] = "true";
    this.#builder.append({
      ...shared,
      timestamp: parsed.timestampNs ?? this.#arrivalNs(),
      severity_number: parsed.severityNumber,
      trace_id: parsed.traceId,
      span_id: parsed.spanId,
      body: parsed.body,
      attributes,
    });
  }

  /** Lines that arrive together keep their order: each is a nanosecond later than the one before. */
  #arrivalNs(): bigint {
    return BigInt(this.#arrivalUnixMs) * NS_PER_MS + BigInt(this.#arrivals++);
  }
}
