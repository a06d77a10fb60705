import { codeOfProblem, ERROR_CODES } from "./error-codes.ts";

/** Troubles that have begun since the start, by code. One that lasts counts once. */
export class ErrorCount {
  readonly #counts = new Map(ERROR_CODES.map((code) => [code, 0]));
  #known: ReadonlySet<string> = new Set();

  observe(problems: readonly string[]): void {
    for (const problem of problems) {
      const code = codeOfProblem(problem);
      if (!this.#known.has(shapeOf(problem))) this.#counts.set(code, (this.#counts.get(code) ?? 0) + 1);
    }
    this.#known = new Set(problems.map(shapeOf));
  }

  counts(): Iterable<[code: string, count: number]> {
    return this.#counts;
  }
}

/** Numbers in it change from beat to beat, and it is the same trouble. */
const shapeOf = (problem: string): string => problem.replace(/\d+/g, "#");
