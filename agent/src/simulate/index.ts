export { simulate } from "./simulate.ts";
export type { SimulateOptions, Simulation, SimulationCounts, SimulationEvent } from "./simulation.ts";
