import type { z } from "zod";
import type { Store } from "../store/store.ts";
import { retentionQuery } from "./stored-days.ts";

export type TableRetention = z.output<typeof retentionQuery.row>;

/** Per table: the days that its definition says, read back, and the bytes, rows and oldest day that it has. */
export const retention = (store: Pick<Store, "run">): Promise<readonly TableRetention[]> =>
  store.run(retentionQuery, {});
