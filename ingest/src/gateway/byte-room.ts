/** What one request or one lane holds of the room; give it back with `close`. */
export interface RoomAccount {
  readonly bytes: number;
  /** False, and nothing changed, when there is no room. Whoever holds all that is held may always have more: its own caps bound it. */
  take(bytes: number): boolean;
  give(bytes: number): void;
  close(): void;
}

/** A count of bytes held, with a cap: beyond it senders are told to come back later. */
export class ByteRoom {
  readonly bytesMax: number;
  #held = 0;

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
  }

  get held(): number {
    return this.#held;
  }

  open(): RoomAccount {
    let bytes = 0;
    const add = (more: number): void => {
      bytes += more;
      this.#held += more;
    };
    return {
      get bytes() {
        return bytes;
      },
      take: (more) => {
        if (this.#held + more > this.bytesMax && this.#held > bytes) return false;
        add(more);
        return true;
      },
      give: (less) => add(-Math.min(less, bytes)),
      close: () => add(-bytes),
    };
  }

  /** For bytes that exist already and cannot be refused: what comes after them is. */
  hold(bytes: number): void {
    this.#held += bytes;
  }

  release(bytes: number): void {
    this.#held -= bytes;
  }
}
