import type { FastifyReply } from "fastify";

/** Aborts when the client goes away before its answer is written, so that the store stops working for nobody. */
export const abandoned = (reply: FastifyReply): AbortSignal => {
  const aborting = new AbortController();
  reply.raw.once("close", () => {
    if (!reply.raw.writableFinished) aborting.abort();
  });
  return aborting.signal;
};
