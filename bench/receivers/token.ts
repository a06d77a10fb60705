/** What the benchmark's one sender shows. */
export const TOKEN = "bench-token-0123456789";
