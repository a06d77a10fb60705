import { HOST_FAULTS } from "./host-faults.ts";
import { NETWORK_FAULTS } from "./network-faults.ts";
import { PROGRAM_FAULTS } from "./program-faults.ts";

/** What a fault touches; coarse, so that a reader can group by it. */
export type FaultCategory =
  | "memory"
  | "storage"
  | "network"
  | "name_resolution"
  | "tls"
  | "access"
  | "limits"
  | "hardware"
  | "process"
  | "database"
  | "cluster"
  | "overload"
  | "time"
  | "configuration";

/** A fault that software words in the same way wherever it runs. */
export interface KnownFault {
  /** snake_case, stable: the value of a finding's label `fault`. */
  readonly id: string;
  readonly label: string;
  readonly category: FaultCategory;
  /**
   * Words that say it, in lower case, one after the other; `…` stands for up to six words, and stands once. A text's words are its runs
   * of letters and digits, and `OutOfMemoryError` is four of them; `*` is a template's variable.
   */
  readonly phrases: readonly string[];
  /** As a part of one of these a phrase says nothing wrong: a setting is told, or the absence of the fault. */
  readonly unless?: readonly string[];
  /** What to look at first. */
  readonly hint: string;
  /** Who words it so. */
  readonly source: string;
}

/** The first that a text has is the one that a finding names: those that could mean anything stand last. */
export const KNOWN_FAULTS: readonly KnownFault[] = [...HOST_FAULTS, ...NETWORK_FAULTS, ...PROGRAM_FAULTS];
