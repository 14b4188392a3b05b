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

/** What is charted of the policies; index.html has the words for it. */
export const METRICS = ["kl", "reverse_kl", "tv", "entropy", "expected_reward", "modes_found", "log_z"] as const;
export type Metric = (typeof METRICS)[number];

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

function drawing(text: string | null): Drawing | null {
  const bytes = text === null ? null : fromBase64(text);
  if (bytes?.length !== 2 * ANSWERS) return null;
  const [rewards, reference] = [bytes.slice(0, ANSWERS), bytes.slice(ANSWERS)];
  // A reference that gives nothing anywhere is none.
  return reference.some((weight) => weight > 0) ? { rewards, reference } : null;
}

/** Under which name a link carries each setting; a drawing is `d`. */
const KEYS = {
  beta: "b",
  preset: "p",
  seed: "seed",
  lanes: "lanes",
  samples: "n",
  learningRate: "lr",
  logZLearningRate: "zlr",
  speed: "s",
  view: "view",
  metric: "m",
  solo: "solo",
  hidden: "hide",
} as const;

/** A setting as a link carries it. */
const written = (value: unknown): string => (Array.isArray(value) ? value.join(".") : String(value ?? ""));

/** What stands behind the # of a link: only what differs from the defaults. */
export function encode(settings: Settings): string {
  const words = new URLSearchParams({ v: VERSION });
  for (const field of Object.keys(KEYS) as (keyof typeof KEYS)[]) {
    const value = written(settings[field]);
    if (value !== written(DEFAULTS[field])) words.set(KEYS[field], value);
  }
  const { drawing } = settings;
  if (drawing) words.set("d", toBase64(Uint8Array.of(...drawing.rewards, ...drawing.reference)));
  return words.toString();
}

/** The settings of a link. Whatever cannot be read has its default; this never throws. */
export function decode(hash: string): Settings {
  const words = new URLSearchParams(hash.replace(/^#/, ""));
  const get = (field: keyof typeof KEYS) => words.get(KEYS[field]) ?? "";
  const number = (field: keyof typeof BOUNDS) => {
    const [low, high] = BOUNDS[field];
    const value = get(field).trim() === "" ? NaN : Number(get(field));
    return Number.isFinite(value) ? Math.min(high, Math.max(low, value)) : DEFAULTS[field];
  };
  const oneOf = <T>(field: keyof typeof KEYS, all: readonly T[], otherwise: T) =>
    all.find((value) => String(value) === get(field)) ?? otherwise;
  const several = <T extends string>(field: keyof typeof KEYS, all: readonly T[]) =>
    [...new Set(get(field).split("."))].filter((value): value is T => all.includes(value as T));
  const asked = several("lanes", Object.keys(LANES) as LaneKind[]).slice(0, MOST_LANES);
  const lanes = asked.length > 0 ? asked : DEFAULTS.lanes;
  return {
    beta: number("beta"),
    preset: oneOf("preset", Object.keys(PRESETS) as PresetName[], DEFAULTS.preset),
    drawing: drawing(words.get("d")),
    seed: Math.round(number("seed")),
    lanes,
    samples: Math.round(number("samples")),
    learningRate: number("learningRate"),
    logZLearningRate: number("logZLearningRate"),
    speed: oneOf<Speed>("speed", [10, 60, 300, 0], DEFAULTS.speed),
    view: oneOf<View>("view", ["policy", "difference"], DEFAULTS.view),
    metric: oneOf("metric", METRICS, DEFAULTS.metric),
    solo: oneOf<LaneKind | null>("solo", lanes, null),
    hidden: PARTS.filter((part) => several("hidden", PARTS).includes(part)),
  };
}
