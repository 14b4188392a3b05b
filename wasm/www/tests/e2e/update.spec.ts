import type { Locator, Page } from "@playwright/test";
import { violations } from "../support/axe.ts";
import { expect, test } from "../support/page.ts";

const lane = (page: Page, name: string): Locator => page.getByRole("article", { name, exact: true });
const lit = (card: Locator): Locator => card.locator('[aria-current="step"]');
const step = (page: Page, name: string): Promise<void> => page.locator("#update").getByRole("radio", { name }).check();

/** The chapter on a race that stands still after 200 steps. */
async function open(page: Page): Promise<void> {
  await page.emulateMedia({ reducedMotion: "reduce" });
  await page.goto("/");
  await page.locator("#update").scrollIntoViewIfNeeded();
  await page.evaluate(() => (window as unknown as { flowrl: { engine: { step(n: number): void } } }).flowrl.engine.step(200));
  await expect(page.locator("#update output")).toHaveText("150 of 200");
}

/** The numbers on a line of text, minus signs and all. */
const numbers = (text: string | null): number[] => (text ?? "").replaceAll("−", "-").match(/-?\d+(\.\d+)?/g)?.map(Number) ?? [];

test("the numbers of a sample add up to its residual, and that to its push", async ({ page }) => {
  await open(page);
  const card = lane(page, "FlowRL");
  await step(page, "Gradient");
  const lines = card.locator("li .number");
  // = log Z + log π − log π_ref − β × r = δ, signs set apart from their numbers.
  const sum = ((await lines.nth(1).textContent()) ?? "").replaceAll("−", "-").replace(/([-+]) /g, "$1").replace(" ×", "");
  const [logZ, logPi, logRef, beta, reward, residual] = numbers(sum) as [number, number, number, number, number, number];
  expect(logZ + logPi + logRef + beta * reward).toBeCloseTo(residual, 2);
  const [two, again, batch, push] = numbers(await lines.nth(2).textContent()) as [number, number, number, number];
  expect([two, again, batch]).toEqual([-2, residual, 64]);
  expect(push / (-2 * residual / 64)).toBeCloseTo(1, 1);
});

test("the steps light up one after the other, and the last leads to the next update", async ({ page }) => {
  await open(page);
  const next = page.locator("#update").getByRole("button", { name: "Next", exact: true });
  for (const name of ["Sample", "Residual", "Gradient"]) {
    await expect(lit(lane(page, "FlowRL"))).toContainText(name);
    await next.click();
  }
  await expect(lit(lane(page, "GRPO"))).toContainText("Move");
  await expect(lane(page, "FlowRL").locator("li .number").nth(3)).toContainText(/π\(y\): .* to .*, log Z/);
  await next.click();
  await expect(page.locator("#update output")).toHaveText("151 of 200");
  await expect(lit(lane(page, "FlowRL"))).toContainText("Sample");
});

test("the next update beyond the present takes a step of the race", async ({ page }) => {
  await open(page);
  const slider = page.locator("#update").getByRole("slider");
  await slider.focus();
  await slider.press("End");
  await expect(page.locator("#update output")).toHaveText("200 of 200");
  await page.locator("#update .controls").first().getByRole("button", { name: "Next update" }).click();
  await expect(page.locator("#update output")).toHaveText("201 of 201");
});

test("an answer is picked with the arrow keys, in both lanes at once", async ({ page }) => {
  await open(page);
  const bars = lane(page, "GRPO").locator("canvas");
  const sample = lane(page, "FlowRL").locator("li .number").first();
  const before = await sample.textContent();
  await bars.focus();
  await bars.press("ArrowLeft");
  await expect(sample).not.toHaveText(before ?? "");
  await expect(page.locator("#announcer")).toContainText("GRPO:");
});

test("every method can be taken apart", async ({ page }) => {
  await open(page);
  const right = page.getByLabel("Right", { exact: true });
  await step(page, "Gradient");
  for (const name of ["FlowRL ÷ length", "Reward + KL ⁄ β", "PPO", "REINFORCE"]) {
    await right.selectOption(name);
    const lines = lane(page, name).locator("li .number");
    await expect(lane(page, name).locator("canvas")).toHaveAttribute("aria-label", new RegExp(`^${name.replace("+", "\\+")}: `));
    await expect(lines.nth(2)).toHaveText(/^= .* = |not drawn/);
  }
});

test("axe finds nothing, also at 320 pixels, and nothing sticks out", async ({ page }) => {
  await page.setViewportSize({ width: 320, height: 800 });
  await open(page);
  for (const name of ["Sample", "Residual", "Gradient", "Move"]) {
    await step(page, name);
    expect(await violations(page)).toEqual([]);
  }
  for (const name of ["FlowRL ÷ length", "Reward + KL ⁄ β"]) {
    await page.getByLabel("Left", { exact: true }).selectOption(name);
    await expect(lane(page, name)).toBeVisible();
    expect(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)).toBe(0);
  }
});
