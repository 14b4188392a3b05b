import type { GradientBench } from "flowrl_wasm";

/** Where log Z of a sampled gradient comes from: a number, or the batch itself. */
export type Source = number | "batch";

/** Batch sizes of the curve: powers of two up to 4096. */
export const BATCHES = Array.from({ length: 13 }, (_, i) => 2 ** i);
/** Batches drawn at each point. */
const DRAWS = 16;
/** Milliseconds of drawing at a stretch. */
const SLICE = 6;

/** Cosines of one source over the batch sizes: the mean of those drawn so far, and their standard deviation. */
export interface Curve {
  readonly source: Source;
  readonly mean: Float64Array;
  readonly spread: Float64Array;
}

/** Mean and standard deviation of numbers; NaN where there is none. */
export function summary(values: readonly number[]): { mean: number; spread: number } {
  const mean = values.reduce((sum, x) => sum + x, 0) / values.length;
  const square = values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / Math.max(1, values.length - 1);
  return { mean, spread: Math.sqrt(square) };
}

/**
 * Draws batches of every size, from small to large and again, in slices between which the page lives on; `grown` is called after each. Gives a function
 * that ends it.
 */
export function measure(bench: GradientBench, sources: readonly Source[], grown: (curves: readonly Curve[], done: number) => void): () => void {
  const drawn = sources.map(() => BATCHES.map((): number[] => []));
  const curves = sources.map((source) => ({ source, mean: new Float64Array(BATCHES.length).fill(NaN), spread: new Float64Array(BATCHES.length) }));
  const total = DRAWS * BATCHES.length * sources.length;
  let at = 0;
  const slice = () => {
    const start = performance.now();
    while (at < total && performance.now() - start < SLICE) {
      const [lane, size] = [at % sources.length, Math.floor(at / sources.length) % BATCHES.length];
      const draw = Math.floor(at / (sources.length * BATCHES.length));
      const source = sources[lane]!;
      // The same answers for every source: what differs is log Z alone.
      const [cosine = NaN] = bench.cosines(source === "batch" ? undefined : source, BATCHES[size]!, 1, draw);
      at++;
      if (Number.isNaN(cosine)) continue;
      const values = drawn[lane]![size]!;
      values.push(cosine);
      const { mean, spread } = summary(values);
      [curves[lane]!.mean[size], curves[lane]!.spread[size]] = [mean, spread];
    }
    grown(curves, at / total);
    timer = at < total ? window.setTimeout(slice, 24) : 0;
  };
  let timer = window.setTimeout(slice, 0);
  return () => clearTimeout(timer);
}
