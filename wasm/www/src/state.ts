import type { LaneKind, PresetName } from "flowrl_wasm";
import { LANES } from "./lanes";

/** Rows, and columns, of the page's landscape. */
export const SIDE = 16;
/** Answers of the page's landscape. */
export const ANSWERS = SIDE * SIDE;
/** β at the right end of its slider. */
export const MOST_BETA = 50;
/** Policies in a race at most. */
export const MOST_LANES = 6;

/** A landscape drawn by hand, in 256 shades: what fits into a link. */
export interface Drawing {
  readonly rewards: Uint8Array;
  /** Weights of the reference. */
  readonly reference: Uint8Array;
}

/** How policies are shown. */
export type View = "policy" | "difference";
/** Updates a second; 0 stands for as many as the machine can. */
export type Speed = 10 | 60 | 300 | 0;

/** Ready-made landscapes, as the page names them. */
export const PRESETS: Readonly<Record<PresetName, string>> = {
  "four-peaks": "Four peaks",
  "two-peaks": "Two equal peaks",
  ring: "Ring",
  banana: "Banana",
  "broad-and-sharp": "Broad and sharp",
  plateau: "Right or wrong",
  needle: "Needle",
  deceptive: "Deceptive",
  random: "Random hills",
  "blind-spot": "Blind spot",
};

/** Parts of the page that a teacher can hide. */
export const PARTS = [
  "lanes", "advanced", "draw", "metrics", "update", "gradient", "tree", "map", "fails", "runs", "tour", "glossary",
] as const;
export type Part = (typeof PARTS)[number];

/** What can be measured of a policy and charted. */
export const METRICS = {
  kl: "KL(π ‖ π*)",
  reverse_kl: "KL(π* ‖ π)",
  tv: "Total variation",
  entropy: "Entropy",
  modes_found: "Peaks kept",
  expected_reward: "Expected reward",
  log_z: "log Z",
} as const;
export type Metric = keyof typeof METRICS;

/** Everything that a link to the page carries. */
export interface Settings {
  readonly beta: number;
  readonly preset: PresetName;
  /** Where the landscape is drawn by hand, instead of the preset. */
  readonly drawing: Drawing | null;
  readonly seed: number;
  readonly lanes: readonly LaneKind[];
  readonly samples: number;
  readonly learningRate: number;
  readonly logZLearningRate: number;
  readonly speed: Speed;
  readonly view: View;
  readonly metric: Metric;
  /** The lane shown alone, or none. */
  readonly solo: LaneKind | null;
  readonly hidden: readonly Part[];
}

/** The page as it opens. */
export const DEFAULTS: Settings = {
  beta: 6,
  preset: "four-peaks",
  drawing: null,
  seed: 0,
  lanes: ["flowrl", "grpo", "ppo", "reinforce", "reward-kl", "normalised"],
  samples: 64,
  learningRate: 0.02,
  logZLearningRate: 0.05,
  speed: 300,
  view: "policy",
  metric: "kl",
  solo: null,
  hidden: [],
};

/** The bounds of what can be typed. */
export const BOUNDS = {
  beta: [0, MOST_BETA],
  seed: [0, 0xffffffff],
  samples: [1, 1024],
  learningRate: [0.0001, 1],
  logZLearningRate: [0.0001, 1],
} as const;

/** Version of the links. */
const VERSION = "1";

const toBase64 = (bytes: Uint8Array): string =>
  btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

function fromBase64(text: string): Uint8Array | null {
  try {
    const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
    return Uint8Array.from(binary, (c) => c.charCodeAt(0));
  } catch {
    return null;
  }
}

function number(text: string | null, [low, high]: readonly [number, number], otherwise: number): number {
  const value = text === null || text.trim() === "" ? NaN : Number(text);
  return Number.isFinite(value) ? Math.min(high, Math.max(low, value)) : otherwise;
}

const oneOf = <T extends string>(text: string | null, all: readonly T[], otherwise: T): T =>
  all.find((value) => value === text) ?? otherwise;

function drawing(text: string | null): Drawing | null {
  const bytes = text === null ? null : fromBase64(text);
  if (bytes?.length !== 2 * ANSWERS) return null;
  const [rewards, reference] = [bytes.slice(0, ANSWERS), bytes.slice(ANSWERS)];
  // A reference that gives nothing anywhere is none.
  return reference.some((weight) => weight > 0) ? { rewards, reference } : null;
}

/** What stands behind the # of a link: only what differs from the defaults. */
export function encode(settings: Settings): string {
  const words = new URLSearchParams({ v: VERSION });
  const put = (key: string, value: string, otherwise: string) => {
    if (value !== otherwise) words.set(key, value);
  };
  const d = DEFAULTS;
  put("b", String(settings.beta), String(d.beta));
  put("p", settings.preset, d.preset);
  if (settings.drawing) {
    words.set("d", toBase64(Uint8Array.of(...settings.drawing.rewards, ...settings.drawing.reference)));
  }
  put("seed", String(settings.seed), String(d.seed));
  put("lanes", settings.lanes.join("."), d.lanes.join("."));
  put("n", String(settings.samples), String(d.samples));
  put("lr", String(settings.learningRate), String(d.learningRate));
  put("zlr", String(settings.logZLearningRate), String(d.logZLearningRate));
  put("s", String(settings.speed), String(d.speed));
  put("view", settings.view, d.view);
  put("m", settings.metric, d.metric);
  put("solo", settings.solo ?? "", "");
  put("hide", settings.hidden.join("."), "");
  return words.toString();
}

/** The settings of a link. Whatever cannot be read has its default; this never throws. */
export function decode(hash: string): Settings {
  const words = new URLSearchParams(hash.replace(/^#/, ""));
  const d = DEFAULTS;
  const kinds = Object.keys(LANES) as LaneKind[];
  const asked = [...new Set((words.get("lanes") ?? "").split("."))].filter((kind) => kinds.includes(kind as LaneKind));
  const lanes = asked.length > 0 ? (asked.slice(0, MOST_LANES) as LaneKind[]) : d.lanes;
  const solo = lanes.find((kind) => kind === words.get("solo")) ?? null;
  const speeds: readonly Speed[] = [10, 60, 300, 0];
  const hide = (words.get("hide") ?? "").split(".");
  return {
    beta: number(words.get("b"), BOUNDS.beta, d.beta),
    preset: oneOf(words.get("p"), Object.keys(PRESETS) as PresetName[], d.preset),
    drawing: drawing(words.get("d")),
    seed: Math.round(number(words.get("seed"), BOUNDS.seed, d.seed)),
    lanes,
    samples: Math.round(number(words.get("n"), BOUNDS.samples, d.samples)),
    learningRate: number(words.get("lr"), BOUNDS.learningRate, d.learningRate),
    logZLearningRate: number(words.get("zlr"), BOUNDS.logZLearningRate, d.logZLearningRate),
    speed: speeds.find((speed) => String(speed) === words.get("s")) ?? d.speed,
    view: oneOf(words.get("view"), ["policy", "difference"], d.view),
    metric: oneOf(words.get("m"), Object.keys(METRICS) as Metric[], d.metric),
    solo,
    hidden: PARTS.filter((part) => hide.includes(part)),
  };
}
