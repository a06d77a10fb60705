import { AuditRecord } from "@homeostat/schemas";
import { z } from "zod";
import { ErrorBody } from "./api-error.ts";
import type { ApiInstance } from "./api-instance.ts";
import { type AuditPort, AuditVerdict } from "./fleet-ports.ts";

const RECORDS_MAX = 1_000;
const errors = { "4xx": ErrorBody, "5xx": ErrorBody };

/** Under a scope that wants an approver or an admin: arguments and reasons stand in it. */
export const auditRoutes = (api: ApiInstance, audit: AuditPort): void => {
  api.get(
    "/audit",
    {
      schema: {
        summary: "The audit log from a record on, oldest first",
        security: [{ token: [] }],
        querystring: z.strictObject({
          from: z.coerce.number().int().min(1).default(1).describe("the number of the first record"),
          limit: z.coerce.number().int().min(1).max(RECORDS_MAX).default(100),
        }),
        response: {
          200: z.strictObject({ records: z.array(AuditRecord).readonly() }),
          ...errors,
        },
      },
    },
    async ({ query: { from, limit } }) => ({ records: await audit.read(from, limit) }),
  );

  api.get(
    "/audit/verify",
    {
      schema: {
        summary: "Follows the chain of the audit log from its first record, digests and signatures",
        security: [{ token: [] }],
        response: { 200: AuditVerdict, ...errors },
      },
    },
    () => audit.verify(),
  );
};
