import { createApi } from "@homeostat/analytics";

type ApiOptions = Parameters<typeof createApi>[0];

/** The token that may do everything. */
export const TOKEN = "the-token-of-the-data-directory";

const nothing = { refused: "not_found", message: "no remediation here" };

/** The API of a fleet alone: no store, no remediation, no configuration behind it. */
export const fleetApi = (
  options: Pick<ApiOptions, "log" | "agentPlatform"> & Partial<Pick<ApiOptions, "users">>,
): ReturnType<typeof createApi> =>
  createApi({
    run: async () => [],
    health: async () => [],
    reports: async () => null,
    decide: async () => nothing,
    acknowledge: async () => nothing,
    reload: async () => ({ message: "no configuration", problems: [] }),
    now: Date.now,
    version: "1.0.0",
    token: TOKEN,
    isLoopback: true,
    ...options,
  });
