import { BusError } from "@homeostat/schemas";

// https://www.sqlite.org/rescode.html: the low byte is the primary result code.
const BUSY = 5;
const CORRUPT = 11;
const FULL = 13;
const NOT_A_DATABASE = 26;

const resultCode = (thrown: unknown): number | null =>
  thrown instanceof Error && "errcode" in thrown && typeof thrown.errcode === "number" ? thrown.errcode & 0xff : null;

/** Says in our words what SQLite met; anything that is not SQLite's comes back as it is. */
export const busErrorOf = (thrown: unknown, file: string): unknown => {
  const code = resultCode(thrown);
  if (code === null) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  switch (code) {
    case BUSY:
      return new BusError("unreachable", `${file} is in use by another process: only one may have it open`, {
        retryable: true,
        cause: thrown,
      });
    case CORRUPT:
    case NOT_A_DATABASE:
      return new BusError(
        "corrupt",
        `${file} is damaged (${message}). Nothing was changed. Restore it from a copy, or move it and ${file}-wal away: ` +
          "the bus then begins anew, and what was not yet read is lost.",
        { retryable: false, cause: thrown },
      );
    case FULL:
      return new BusError("full", `no room to write ${file} (${message})`, { retryable: true, cause: thrown });
    default:
      return new BusError("unreachable", `${file} could not be read or written (${message})`, {
        retryable: true,
        cause: thrown,
      });
  }
};
