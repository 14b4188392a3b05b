import type { Page } from "@playwright/test";
import { violations } from "../support/axe.ts";
import { openChapter } from "../support/lab.ts";
import { expect, test } from "../support/page.ts";

const chapter = (page: Page) => page.locator("#gradient");
const reading = (page: Page, title: string) => chapter(page).getByRole("article").filter({ hasText: title }).locator("p.number");

async function open(page: Page): Promise<void> {
  await openChapter(page, "gradient");
  await expect(reading(page, "∇KL, exact")).toContainText("largest entry 0.19");
}

/** The mean cosine of batches other than the one on the map. */
async function others(page: Page): Promise<number> {
  await expect(reading(page, "of one batch")).toContainText("others");
  const text = (await reading(page, "of one batch").textContent()) ?? "";
  return Number(/others (\S+)/.exec(text)?.[1]?.replace("−", "-"));
}

test("the expected gradient stays where it is for any log Z, a batch's does not", async ({ page }) => {
  await open(page);
  const logZ = chapter(page).getByRole("slider", { name: "log Z" });
  await expect(chapter(page).locator(".curve")).toContainText("whiskers", { timeout: 40_000 });
  const good = await others(page);
  for (const value of ["-10", "0", "10"]) {
    await logZ.fill(value);
    await expect(reading(page, "E[∇δ²], exact")).toHaveText(/^largest difference [\d.]+·10⁻¹\S+, cosine 1\.000$/);
  }
  await expect(chapter(page).locator(".curve")).toContainText("whiskers", { timeout: 40_000 });
  expect(good).toBeGreaterThan(0.4);
  expect(await others(page)).toBeLessThan(good - 0.2);
});

test("a larger batch points better", async ({ page }) => {
  await open(page);
  await expect(chapter(page).locator(".curve")).toContainText("whiskers", { timeout: 40_000 });
  const size = chapter(page).getByRole("slider", { name: "Samples" });
  await size.press("Home");
  expect(await others(page)).toBeLessThan(0.5);
  await size.press("End");
  expect(await others(page)).toBeGreaterThan(0.95);
});

test("log Z goes to the exact one, and policies of the race can be looked at", async ({ page }) => {
  await open(page);
  await chapter(page).getByRole("button", { name: "Exact" }).click();
  await expect(chapter(page).locator("output").first()).toHaveText("2.8");
  await page.evaluate(() => (window as unknown as { flowrl: { engine: { step(n: number): void } } }).flowrl.engine.step(200));
  await page.waitForFunction(() => (window as unknown as { flowrl: { engine: { frame: { get(): { step: number } } } } }).flowrl.engine.frame.get().step === 200);
  await chapter(page).getByRole("radio", { name: "GRPO now" }).check();
  await expect(reading(page, "∇KL, exact")).not.toContainText("0.19");
  await expect(reading(page, "E[∇δ²], exact")).toContainText("cosine 1.000");
});

test("axe finds nothing, also at 320 pixels, and nothing sticks out", { tag: "@narrow" }, async ({ page }) => {
  await page.setViewportSize({ width: 320, height: 800 });
  await open(page);
  expect(await violations(page, "#gradient")).toEqual([]);
  expect(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)).toBe(0);
});
