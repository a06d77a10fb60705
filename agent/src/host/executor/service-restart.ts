import { z } from "zod";
import type { Supervised } from "../services/supervised.ts";
import { type Executor, refusalOf } from "./executor.ts";

const Args = z.strictObject({ service: z.string().min(1).max(128) });

export const serviceRestart = (services: readonly Supervised[]): Executor => ({
  name: "service.restart",
  risk: "reversible",
  prepare(args) {
    const parsed = Args.safeParse(args);
    if (!parsed.success) return refusalOf(parsed.error);
    const service = services.find(({ name }) => name === parsed.data.service);
    if (service === undefined) return { refused: `no service named ${parsed.data.service} is declared here` };
    return { target: `service:${service.name}`, run: ({ signal }) => service.restart(signal) };
  },
});
