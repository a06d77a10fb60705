import type { ColumnType, TELEMETRY, TelemetrySchema } from "../telemetry.ts";

/** What a caller appends for a column of each type: DateTime64(3) in milliseconds, DateTime64(9) in nanoseconds since 1970. */
interface Values {
  UInt8: number;
  UInt64: bigint;
  Float64: number;
  "DateTime64(3)": number;
  "DateTime64(9)": bigint;
  String: string;
  "Map(String, String)": Readonly<Record<string, string>>;
  "Array(Float64)": ArrayLike<number>;
}

type ColumnsOf<S extends TelemetrySchema> = (typeof TELEMETRY)[S][number];

export type ColumnName<S extends TelemetrySchema> = ColumnsOf<S>["name"];

export type TypeOfColumn<S extends TelemetrySchema, N extends ColumnName<S>> = Extract<
  ColumnsOf<S>,
  { readonly name: N }
>["type"];

export type ValueOf<T extends ColumnType> = Values[T];

/** One row of a telemetry table by column name; an optional column that is left out has its type's zero. */
export type TelemetryRow<S extends TelemetrySchema> = {
  readonly [C in ColumnsOf<S> as C extends { readonly optional: true } ? never : C["name"]]: ValueOf<C["type"]>;
} & {
  readonly [C in ColumnsOf<S> as C extends { readonly optional: true } ? C["name"] : never]?: ValueOf<C["type"]>;
};

/** As it is appended: text may come as bytes, and is copied as it stands where it is valid UTF-8. */
export type AppendedRow<S extends TelemetrySchema> = {
  readonly [C in keyof TelemetryRow<S>]: TelemetryRow<S>[C] extends string ? string | Uint8Array : TelemetryRow<S>[C];
};
