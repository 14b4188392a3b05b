import { expect, test } from "@playwright/test";
import { summary } from "../../src/panels/gradient/curve";

test("mean and standard deviation", () => {
  expect(summary([1, 2, 3])).toEqual({ mean: 2, spread: 1 });
  expect(summary([0.5])).toEqual({ mean: 0.5, spread: 0 });
});
