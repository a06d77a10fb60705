export { createKafkaBus } from "./bus.ts";
