export { Connection, type ConnectionOwner } from "./channel/connection.ts";
export {
  type SimulateOptions,
  type Simulation,
  type SimulationCounts,
  type SimulationEvent,
  simulate,
} from "./simulate/index.ts";
