/** A policy in a frame of the module. */
export interface PolicyFrame {
  /** A measure by its name in the module's `measures()`; NaN where there is none. */
  readonly measure: (name: string) => number;
  /** π of every answer. */
  readonly probabilities: Float32Array;
  /** The answers of the last batch. */
  readonly samples: Float32Array;
}

/** The numbers of a frame policy by policy: measures, then a probability for each answer, then samples. Views, not copies. */
export function splitFrame(
  numbers: Float32Array,
  policies: number,
  measures: readonly string[],
  answers: number,
): PolicyFrame[] {
  const stride = numbers.length / policies;
  return Array.from({ length: policies }, (_, i) => {
    const own = numbers.subarray(i * stride, (i + 1) * stride);
    return {
      measure: (name) => own[measures.indexOf(name)] ?? NaN,
      probabilities: own.subarray(measures.length, measures.length + answers),
      samples: own.subarray(measures.length + answers),
    };
  });
}
