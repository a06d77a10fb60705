/** A longer message is cut: its beginning is kept, the rest is passed over. */
export const SYSLOG_BYTES_MAX = 65_536;
/** A count of more digits is no count. */
const COUNT_DIGITS_MAX = 9;

const LF = 0x0a;
const SPACE = 0x20;
const ZERO = 0x30;
const NINE = 0x39;

export interface SyslogFrame {
  readonly text: string;
  readonly isCut: boolean;
}

/**
 * Finds the messages in a TCP stream (RFC 6587): counted ones (`123 <13>…`) and those that end with a line feed, told apart frame by frame by whether
 * they begin with a number and a space. Holds at most SYSLOG_BYTES_MAX of a message that is not complete.
 */
export class SyslogFrames {
  #held: Buffer = Buffer.alloc(0);
  /** Bytes of a counted message that was cut, still to come. */
  #passCounted = 0;
  #passLine = false;

  get heldBytes(): number {
    return this.#held.length;
  }

  push(chunk: Buffer, take: (frame: SyslogFrame) => void): void {
    let rest = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    for (;;) {
      const after = this.#next(rest, take);
      if (after === null) break;
      rest = rest.subarray(after);
    }
    // A copy: a slice would keep the whole chunk alive.
    this.#held = Buffer.from(rest);
  }

  /** The stream has ended: what is there without an end is a message too. */
  end(take: (frame: SyslogFrame) => void): void {
    const held = this.#held;
    this.#held = Buffer.alloc(0);
    if (held.length === 0 || this.#passLine || this.#passCounted > 0) return;
    const counted = countAt(held);
    const body = counted === null || counted === "unknown" ? held : held.subarray(counted.start);
    emit(body, body !== held, take);
  }

  /** How many bytes were used up, or null when more must come. */
  #next(bytes: Buffer, take: (frame: SyslogFrame) => void): number | null {
    if (bytes.length === 0) return null;
    if (this.#passCounted > 0) {
      const passed = Math.min(this.#passCounted, bytes.length);
      this.#passCounted -= passed;
      return passed;
    }
    const counted = this.#passLine ? null : countAt(bytes);
    if (counted === "unknown") return null;
    return counted === null ? this.#nextLine(bytes, take) : this.#nextCounted(bytes, counted, take);
  }

  #nextCounted(bytes: Buffer, { start, count }: Count, take: (frame: SyslogFrame) => void): number | null {
    if (count > SYSLOG_BYTES_MAX) {
      const kept = bytes.subarray(start, start + SYSLOG_BYTES_MAX);
      if (kept.length < SYSLOG_BYTES_MAX) return null;
      emit(kept, true, take);
      this.#passCounted = count - SYSLOG_BYTES_MAX;
      return start + SYSLOG_BYTES_MAX;
    }
    if (bytes.length < start + count) return null;
    emit(bytes.subarray(start, start + count), false, take);
    return start + count;
  }

  #nextLine(bytes: Buffer, take: (frame: SyslogFrame) => void): number | null {
    const end = bytes.indexOf(LF);
    if (this.#passLine) {
      this.#passLine = end < 0;
      return end < 0 ? bytes.length : end + 1;
    }
    const length = end < 0 ? bytes.length : end;
    if (length > SYSLOG_BYTES_MAX) {
      emit(bytes.subarray(0, SYSLOG_BYTES_MAX), true, take);
      this.#passLine = true;
      return SYSLOG_BYTES_MAX;
    }
    if (end < 0) return null;
    emit(bytes.subarray(0, end), false, take);
    return end + 1;
  }
}

interface Count {
  readonly start: number;
  readonly count: number;
}

/** The count in front of a message, null when it has none, `unknown` when too little has come to tell. */
const countAt = (bytes: Buffer): Count | null | "unknown" => {
  let count = 0;
  for (let at = 0; at <= COUNT_DIGITS_MAX; at++) {
    const byte = bytes[at];
    if (byte === undefined) return at === 0 ? null : "unknown";
    if (byte === SPACE && at > 0) return { start: at + 1, count };
    if (byte < ZERO || byte > NINE || (byte === ZERO && at === 0)) return null;
    count = count * 10 + byte - ZERO;
  }
  return null;
};

/** Senders end with CR LF, LF or NUL; what is empty then is no message. */
const emit = (bytes: Buffer, isCut: boolean, take: (frame: SyslogFrame) => void): void => {
  const text = bytes.toString("utf8").replace(/[\r\n\0]+$/, "");
  if (text !== "") take({ text, isCut });
};
