/** What one request's records were refused for, for its partial success. */
export class Refusals {
  readonly #byReason = new Map<string, number>();

  note(reason: string, records = 1): void {
    if (records > 0) this.#byReason.set(reason, (this.#byReason.get(reason) ?? 0) + records);
  }

  get count(): number {
    let count = 0;
    for (const records of this.#byReason.values()) count += records;
    return count;
  }

  /** `refused: 2 late, 1 bad_value`; "" when none was. */
  get message(): string {
    if (this.#byReason.size === 0) return "";
    return `refused: ${[...this.#byReason].map(([reason, records]) => `${records} ${reason}`).join(", ")}`;
  }
}
