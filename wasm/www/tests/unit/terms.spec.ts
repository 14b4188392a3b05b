import { readFileSync } from "node:fs";
import { expect, test } from "@playwright/test";
import type { Update } from "../../src/engine/protocol.ts";
import { LANE_KINDS } from "../../src/lanes.ts";
import { formulae } from "../../src/math.ts";
import { METHODS, plain } from "../../src/panels/update/methods.ts";
import { numbersOf } from "../../src/panels/update/words.ts";

const page = readFileSync(new URL("../../index.html", import.meta.url), "utf8");
const list = (...numbers: number[]) => Float64Array.from(numbers);
const update: Update = {
  step: 3,
  objects: Uint32Array.of(1, 0),
  rewards: list(0.5, 1),
  logProbs: list(-1, -2),
  refLogProbs: list(-1.5, -1.25),
  advantages: list(-1, 1),
  residuals: list(0.25, -0.5),
  pushes: list(0.1, -0.2),
  loss: 1,
  logZBefore: 2,
  logZAfter: 2.5,
  before: list(0.25, 0.5),
  after: list(0.5, 0.25),
};
const picked = { answer: 1, index: 0, times: 1 };
const scene = { beta: 4, target: list(0.5, 0.5) };

for (const kind of LANE_KINDS) {
  test(`every number of ${kind} that has a name is a term of its formula, once`, () => {
    const { judgement, push } = METHODS[kind];
    for (const [stage, pieces] of [[1, judgement], [2, [push]]] as const) {
      const terms = pieces.flatMap((piece) => [...formulae[`update-${piece}`]!.matchAll(/\\class\{term-(\w+)\}/g)].map(([, term]) => term));
      const named = numbersOf(kind, update, stage, picked, scene).filter((part) => typeof part !== "string").map(([term]) => term);
      expect(named.length).toBeGreaterThan(0);
      expect(named).toEqual(terms);
      for (const term of named) expect(page).toContain(`data-text="term-${term}"`);
    }
  });
}

test("a line of numbers reads like its formula", () => {
  const line = (kind: (typeof LANE_KINDS)[number], stage: number) => plain(numbersOf(kind, update, stage, picked, scene));
  expect(line("flowrl", 1)).toBe("= 2.000 − 1.000 + 1.500 − 4 × 0.500 = 0.25");
  expect(line("normalised", 1)).toBe("= 2.000 + (−1.000 + 1.500) ⁄ 2 − 4 × 0.500 = 0.25");
  expect(line("published", 1)).toBe("= 2.000 + (−1.000 + 1.500) ⁄ 2 − 4 × (0.500 − 0.750) ⁄ 0.250 = 0.25");
  expect(line("grpo", 1)).toBe("= (0.500 − 0.750) ⁄ 0.250 = −1");
  expect(line("reward-kl", 1)).toBe("= 0.500 − 0.750 − (−1.000 + 1.500) ⁄ 4 = 0.4");
  expect(line("flowrl", 2)).toBe("= −2 × 0.25 ⁄ 2 = 0.1 ↑");
  expect(line("grpo", 2)).toBe("= (1 × (−1) + 1.400) ⁄ (2 × 2) = 0.1 ↑");
});
