import type { IncomingMessage } from "node:http";
import type { RoomAccount } from "./byte-room.ts";
import { RequestError } from "./receiver-route.ts";

/**
 * All of a request's body, counted into `account` as it arrives.
 * @throws RequestError 413 beyond `bytesMax`, 429 when there is no room, 400 when the sender hung up. The rest of the body is left unread.
 */
export const readBody = async (
  message: IncomingMessage,
  { bytesMax, account }: { bytesMax: number; account: RoomAccount },
): Promise<Buffer> => {
  const claimed = Number(message.headers["content-length"] ?? "0");
  if (claimed > bytesMax) throw tooLarge(bytesMax);
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    // The socket must stay open after a refusal, for its answer.
    for await (const chunk of message.iterator({ destroyOnReturn: false })) {
      const part: Buffer = chunk;
      bytes += part.length;
      if (bytes > bytesMax) throw tooLarge(bytesMax);
      if (!account.take(part.length)) throw new RequestError(429, "too much at once: come again");
      chunks.push(part);
    }
  } catch (error) {
    if (error instanceof RequestError) throw error;
    throw new RequestError(400, "the request ended before its body was complete", { cause: error });
  }
  const [first] = chunks;
  return chunks.length === 1 && first !== undefined ? first : Buffer.concat(chunks, bytes);
};

const tooLarge = (bytesMax: number): RequestError =>
  new RequestError(413, `the body has more than ${bytesMax} bytes: send less at a time`);
