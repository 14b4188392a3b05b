import { expect, test } from "@playwright/test";
import { klShade, shortKl } from "../../src/panels/map/picture.ts";
import { BETAS, CELLS, RATES, cellOf, coarseToFine, settingsOf } from "../../src/panels/map/protocol.ts";

test("every cell comes once, the coarse ones first", () => {
  const order = coarseToFine(BETAS.length, RATES.length);
  expect([...order].sort((a, b) => a - b)).toEqual(Array.from({ length: CELLS }, (_, i) => i));
  expect(order.slice(0, 6)).toEqual([0, 4, 8, 40, 44, 48]);
});

test("a cell has the settings that lead back to it", () => {
  for (let cell = 0; cell < CELLS; cell++) {
    const { beta, learningRate } = settingsOf(cell);
    expect(cellOf(beta, learningRate)).toBe(cell);
  }
  expect(cellOf(6.1, 0.02)).toBe(-1);
});

test("a distance is darker the larger it is, and written in a few letters", () => {
  expect([0, 0.001, 5, Infinity].map(klShade)).toEqual([0, 0, 1, 1]);
  expect(klShade(0.1)).toBeGreaterThan(klShade(0.05));
  expect(klShade(NaN)).toBeNaN();
  expect([0, 0.004, 0.123, 0.999, 2.34, 12.3, Infinity].map(shortKl)).toEqual(["0", "0", ".12", "1.0", "2.3", "12", "×"]);
});
