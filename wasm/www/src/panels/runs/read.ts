/** What a `metrics.jsonl` says: a column for each metric over the same ascending steps. NaN where a line has none. */
export interface Run {
  readonly steps: Float64Array;
  readonly columns: ReadonlyMap<string, Float64Array>;
  /** Lines that could not be read, by number from 1. */
  readonly skipped: readonly number[];
}

/** The largest file that is read, in bytes. */
export const MOST_BYTES = 50e6;
/** How much is read before the page may do something else: some milliseconds of work. */
const SLICE = 1 << 18;
/** So many bad lines and no good one: something else than metrics. */
const PATIENCE = 100;

/** Takes lines one by one, and makes a run of them. */
export interface Reader {
  line(text: string): void;
  /** Whether nothing so far looks like metrics. */
  hopeless(): boolean;
  /** Throws an error that names the file where no line could be read. */
  end(name: string): Run;
}

/** JSON, and what Python writes for numbers that are not finite. */
function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return JSON.parse(text.replace(/(?<=[:,[]\s*)(?:NaN|-?Infinity)\b/g, "null"));
  }
}

/** A reader of metrics, a flat JSON object a line. */
export function createReader(): Reader {
  const steps: number[] = [];
  const columns = new Map<string, number[]>();
  const skipped: number[] = [];
  let lines = 0;
  return {
    line(text) {
      lines++;
      if (text.trim() === "") return;
      let record: unknown;
      try {
        record = parse(text);
      } catch {
        record = null;
      }
      const step = record && typeof record === "object" && "step" in record ? record.step : null;
      if (typeof step !== "number") {
        skipped.push(lines);
        return;
      }
      const row = steps.push(step) - 1;
      for (const [name, value] of Object.entries(record as object)) {
        if (name === "step" || (typeof value !== "number" && value !== null)) continue;
        let column = columns.get(name);
        if (!column) columns.set(name, (column = []));
        column[row] = value ?? NaN;
      }
    },
    hopeless: () => steps.length === 0 && skipped.length >= PATIENCE,
    end(name) {
      if (steps.length === 0) {
        throw new Error(
          `${name} has no line that is a JSON object with a number “step”; wanted a run's metrics.jsonl.`,
        );
      }
      // A run that was resumed may say a step twice; the later line holds.
      const rows = [...new Map(steps.map((step, row) => [step, row])).values()];
      rows.sort((a, b) => steps[a]! - steps[b]!);
      const inOrder = (column: readonly number[]) => {
        const sorted = new Float64Array(rows.length);
        for (let i = 0; i < rows.length; i++) sorted[i] = column[rows[i]!] ?? NaN;
        return sorted;
      };
      const filled = [...columns].map(([key, column]) => [key, inOrder(column)] as const);
      return {
        steps: inOrder(steps),
        columns: new Map(filled.filter(([, column]) => column.some(Number.isFinite))),
        skipped,
      };
    },
  };
}

/** Reads a file slice by slice, so that the page stays alive. `progress` hears what share has been read. */
export async function readRun(file: File, progress: (share: number) => void = () => undefined): Promise<Run> {
  if (file.size > MOST_BYTES) {
    throw new Error(
      `${file.name} has ${Math.round(file.size / 1e6)} MB; at most ${MOST_BYTES / 1e6} MB are read.`,
    );
  }
  const reader = createReader();
  const decoder = new TextDecoder();
  let rest = "";
  for (let at = 0; at < file.size && !reader.hopeless(); at += SLICE) {
    rest += decoder.decode(await file.slice(at, at + SLICE).arrayBuffer(), { stream: true });
    const lines = rest.split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) reader.line(line);
    progress(Math.min(1, (at + SLICE) / file.size));
    // The answer of a file may come without the page having had a turn.
    await new Promise((resolve) => setTimeout(resolve));
  }
  if (rest) reader.line(rest);
  return reader.end(file.name);
}

/** Which lines of a file were skipped, the first few by number. */
export function skippedText(file: string, lines: readonly number[]): string {
  const few = lines.slice(0, 5).join(", ") + (lines.length > 5 ? ", …" : "");
  const which = lines.length === 1 ? `line ${few} was` : `${lines.length} lines (${few}) were`;
  return `${file}: ${which} skipped; wanted a JSON object with a number “step”.`;
}
