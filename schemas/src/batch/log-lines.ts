import type { RowRun } from "./batch-builder.ts";
import type { TelemetryRow } from "./telemetry-row.ts";
import { writeVaruint } from "./varuint.ts";

const LENGTH_BYTES_MAX = 5;
const TIME_BYTES = 8;
const WORD = 2 ** 32;
const LOW_MS = 2 ** 22;
/** 2^22 ms are so many times 2^28 ns. */
const NS_OF_LOW_MS = 15_625;

/** A stretch of a larger buffer. */
export interface TextSpan {
  readonly bytes: Buffer;
  readonly from: number;
  readonly to: number;
}

/** When a line was written, in milliseconds since 1970 and nanoseconds beyond them (whole numbers from 0 on), and OpenTelemetry's SeverityNumber. */
export interface LineHead {
  readonly unixMs: number;
  readonly ns: number;
  readonly severity: number;
}

/**
 * Log records that differ in time, severity and body alone, gathered column by column: neither an object nor a string nor a bigint for each.
 * It has room for so many; when `push` refuses, append `run` to a builder, reset and push again.
 */
export class LogLines {
  readonly #bodies: Buffer;
  readonly #times: Uint32Array;
  readonly #severities: Uint8Array;
  #bodiesEnd = 0;
  #rowCount = 0;
  #timeMin = Number.POSITIVE_INFINITY;
  #timeMax = Number.NEGATIVE_INFINITY;

  constructor({ rowsMax, bodyBytesMax }: { readonly rowsMax: number; readonly bodyBytesMax: number }) {
    this.#bodies = Buffer.allocUnsafeSlow(bodyBytesMax + LENGTH_BYTES_MAX);
    this.#times = new Uint32Array(rowsMax * 2);
    this.#severities = new Uint8Array(rowsMax);
  }

  get rowCount(): number {
    return this.#rowCount;
  }

  /** Of what differs, in a block. */
  get byteLength(): number {
    return this.#bodiesEnd + this.#rowCount * (TIME_BYTES + 1);
  }

  /** Copies the body, which the caller has found to be valid UTF-8; false when there is no room for it. */
  push({ unixMs, ns, severity }: LineHead, { bytes, from, to }: TextSpan): boolean {
    const row = this.#rowCount;
    const end = this.#bodiesEnd;
    if (row === this.#severities.length || end + LENGTH_BYTES_MAX + to - from > this.#bodies.length) return false;
    const textAt = writeVaruint(this.#bodies, end, to - from);
    this.#bodiesEnd = textAt + bytes.copy(this.#bodies, textAt, from, to);
    this.#severities[row] = severity;
    // 64 bits of nanoseconds as two words, each sum below 2^53.
    const high = Math.floor(unixMs / LOW_MS) * NS_OF_LOW_MS;
    const low = (high % 16) * 2 ** 28 + (unixMs % LOW_MS) * 1e6 + ns;
    this.#times[row * 2] = low;
    this.#times[row * 2 + 1] = Math.floor(high / 16) + Math.floor(low / WORD);
    if (unixMs < this.#timeMin) this.#timeMin = unixMs;
    if (unixMs > this.#timeMax) this.#timeMax = unixMs;
    this.#rowCount = row + 1;
    return true;
  }

  /** All of them, with what they share; a view, good until the next push. */
  run(shared: Partial<TelemetryRow<"logs">>): RowRun<"logs"> {
    return {
      rowCount: this.#rowCount,
      timeMinUnixMs: this.#timeMin,
      timeMaxUnixMs: this.#timeMax,
      shared,
      cells: {
        timestamp: new Uint8Array(this.#times.buffer, 0, this.#rowCount * TIME_BYTES),
        severity_number: this.#severities.subarray(0, this.#rowCount),
        body: this.#bodies.subarray(0, this.#bodiesEnd),
      },
    };
  }

  reset(): void {
    this.#bodiesEnd = 0;
    this.#rowCount = 0;
    this.#timeMin = Number.POSITIVE_INFINITY;
    this.#timeMax = Number.NEGATIVE_INFINITY;
  }
}
