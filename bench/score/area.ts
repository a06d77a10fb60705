export interface AreaSetting {
  /** The folder that holds the area's data. */
  readonly data: string;
  /** Where the answers go: a folder or a file, as the scorer wants it. It is made where it is missing. */
  readonly out: string;
  /** Where pictures of a handful of cases go; null for none. */
  readonly plots: string | null;
  /** Progress, for a person. */
  readonly say: (line: string) => void;
}

export type Area = (setting: AreaSetting) => Promise<void>;
