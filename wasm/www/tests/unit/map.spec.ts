import { expect, test } from "@playwright/test";
import { BETAS, CELLS, RATES, cellOf, coarseToFine, settingsOf } from "../../src/panels/map/protocol";

test("coarse to fine visits every cell once, the coarse ones first", () => {
  const order = coarseToFine(BETAS.length, RATES.length);
  expect([...order].sort((a, b) => a - b)).toEqual(Array.from({ length: CELLS }, (_, i) => i));
  expect(order.slice(0, 4)).toEqual([0, 4, 8, 40]);
  const odd = (cell: number) => (cell % BETAS.length) % 2 === 1 || Math.floor(cell / BETAS.length) % 2 === 1;
  const firstOdd = order.findIndex(odd);
  expect(order.slice(firstOdd).every(odd)).toBe(true);
});

test("a cell and its settings name each other", () => {
  for (let cell = 0; cell < CELLS; cell++) {
    const { beta, learningRate } = settingsOf(cell);
    expect(cellOf(beta, learningRate)).toBe(cell);
  }
  expect(cellOf(6, 0.021)).toBe(-1);
});
