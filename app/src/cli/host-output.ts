import { StringDecoder } from "node:string_decoder";
import { visible } from "./terminal-text.ts";

/** A line without an end is shown when it has grown to this. */
const LINE_CHARS_MAX = 16_384;

export type OutputStream = "stdout" | "stderr" | "pty";

export interface HostOutputOptions {
  /** Several hosts: each line says whose it is. */
  readonly hasPrefixes: boolean;
  /** As it came, also what acts on a terminal. */
  readonly isRaw: boolean;
  readonly out: (line: string) => void;
  readonly err: (line: string) => void;
}

interface Written {
  readonly decoder: StringDecoder;
  rest: string;
  /** Of the text: bytes that are none count as what stands in their place. */
  chars: number;
}

/** Prints what commands say on hosts, line by line. */
export class HostOutput {
  readonly #options: HostOutputOptions;
  readonly #written = new Map<string, Written>();
  readonly #nextSequence = new Map<string, number>();
  readonly #hasGap = new Set<string>();

  constructor(options: HostOutputOptions) {
    this.#options = options;
  }

  piece({
    host,
    stream,
    sequence,
    data,
  }: {
    host: string;
    stream: OutputStream;
    sequence: number;
    data: string;
  }): void {
    const next = this.#nextSequence.get(host) ?? 0;
    // A stream that was begun anew tells the last pieces again.
    if (sequence < next) return;
    if (sequence > next) this.#hasGap.add(host);
    this.#nextSequence.set(host, sequence + 1);
    this.#write(host, stream, Buffer.from(data, "base64"));
  }

  /** All that the host said, once it is known as a whole: prints what has not been printed yet. */
  ended(host: string, result: { stdout: string; stderr: string; output_truncated: boolean }): void {
    for (const stream of ["stdout", "stderr"] as const) {
      const of = this.#of(host, stream);
      const isCut = of.chars < result[stream].length && !this.#hasGap.has(host);
      this.#show(host, stream, isCut ? result[stream].slice(of.chars) : of.decoder.end());
      const tail = of.rest;
      of.rest = "";
      if (tail !== "") this.#line(host, stream, tail);
    }
    if (this.#hasGap.has(host)) this.#note(host, "some of what it said was lost on the way; `homeostat job` has it");
    if (result.output_truncated) this.#note(host, "it said more than the limit for its output; the rest was left out");
  }

  #of(host: string, stream: OutputStream): Written {
    const key = `${stream}\0${host}`;
    const known = this.#written.get(key);
    if (known !== undefined) return known;
    const fresh = { decoder: new StringDecoder("utf8"), rest: "", chars: 0 };
    this.#written.set(key, fresh);
    return fresh;
  }

  #write(host: string, stream: OutputStream, data: Buffer): void {
    this.#show(host, stream, this.#of(host, stream).decoder.write(data));
  }

  #show(host: string, stream: OutputStream, text: string): void {
    const of = this.#of(host, stream);
    of.chars += text.length;
    const lines = (of.rest + text).split("\n");
    of.rest = lines.pop() ?? "";
    for (const line of lines) this.#line(host, stream, line);
    if (of.rest.length < LINE_CHARS_MAX) return;
    this.#line(host, stream, of.rest);
    of.rest = "";
  }

  #line(host: string, stream: OutputStream, line: string): void {
    const { hasPrefixes, isRaw, out, err } = this.#options;
    const shown = isRaw ? line : visible(line.endsWith("\r") ? line.slice(0, -1) : line);
    (stream === "stderr" ? err : out)(hasPrefixes ? `[${visible(host)}] ${shown}` : shown);
  }

  #note(host: string, text: string): void {
    this.#options.err(`[${visible(host)}] (${text})`);
  }
}
