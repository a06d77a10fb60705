import type { Ledger } from "@homeostat/schemas";

/** One topic's account: produced = delivered + spooled + dropped, in rows, always. */
export class TopicLedger {
  #produced = 0;
  #delivered = 0;
  readonly #dropped: Record<string, number> = {};

  produced(rows: number): void {
    this.#produced += rows;
  }

  delivered(rows: number): void {
    this.#delivered += rows;
  }

  /** `reason` is one of a GatewayError's codes. */
  dropped(reason: string, rows: number): void {
    this.#dropped[reason] = (this.#dropped[reason] ?? 0) + rows;
  }

  read(): Ledger {
    const dropped = Object.values(this.#dropped).reduce((sum, rows) => sum + rows, 0);
    return {
      produced: this.#produced,
      delivered: this.#delivered,
      spooled: this.#produced - this.#delivered - dropped,
      dropped: { ...this.#dropped },
    };
  }
}
