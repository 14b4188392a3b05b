import { expect, test } from "@playwright/test";
import { betaAt, placeOf } from "../../src/race/beta.ts";
import { ANSWERS, BOUNDS, DEFAULTS, METRICS, MOST_LANES, PARTS, PRESETS, type Settings, decode, encode } from "../../src/state.ts";
import { LANE_KINDS } from "../../src/lanes.ts";

/** Numbers that a seed repeats: mulberry32. */
function generator(seed: number): () => number {
  let a = seed;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

function random(next: () => number): Settings {
  const pick = <T>(all: readonly T[]): T => all[Math.floor(next() * all.length)]!;
  const some = <T>(all: readonly T[]): T[] => all.filter(() => next() < 0.4);
  const within = ([low, high]: readonly [number, number]) => low + next() * (high - low);
  const bytes = () => Uint8Array.from({ length: ANSWERS }, () => Math.floor(256 * next()));
  const lanes = some(LANE_KINDS).slice(0, MOST_LANES);
  const raced = lanes.length > 0 ? lanes : ([pick(LANE_KINDS)] as const);
  return {
    beta: betaAt(Math.floor(next() * 401)),
    preset: pick(Object.keys(PRESETS) as (keyof typeof PRESETS)[]),
    drawing: next() < 0.5 ? { rewards: bytes(), reference: bytes() } : null,
    seed: Math.floor(within(BOUNDS.seed)),
    lanes: raced,
    samples: Math.floor(within(BOUNDS.samples)),
    learningRate: within(BOUNDS.learningRate),
    logZLearningRate: within(BOUNDS.logZLearningRate),
    speed: pick([10, 60, 300, 0] as const),
    view: pick(["policy", "difference"] as const),
    metric: pick(METRICS),
    solo: next() < 0.3 ? pick(raced) : null,
    hidden: some(PARTS),
  };
}

test("settings survive the way through a link", () => {
  const next = generator(7);
  for (let i = 0; i < 500; i++) {
    const settings = random(next);
    expect(decode(`#${encode(settings)}`)).toEqual(settings);
  }
  expect(encode(DEFAULTS)).toBe("v=1");
  expect(decode("")).toEqual(DEFAULTS);
});

test("a link with a drawn landscape fits into two thousand characters", () => {
  const next = generator(3);
  for (let i = 0; i < 50; i++) expect(encode(random(next)).length).toBeLessThan(2000);
});

test("broken links give defaults and never throw", () => {
  const next = generator(11);
  const characters = "v=1&b=p%d.-_#/?lanes=flowrl.grpo&solo=hide=%F0%ZZé\u0000";
  for (let i = 0; i < 400; i++) {
    const length = Math.floor(80 * next());
    const hash = Array.from({ length }, () => characters[Math.floor(next() * characters.length)]).join("");
    const settings = decode(`#${hash}`);
    expect(settings.lanes.length).toBeGreaterThan(0);
    expect(settings.beta).toBeGreaterThanOrEqual(0);
    expect(decode(`#${encode(settings)}`)).toEqual(settings);
  }
  for (const hash of ["#v=1&b=NaN&n=-5&lr=1e99&p=nowhere&lanes=x.y&d=%%%&s=7", "#v=99&d=AAAA", "#%E0%A4%A"]) {
    const settings = decode(hash);
    expect({ ...settings, samples: 0, learningRate: 0 }).toEqual({ ...DEFAULTS, samples: 0, learningRate: 0 });
  }
  expect(decode("#b=1000").beta).toBe(50);
  expect(decode("#b=-3").beta).toBe(0);
});

test("every place of the slider is the place of its β", () => {
  let before = -1;
  for (let place = 0; place <= 400; place++) {
    const beta = betaAt(place);
    expect(placeOf(beta)).toBe(place);
    expect(beta).toBeGreaterThan(before);
    before = beta;
  }
  expect(betaAt(0)).toBe(0);
  expect(betaAt(400)).toBe(50);
});
