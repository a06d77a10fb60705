import { z } from "zod";
import { abandoned } from "../api/abandoned.ts";
import { ErrorBody } from "../api/api-error.ts";
import type { ApiInstance } from "../api/api-instance.ts";
import type { ApiPorts } from "../api/api-ports.ts";
import { retentionQuery } from "./stored-days.ts";

export const retentionRoute = (api: ApiInstance, { run }: Pick<ApiPorts, "run">): void => {
  api.get(
    "/retention",
    {
      schema: {
        summary: "How long each table keeps its rows, as its definition says, and what it has",
        response: { 200: z.strictObject({ tables: z.array(retentionQuery.row) }), "4xx": ErrorBody, "5xx": ErrorBody },
      },
    },
    async (_request, reply) => ({ tables: [...(await run(retentionQuery, {}, { signal: abandoned(reply) }))] }),
  );
};
