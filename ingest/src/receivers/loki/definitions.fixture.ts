import { fileURLToPath } from "node:url";
import protobuf from "protobufjs";

/** ingest/proto says whose definitions these are. */
export const pushRequestType = protobuf
  .loadSync(fileURLToPath(new URL("../../../proto/logproto/push.proto", import.meta.url)))
  .lookupType("logproto.PushRequest");
