import { createKafkaBus } from "../../app/src/kafka/index.ts";
import type { Log } from "../../schemas/src/index.ts";
import { describeBus } from "../contract/bus.ts";

const brokers = (process.env.KAFKA_BROKERS ?? "").split(",");
const nothing = () => undefined;
const log: Log = { debug: nothing, info: nothing, warn: nothing, error: nothing };

describeBus("the bus on Apache Kafka", async () => ({
  open: (topics) => createKafkaBus({ brokers, clientId: "contract", topics, log, heartbeatMs: 200 }),
  dispose: async () => undefined,
}));
