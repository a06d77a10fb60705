import { familyOf, METRIC_TYPE } from "./metric-kind.ts";

export interface MetricFamily {
  readonly type: number;
  readonly unit: string;
}

/** Prometheus sends some thousands at most; beyond this new families go by the naming rules. */
const FAMILIES_MAX = 65_536;
/** Longer names and units are passed over. */
const TEXT_LENGTH_MAX = 512;

const UNKNOWN: MetricFamily = { type: METRIC_TYPE.unknown, unit: "" };

/** What metadata messages of remote write 1.0 have told, by the family's name: they come by themselves, apart from samples. */
export class MetricFamilies {
  readonly #families = new Map<string, MetricFamily>();
  #generation = 0;

  /** Grows whenever something is told that was not known. */
  get generation(): number {
    return this.#generation;
  }

  tell(name: string, family: MetricFamily): void {
    const known = this.#families.get(name);
    if (known?.type === family.type && known.unit === family.unit) return;
    if (known === undefined && this.#families.size >= FAMILIES_MAX) return;
    if (name.length > TEXT_LENGTH_MAX || family.unit.length > TEXT_LENGTH_MAX) return;
    this.#families.set(name, family);
    this.#generation++;
  }

  find(name: string): MetricFamily {
    return this.#families.get(name) ?? this.#families.get(familyOf(name)) ?? UNKNOWN;
  }
}
